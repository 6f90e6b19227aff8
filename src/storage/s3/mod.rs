//! Amazon S3 and compatible servers.
//!
//! - Reads are ranged requests ([`read`](crate::storage::s3::read::object)), pinned to the first ETag: an object that
//!   changes meanwhile causes an error and never a mixture. A body that breaks off is resumed where it broke.
//! - Writes never overwrite (`If-None-Match: *`), except for [`ObjectStore::replace`]. Each object has a random token
//!   in its metadata, which distinguishes our own object from another one if a retry is answered with "it exists".
//! - Incomplete multipart uploads are aborted: on an error, on drop, and by [`ObjectStore::close`], which also searches
//!   for those whose id never arrived.
//!
//! S3 has no folders: a folder exists if a key starts with its name and a slash. S3 has no links either.

pub(crate) mod access;
pub(crate) mod address;
mod client;
pub(crate) mod codes;
pub(crate) mod config;
mod delete;
mod failure;
pub(crate) mod keys;
pub mod read;
pub(crate) mod shared;
pub mod write;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, Semaphore};

use super::backend::ObjectStore;
use super::failure::into_iceberg;
use super::listing::Listing;
use super::location::Location;
use crate::error::{Error, Result};
use crate::storage::read::chunks::ReadAhead;
use crate::storage::s3::read::object::S3Read;
use crate::storage::s3::write::multipart::S3Write;
use access::S3Access;
use address::Address;
use keys::Loans;
use read::{head, list, object};
use shared::{Shared, UNIT};
use write::{put, uploads};

pub(crate) use address::strip_scheme;
pub use config::S3Config;
pub use keys::CredentialsProvider;

/// S3; accepts `s3://bucket/key` (and `s3a://`, `s3n://`, which mean the same).
///
/// The client is created on first use.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct S3Store {
    #[serde(skip)]
    shared: Option<Arc<Shared>>,
}

impl S3Store {
    /// A store that has not contacted S3 yet.
    pub fn new(config: S3Config) -> Self {
        let units = (config.transfer.buffers / UNIT).min(Semaphore::MAX_PERMITS);
        Self::with_buffers(config, Arc::new(Semaphore::new(units)), None)
    }

    fn with_buffers(config: S3Config, buffers: Arc<Semaphore>, lender: Option<Arc<dyn CredentialsProvider>>) -> Self {
        Self {
            shared: Some(Arc::new(Shared {
                config,
                client: OnceCell::new(),
                buffers,
                unconditional: AtomicBool::new(false),
                uploads: Mutex::default(),
                lost: Mutex::default(),
                closed: AtomicBool::new(false),
                loans: lender.map(Loans::new),
                siblings: Mutex::default(),
            })),
        }
    }

    /// Another store that shares this one's memory and is closed with it.
    pub(crate) fn sibling(&self, access: S3Access) -> Self {
        let S3Access { mut config, lender } = access;
        let Some(shared) = &self.shared else { return Self::with_buffers(config, Arc::new(Semaphore::new(0)), lender) };
        config.transfer = shared.config.transfer;
        let sibling = Self::with_buffers(config, Arc::clone(&shared.buffers), lender);
        shared.siblings.lock().unwrap_or_else(PoisonError::into_inner).extend(sibling.shared.clone());
        sibling
    }

    fn shared(&self) -> Result<&Arc<Shared>> {
        self.shared.as_ref().ok_or_else(|| Error::failed("the storage handle was sent to another process"))
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    /// With `start_after`, a folder without further names counts as existing.
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        list::level(self.shared()?, &Address::parse(folder.as_str())?, start_after, None).await
    }

    async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        list::level(self.shared()?, &Address::parse(folder.as_str())?, None, Some(until)).await
    }

    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        let address = Address::object(location.as_str())?;
        put::put(self.shared()?, &address, bytes, put::Existing::Replace).await
    }

    /// The location itself, without a request: S3 has no links.
    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        Ok(Some(location.clone()))
    }

    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        let shared = self.shared()?;
        let address = Address::object(location.as_str())?;
        let Some(first) = object::first(shared, &address, shared.config.transfer.first_read).await? else {
            return Ok(None);
        };
        let reader = Arc::new(S3Read::new(Arc::clone(shared), address, first.etag));
        ReadAhead::begun(reader, first.total, first.bytes, shared.lookahead()).map(Some)
    }

    async fn read_at_most(&self, location: &Location, limit: u64) -> Result<Bytes> {
        let address = Address::object(location.as_str())?;
        let Some(found) = object::first(self.shared()?, &address, limit.max(1)).await? else {
            return Err(Error::failed("there is no such object")
                .in_file(location.to_string())
                .advice("Check the path"));
        };
        if found.total > limit {
            return Err(super::backend::larger_than(location, found.total, limit));
        }
        Ok(found.bytes)
    }

    fn open_ahead(&self, _location: &Location) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.config.transfer.open_ahead)
    }

    async fn close(&self) {
        if let Some(shared) = &self.shared {
            let mut open = vec![Arc::clone(shared)];
            while let Some(shared) = open.pop() {
                shared.closed.store(true, Ordering::SeqCst);
                uploads::abort_all(&shared).await;
                open.append(&mut shared.siblings.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergS3Store")]
impl Storage for S3Store {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        let found = async { head::look(self.shared()?, &Address::object(path)?).await };
        found.await.map(|found| found.is_some()).map_err(into_iceberg)
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let found = async { head::look(self.shared()?, &Address::object(path)?).await };
        match found.await.map_err(into_iceberg)? {
            Some(found) => Ok(FileMetadata { size: found.size }),
            None => Err(into_iceberg(Error::failed("there is no such object").in_file(path))),
        }
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        let read = async { object::whole(self.shared()?, &Address::object(path)?).await };
        read.await.map_err(into_iceberg)
    }

    /// Sends no request: the first read shows whether the object exists.
    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let shared = self.shared().map_err(into_iceberg)?;
        let address = Address::object(path).map_err(into_iceberg)?;
        Ok(Box::new(S3Read::new(Arc::clone(shared), address, None)))
    }

    /// Fails if the object exists; use [`ObjectStore::replace`] to replace it.
    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        let write = async {
            let address = Address::object(path)?;
            let mut writer = S3Write::new(Arc::clone(self.shared()?), address)?;
            writer.put(bs).await?;
            writer.finish().await
        };
        write.await.map_err(into_iceberg)
    }

    /// Its `close` fails if the object exists. The object appears only at `close`, and nothing remains if the writer is
    /// dropped.
    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let writer = Address::object(path).and_then(|address| S3Write::new(Arc::clone(self.shared()?), address));
        Ok(Box::new(writer.map_err(into_iceberg)?))
    }

    /// A missing object is not an error.
    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        let delete = async { delete::one(self.shared()?, &Address::object(path)?).await };
        delete.await.map_err(into_iceberg)
    }

    /// Deletes everything below a folder; does nothing for an object or a missing path.
    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        let delete = async {
            let folder = Address::parse(path)?;
            if folder.folder().is_empty() {
                return Err(Error::failed("a whole bucket is not deleted").in_file(folder.to_string()));
            }
            delete::below(self.shared()?, &folder).await
        };
        delete.await.map_err(into_iceberg)
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        let shared = self.shared().map_err(into_iceberg)?;
        let mut batches = paths.chunks(delete::BATCH);
        while let Some(batch) = batches.next().await {
            delete::many(shared, &batch).await.map_err(into_iceberg)?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("config", &self.shared.as_ref().map(|shared| &shared.config)).finish()
    }
}
