//! Data files one after the other, the next ones opened while one is read.
//!
//! On S3, opening a file takes a request, and thousands of small files would wait for one answer after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{DataFileRef, LineReader};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::storage::{ReadAhead, Store};

type Opening = JoinHandle<Result<Option<ReadAhead>>>;

/// Files to be read in order. For blocking threads inside of a tokio runtime; several may share one behind a lock.
pub struct LineFiles {
    store: Store,
    handle: Handle,
    /// Not begun to be opened.
    waiting: VecDeque<DataFileRef>,
    opening: VecDeque<(DataFileRef, Opening)>,
    progress: Arc<Progress>,
}

impl LineFiles {
    /// Opens nothing yet. An error outside of a tokio runtime.
    pub fn new(store: &Store, files: &[DataFileRef], progress: Arc<Progress>) -> Result<Self> {
        let handle = Handle::try_current()
            .map_err(|e| Error::failed("files can only be read inside of a tokio runtime").caused_by(e))?;
        let waiting: VecDeque<DataFileRef> = files.iter().cloned().collect();
        Ok(Self { store: store.clone(), handle, waiting, opening: VecDeque::new(), progress })
    }

    /// Takes the next file; `None` after the last. Does not wait.
    pub fn take(&mut self) -> Option<LineFile> {
        loop {
            let ahead = self.waiting.front().map_or(0, |file| self.store.open_ahead(&file.location));
            if self.opening.len() > ahead {
                break;
            }
            let Some(file) = self.waiting.pop_front() else { break };
            let (store, location) = (self.store.clone(), file.location.clone());
            let opening = self.handle.spawn(async move { store.try_open(&location).await });
            self.opening.push_back((file, opening));
        }
        let (file, opening) = self.opening.pop_front()?;
        let opening = AbortOnDrop(Some(opening));
        Some(LineFile { file, opening, handle: self.handle.clone(), progress: Arc::clone(&self.progress) })
    }
}

impl Drop for LineFiles {
    fn drop(&mut self) {
        for (_, opening) in &self.opening {
            opening.abort();
        }
    }
}

/// A file whose turn has come.
pub struct LineFile {
    file: DataFileRef,
    opening: AbortOnDrop,
    handle: Handle,
    progress: Arc<Progress>,
}

impl LineFile {
    /// The file.
    pub fn file(&self) -> &DataFileRef {
        &self.file
    }

    /// Waits until it is open; an error of kind `Input` if it is missing.
    pub fn open(mut self) -> Result<LineReader> {
        let opened = match self.opening.0.take() {
            Some(opening) => self.handle.block_on(opening),
            None => Ok(Ok(None)),
        };
        let opened = opened
            .map_err(|e| Error::failed("opening a file was stopped").caused_by(e))
            .and_then(|opened| opened)
            .map_err(|e| e.in_file(self.file.name.clone()))?;
        LineReader::of_opened(&self.file, opened, self.progress)
    }
}

struct AbortOnDrop(Option<Opening>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(opening) = &self.0 {
            opening.abort();
        }
    }
}
