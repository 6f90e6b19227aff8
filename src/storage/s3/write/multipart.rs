//! Objects that are uploaded in parts while they are written, without leaving incomplete uploads behind.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use iceberg::io::FileWrite;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::attempts::Attempts;
use super::put::{Existing, Next, acl, condition, encryption, judge, put_as};
use super::uploads::abort;
use crate::error::{Error, Result};
use crate::storage::failure::into_iceberg;
use crate::storage::s3::address::Address;
use crate::storage::s3::codes::status;
use crate::storage::s3::failure::Act;
use crate::storage::s3::read::head::{TOKEN, new_token};
use crate::storage::s3::shared::Shared;

/// Maximum number of parts that S3 accepts.
const MAX_PARTS: usize = 10_000;

/// An object being written: one request if it is small, otherwise parts that are uploaded while it is written.
pub(crate) struct S3Write {
    shared: Arc<Shared>,
    address: Address,
    token: String,
    handle: Handle,
    buffer: Vec<u8>,
    size: u64,
    /// The id of the multipart upload, after it was started.
    upload: Option<String>,
    parts: Vec<CompletedPart>,
    in_flight: VecDeque<JoinHandle<Result<CompletedPart>>>,
    /// All parts so far, in case S3 requires the upload to start again; `None` once memory was short for one.
    kept: Option<Vec<(Bytes, OwnedSemaphorePermit)>>,
    closed: bool,
}

impl S3Write {
    /// Sends no request yet. Fails outside of a tokio runtime.
    pub fn new(shared: Arc<Shared>, address: Address) -> Result<Self> {
        let handle = Handle::try_current()
            .map_err(|e| Error::failed("objects can only be written inside of a tokio runtime").caused_by(e))?;
        Ok(Self {
            shared,
            address,
            token: new_token(),
            handle,
            buffer: Vec::new(),
            size: 0,
            upload: None,
            parts: Vec::new(),
            in_flight: VecDeque::new(),
            kept: Some(Vec::new()),
            closed: false,
        })
    }

    /// Accepts bytes; starts the upload of a full part.
    pub async fn put(&mut self, mut bytes: Bytes) -> Result<()> {
        if self.closed {
            return Err(self.is_closed());
        }
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let part = self.shared.config.transfer.part_size.max(1);
        while !bytes.is_empty() {
            if self.buffer.len() >= part {
                self.send_part().await?;
            }
            let taken = bytes.split_to(bytes.len().min(part.saturating_sub(self.buffer.len())));
            self.buffer.extend_from_slice(&taken);
        }
        Ok(())
    }

