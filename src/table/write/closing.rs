//! Data files that are written but not referred to yet.
//!
//! Completing a file (finishing an upload, syncing) takes time but no CPU, so the thread continues with its next rows
//! meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::runtime::thread::{Thread, spawn_in};

/// Files of several threads, some of which are still being closed. Files may be referred to after
/// [settle](Self::settle), once no thread adds any more.
#[derive(Debug)]
pub struct ClosingFiles {
    most_closing: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closing: VecDeque<Thread<Result<()>>>,
    failure: Option<Error>,
}

impl ClosingFiles {
    /// At most `most_closing` files are closed in the background at once: their last bytes are in memory.
    pub fn new(most_closing: usize) -> Self {
        Self { most_closing, state: Mutex::default() }
    }

    /// Takes a file and closes it in the background, or immediately if too many are being closed. Called on a blocking
    /// thread. The error may belong to a file that was added before.
    pub(crate) fn add(&self, handle: &Handle, close: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
        let mut state = self.lock();
        while let Some(closing) = state.closing.pop_front_if(|closing| closing.is_finished()) {
            // The file is already closed: nothing to wait for.
            if let Err(error) = handle.block_on(closing).and_then(|closed| closed) {
                state.failure.get_or_insert(error);
            }
        }
        if let Some(error) = state.failure.take() {
            return Err(error);
        }
        if state.closing.iter().filter(|closing| !closing.is_finished()).count() < self.most_closing {
            // Syncing a file blocks.
            let close = Arc::new(Mutex::new(Some(close)));
            let (runtime, shared) = (handle.clone(), Arc::clone(&close));
            if let Ok(closing) = spawn_in(handle, move || runtime.block_on(taken(&shared))) {
                state.closing.push_back(closing);
                return Ok(());
            }
            drop(state);
            return handle.block_on(taken(&close));
        }
        drop(state);
        handle.block_on(close)
    }

    /// Waits until no file is being closed any more, and returns the first error. Not for a thread on which closing
    /// depends.
    pub async fn settle(&self) -> Result<()> {
        let mut result = self.lock().failure.take().map_or(Ok(()), Err);
        loop {
            let Some(closing) = self.lock().closing.pop_front() else { return result };
            result = result.and(closing.await.and_then(|closed| closed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a file; only one thread does.
async fn taken(close: &Mutex<Option<impl Future<Output = Result<()>>>>) -> Result<()> {
    let close = close.lock().unwrap_or_else(PoisonError::into_inner).take();
    match close {
        Some(close) => close.await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    struct Files {
        dir: tempfile::TempDir,
        pending: ClosingFiles,
        open: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl Files {
        fn new(most_closing: usize) -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir, pending: ClosingFiles::new(most_closing), open: Arc::default(), most: Arc::default() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// A file that exists only once it is closed, which takes a while.
        fn add(&self, handle: &Handle, name: &str, fails: bool) -> Result<()> {
            let (path, open, most) = (self.path(name), self.open.clone(), self.most.clone());
            let name = name.to_owned();
            self.pending.add(handle, async move {
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(30)).await;
                open.fetch_sub(1, Ordering::SeqCst);
                std::fs::write(path, "rows").unwrap();
                if fails { Err(Error::failed(name)) } else { Ok(()) }
            })
        }

        fn count(&self) -> usize {
            std::fs::read_dir(self.dir.path()).unwrap().count()
        }
    }

    #[test]
    fn files_are_there_once_they_are_settled_and_few_are_closed_at_once() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let files = Files::new(2);
        for n in 0..7 {
            files.add(runtime.handle(), &n.to_string(), false).unwrap();
        }
        runtime.block_on(files.pending.settle()).unwrap();
        assert_eq!(files.count(), 7);
        // Two in the background, and one by the thread that adds it.
        assert_eq!(files.most.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_file_that_could_not_be_closed_is_told_once_none_is_being_closed() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let files = Files::new(9);
        for (name, fails) in [("a", false), ("b", true), ("c", true), ("d", false)] {
            files.add(runtime.handle(), name, fails).unwrap();
        }
        assert_eq!(runtime.block_on(files.pending.settle()).unwrap_err().message(), "b");
        assert_eq!((files.count(), files.open.load(Ordering::SeqCst)), (4, 0));
    }

    #[test]
    fn the_error_of_a_file_is_told_once_by_a_later_one() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let files = Files::new(1);
        files.add(runtime.handle(), "a", true).unwrap();
        while !files.pending.lock().closing[0].is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(files.add(runtime.handle(), "b", false).unwrap_err().message(), "a");
        runtime.block_on(files.pending.settle()).unwrap();
    }

    #[test]
    fn where_no_thread_is_left_files_are_closed_all_the_same() {
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let files = Arc::new(Files::new(2));
        let shared = Arc::clone(&files);
        let adding = runtime.spawn_blocking(move || {
            for n in 0..5 {
                shared.add(&handle, &n.to_string(), false).unwrap();
            }
        });
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), adding).await }).unwrap().unwrap();
        runtime.block_on(files.pending.settle()).unwrap();
        assert_eq!(files.count(), 5);
    }
}
