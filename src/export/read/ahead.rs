//! Reads data files in order, and opens the next ones meanwhile.
//!
//! On S3, opening a file takes a request, and thousands of small files would each wait for its response.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::lines::LineReader;
use crate::error::{Error, Result};
use crate::export::DataFileRef;
use crate::runtime::progress::Progress;
use crate::storage::{ReadAhead, Store};

type Opened = Result<Option<ReadAhead>>;

/// Files to be read in order. For blocking threads in a tokio runtime.
pub struct LineFiles {
    store: Store,
    handle: Handle,
    /// Files that are not being opened yet.
    waiting: VecDeque<DataFileRef>,
    opening: VecDeque<(DataFileRef, Opening)>,
    progress: Arc<Progress>,
}

impl LineFiles {
    /// Opens nothing yet. Fails outside of a tokio runtime.
    pub fn new(store: &Store, files: &[DataFileRef], progress: Arc<Progress>) -> Result<Self> {
        let handle = Handle::try_current()
            .map_err(|e| Error::failed("files can only be read inside of a tokio runtime").caused_by(e))?;
        let waiting: VecDeque<DataFileRef> = files.iter().cloned().collect();
        Ok(Self { store: store.clone(), handle, waiting, opening: VecDeque::new(), progress })
    }

    /// Takes the next file; `None` after the last. Does not wait.
    pub fn take(&mut self) -> Option<LineFile> {
        while let Some(file) = self.waiting.front()
            && self.opening.len() < self.store.open_ahead(&file.location)
            && let Some(file) = self.waiting.pop_front()
        {
            let (store, location) = (self.store.clone(), file.location.clone());
            let task = self.handle.spawn(async move { store.try_open(&location).await });
            self.opening.push_back((file, Opening(task)));
        }
        let (file, opening) = match self.opening.pop_front() {
            Some((file, opening)) => (file, Some(opening)),
            None => (self.waiting.pop_front()?, None),
        };
        let (store, handle, progress) = (self.store.clone(), self.handle.clone(), Arc::clone(&self.progress));
        Some(LineFile { file, opening, store, handle, progress })
    }
}

/// The next file to read.
pub struct LineFile {
    file: DataFileRef,
    /// `None`: opening has not started.
    opening: Option<Opening>,
    store: Store,
    handle: Handle,
    progress: Arc<Progress>,
}

impl LineFile {
    /// The file.
    pub fn file(&self) -> &DataFileRef {
        &self.file
    }

    /// Waits until it is open; an error of kind `Input` if it is missing.
    pub fn open(self) -> Result<LineReader> {
        let opened = match self.opening {
            Some(mut opening) => self.handle.block_on(&mut opening.0),
            None => Ok(self.handle.block_on(self.store.try_open(&self.file.location))),
        };
        let opened = opened
            .map_err(|e| Error::failed("opening a file was stopped").caused_by(e))
            .and_then(|opened| opened)
            .map_err(|e| e.in_file(self.file.name.clone()))?;
        LineReader::of_opened(&self.store, &self.file, opened, self.progress)
    }
}

/// A file being opened by a task, which is aborted when this is dropped.
struct Opening(JoinHandle<Opened>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}
