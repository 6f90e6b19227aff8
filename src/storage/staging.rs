//! The files written for one commit, which deletes or keeps them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::ready;
use futures::stream::BoxStream;
use iceberg::io::{FileIO, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::failure::into_iceberg;
use super::store::file_io_over;
use crate::error::{Error, Kind, Result};
use crate::runtime::run::{Run, Unsettled};

/// Number of files deleted in parallel.
const DELETED_AT_ONCE: usize = 16;
/// Interval between checks whether pending storage operations have ended.
const POLL: Duration = Duration::from_millis(10);
/// Time limit for that if nobody waits for the deletion.
const BACKGROUND: Duration = Duration::from_mins(10);

/// The files of one commit: written through [`file_io`](Self::file_io), then referred to by what is sent in
/// [`commit`](Self::commit). If dropped before that, they are deleted in the background.
#[derive(Debug)]
pub struct Staging {
    run: Arc<Run>,
    number: u64,
    files: Arc<Files>,
}

#[derive(Debug)]
struct Files {
    run: Arc<Run>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Written files, each with its storage.
    paths: BTreeMap<String, Arc<FileIO>>,
    /// Pending storage operations: a file that is deleted before one completes may reappear.
    busy: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Files are recorded.
    #[default]
    Open,
    /// The commit was sent, and may refer to them.
    Committing,
    /// They are, or may be, in a table.
    Kept,
    /// They are being deleted, and no new ones may be written.
    Gone,
}

impl Staging {
    /// Staging for a commit of this run.
    pub fn begin(run: &Arc<Run>) -> Self {
        let files = Arc::new(Files { run: Arc::clone(run), state: Mutex::default() });
        Self { run: Arc::clone(run), number: run.add(files.clone()), files }
    }

    /// The same storage; files written through it belong to this commit.
    pub fn file_io(&self, inner: &FileIO) -> FileIO {
        file_io_over(Arc::new(StagedFiles { inner: Some(Arc::new(inner.clone())), files: Some(self.files.clone()) }))
    }

    /// Runs the future that sends the commit and determines its outcome, like [`Run::commit`]. From then on the run
    /// does not delete its files: the caller, who knows the outcome, does.
    pub async fn commit<T>(&self, commit: impl Future<Output = Result<T>>) -> Result<T> {
        let sent = async {
            {
                let mut state = self.files.lock();
                // The run was stopped meanwhile and deleted the files.
                if state.phase != Phase::Open {
                    return Err(Error::new(Kind::Interrupted, "interrupted"));
                }
                state.phase = Phase::Committing;
            }
            commit.await
        };
        self.run.commit(sent).await
    }

    /// The files are, or may be, in a table.
    pub fn keep(self) {
        self.files.lock().phase = Phase::Kept;
    }

    /// The files are certainly in no table: deletes them as far as possible, once none is being written any more.
    pub async fn take_back(self) {
        // Immediately, so that they are also deleted if this future is not awaited.
        self.files.lock().phase = Phase::Gone;
        self.files.delete(BACKGROUND).await;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let phase = {
            let mut state = self.files.lock();
            if state.phase == Phase::Open {
                state.phase = Phase::Gone;
            }
            state.phase
        };
        let (run, number, files) = (Arc::clone(&self.run), self.number, Arc::clone(&self.files));
        match Handle::try_current() {
            Ok(handle) if phase == Phase::Gone => {
                handle.spawn(async move {
                    files.delete(BACKGROUND).await;
                    run.remove(number);
                });
            }
            _ => run.remove(number),
        }
    }
}

impl Files {
    /// Records a file that is about to be written, until the result is dropped. `None`: it must not be written.
    fn stage(self: &Arc<Self>, path: &str, file_io: &Arc<FileIO>) -> Option<Busy> {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.paths.insert(path.to_owned(), Arc::clone(file_io));
        }
        self.begin(&mut state)
    }

    fn begin(self: &Arc<Self>, state: &mut State) -> Option<Busy> {
        if state.phase == Phase::Gone || self.run.is_stopped() {
            return None;
        }
        state.busy += 1;
        Some(Busy(Arc::clone(self)))
    }

    /// Deletes the files; returns those that remain.
    async fn delete(&self, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        while self.lock().busy > 0 && Instant::now() < deadline {
            sleep(POLL).await;
        }
        let (paths, busy) = {
            let state = self.lock();
            (state.paths.clone(), state.busy)
        };
        if busy > 0 {
            tracing::warn!("the storage has not answered {busy} requests; what they write may be left behind");
        }
        let delete = |(path, file_io): (String, Arc<FileIO>)| async move {
            match file_io.delete(&path).await {
                Ok(()) => {
                    self.lock().paths.remove(&path);
                    None
                }
                Err(error) => {
                    tracing::warn!("{path} was left behind: {error}");
                    Some(path)
                }
            }
        };
        futures::stream::iter(paths).map(delete).buffer_unordered(DELETED_AT_ONCE).filter_map(ready).collect().await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Unsettled for Files {
    async fn take_back(&self, patience: Duration) -> Vec<String> {
        {
            let mut state = self.lock();
            match state.phase {
                Phase::Committing | Phase::Kept => return Vec::new(),
                Phase::Open | Phase::Gone => state.phase = Phase::Gone,
            }
        }
        self.delete(patience).await
    }
}

/// A pending storage operation.
#[derive(Debug)]
struct Busy(Arc<Files>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy = state.busy.saturating_sub(1);
    }
}

fn stopped() -> iceberg::Error {
    into_iceberg(Error::failed("the run was stopped"))
}

/// Another storage, with new files recorded.
#[derive(Clone, Serialize, Deserialize)]
struct StagedFiles {
    #[serde(skip)]
    inner: Option<Arc<FileIO>>,
    #[serde(skip)]
    files: Option<Arc<Files>>,
}

impl StagedFiles {
    fn parts(&self) -> iceberg::Result<(&Arc<FileIO>, &Arc<Files>)> {
        let sent = || into_iceberg(Error::failed("the storage handle was sent to another process"));
        self.inner.as_ref().zip(self.files.as_ref()).ok_or_else(sent)
    }

    fn inner(&self) -> iceberg::Result<&FileIO> {
        self.parts().map(|(inner, _)| inner.as_ref())
    }

    fn stage(&self, path: &str) -> iceberg::Result<Busy> {
        let (inner, files) = self.parts()?;
        files.stage(path, inner).ok_or_else(stopped)
    }
}

impl fmt::Debug for StagedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StagedFiles").field(&self.inner).finish()
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergStagedFiles")]
impl Storage for StagedFiles {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.inner()?.exists(path).await
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        self.inner()?.new_input(path)?.metadata().await
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.inner()?.new_input(path)?.read().await
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        self.inner()?.new_input(path)?.reader().await
    }

    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        let _busy = self.stage(path)?;
        self.inner()?.new_output(path)?.write(bs).await
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let _busy = self.stage(path)?;
        let (inner, files) = self.parts()?;
        let inner = inner.new_output(path)?.writer().await?;
        Ok(Box::new(StagedWrite { inner, files: Arc::clone(files) }))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        let (inner, files) = self.parts()?;
        inner.delete(path).await?;
        files.lock().paths.remove(path);
        Ok(())
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.inner()?.delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        self.inner()?.delete_stream(paths).await
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// A file whose write does not finish before the files are deleted.
struct StagedWrite {
    inner: Box<dyn FileWrite>,
    files: Arc<Files>,
}

impl StagedWrite {
    fn begin(&self) -> iceberg::Result<Busy> {
        self.files.begin(&mut self.files.lock()).ok_or_else(stopped)
    }
}

#[async_trait]
impl FileWrite for StagedWrite {
    async fn write(&mut self, bs: Bytes) -> iceberg::Result<()> {
        let _busy = self.begin()?;
        self.inner.write(bs).await
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        let _busy = self.begin()?;
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::store::Store;

    async fn write(file_io: &FileIO, path: &std::path::Path) -> iceberg::Result<()> {
        file_io.new_output(path.to_str().unwrap())?.write(Bytes::from_static(b"rows")).await
    }

    #[tokio::test]
    async fn each_commit_takes_back_or_keeps_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| folder.path().join(name));
        let (run, storage) = (Arc::<Run>::default(), Store::local().file_io());
        let (kept, failed, dropped) = (Staging::begin(&run), Staging::begin(&run), Staging::begin(&run));
        let (to_kept, to_failed) = (kept.file_io(&storage), failed.file_io(&storage));
        write(&to_kept, &a).await.unwrap();
        write(&to_failed, &b).await.unwrap();
        write(&dropped.file_io(&storage), &c).await.unwrap();
        kept.commit(async { Ok(()) }).await.unwrap();
        kept.keep();
        failed.take_back().await;
        assert!(a.exists() && !b.exists());
        assert!(write(&to_failed, &d).await.is_err(), "no file is begun any more");
        write(&to_kept, &d).await.unwrap();

        drop(dropped);
        let patience = Instant::now() + Duration::from_secs(20);
        while c.exists() && Instant::now() < patience {
            sleep(POLL).await;
        }
        assert!(!c.exists());
        assert!(run.take_back(Duration::ZERO).await.is_empty());
        assert!(a.exists() && d.exists());
    }

    #[tokio::test]
    async fn a_run_that_is_stopped_takes_back_what_no_commit_may_name() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
        let (run, storage) = (Arc::<Run>::default(), Store::local().file_io());
        let (open, sent) = (Staging::begin(&run), Staging::begin(&run));
        let (to_open, to_sent) = (open.file_io(&storage), sent.file_io(&storage));
        write(&to_open, &a).await.unwrap();
        write(&to_sent, &b).await.unwrap();
        sent.commit(async { Ok(()) }).await.unwrap();
        let mut unfinished = to_open.new_output(c.to_str().unwrap()).unwrap().writer().await.unwrap();
        assert!(run.take_back(Duration::ZERO).await.is_empty());
        assert!(!a.exists() && b.exists() && !c.exists());
        assert!(unfinished.write(Bytes::from_static(b"rows")).await.is_err());
        assert!(unfinished.close().await.is_err());
        assert!(write(&to_open, &a).await.is_err() && write(&to_sent, &a).await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_deleted_while_storage_is_at_work() {
        let run = Arc::<Run>::default();
        let staging = Staging::begin(&run);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let inner = Arc::new(Store::local().file_io());
        let busy = staging.files.stage(path.to_str().unwrap(), &inner).unwrap();
        let files = staging.files.clone();
        let taken = tokio::spawn(async move { files.take_back(Duration::from_secs(20)).await });
        sleep(Duration::from_millis(50)).await;
        // As if an upload were complete on the server before its response arrives.
        std::fs::write(&path, "rows").unwrap();
        drop(busy);
        assert!(taken.await.unwrap().is_empty());
        assert!(!path.exists());
    }
}
