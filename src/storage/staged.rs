//! Keeps account of files that were written and are in no table yet, so that a run that is stopped can take them back.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use serde::{Deserialize, Serialize};

use super::failure::into_iceberg;
use super::{KeyLender, Listing, Location, ObjectStore, ReadAhead, S3Config};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Another store, whose new files are noted in a [`Progress`]; once that is stopped, no more are begun.
///
/// Files that are replaced are not noted: they are results for the user, not parts of a table.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StagedStore {
    #[serde(skip)]
    inner: Option<Arc<dyn ObjectStore>>,
    #[serde(skip)]
    progress: Arc<Progress>,
    /// Whose credentials a file needs, where they are others than those of the first store.
    #[serde(skip)]
    homes: Arc<Mutex<HashMap<String, Arc<dyn ObjectStore>>>>,
    is_sibling: bool,
}

impl StagedStore {
    pub fn new(inner: Arc<dyn ObjectStore>, progress: Arc<Progress>) -> Self {
        Self { inner: Some(inner), progress, homes: Arc::default(), is_sibling: false }
    }

    fn inner(&self) -> Result<&Arc<dyn ObjectStore>> {
        self.inner.as_ref().ok_or_else(|| Error::failed("the storage handle was sent to another process"))
    }

    fn storage(&self) -> iceberg::Result<&Arc<dyn ObjectStore>> {
        self.inner().map_err(into_iceberg)
    }

    fn stage(&self, path: &str) -> iceberg::Result<()> {
        if !self.progress.stage(path) {
            return Err(stopped());
        }
        if self.is_sibling {
            let home = Arc::clone(self.storage()?);
            self.homes.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), home);
        }
        Ok(())
    }

    /// The store that has written a file, or this one.
    fn home(&self, path: &str) -> iceberg::Result<Arc<dyn ObjectStore>> {
        let home = self.homes.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        home.map_or_else(|| self.storage().cloned(), Ok)
    }
}

fn stopped() -> iceberg::Error {
    into_iceberg(Error::failed("the run was stopped"))
}

impl fmt::Debug for StagedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StagedStore").field(&self.inner).finish()
    }
}

#[async_trait]
impl ObjectStore for StagedStore {
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        self.inner()?.list(folder, start_after).await
    }

    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        self.inner()?.replace(location, bytes).await
    }

    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        self.inner()?.resolve(location).await
    }

    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        self.inner()?.open(location).await
    }

    async fn read_at_most(&self, location: &Location, limit: u64) -> Result<Bytes> {
        self.inner()?.read_at_most(location, limit).await
    }

    fn open_ahead(&self, location: &Location) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.open_ahead(location))
    }

    fn with_s3(&self, config: S3Config, lender: Option<Arc<dyn KeyLender>>) -> Option<Arc<dyn ObjectStore>> {
        let inner = self.inner.as_ref()?.with_s3(config, lender)?;
        Some(Arc::new(Self { inner: Some(inner), is_sibling: true, ..self.clone() }))
    }

    async fn close(&self) {
        if let Some(inner) = &self.inner {
            inner.close().await;
        }
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergStagedStore")]
impl Storage for StagedStore {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.storage()?.exists(path).await
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        self.storage()?.metadata(path).await
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.storage()?.read(path).await
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        self.storage()?.reader(path).await
    }

    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        self.stage(path)?;
        let _finishing = self.progress.finish_file().ok_or_else(stopped)?;
        self.storage()?.write(path, bs).await
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        self.stage(path)?;
        let inner = self.storage()?.writer(path).await?;
        Ok(Box::new(StagedWrite { inner, progress: Arc::clone(&self.progress) }))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.home(path)?.delete(path).await?;
        self.progress.unstage(path);
        Ok(())
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.storage()?.delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        self.storage()?.delete_stream(paths).await
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// A file that is not finished once the run is stopped.
struct StagedWrite {
    inner: Box<dyn FileWrite>,
    progress: Arc<Progress>,
}

#[async_trait]
impl FileWrite for StagedWrite {
    async fn write(&mut self, bs: Bytes) -> iceberg::Result<()> {
        if self.progress.is_stopped() { Err(stopped()) } else { self.inner.write(bs).await }
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        let _finishing = self.progress.finish_file().ok_or_else(stopped)?;
        self.inner.close().await
    }
}
