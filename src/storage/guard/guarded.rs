//! Storage that gives access only to the files of one table's place.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use serde::{Deserialize, Serialize};

use super::bounds::Bounds;
use crate::error::Error;
use crate::storage::backend::ObjectStore;
use crate::storage::failure::into_iceberg;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct GuardedFiles {
    #[serde(skip)]
    inner: Option<Arc<dyn ObjectStore>>,
    #[serde(skip)]
    bounds: Option<Arc<Bounds>>,
}

impl GuardedFiles {
    pub fn new(inner: Arc<dyn ObjectStore>, bounds: Arc<Bounds>) -> Self {
        Self { inner: Some(inner), bounds: Some(bounds) }
    }

    fn parts(&self) -> iceberg::Result<(&Arc<dyn ObjectStore>, &Arc<Bounds>)> {
        let sent = || into_iceberg(Error::failed("the storage handle was sent to another process"));
        self.inner.as_ref().zip(self.bounds.as_ref()).ok_or_else(sent)
    }

    fn reading(&self, path: &str) -> iceberg::Result<&Arc<dyn ObjectStore>> {
        let (inner, bounds) = self.parts()?;
        bounds.check_read(path).map_err(into_iceberg)?;
        Ok(inner)
    }

    fn writing(&self, path: &str) -> iceberg::Result<&Arc<dyn ObjectStore>> {
        let (inner, bounds) = self.parts()?;
        bounds.check_write(path).map_err(into_iceberg)?;
        Ok(inner)
    }
}

impl fmt::Debug for GuardedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuardedFiles").field(&self.inner).finish()
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergGuardedFiles")]
impl Storage for GuardedFiles {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.reading(path)?.exists(path).await
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        self.reading(path)?.metadata(path).await
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.reading(path)?.read(path).await
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        self.reading(path)?.reader(path).await
    }

    async fn write(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        self.writing(path)?.write(path, bytes).await
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        self.writing(path)?.writer(path).await
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.writing(path)?.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.writing(path)?.delete_prefix(path).await
    }

    /// If one file of a batch must not be deleted, none of the batch is.
    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        let (inner, _) = self.parts()?;
        let mut batches = paths.chunks(1000);
        while let Some(batch) = batches.next().await {
            for path in &batch {
                self.writing(path)?;
            }
            inner.delete_stream(futures::stream::iter(batch).boxed()).await?;
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
