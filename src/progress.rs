//! Counters that tasks raise and a front end may watch, and what a front end must know to stop a run: whether a commit is
//! out, and which files are in no table yet.

use std::collections::BTreeSet;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};

/// How far the running step is. All counters only grow within a step.
#[derive(Debug, Default)]
pub struct Progress {
    files_total: AtomicU64,
    files_done: AtomicU64,
    items: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    committing: AtomicBool,
    staged: Mutex<Staged>,
    step: Mutex<String>,
}

/// Files that were written and are in no table yet.
#[derive(Debug, Default)]
struct Staged {
    stopped: bool,
    files: BTreeSet<String>,
    /// Files whose end was sent to storage, which has not answered.
    finishing: usize,
}

/// A file that is being finished until this is dropped.
#[derive(Debug)]
pub struct Finishing<'a>(&'a Progress);

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        let mut staged = self.0.staged();
        staged.finishing = staged.finishing.saturating_sub(1);
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What is being done, for people.
    pub step: String,
    /// Files of this step.
    pub files_total: u64,
    /// Files done in this step.
    pub files_done: u64,
    /// Items read in this step.
    pub items: u64,
    /// Compressed bytes read from exports, over all steps.
    pub bytes_read: u64,
    /// Bytes written to the table, over all steps.
    pub bytes_written: u64,
}

impl Progress {
    /// Starts a step: files and items count from zero again.
    pub fn start(&self, step: &str, files: u64) {
        if let Ok(mut current) = self.step.lock() {
            step.clone_into(&mut current);
        }
        self.files_total.store(files, Relaxed);
        self.files_done.store(0, Relaxed);
        self.items.store(0, Relaxed);
    }

    /// One more file is done.
    pub fn file_done(&self) {
        self.files_done.fetch_add(1, Relaxed);
    }

    /// More items were read.
    pub fn add_items(&self, items: u64) {
        self.items.fetch_add(items, Relaxed);
    }

    /// More compressed bytes were read.
    pub fn add_bytes_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    /// More bytes were written to the table.
    pub fn add_bytes_written(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Relaxed);
    }

    /// Runs what sends a commit and learns its outcome. In between the command must not be stopped: nobody could tell then
    /// what the table holds. If it is dropped or panics, the commit stays out.
    ///
    /// Files staged before belong to that commit from now on: whoever sent it deletes them if it surely failed.
    ///
    /// Errors: [`Kind::Interrupted`] if the run was stopped before; nothing was sent then.
    pub async fn commit<T>(&self, commit: impl Future<Output = Result<T>>) -> Result<T> {
        self.set_committing(true)?;
        let outcome = commit.await;
        self.set_committing(false)?;
        outcome
    }

    /// One lock for both, so that no commit begins once the run was stopped.
    fn set_committing(&self, committing: bool) -> Result<()> {
        let mut staged = self.staged();
        if committing && staged.stopped {
            return Err(Error::new(Kind::Interrupted, "interrupted"));
        }
        self.committing.store(committing, SeqCst);
        staged.files.clear();
        Ok(())
    }

    /// Whether a commit was sent and its outcome is not known yet.
    pub fn committing(&self) -> bool {
        self.committing.load(SeqCst)
    }

    /// Notes a file that is about to be written. `false`: the run was stopped, and it must not be. While a commit is out
    /// nothing is noted.
    pub fn stage(&self, path: &str) -> bool {
        let mut staged = self.staged();
        if !staged.stopped && !self.committing() {
            staged.files.insert(path.to_owned());
        }
        !staged.stopped
    }

    /// Notes that a file is about to be finished. `None`: the run was stopped, and it must not be.
    pub fn finish_file(&self) -> Option<Finishing<'_>> {
        let mut staged = self.staged();
        if staged.stopped {
            return None;
        }
        staged.finishing += 1;
        Some(Finishing(self))
    }

    /// Files that are being finished: one that is deleted now may be there again.
    pub fn finishing(&self) -> usize {
        self.staged().finishing
    }

    /// Forgets a file that was deleted.
    pub fn unstage(&self, path: &str) {
        self.staged().files.remove(path);
    }

    /// Stops the run unless a commit is out, and says whether it did: no commit is sent from now on, no file staged.
    pub fn stop_between_commits(&self) -> bool {
        let mut staged = self.staged();
        staged.stopped |= !self.committing();
        staged.stopped
    }

    /// Stops the run: no file is staged from now on. Gives those that are in no table.
    pub fn stop(&self) -> Vec<String> {
        let mut staged = self.staged();
        staged.stopped = true;
        staged.files.iter().cloned().collect()
    }

    /// Whether the run was stopped.
    pub fn is_stopped(&self) -> bool {
        self.staged().stopped
    }

    fn staged(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            step: self.step.lock().map(|s| s.clone()).unwrap_or_default(),
            files_total: self.files_total.load(Relaxed),
            files_done: self.files_done.load(Relaxed),
            items: self.items.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_commit_may_name_is_not_taken_back() {
        let progress = Progress::default();
        assert!(progress.stage("a") && progress.stage("b"));
        progress.unstage("b");
        progress.set_committing(true).unwrap();
        assert!(progress.stage("metadata.json"));
        progress.set_committing(false).unwrap();
        assert!(progress.stage("c"));
        assert_eq!(progress.stop(), ["c"]);
        assert!(!progress.stage("d") && progress.finish_file().is_none() && progress.is_stopped());
        assert_eq!(progress.stop(), ["c"]);
    }

    #[test]
    fn files_are_being_finished_until_storage_has_answered() {
        let progress = Progress::default();
        let (a, b) = (progress.finish_file().unwrap(), progress.finish_file().unwrap());
        assert_eq!(progress.finishing(), 2);
        drop(a);
        progress.stop();
        assert_eq!(progress.finishing(), 1);
        drop(b);
        assert_eq!(progress.finishing(), 0);
    }

    #[tokio::test]
    async fn a_run_that_was_stopped_sends_no_commit() {
        let progress = Progress::default();
        let within = async {
            assert!(!progress.stop_between_commits(), "while a commit is out");
            Ok(1)
        };
        assert_eq!(progress.commit(within).await.unwrap(), 1);
        assert!(progress.stop_between_commits());
        let error = progress.commit::<()>(async { panic!("sent") }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        assert!(!progress.committing());
    }
}
