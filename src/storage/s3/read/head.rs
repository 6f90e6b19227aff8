//! Checks whether an object exists, its size, and who wrote it.

use std::ops::Range;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::storage::s3::address::Address;
use crate::storage::s3::codes::status;
use crate::storage::s3::failure::Act;
use crate::storage::s3::shared::Shared;

/// The result of a HEAD request.
#[derive(Debug)]
pub(crate) struct Found {
    pub size: u64,
    /// The token that the writer put into the object's metadata.
    pub token: Option<String>,
}

/// Inspects an object; `None` if it does not exist.
pub(crate) async fn look(shared: &Shared, address: &Address) -> Result<Option<Found>> {
    let head = || shared.send(|client| client.head_object().bucket(&address.bucket).key(&address.key).send());
    let mut asked = head().await?;
    // A response to HEAD has no body with the reason, but a request for one byte of the object does.
    if let Err(error) = &asked
        && matches!(status(error), Some(400 | 403))
    {
        match shared.send(|client| get_range(client, address, 0..1, None)).await? {
            Err(why) if status(&why) != Some(404) => return Err(shared.failed(Act::Look, address, why)),
            Err(_) => {}
            // With keys that were renewed meanwhile.
            Ok(_) => asked = head().await?,
        }
    }
    match asked {
        Ok(found) => Ok(Some(Found {
            size: size_of(found.content_length(), address)?,
            token: found.metadata().and_then(|map| map.get(TOKEN)).cloned(),
        })),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(shared.failed(Act::Look, address, error)),
    }
}

pub(crate) fn size_of(length: Option<i64>, address: &Address) -> Result<u64> {
    length.and_then(|length| u64::try_from(length).ok()).ok_or_else(|| unfit(address))
}

pub(crate) fn unfit(address: &Address) -> Error {
    Error::failed("the server's answer is not the range that was asked for").in_file(address.to_string())
}

/// The name of the writer's token in an object's metadata (`x-amz-meta-…`).
pub(crate) const TOKEN: &str = "ddb-iceberg-write";

pub(crate) fn new_token() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A request for a range of an object; with `etag` only of that version.
pub(crate) async fn get_range(
    client: aws_sdk_s3::Client,
    address: &Address,
    range: Range<u64>,
    etag: Option<&str>,
) -> Result<GetObjectOutput, SdkError<GetObjectError>> {
    client
        .get_object()
        .bucket(&address.bucket)
        .key(&address.key)
        .range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1).max(range.start)))
        .set_if_match(etag.map(str::to_owned))
        .send()
        .await
}
