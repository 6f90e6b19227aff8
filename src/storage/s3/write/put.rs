//! Writes objects in one request, never over an existing one; shares code with multipart uploads.
//!
//! "It exists" (412) in response to a request that the SDK sent twice may refer to our own first attempt, whose
//! response was lost. Then the object's metadata has the writer's random token, and its size matches: the write
//! succeeded.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::error::{Error, Result};
use crate::storage::s3::address::Address;
use crate::storage::s3::codes::status;
use crate::storage::s3::config::Encryption;
use crate::storage::s3::failure::Act;
use crate::storage::s3::read::head::{TOKEN, look, new_token};
use crate::storage::s3::shared::Shared;

/// Time limit for determining the outcome of a write.
const LOOK_WAIT: Duration = Duration::from_secs(30);

/// What happens to an existing object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It is kept; the write fails.
    Keep,
    /// It is replaced.
    Replace,
}

/// What to do after an error response.
pub(crate) enum Next {
    Done,
    Again,
    Fail(Error),
}

/// Writes an object in one request.
pub(crate) async fn put(shared: &Shared, address: &Address, bytes: Bytes, existing: Existing) -> Result<()> {
    put_as(shared, address, bytes, existing, &new_token()).await
}

pub(crate) async fn put_as(
    shared: &Shared,
    address: &Address,
    bytes: Bytes,
    existing: Existing,
    token: &str,
) -> Result<()> {
    let (encryption, key) = encryption(shared);
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let condition = condition(shared, address, existing).await?;
        let put = |client: aws_sdk_s3::Client| {
            client
                .put_object()
                .bucket(&address.bucket)
                .key(&address.key)
                .metadata(TOKEN, token)
                .set_if_none_match(condition.clone())
                .set_server_side_encryption(encryption.clone())
                .set_ssekms_key_id(key.clone())
                .set_acl(acl(shared))
                .body(ByteStream::from(bytes.clone()))
                .send()
        };
        let Err(error) = shared.send(put).await? else { return Ok(()) };
        match judge(shared, address, error, attempts, token, size).await {
            Next::Done => return Ok(()),
            Next::Fail(error) => return Err(error),
            Next::Again => {}
        }
    }
}

/// The value of `If-None-Match`. If the server does not support it, existence is checked before.
pub(crate) async fn condition(shared: &Shared, address: &Address, existing: Existing) -> Result<Option<String>> {
    if existing == Existing::Replace {
        return Ok(None);
    }
    if !shared.unconditional.load(Ordering::Relaxed) {
        return Ok(Some("*".to_owned()));
    }
    match look(shared, address).await? {
        None => Ok(None),
        Some(_) => Err(exists(address)),
    }
}

/// Interprets an error of a request that makes an object visible.
pub(crate) async fn judge<E>(
    shared: &Shared,
    address: &Address,
    error: SdkError<E>,
    attempts: u32,
    token: &str,
    size: u64,
) -> Next
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let may_retry = attempts < shared.config.retry.attempts;
    match (status(&error), error.code().unwrap_or_default()) {
        (Some(501), _) | (_, "NotImplemented") if !shared.unconditional.swap(true, Ordering::Relaxed) => {
            tracing::info!("the server does not know If-None-Match: objects are looked for before they are written");
            Next::Again
        }
        // Our own attempt may still be in progress there.
        (Some(409), "ConditionalRequestConflict" | "OperationAborted") if may_retry => {
            sleep(shared.config.retry.backoff(attempts)).await;
            if is_ours(shared, address, token, size).await { Next::Done } else { Next::Again }
        }
        // It exists, the upload is gone, or the outcome is unknown: the existing object decides.
        (None | Some(404 | 412 | 500..), _) if is_ours(shared, address, token, size).await => Next::Done,
        (Some(412), _) => Next::Fail(exists(address)),
        _ => Next::Fail(shared.failed(Act::Write, address, error)),
    }
}

/// Whether the object exists, is complete, and was written by us.
async fn is_ours(shared: &Shared, address: &Address, token: &str, size: u64) -> bool {
    let looked = timeout(LOOK_WAIT, look(shared, address)).await;
    match looked.unwrap_or_else(|_| Err(Error::failed("S3 did not answer in time"))) {
        Ok(found) => found.is_some_and(|found| found.token.as_deref() == Some(token) && found.size == size),
        Err(error) => {
            tracing::debug!("it could not be learned whether a write has succeeded: {error}");
            false
        }
    }
}

fn exists(address: &Address) -> Error {
    Error::failed("cannot write the object: it exists")
        .in_file(address.to_string())
        .advice("Objects are never overwritten; another run may be writing there")
}

pub(crate) fn encryption(shared: &Shared) -> (Option<ServerSideEncryption>, Option<String>) {
    match &shared.config.encryption {
        Encryption::Bucket => (None, None),
        Encryption::S3 => (Some(ServerSideEncryption::Aes256), None),
        Encryption::Kms(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        Encryption::DoubleKms(key) => (Some(ServerSideEncryption::AwsKmsDsse), key.clone()),
    }
}

pub(crate) fn acl(shared: &Shared) -> Option<ObjectCannedAcl> {
    shared.config.acl.as_deref().map(ObjectCannedAcl::from)
}
