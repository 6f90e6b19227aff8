//! Runs: the work of one context, which a front end may stop between commits.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};

/// One run. It may have any number of concurrent commits, each with its own files.
#[derive(Debug, Default)]
pub struct Run {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Number of commits that were sent and not answered yet.
    committing: usize,
    /// Staged files that are not settled yet, by number.
    unsettled: Vec<(u64, Arc<dyn Unsettled>)>,
    last: u64,
}

/// Files that a stopped run must delete, unless a commit may have added them to a table.
#[async_trait]
pub trait Unsettled: Debug + Send + Sync {
    /// Deletes them once pending operations have ended, or after a time limit; returns those that remain.
    async fn take_back(&self, patience: Duration) -> Vec<String>;
}

impl Run {
    /// Runs the future that sends a commit and determines its outcome. The run must not be stopped in between, since
    /// the table's state would be unknown. If the future is dropped or panics, the commit counts as pending.
    ///
    /// Errors: [`Kind::Interrupted`] if the run was stopped before; then nothing was sent.
    pub async fn commit<T>(&self, commit: impl Future<Output = Result<T>>) -> Result<T> {
        {
            // One lock for both, so that no commit starts after the run was stopped.
            let mut state = self.lock();
            if state.stopped {
                return Err(Error::new(Kind::Interrupted, "interrupted"));
            }
            state.committing += 1;
        }
        let outcome = commit.await;
        self.lock().committing -= 1;
        outcome
    }

    /// Whether a commit was sent whose outcome is not known yet.
    pub fn committing(&self) -> bool {
        self.lock().committing > 0
    }

    /// Stops the run unless a commit is pending, and returns whether it did: from then on no commit is sent and no file
    /// started.
    pub fn stop_between_commits(&self) -> bool {
        let mut state = self.lock();
        state.stopped |= state.committing == 0;
        state.stopped
    }

    /// Whether the run was stopped.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Stops the run and deletes files that are in no table; returns those that remain.
    pub async fn take_back(&self, patience: Duration) -> Vec<String> {
        let unsettled: Vec<_> = {
            let mut state = self.lock();
            state.stopped = true;
            state.unsettled.iter().map(|(_, unsettled)| Arc::clone(unsettled)).collect()
        };
        let all = unsettled.iter().map(|unsettled| unsettled.take_back(patience));
        futures::future::join_all(all).await.concat()
    }

    /// Registers files that the run must delete when stopped; returns a number.
    pub(crate) fn add(&self, unsettled: Arc<dyn Unsettled>) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.unsettled.push((number, unsettled));
        number
    }

    /// Unregisters settled files.
    pub(crate) fn remove(&self, number: u64) {
        self.lock().unsettled.retain(|(other, _)| *other != number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_that_was_stopped_sends_no_commit() {
        let run = Run::default();
        let within = async {
            assert!(!run.stop_between_commits(), "while a commit is out");
            Ok(1)
        };
        assert_eq!(run.commit(within).await.unwrap(), 1);
        assert!(run.stop_between_commits());
        let error = run.commit::<()>(async { panic!("sent") }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        assert!(!run.committing());
    }

    #[tokio::test]
    async fn it_is_not_stopped_while_any_of_its_commits_is_out() {
        let run = Run::default();
        let within = run.commit(async {
            run.commit(async { Ok(()) }).await?;
            assert!(run.committing() && !run.stop_between_commits());
            Ok(())
        });
        within.await.unwrap();
        assert!(run.stop_between_commits());
    }
}
