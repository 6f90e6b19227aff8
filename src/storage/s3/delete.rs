//! Deletes objects, one or many at once.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use tokio::time::sleep;

use super::address::Address;
use super::codes::is_code;
use super::failure::Act;
use super::shared::Shared;
use crate::aws::failure::shorten;
use crate::error::{Error, Result};
use crate::storage::s3::read::list::keys_below;

/// Maximum number of keys that S3 accepts in one request.
pub(super) const BATCH: usize = 1000;

/// Error codes of keys, inside a response of status 200, for which a retry makes sense.
const AGAIN: [&str; 4] = ["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"];

/// Deletes one object; a missing one is not an error.
pub(super) async fn one(shared: &Shared, address: &Address) -> Result<()> {
    match shared.send(|client| client.delete_object().bucket(&address.bucket).key(&address.key).send()).await? {
        Err(error) if !is_code(&error, &["NoSuchKey"]) => Err(shared.failed(Act::Delete, address, error)),
        _ => Ok(()),
    }
}

/// Deletes objects of any buckets, at most [`BATCH`] of them.
pub(super) async fn many(shared: &Shared, locations: &[String]) -> Result<()> {
    let mut buckets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for location in locations {
        let Address { bucket, key } = Address::object(location)?;
        buckets.entry(bucket).or_default().push(key);
    }
    for (bucket, keys) in buckets {
        batch(shared, &bucket, keys).await?;
    }
    Ok(())
}

/// Deletes all keys below a folder.
pub(super) async fn below(shared: &Shared, folder: &Address) -> Result<()> {
    let mut token = None;
    loop {
        let (keys, next) = keys_below(shared, folder, token).await?;
        for keys in keys.chunks(BATCH) {
            batch(shared, &folder.bucket, keys.to_vec()).await?;
        }
        token = next;
        if token.is_none() {
            return Ok(());
        }
    }
}

async fn batch(shared: &Shared, bucket: &str, mut keys: Vec<String>) -> Result<()> {
    let at = |key: &str| Address { bucket: bucket.to_owned(), key: key.to_owned() };
    let mut attempts = 0;
    while let Some(first) = keys.first() {
        attempts += 1;
        let first = at(first);
        let objects =
            keys.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect::<Result<Vec<_>, _>>();
        let delete = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
        let delete = delete.map_err(|e| Error::failed("a request to delete could not be made").caused_by(e))?;
        let answer = shared
            .send(|client| client.delete_objects().bucket(bucket).delete(delete.clone()).send())
            .await?
            .map_err(|error| shared.failed(Act::Delete, &first, error))?;
        let mut left = Vec::new();
        for error in answer.errors() {
            let (key, code) = (error.key().unwrap_or_default(), error.code().unwrap_or_default());
            if code == "NoSuchKey" {
                continue;
            }
            if !AGAIN.contains(&code) || attempts >= shared.config.retry.attempts {
                let denied = if code == "AccessDenied" { "; this takes s3:DeleteObject" } else { "" };
                return Err(Error::failed(format!("cannot delete the object: S3 says {}{denied}", shorten(code)))
                    .in_file(at(key).to_string()));
            }
            // Only requested keys: the response does not decide what is deleted.
            if keys.iter().any(|asked| asked == key) {
                left.push(key.to_owned());
            }
        }
        keys = left;
        if !keys.is_empty() {
            sleep(shared.config.retry.backoff(attempts)).await;
        }
    }
    Ok(())
}
