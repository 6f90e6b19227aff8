//! Amazon S3, and servers that speak its protocol.
//!
//! - Reading is by ranged requests ([`read`](crate::storage::s3::read::object)): pinned to the ETag that was seen first, so that an object which
//!   changes meanwhile is an error and never a mixture; a body that breaks off is taken up where it broke.
//! - Writing never overwrites (`If-None-Match: *`), but for [`ObjectStore::replace`]. Each object carries a random token in
//!   its metadata, so that "it exists" in answer to a retry can be told from somebody else's object.
//! - Multipart uploads that do not complete are aborted: on an error, on drop, and by [`ObjectStore::close`], which also
//!   looks for those whose id never arrived.
//!
//! S3 has no folders: a folder is there if a key begins with its name and a slash. It has no links either.

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
use shared::{Shared, UNIT};

pub(crate) use address::strip_scheme;
pub use config::S3Config;
pub use keys::CredentialsProvider;

/// S3; takes `s3://bucket/key` (and `s3a://`, `s3n://`, which are read as the same).
///
/// The client is made when it is first used.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct S3Store {
    #[serde(skip)]
    shared: Option<Arc<Shared>>,
}

impl S3Store {
    /// A store that nothing is asked of yet.
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

    /// Another store, within the same memory, that is closed with this one.
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
    /// With `start_after`, a folder in which nothing follows it counts as one that is there.
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        crate::storage::s3::read::list::level(self.shared()?, &Address::parse(folder.as_str())?, start_after, None)
            .await
    }

    async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        crate::storage::s3::read::list::level(self.shared()?, &Address::parse(folder.as_str())?, None, Some(until))
            .await
    }

    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        let address = Address::object(location.as_str())?;
        crate::storage::s3::write::put::put(
            self.shared()?,
            &address,
            bytes,
            crate::storage::s3::write::put::Existing::Replace,
        )
        .await
    }

    /// The location itself, unasked: S3 has no links.
    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        Ok(Some(location.clone()))
    }

    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        let shared = self.shared()?;
        let address = Address::object(location.as_str())?;
        let Some(first) =
            crate::storage::s3::read::object::first(shared, &address, shared.config.transfer.first_read).await?
        else {
            return Ok(None);
        };
        let reader = Arc::new(S3Read::new(Arc::clone(shared), address, first.etag));
        ReadAhead::begun(reader, first.total, first.bytes, shared.lookahead()).map(Some)
    }

    async fn read_at_most(&self, location: &Location, limit: u64) -> Result<Bytes> {
        let address = Address::object(location.as_str())?;
        let Some(found) = crate::storage::s3::read::object::first(self.shared()?, &address, limit.max(1)).await? else {
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
                crate::storage::s3::write::uploads::abort_all(&shared).await;
                open.append(&mut shared.siblings.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergS3Store")]
impl Storage for S3Store {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        let found = async { crate::storage::s3::read::head::look(self.shared()?, &Address::object(path)?).await };
        found.await.map(|found| found.is_some()).map_err(into_iceberg)
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let found = async { crate::storage::s3::read::head::look(self.shared()?, &Address::object(path)?).await };
        match found.await.map_err(into_iceberg)? {
            Some(found) => Ok(FileMetadata { size: found.size }),
            None => Err(into_iceberg(Error::failed("there is no such object").in_file(path))),
        }
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        let read = async { crate::storage::s3::read::object::whole(self.shared()?, &Address::object(path)?).await };
        read.await.map_err(into_iceberg)
    }

    /// Asks nothing of S3: whether the object is there turns out at the first read.
    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let shared = self.shared().map_err(into_iceberg)?;
        let address = Address::object(path).map_err(into_iceberg)?;
        Ok(Box::new(S3Read::new(Arc::clone(shared), address, None)))
    }

    /// Fails if the object exists; use [`ObjectStore::replace`] to take its place.
    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        let write = async {
            let address = Address::object(path)?;
            let mut writer = S3Write::new(Arc::clone(self.shared()?), address)?;
            writer.put(bs).await?;
            writer.finish().await
        };
        write.await.map_err(into_iceberg)
    }

    /// Its `close` fails if the object exists. Nothing is there before `close`, and nothing is left if it is dropped.
    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let writer = Address::object(path).and_then(|address| S3Write::new(Arc::clone(self.shared()?), address));
        Ok(Box::new(writer.map_err(into_iceberg)?))
    }

    /// An object that is not there is fine.
    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        let delete = async { delete::one(self.shared()?, &Address::object(path)?).await };
        delete.await.map_err(into_iceberg)
    }

    /// Deletes what lies below a folder; nothing happens for an object or what is not there.
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