    /// Makes the object visible.
    pub async fn finish(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Err(self.is_closed());
        }
        if self.upload.is_none() {
            let bytes = Bytes::from(std::mem::take(&mut self.buffer));
            return put_as(&self.shared, &self.address, bytes, Existing::Keep, &self.token).await;
        }
        let done = self.complete().await;
        match (done, self.upload.take()) {
            (Ok(()), Some(id)) => {
                self.shared.uploads().remove(&id);
                Ok(())
            }
            (done, id) => {
                self.stop_parts().await;
                if let Some(id) = id {
                    abort(&self.shared, &self.address, &id).await;
                }
                done
            }
        }
    }

    async fn send_part(&mut self) -> Result<()> {
        let id = match &self.upload {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        let sent = self.parts.len() + self.in_flight.len();
        if sent >= MAX_PARTS {
            return Err(
                Error::failed(format!("the object has more than {MAX_PARTS} parts")).in_file(self.address.to_string())
            );
        }
        let number = i32::try_from(sent + 1).unwrap_or(i32::MAX);
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        match (&mut self.kept, self.shared.spare_room(bytes.len())) {
            (Some(kept), Some(room)) => kept.push((bytes.clone(), room)),
            (kept, _) => *kept = None,
        }
        let room = loop {
            let full = self.in_flight.len() >= self.shared.config.transfer.parts.max(1);
            let room = if full { None } else { self.shared.room(bytes.len()) };
            if room.is_some() || self.in_flight.is_empty() {
                break room;
            }
            self.land().await?;
        };
        let part = send(Arc::clone(&self.shared), self.address.clone(), id, number, bytes, room);
        self.in_flight.push_back(self.handle.spawn(part));
        Ok(())
    }

    /// Waits for the oldest part in flight.
    async fn land(&mut self) -> Result<()> {
        if let Some(part) = self.in_flight.pop_front() {
            let part = part.await.map_err(|e| Error::failed("an upload was stopped").caused_by(e))??;
            self.parts.push(part);
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<String> {
        let (encryption, key) = encryption(&self.shared);
        let attempts = Attempts::default();
        // Before it is sent: the caller may stop waiting for the response.
        self.shared.lost().insert(self.address.clone());
        let begin = |client: aws_sdk_s3::Client| {
            client
                .create_multipart_upload()
                .bucket(&self.address.bucket)
                .key(&self.address.key)
                .metadata(TOKEN, &self.token)
                .checksum_algorithm(ChecksumAlgorithm::Crc32)
                .set_server_side_encryption(encryption.clone())
                .set_ssekms_key_id(key.clone())
                .set_acl(acl(&self.shared))
                .customize()
                .interceptor(attempts.clone())
                .send()
        };
        let begun = self.shared.send(begin).await?;
        let known = begun.as_ref().map_or_else(|error| status(error).is_some_and(|status| status < 500), |_| true);
        if known && !attempts.repeated() {
            self.shared.lost().remove(&self.address);
        }
        let begun = begun.map_err(|error| self.shared.failed(Act::Write, &self.address, error))?;
        let Some(id) = begun.upload_id().map(str::to_owned) else {
            return Err(Error::failed("the server began an upload without an id").in_file(self.address.to_string()));
        };
        self.shared.uploads().insert(id.clone(), self.address.clone());
        self.upload = Some(id.clone());
        if self.shared.closed.load(Ordering::SeqCst) {
            abort(&self.shared, &self.address, &id).await;
            return Err(Error::failed("the program is ending").in_file(self.address.to_string()));
        }
        Ok(id)
    }

    async fn complete(&mut self) -> Result<()> {
        self.send_part().await?;
        while !self.in_flight.is_empty() {
            self.land().await?;
        }
        let mut attempts = 0;
        let mut refused = false;
        loop {
            let Some(id) = self.upload.clone() else { return Ok(()) };
            let upload = CompletedMultipartUpload::builder().set_parts(Some(self.parts.clone())).build();
            attempts += 1;
            let condition = condition(&self.shared, &self.address, Existing::Keep).await?;
            let complete = |client: aws_sdk_s3::Client| {
                client
                    .complete_multipart_upload()
                    .bucket(&self.address.bucket)
                    .key(&self.address.key)
                    .upload_id(&id)
                    .set_if_none_match(condition.clone())
                    .multipart_upload(upload.clone())
                    .send()
            };
            let Err(error) = self.shared.send(complete).await? else { return Ok(()) };
            let (conflict, gone) = (status(&error) == Some(409), status(&error) == Some(404));
            refused |= conflict;
            match judge(&self.shared, &self.address, error, attempts, &self.token, self.size).await {
                Next::Done => return Ok(()),
                Next::Fail(error) if refused && gone => {
                    return Err(error.advice("S3 wants the object sent anew after a conflict; run the command again"));
                }
                Next::Fail(error) => return Err(error),
                Next::Again if conflict => self.begin_anew().await?,
                Next::Again => {}
            }
        }
    }

    /// Sends everything again in another upload: after a conflict S3 may no longer accept this one. If not all parts
    /// were kept, the only option is to retry.
    async fn begin_anew(&mut self) -> Result<()> {
        let Some(kept) = self.kept.take() else { return Ok(()) };
        if let Some(id) = self.upload.take() {
            abort(&self.shared, &self.address, &id).await;
        }
        tracing::info!("{}: sending the object anew after a conflict", self.address);
        let id = self.begin().await?;
        self.parts.clear();
        for ((bytes, _), number) in kept.iter().zip(1..) {
            let part = send(Arc::clone(&self.shared), self.address.clone(), id.clone(), number, bytes.clone(), None);
            self.parts.push(part.await?);
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// An upload can only be aborted reliably when none of its parts is in flight.
    async fn stop_parts(&mut self) {
        for part in &self.in_flight {
            part.abort();
        }
        while let Some(part) = self.in_flight.pop_front() {
            let _ = part.await;
        }
    }

    fn is_closed(&self) -> Error {
        Error::failed("the object is closed already").in_file(self.address.to_string())
    }
}

/// Uploads one part; releases the permit for its bytes at the end.
pub(crate) async fn send(
    shared: Arc<Shared>,
    address: Address,
    id: String,
    number: i32,
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
) -> Result<CompletedPart> {
    let put = |client: aws_sdk_s3::Client| {
        client
            .upload_part()
            .bucket(&address.bucket)
            .key(&address.key)
            .upload_id(&id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(bytes.clone()))
            .send()
    };
    let sent = shared.send(put).await?.map_err(|error| shared.failed(Act::Write, &address, error))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag)
        .set_checksum_crc32(sent.checksum_crc32)
        .build())
}

#[async_trait]
impl FileWrite for S3Write {
    async fn write(&mut self, bs: Bytes) -> iceberg::Result<()> {
        self.put(bs).await.map_err(into_iceberg)
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        self.finish().await.map_err(into_iceberg)
    }
}

impl Drop for S3Write {
    fn drop(&mut self) {
        let Some(id) = self.upload.take() else { return };
        let parts = std::mem::take(&mut self.in_flight);
        let (shared, address) = (Arc::clone(&self.shared), self.address.clone());
        self.handle.spawn(async move {
            for part in &parts {
                part.abort();
            }
            for part in parts {
                let _ = part.await;
            }
            abort(&shared, &address, &id).await;
        });
    }
}

impl fmt::Debug for S3Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Write").field("address", &self.address).field("size", &self.size).finish_non_exhaustive()
    }
}
