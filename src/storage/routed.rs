//! One store for all locations: `s3://` goes to S3, everything else to the local disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use serde::{Deserialize, Serialize};

use super::backend::ObjectStore;
use super::listing::Listing;
use super::local::LocalStore;
use super::location::Location;
use super::s3::S3Store;
use crate::error::Result;
use crate::storage::read::chunks::ReadAhead;
use crate::storage::s3::access::S3Access;
use crate::storage::s3::{S3Config, strip_scheme};

/// Local files and S3.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RoutedStore {
    local: LocalStore,
    s3: S3Store,
    /// Separate access to S3 for some prefixes, longest prefix first.
    below: Vec<(String, S3Store)>,
}

/// A location in the form that is compared with prefixes.
pub(super) fn comparable(location: &str) -> String {
    strip_scheme(location).map_or_else(|| location.to_owned(), |rest| format!("s3://{rest}"))
}

impl RoutedStore {
    /// S3 is not contacted before a location there is used.
    pub fn new(s3: S3Config) -> Self {
        Self { local: LocalStore, s3: S3Store::new(s3), below: Vec::new() }
    }

    fn at(&self, path: &str) -> &dyn ObjectStore {
        match self.place(path) {
            None => &self.local,
            Some(place) => self.s3_at(place),
        }
    }

    /// `None` if it is local, otherwise the index of its prefix; the number of prefixes if none matches.
    fn place(&self, path: &str) -> Option<usize> {
        let rest = strip_scheme(path)?;
        // A folder may be named without the trailing slash of its prefix.
        let location = format!("s3://{rest}/");
        let found = self.below.iter().position(|(prefix, _)| location.starts_with(prefix.as_str()));
        Some(found.unwrap_or(self.below.len()))
    }

    fn s3_at(&self, place: usize) -> &S3Store {
        self.below.get(place).map_or(&self.s3, |(_, store)| store)
    }
}

#[async_trait]
impl ObjectStore for RoutedStore {
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        self.at(folder.as_str()).list(folder, start_after).await
    }

    async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        self.at(folder.as_str()).list_until(folder, until).await
    }

    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        self.at(location.as_str()).replace(location, bytes).await
    }

    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        self.at(location.as_str()).resolve(location).await
    }

    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        self.at(location.as_str()).open(location).await
    }

    async fn read_at_most(&self, location: &Location, limit: u64) -> Result<Bytes> {
        self.at(location.as_str()).read_at_most(location, limit).await
    }

    fn open_ahead(&self, location: &Location) -> usize {
        self.at(location.as_str()).open_ahead(location)
    }

    fn with_s3(&self, access: S3Access, below: Vec<(String, S3Access)>) -> Option<Arc<dyn ObjectStore>> {
        let sibling = |(prefix, access): (String, S3Access)| (comparable(&prefix), self.s3.sibling(access));
        let mut below: Vec<_> = below.into_iter().map(sibling).collect();
        below.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Some(Arc::new(Self { local: self.local.clone(), s3: self.s3.sibling(access), below }))
    }

    async fn close(&self) {
        self.s3.close().await;
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergRoutedStore")]
impl Storage for RoutedStore {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.at(path).exists(path).await
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        self.at(path).metadata(path).await
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.at(path).read(path).await
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        self.at(path).reader(path).await
    }

    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        self.at(path).write(path, bs).await
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        self.at(path).writer(path).await
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.at(path).delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.at(path).delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        let mut batches = paths.chunks(1000);
        while let Some(batch) = batches.next().await {
            let mut stores: BTreeMap<Option<usize>, Vec<String>> = BTreeMap::new();
            for path in batch {
                stores.entry(self.place(&path)).or_default().push(path);
            }
            for (place, paths) in stores {
                let paths = futures::stream::iter(paths).boxed();
                match place {
                    None => self.local.delete_stream(paths).await?,
                    Some(place) => self.s3_at(place).delete_stream(paths).await?,
                }
            }
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
