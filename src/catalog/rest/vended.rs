//! Storage for one table's files, with the server's accepted settings for it: `config` and `storage-credentials` over
//! the catalog's own properties. For each file the credentials with the longest prefix of its location apply, as in
//! Java's `S3FileIO`; without a matching prefix, `config` applies.
//!
//! Keys with an expiry time are renewed before it, others once S3 reports that they have expired: by loading the
//! table's credentials or, if the server has no endpoint for that, the table. A table that is only staged is staged
//! again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::TableIdent;
use reqwest::Method;

use super::session::Session;
use super::storage_keys::{EXPIRES, KEY_ID, SECRET, TOKEN, is_identity, is_of_s3};
use super::trust;
use super::wire::{LoadTableResult, StorageCredential};
use crate::error::{Error, Result};
use crate::storage::{CredentialsProvider, Lent, S3Access, S3Config, Store, VendedCredentials};

/// Number of stores kept for tables; a program has one or two.
const MOST_KEPT: usize = 64;

/// A table's location; in general and for each prefix, the server's settings without keys, and whether it vends any.
type StoreId = (String, Vec<(String, BTreeMap<String, String>, bool)>);

/// Storage by table.
pub(crate) struct Lending {
    /// Storage for tables for which the server sends no settings.
    pub store: Store,
    /// By location and configuration without keys: a store renews its keys itself.
    kept: Mutex<HashMap<StoreId, Store>>,
    /// Whether the user was told what is rejected.
    told: AtomicBool,
}

impl Lending {
    /// `store` is configured by the catalog's own properties.
    pub fn new(store: Store) -> Self {
        Self { store, kept: Mutex::default(), told: AtomicBool::default() }
    }

    /// Storage for the files of a table, and the locations for which the server vends keys; `staged` is the request
    /// that staged it.
    pub fn of_table(
        &self,
        session: &Arc<Session>,
        ident: &TableIdent,
        table: &LoadTableResult,
        staged: Option<&Bytes>,
    ) -> Result<(Store, Lent)> {
        let location = table.metadata.location();
        let credentials = table.storage_credentials.as_deref().unwrap_or_default();
        let prefixes: Vec<&str> = credentials.iter().map(|c| c.prefix.as_str()).filter(|p| is_of_s3(p)).collect();
        let config = table.config.as_ref();
        // The entry without a prefix comes first.
        let mut refused = Vec::new();
        let mut taken = |prefix: &str, credentials: &[StorageCredential]| {
            let (taken, left) = given(prefix, config, credentials);
            refused.extend(left);
            (prefix.to_owned(), taken)
        };
        let places: Vec<(String, BTreeMap<String, String>)> =
            std::iter::once(taken("", &[])).chain(prefixes.iter().map(|prefix| taken(prefix, credentials))).collect();
        let lends = session.lends_keys || places.iter().any(|(_, given)| keys(given).is_some());
        refused.extend(session.with_keys.keys().filter(|key| !session.own.contains(*key)).cloned());
        // Settings of a prefix's keys do not apply to keys without a prefix.
        if !lends && !self.told.swap(true, Ordering::Relaxed) {
            trust::tell(&format!("the catalog's configuration of {ident}"), refused);
        }
        let lends_at = |given: &BTreeMap<String, String>| session.lends_keys || keys(given).is_some();
        let below = places.iter().skip(1).map(|(prefix, given)| (prefix.clone(), lends_at(given)));
        let lent = Lent::new(places.first().is_some_and(|(_, given)| lends_at(given)), below);
        if places.iter().all(|(_, given)| given.is_empty()) {
            return Ok((self.store.clone(), lent));
        }
        let lasting = places.iter().map(|(prefix, given)| {
            let mut lasting = given.clone();
            if keys(given).is_some() {
                lasting.retain(|key, _| !is_identity(key));
            }
            (prefix.clone(), lasting, keys(given).is_some())
        });
        let id = (location.to_owned(), lasting.collect());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(&id) {
            return Ok((found.clone(), lent));
        }
        let access = |prefix: Option<&str>, given: BTreeMap<String, String>| -> Result<S3Access> {
            let keys = keys(&given);
            let mut properties = session.properties.clone();
            if keys.is_some() {
                properties.retain(|key, _| !is_identity(key));
                properties.extend(session.with_keys.clone());
            }
            properties.extend(given.into_iter().filter(|(key, _)| {
                // A server that offers to sign requests also offers keys.
                let is_other_way = lends && (key.starts_with("s3.signer") || key == "s3.remote-signing-enabled");
                !is_other_way && (keys.is_some() || !session.own.contains(key))
            }));
            let lender = keys.map(|keys| {
                Arc::new(Lender {
                    session: Arc::clone(session),
                    ident: ident.clone(),
                    path: prefix.unwrap_or(location).to_owned(),
                    of_config: prefix.is_none() && !prefixes.is_empty(),
                    staged: staged.cloned(),
                    current: tokio::sync::Mutex::new(keys),
                }) as Arc<dyn CredentialsProvider>
            });
            Ok(S3Access { config: S3Config::from_properties(&properties)?, lender })
        };
        let mut places = places.into_iter();
        let all = access(None, places.next().map(|(_, given)| given).unwrap_or_default())?;
        let below = places.map(|(prefix, given)| Ok((prefix.clone(), access(Some(&prefix), given)?)));
        let store = self.store.with_s3(all, below.collect::<Result<_>>()?);
        if kept.len() < MOST_KEPT {
            kept.insert(id, store.clone());
        }
        Ok((store, lent))
    }
}

