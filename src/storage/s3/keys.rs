//! Temporary keys, such as those that a catalog vends for one table.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use tokio::sync::Mutex;

use crate::aws::access::remember;
use crate::error::Result;

/// How long before their expiry keys are renewed: uploading one part may take this long.
const MARGIN: Duration = Duration::from_mins(2);

/// Keys with their expiry time.
#[derive(Clone, PartialEq, Eq)]
pub struct VendedCredentials {
    /// The access key's id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token, where there is one.
    pub token: Option<String>,
    /// When they expire; `None`: unknown.
    pub expires: Option<SystemTime>,
}

impl VendedCredentials {
    /// Whether they are valid for long enough.
    pub fn are_fresh(&self) -> bool {
        self.expires.is_none_or(|end| end > SystemTime::now() + MARGIN)
    }
}

impl fmt::Debug for VendedCredentials {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VendedCredentials").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A source of keys, asked again when the last ones are about to expire or have expired.
#[async_trait]
pub trait CredentialsProvider: fmt::Debug + Send + Sync {
    /// Keys that are valid for some time; different from those that S3 has `refused` as expired, if possible.
    async fn lend(&self, refused: Option<&VendedCredentials>) -> Result<VendedCredentials>;
}

/// One client per set of keys.
pub(crate) struct Loans {
    lender: Arc<dyn CredentialsProvider>,
    current: Mutex<Option<(Client, VendedCredentials)>>,
}

impl Loans {
    pub fn new(lender: Arc<dyn CredentialsProvider>) -> Self {
        Self { lender, current: Mutex::default() }
    }

    /// A client like `base`, with keys that are valid for some time.
    pub async fn client(&self, base: &Client) -> Result<(Client, VendedCredentials)> {
        let mut current = self.current.lock().await;
        if let Some(known) = current.as_ref().filter(|(_, keys)| keys.are_fresh()) {
            return Ok(known.clone());
        }
        let keys = match (self.lender.lend(None).await, current.as_ref()) {
            (Ok(keys), _) => keys,
            // The old ones may still be valid for some seconds; if not, S3 will say so.
            (Err(error), Some(known)) if known.1.expires.is_some_and(|end| end > SystemTime::now()) => {
                tracing::warn!("the catalog did not renew the keys of a table: {error}");
                return Ok(known.clone());
            }
            (Err(error), _) => return Err(error),
        };
        Ok(Self::take(&mut current, base, keys))
    }

    /// The same with other keys than those that S3 refused as expired; `None` if there are no others.
    pub async fn other_client(&self, base: &Client, refused: &VendedCredentials) -> Result<Option<Client>> {
        let mut current = self.current.lock().await;
        if let Some((client, _)) = current.as_ref().filter(|(_, keys)| keys != refused) {
            return Ok(Some(client.clone()));
        }
        let keys = self.lender.lend(Some(refused)).await?;
        if keys == *refused {
            return Ok(None);
        }
        Ok(Some(Self::take(&mut current, base, keys).0))
    }

    fn take(
        current: &mut Option<(Client, VendedCredentials)>,
        base: &Client,
        keys: VendedCredentials,
    ) -> (Client, VendedCredentials) {
        let credentials = Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, "ddb-iceberg");
        remember(&credentials);
        let client = Client::from_conf(base.config().to_builder().credentials_provider(credentials).build());
        current.insert((client, keys)).clone()
    }
}
