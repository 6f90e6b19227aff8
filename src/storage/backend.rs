//! The trait that storage backends implement.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::io::Storage;

use super::listing::Listing;
use super::location::Location;
use crate::error::{Error, Result};
use crate::storage::read::chunks::ReadAhead;
use crate::storage::s3::access::S3Access;

/// A storage backend: the operations that iceberg needs, and those for reading exports.
#[async_trait]
pub trait ObjectStore: Storage {
    /// Lists one level of `folder`: only names that are bytewise greater than `start_after`. `None` if there is no such
    /// folder. A path that is a file is an error of kind `Input`.
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>>;

    /// Like [`list`](Self::list), but only names that are bytewise smaller than `until`. A backend that lists in order
    /// need not read the rest.
    async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        let mut listing = self.list(folder, None).await?;
        if let Some(listing) = &mut listing {
            listing.folders.retain(|name| name.as_str() < until);
            listing.files.retain(|file| file.name.as_str() < until);
        }
        Ok(listing)
    }

    /// Writes a whole file, replacing an existing one. A backend that can do this atomically overrides the default.
    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        self.delete(location.as_str()).await?;
        Ok(self.write(location.as_str(), bytes).await?)
    }

    /// Resolves symbolic links in a location. `None` if nothing exists there.
    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        Ok(self.exists(location.as_str()).await?.then(|| location.clone()))
    }

    /// Opens a file for sequential reading on a blocking thread; `None` if it does not exist. A backend that can do
    /// this in fewer requests overrides the default.
    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        if !self.exists(location.as_str()).await? {
            return Ok(None);
        }
        let size = self.metadata(location.as_str()).await?.size;
        let reader = self.reader(location.as_str()).await?;
        ReadAhead::new(reader.into(), size).map(Some)
    }

    /// Reads a whole file of at most `limit` bytes; a larger one is an error of kind `Input`. A backend that can do
    /// this in fewer requests overrides the default.
    async fn read_at_most(&self, location: &Location, limit: u64) -> Result<Bytes> {
        let size = self.metadata(location.as_str()).await?.size;
        if size > limit {
            return Err(larger_than(location, size, limit));
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        // A reader instead of `read`, which would read everything if the file has grown.
        Ok(self.reader(location.as_str()).await?.read(0..size).await?)
    }

    /// Number of files that it pays to open ahead: none if opening needs no request.
    fn open_ahead(&self, _location: &Location) -> usize {
        0
    }

    /// The same storage with other access to S3, and separate access for some prefixes of locations, of which the
    /// longest applies. They share memory and are closed together. `None` without S3.
    fn with_s3(&self, _access: S3Access, _below: Vec<(String, S3Access)>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    /// Ends operations that were not finished, such as uploads, and refuses new ones. Reading still works.
    async fn close(&self) {}
}

pub(crate) fn larger_than(location: &Location, size: u64, limit: u64) -> Error {
    Error::input(format!("the file has {size} bytes; at most {limit} are read")).in_file(location.to_string())
}
