//! Ranged reads that resume after a broken body and detect a changed object.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileRead;
use tokio::time::{sleep, timeout};

use super::head::{get_range, size_of, unfit};
use crate::error::{Error, Result};
use crate::storage::failure::into_iceberg;
use crate::storage::read::limits::check_size;
use crate::storage::s3::address::Address;
use crate::storage::s3::codes::{is_code, status};
use crate::storage::s3::failure::Act;
use crate::storage::s3::shared::Shared;

/// Bytes of an object.
#[derive(Debug)]
pub(crate) struct Piece {
    pub bytes: Bytes,
    pub etag: Option<String>,
    /// The size of the whole object.
    pub total: u64,
}

/// At most this many bytes from an object's start; `None` if it does not exist.
pub(crate) async fn first(shared: &Shared, address: &Address, limit: u64) -> Result<Option<Piece>> {
    fetch(shared, address, 0..limit, None, true).await
}

/// Reads a whole object at once.
pub(crate) async fn whole(shared: &Shared, address: &Address) -> Result<Bytes> {
    let size = shared.config.transfer.read_size;
    let Some(first) = fetch(shared, address, 0..size, None, false).await? else { return Ok(Bytes::new()) };
    if first.total <= size {
        return Ok(first.bytes);
    }
    check_size(&address.to_string(), first.total)?;
    let rest = range(shared, address, size..first.total, first.etag.as_deref()).await?;
    Ok([first.bytes, rest.bytes].concat().into())
}

/// Exactly the range, in several parallel requests if it is long.
async fn range(shared: &Shared, address: &Address, range: Range<u64>, etag: Option<&str>) -> Result<Piece> {
    let size = shared.config.transfer.read_size.max(1);
    let exactly = |range: Range<u64>| async move {
        let length = range.end.saturating_sub(range.start);
        match fetch(shared, address, range, etag, false).await? {
            Some(piece) if u64::try_from(piece.bytes.len()).ok() == Some(length) => Ok(piece),
            _ => Err(Error::failed("the object ends before what should be read of it").in_file(address.to_string())),
        }
    };
    if range.end.saturating_sub(range.start) <= size.saturating_mul(2) {
        return exactly(range).await;
    }
    let starts = (range.start..range.end).step_by(usize::try_from(size).unwrap_or(usize::MAX));
    let pieces: Vec<Piece> = futures::stream::iter(starts)
        .map(|start| exactly(start..range.end.min(start.saturating_add(size))))
        .buffered(shared.config.transfer.reads.max(1))
        .try_collect()
        .await?;
    let mut bytes = BytesMut::with_capacity(pieces.iter().map(|piece| piece.bytes.len()).sum());
    let mut etag: Option<String> = None;
    let mut total = 0;
    for piece in pieces {
        bytes.extend_from_slice(&piece.bytes);
        total = piece.total;
        if etag.is_some() && etag != piece.etag {
            return Err(changed(address));
        }
        etag = piece.etag;
    }
    Ok(Piece { bytes: bytes.freeze(), etag, total })
}

