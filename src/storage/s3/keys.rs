//! Keys that somebody lends for a while, such as a catalog for one table.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use tokio::sync::Mutex;

use crate::error::Result;

/// Keys are asked for again so long before they expire: an upload of one part may take as long.
const MARGIN: Duration = Duration::from_mins(2);

/// Keys with their end.
#[derive(Clone, PartialEq, Eq)]
pub struct LentKeys {
    /// The access key's id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token, where there is one.
    pub token: Option<String>,
    /// When they expire; `None`: nobody said.
    pub expires: Option<SystemTime>,
}

impl LentKeys {
    /// Whether they are good for a while yet.
    pub fn are_fresh(&self) -> bool {
        self.expires.is_none_or(|end| end > SystemTime::now() + MARGIN)
    }
}

impl fmt::Debug for LentKeys {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LentKeys").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Lends keys; asked again when the last ones are about to expire.
#[async_trait]
pub trait KeyLender: fmt::Debug + Send + Sync {
    /// Keys that are good for a while.
    async fn lend(&self) -> Result<LentKeys>;
}

/// A client for each loan.
pub(super) struct Loans {
    lender: Arc<dyn KeyLender>,
    current: Mutex<Option<(Client, LentKeys)>>,
}

impl Loans {
    pub fn new(lender: Arc<dyn KeyLender>) -> Self {
        Self { lender, current: Mutex::default() }
    }

    /// As `base`, with keys that are good for a while.
    pub async fn client(&self, base: &Client) -> Result<Client> {
        let mut current = self.current.lock().await;
        if let Some((client, _)) = current.as_ref().filter(|(_, keys)| keys.are_fresh()) {
            return Ok(client.clone());
        }
        let keys = match (self.lender.lend().await, current.as_ref()) {
            (Ok(keys), _) => keys,
            // The old ones may be good for some seconds yet; if not, S3 says so.
            (Err(error), Some((client, keys))) if keys.expires.is_some_and(|end| end > SystemTime::now()) => {
                tracing::warn!("the catalog did not renew the keys of a table: {error}");
                return Ok(client.clone());
            }
            (Err(error), _) => return Err(error),
        };
        let credentials = Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, "ddb-iceberg");
        let client = Client::from_conf(base.config().to_builder().credentials_provider(credentials).build());
        *current = Some((client.clone(), keys));
        Ok(client)
    }
}
