//! `s3://` and local locations behind iceberg's public `Storage` trait: exports and tables share one client stack.
//!
//! [`Store`] is the handle that everything else holds; [`ObjectStore`] is what a backend implements, and what a test
//! wraps to inject faults. Locations are plain strings, never percent-encoded: see [`Location`].
//!
//! A table's files are reached through its [`Place`], which refuses what lies outside.
//!
//! [`Store::routed`] serves both kinds; [`Store::local`] refuses `s3://`, in one place ([`LocalStore`]).

mod allowed;
mod answer_limit;
mod aws;
mod failure;
mod guarded;
mod kept;
mod local;
mod location;
mod place;
mod properties;
mod read_ahead;
mod room;
mod routed;
mod s3;
mod staging;
mod whole;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::io::{FileIO, FileIOBuilder, Storage, StorageConfig, StorageFactory};
use serde::{Deserialize, Serialize};

pub use self::allowed::{ALLOWED_LOCATIONS, AllowedLocations, Lent};
pub(crate) use self::aws::{AwsAccess, StaticKeys, causes, is_loopback, shorten, without_credentials};
pub use self::failure::into_iceberg;
use self::kept::Kept;
pub use self::local::LocalStore;
pub use self::location::Location;
pub use self::place::{Deleted, Place, is_table_folder};
pub(crate) use self::properties::Properties;
pub use self::read_ahead::{CHUNK, Lookahead, ReadAhead};
pub use self::room::{Buffer, Room};
pub use self::routed::RoutedStore;
pub(crate) use self::s3::strip_scheme;
pub use self::s3::{Encryption, KeyLender, LentKeys, RetryPolicy, S3Access, S3Config, S3Store, Transfer};
pub use self::staging::Staging;
pub use self::whole::set_memory_limit;
pub(crate) use self::whole::{most_inflated, most_of_a_file, most_of_data, too_large};
use crate::error::{Error, Result};
use crate::time::Time;

/// A file in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The last segment of its path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, if the backend tells.
    pub modified: Option<Time>,
}

/// One level of a folder; both lists are sorted bytewise by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of the folders, without a slash.
    pub folders: Vec<String>,
    /// The files.
    pub files: Vec<FileEntry>,
    /// There is a folder without a name, which S3 has where a key has two slashes ([`Location::join_nameless`]).
    pub nameless: bool,
}

impl Listing {
    /// Whether the folder holds a file of this name.
    pub fn has_file(&self, name: &str) -> bool {
        self.files.binary_search_by(|f| f.name.as_str().cmp(name)).is_ok()
    }
}

/// A storage backend: what iceberg needs of one, and what reading exports needs beyond it.
#[async_trait]
pub trait ObjectStore: Storage {
    /// One level of `folder`: only names that are bytewise greater than `start_after`. `None` if there is no such
    /// folder. A path that is a file is an error of kind `Input`.
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>>;