/// One range, as far as the object reaches, requested until it arrives or the policy gives up. With `maybe`, `None`
/// means that the object does not exist.
async fn fetch(
    shared: &Shared,
    address: &Address,
    range: Range<u64>,
    etag: Option<&str>,
    maybe: bool,
) -> Result<Option<Piece>> {
    let policy = &shared.config.retry;
    let mut etag = etag.map(str::to_owned);
    let mut got = BytesMut::new();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let start = range.start.saturating_add(u64::try_from(got.len()).unwrap_or(u64::MAX));
        let answer =
            Box::pin(shared.send(|client| get_range(client, address, start..range.end, etag.as_deref()))).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if maybe && is_code(&error, &["NoSuchKey"]) => return Ok(None),
            Err(error) if is_code(&error, &["InvalidRange"]) && start == 0 => {
                return Ok(Some(Piece { bytes: Bytes::new(), etag: None, total: 0 }));
            }
            Err(error) if status(&error) == Some(412) => return Err(changed(address)),
            Err(error) => return Err(shared.failed(Act::Read, address, error)),
        };
        if etag.is_some() && answer.e_tag.is_some() && etag != answer.e_tag {
            return Err(changed(address));
        }
        etag = etag.or_else(|| answer.e_tag.clone());
        let total = total_of(&answer, start, address)?;
        let end = range.end.min(total);
        let wanted = usize::try_from(end.saturating_sub(range.start)).map_err(|_| unfit(address))?;
        let broken = collect(answer, &mut got, wanted, policy.attempt_timeout).await;
        match broken {
            Ok(()) if got.len() == wanted => return Ok(Some(Piece { bytes: got.freeze(), etag, total })),
            Ok(()) if got.len() > wanted => return Err(unfit(address)),
            broken if attempts >= policy.attempts => {
                let why = broken.err().unwrap_or_else(|| "it broke off".to_owned());
                return Err(Error::failed(format!("the object could not be read in {attempts} attempts"))
                    .in_file(address.to_string())
                    .caused_by(why)
                    .advice("Check the network, then run again"));
            }
            broken => {
                let why = broken.err().unwrap_or_else(|| "it broke off".to_owned());
                tracing::debug!("{address}: the body of an answer is incomplete, trying again: {why}");
                // Complete, but with an error: a checksum that does not match.
                if got.len() >= wanted {
                    got.clear();
                }
                sleep(policy.backoff(attempts)).await;
            }
        }
    }
}

/// Appends a body. Errors are returned as text.
async fn collect(
    answer: GetObjectOutput,
    got: &mut BytesMut,
    wanted: usize,
    patience: std::time::Duration,
) -> Result<(), String> {
    let mut body = answer.body;
    got.reserve(wanted.saturating_sub(got.len()));
    loop {
        match timeout(patience, body.next()).await {
            Err(_) => return Err("no more came in time".to_owned()),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Ok(Some(Ok(bytes))) => {
                got.extend_from_slice(&bytes);
                if got.len() > wanted {
                    return Ok(());
                }
            }
        }
    }
}

/// The whole object's size, from `Content-Range: bytes 0-9/100`; the range must start where requested.
fn total_of(answer: &GetObjectOutput, start: u64, address: &Address) -> Result<u64> {
    let Some(range) = answer.content_range() else {
        // Without a range it is the whole object.
        return if start == 0 { size_of(answer.content_length(), address) } else { Err(unfit(address)) };
    };
    let parsed = range.strip_prefix("bytes ").and_then(|rest| {
        let (range, total) = rest.split_once('/')?;
        let (first, _) = range.split_once('-')?;
        Some((first.trim().parse::<u64>().ok()?, total.trim().parse::<u64>().ok()?))
    });
    match parsed {
        Some((first, total)) if first == start => Ok(total),
        _ => Err(unfit(address)),
    }
}

fn changed(address: &Address) -> Error {
    Error::failed("the object was overwritten while it was read")
        .in_file(address.to_string())
        .advice("Run again when nobody writes there")
}

/// Positional reads of one object; safe to use concurrently.
pub(crate) struct S3Read {
    shared: Arc<Shared>,
    address: Address,
    /// From the first response.
    etag: OnceLock<String>,
}

impl S3Read {
    pub fn new(shared: Arc<Shared>, address: Address, etag: Option<String>) -> Self {
        Self { shared, address, etag: etag.map_or_else(OnceLock::new, OnceLock::from) }
    }
}

#[async_trait]
impl FileRead for S3Read {
    async fn read(&self, wanted: Range<u64>) -> iceberg::Result<Bytes> {
        if wanted.start > wanted.end {
            return Err(into_iceberg(Error::failed("the range to read is not one")));
        }
        if wanted.is_empty() {
            return Ok(Bytes::new());
        }
        let etag = self.etag.get().map(String::as_str);
        let piece = range(&self.shared, &self.address, wanted, etag).await.map_err(into_iceberg)?;
        // With two concurrent first reads, both must have seen the same object.
        if let Some(seen) = piece.etag
            && *self.etag.get_or_init(|| seen.clone()) != seen
        {
            return Err(into_iceberg(changed(&self.address)));
        }
        Ok(piece.bytes)
    }
}

impl fmt::Debug for S3Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Read").field("address", &self.address).finish_non_exhaustive()
    }
}