/// The server's S3 settings for a prefix or location: the credentials with the longest matching prefix, over the
/// table's `config`. Second, the names of rejected settings.
fn given(
    location: &str,
    config: Option<&BTreeMap<String, String>>,
    credentials: &[StorageCredential],
) -> (BTreeMap<String, String>, Vec<String>) {
    let of_s3 = |map: &BTreeMap<String, String>| -> Vec<(String, String)> {
        let known = |key: &str| key.starts_with("s3.") || key.starts_with("client.");
        map.iter().filter(|(key, value)| known(key) && !value.is_empty()).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let mut given: BTreeMap<String, String> = config.map(of_s3).unwrap_or_default().into_iter().collect();
    // A prefix may end with a slash, which a location does not have.
    let location = format!("{}/", location.trim_end_matches('/'));
    let best = credentials.iter().filter(|c| location.starts_with(&c.prefix)).max_by_key(|c| c.prefix.len());
    if let Some(best) = best {
        let mut best: BTreeMap<String, String> = of_s3(&best.config).into_iter().collect();
        // Keys are never mixed from both, and an id without its secret is not a key.
        if keys(&best).is_some() {
            given.retain(|key, _| !is_identity(key));
        } else {
            best.retain(|key, _| !is_identity(key));
        }
        given.extend(best);
    }
    trust::of_storage(&given)
}

fn keys(given: &BTreeMap<String, String>) -> Option<VendedCredentials> {
    let expires = given.get(EXPIRES).and_then(|at| at.parse().ok()).map(|at| UNIX_EPOCH + Duration::from_millis(at));
    Some(VendedCredentials {
        id: given.get(KEY_ID)?.clone(),
        secret: given.get(SECRET)?.clone(),
        token: given.get(TOKEN).cloned(),
        expires,
    })
}

/// Renews the keys of one table, or of a prefix.
struct Lender {
    session: Arc<Session>,
    ident: TableIdent,
    /// The location of the keys.
    path: String,
    /// Whether these are the keys of the table's `config`, while others have prefixes.
    of_config: bool,
    staged: Option<Bytes>,
    current: tokio::sync::Mutex<VendedCredentials>,
}

impl fmt::Debug for Lender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lender").field("ident", &self.ident).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Lender {
    /// Those of these keys that apply to our location.
    fn ours(
        &self,
        config: Option<&BTreeMap<String, String>>,
        credentials: &[StorageCredential],
    ) -> Option<VendedCredentials> {
        keys(&given(&self.path, config, if self.of_config { &[] } else { credentials }).0)
    }

    async fn ask(&self) -> Result<Option<VendedCredentials>> {
        if !self.of_config
            && let Some(credentials) = self.session.credentials(&self.ident).await?
            && let Some(found) = self.ours(None, &credentials)
        {
            return Ok(Some(found));
        }
        let mut table = self.session.load(&self.ident).await?;
        if let (None, Some(request)) = (&table, &self.staged) {
            let asked = "stage the table again";
            let path = self.session.tables(self.ident.namespace());
            let answer = self.session.client.ask(Method::POST, &path, request.clone()).await?;
            if answer.status != 200 {
                return Err(self.session.refused(asked, &answer));
            }
            table = Some(self.session.read(asked, &answer)?);
        }
        Ok(table.and_then(|table| {
            self.ours(table.config.as_ref(), table.storage_credentials.as_deref().unwrap_or_default())
        }))
    }
}

#[async_trait]
impl CredentialsProvider for Lender {
    async fn lend(&self, refused: Option<&VendedCredentials>) -> Result<VendedCredentials> {
        let mut current = self.current.lock().await;
        if current.are_fresh() && refused != Some(&*current) {
            return Ok(current.clone());
        }
        tracing::info!("the keys for the files of {} expire; asking for new ones", self.ident);
        let Some(found) = self.ask().await? else {
            return Err(Error::failed(format!("the catalog gives no more keys for the files of {}", self.ident)));
        };
        *current = found.clone();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_longest_prefix_wins_and_keys_are_never_mixed() {
        let config =
            map(&[("s3.endpoint", "http://e"), (KEY_ID, "C"), (TOKEN, "ct"), ("token", "x"), ("s3.region", "")]);
        let credential = |prefix: &str, id: &str| StorageCredential {
            prefix: prefix.to_owned(),
            config: map(&[(KEY_ID, id), (SECRET, "s")]),
        };
        let credentials = [credential("s3", "1"), credential("s3://b/t", "2"), credential("s3://b/other", "3")];
        let given = |location: &str, credentials| given(location, Some(&config), credentials).0;
        let found = given("s3://b/t/x", &credentials);
        assert_eq!(found, map(&[("s3.endpoint", "http://e"), (KEY_ID, "2"), (SECRET, "s")]));
        assert_eq!(given("s3://c", &credentials)[KEY_ID], "1");
        // An id without its secret is not a key, and an endpoint without keys is ignored.
        assert_eq!(given("file:///x", &credentials), map(&[]));
        assert!(keys(&found).unwrap().are_fresh());
        assert!(!keys(&map(&[(KEY_ID, "a"), (SECRET, "s"), (EXPIRES, "1")])).unwrap().are_fresh());
    }
}