    /// Like [`list`](Self::list), but only names that are bytewise smaller than `until`. A backend that lists in order need
    /// not read the rest.
    async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        let mut listing = self.list(folder, None).await?;
        if let Some(listing) = &mut listing {
            listing.folders.retain(|name| name.as_str() < until);
            listing.files.retain(|file| file.name.as_str() < until);
        }
        Ok(listing)
    }

    /// Writes a whole file, in place of an older one. A backend that can do this atomically overrides it.
    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        self.delete(location.as_str()).await?;
        Ok(self.write(location.as_str(), bytes).await?)
    }

    /// Where a location really is, symbolic links followed. `None` if nothing is there.
    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        Ok(self.exists(location.as_str()).await?.then(|| location.clone()))
    }

    /// Opens a file for reading from its beginning on a blocking thread; `None` if it is not there. A backend that can
    /// do this in fewer requests overrides it.
    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        if !self.exists(location.as_str()).await? {
            return Ok(None);
        }
        let size = self.metadata(location.as_str()).await?.size;
        let reader = self.reader(location.as_str()).await?;
        ReadAhead::new(reader.into(), size).map(Some)
    }

    /// A whole file of at most `limit` bytes; a larger one is an error of kind `Input`. A backend that can do this in
    /// fewer requests overrides it.
    async fn read_at_most(&self, location: &Location, limit: u64) -> Result<Bytes> {
        let size = self.metadata(location.as_str()).await?.size;
        if size > limit {
            return Err(larger_than(location, size, limit));
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        // A reader, not `read`: that would take whatever the file has grown to.
        Ok(self.reader(location.as_str()).await?.read(0..size).await?)
    }

    /// How many files it pays to open before it is their turn: none where opening takes no request.
    fn open_ahead(&self, _location: &Location) -> usize {
        0
    }

    /// The same with S3 reached in another way, and in ways of their own below some prefixes of locations, of which the
    /// longest counts; within the same memory and closed together. `None` where there is no S3.
    fn with_s3(&self, _access: S3Access, _below: Vec<(String, S3Access)>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    /// Ends what was begun and not finished, such as uploads, and refuses to begin more. Reading still works.
    async fn close(&self) {}
}

fn larger_than(location: &Location, size: u64, limit: u64) -> Error {
    Error::input(format!("the file has {size} bytes; at most {limit} are read")).in_file(location.to_string())
}

/// Handle to the storage backends; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Arc<dyn ObjectStore>,
    kept: Option<Arc<Kept>>,
    room: Option<Arc<Room>>,
}

impl Store {
    /// Local files only.
    pub fn local() -> Self {
        Self::new(Arc::new(LocalStore))
    }

    /// Local files and S3; nothing is asked of S3 before a location there is used.
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

    /// As [`ObjectStore::list`].
    pub async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        self.backend.list(folder, start_after).await
    }

    /// As [`ObjectStore::list_until`].
    pub async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        self.backend.list_until(folder, until).await
    }

    /// As [`ObjectStore::resolve`].
    pub async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        self.backend.resolve(location).await
    }

    /// Whether a file (or, locally, a folder) is there.
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

    /// Writes a whole file, in place of an older one: readers see the old bytes or the new ones.
    pub async fn write(&self, location: &Location, bytes: Bytes) -> Result<()> {
        self.backend.replace(location, bytes).await
    }

    /// Opens a file for reading from its beginning on a blocking thread; an error if it is not there.
    pub async fn open(&self, location: &Location) -> Result<ReadAhead> {
        let missing = || Error::failed("there is no such file").in_file(location.to_string());
        self.try_open(location).await?.ok_or_else(missing)
    }

    /// The same storage for reading files twice: where opening one takes a request, small files that were opened once are
    /// kept for the second time, as far as they fit into so many bytes.
    #[must_use]
    pub fn keeping(&self, bytes: usize) -> Self {
        Self { kept: Some(Arc::new(Kept::new(bytes))), ..self.clone() }
    }

    /// The same storage for reading files that are compressed: those that fit into so many bytes with their text, all that
    /// are open together, are inflated whole, which is quicker.
    #[must_use]
    pub fn inflating_within(&self, bytes: usize) -> Self {
        Self { room: Some(Room::new(bytes)), ..self.clone() }
    }

    /// Where files may be inflated whole.
    pub fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }

    /// As [`ObjectStore::open`].
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

    /// As [`ObjectStore::open_ahead`].
    pub fn open_ahead(&self, location: &Location) -> usize {
        self.backend.open_ahead(location)
    }

    /// As [`ObjectStore::with_s3`]; the same store where there is no S3.
    #[must_use]
    pub fn with_s3(&self, access: S3Access, below: Vec<(String, S3Access)>) -> Self {
        self.backend.with_s3(access, below).map_or_else(|| self.clone(), Self::new)
    }

    /// As [`ObjectStore::close`]. To be called before the program ends.
    pub async fn close(&self) {
        self.backend.close().await;
    }
}

/// A storage as iceberg's `FileIO`.
fn file_io_over(storage: Arc<dyn Storage>) -> FileIO {
    FileIOBuilder::new(Arc::new(Factory { storage: Some(storage) })).build()
}

/// Gives iceberg a storage that is there already.
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
