//! The handle to the storage backends.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::{FileIO, FileIOBuilder, Storage, StorageConfig, StorageFactory};
use serde::{Deserialize, Serialize};

use super::backend::ObjectStore;
use super::failure::into_iceberg;
use super::listing::Listing;
use super::local::LocalStore;
use super::location::Location;
use super::routed::RoutedStore;
use crate::error::{Error, Result};
use crate::storage::read::cache::ReadCache;
use crate::storage::read::chunks::ReadAhead;
use crate::storage::read::inflate_budget::InflateBudget;
use crate::storage::s3::S3Config;
use crate::storage::s3::access::S3Access;

/// Handle to the storage backends; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) backend: Arc<dyn ObjectStore>,
    kept: Option<Arc<ReadCache>>,
    room: Option<Arc<InflateBudget>>,
}

impl Store {
    /// Local files only.
    pub fn local() -> Self {
        Self::new(Arc::new(LocalStore))
    }

    /// Local files and S3; S3 is not contacted before a location there is used.
    pub fn routed(s3: S3Config) -> Self {
        Self::new(Arc::new(RoutedStore::new(s3)))
    }

    /// Any backend.
    pub fn new(backend: Arc<dyn ObjectStore>) -> Self {
        Self { backend, kept: None, room: None }
    }

    /// The same storage as iceberg's `FileIO`.
    pub fn file_io(&self) -> FileIO {
        let backend: Arc<dyn Storage> = Arc::<dyn ObjectStore>::clone(&self.backend);
        file_io_over(backend)
    }

    /// Like [`ObjectStore::list`].
    pub async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        self.backend.list(folder, start_after).await
    }

    /// Like [`ObjectStore::list_until`].
    pub async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        self.backend.list_until(folder, until).await
    }

    /// Like [`ObjectStore::resolve`].
    pub async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        self.backend.resolve(location).await
    }

    /// Whether a file (or, locally, a folder) exists.
    pub async fn exists(&self, location: &Location) -> Result<bool> {
        Ok(self.backend.exists(location.as_str()).await?)
    }

    /// The size of a file in bytes.
    pub async fn size(&self, location: &Location) -> Result<u64> {
        Ok(self.backend.metadata(location.as_str()).await?.size)
    }

    /// A whole file of at most `limit` bytes; a larger one is an error of kind `Input`.
    pub async fn read(&self, location: &Location, limit: u64) -> Result<Bytes> {
        self.backend.read_at_most(location, limit).await
    }

    /// Writes a whole file, replacing an existing one: readers see either the old bytes or the new ones.
    pub async fn write(&self, location: &Location, bytes: Bytes) -> Result<()> {
        self.backend.replace(location, bytes).await
    }

    /// Opens a file for sequential reading on a blocking thread; an error if it does not exist.
    pub async fn open(&self, location: &Location) -> Result<ReadAhead> {
        let missing = || Error::failed("there is no such file").in_file(location.to_string());
        self.try_open(location).await?.ok_or_else(missing)
    }

    /// The same storage for reading files twice: if opening a file takes a request, small files are kept for the second
    /// pass, up to this many bytes in total.
    #[must_use]
    pub fn keeping(&self, bytes: usize) -> Self {
        Self { kept: Some(Arc::new(ReadCache::new(bytes))), ..self.clone() }
    }

    /// The same storage for reading compressed files: files are inflated whole, which is faster, as long as all open
    /// ones with their text fit into this many bytes.
    #[must_use]
    pub fn inflating_within(&self, bytes: usize) -> Self {
        Self { room: Some(InflateBudget::new(bytes)), ..self.clone() }
    }

    /// The budget for inflating files whole.
    pub fn room(&self) -> Option<&Arc<InflateBudget>> {
        self.room.as_ref()
    }

    /// Like [`ObjectStore::open`].
    pub async fn try_open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        let kept = self.kept.as_deref().filter(|_| self.backend.open_ahead(location) > 0);
        if let Some(bytes) = kept.and_then(|kept| kept.take(location)) {
            return ReadAhead::of_bytes(bytes).map(Some);
        }
        let opened = self.backend.open(location).await?;
        if let (Some(kept), Some(bytes)) = (kept, opened.as_ref().and_then(ReadAhead::whole)) {
            kept.keep(location, bytes);
        }
        Ok(opened)
    }

    /// Like [`ObjectStore::open_ahead`].
    pub fn open_ahead(&self, location: &Location) -> usize {
        self.backend.open_ahead(location)
    }

    /// Like [`ObjectStore::with_s3`]; the same store without S3.
    #[must_use]
    pub fn with_s3(&self, access: S3Access, below: Vec<(String, S3Access)>) -> Self {
        self.backend.with_s3(access, below).map_or_else(|| self.clone(), Self::new)
    }

    /// Like [`ObjectStore::close`]. Call it before the program ends.
    pub async fn close(&self) {
        self.backend.close().await;
    }
}

/// Passes an existing storage to iceberg.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Factory {
    #[serde(skip)]
    storage: Option<Arc<dyn Storage>>,
}

#[typetag::serde(name = "DdbIcebergStore")]
impl StorageFactory for Factory {
    fn build(&self, _config: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        let sent = || into_iceberg(Error::failed("the storage handle was sent to another process"));
        self.storage.clone().ok_or_else(sent)
    }
}

/// A storage as iceberg's `FileIO`.
pub(crate) fn file_io_over(storage: Arc<dyn Storage>) -> FileIO {
    FileIOBuilder::new(Arc::new(Factory { storage: Some(storage) })).build()
}
