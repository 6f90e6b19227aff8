//! Whether a run goes on: the work of one context, which a front end may stop between commits.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};

/// One run. Any number of commits may be under way in it, each with files of its own.
#[derive(Debug, Default)]
pub struct Run {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Commits that were sent and have no answer yet.
    committing: usize,
    /// What is not settled yet, by number.
    unsettled: Vec<(u64, Arc<dyn Unsettled>)>,
    last: u64,
}

/// What a run that is stopped has to take back, unless a commit may have made it part of a table.
#[async_trait]
pub trait Unsettled: Debug + Send + Sync {
    /// Takes it back, once what is under way has ended or after a while; gives what is left behind.
    async fn take_back(&self, patience: Duration) -> Vec<String>;
}

impl Run {
    /// Runs what sends a commit and learns its outcome. In between the run must not be stopped: nobody could tell then
    /// what the table holds. If it is dropped or panics, the commit stays out.
    ///
    /// Errors: [`Kind::Interrupted`] if the run was stopped before; nothing was sent then.
    pub async fn commit<T>(&self, commit: impl Future<Output = Result<T>>) -> Result<T> {
        {
            // One lock for both, so that no commit begins once the run was stopped.
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

    /// Stops the run unless a commit is out, and says whether it did: no commit is sent from now on, no file begun.
    pub fn stop_between_commits(&self) -> bool {
        let mut state = self.lock();
        state.stopped |= state.committing == 0;
        state.stopped
    }

    /// Whether the run was stopped.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Stops the run and takes back what is in no table; gives what is left behind.
    pub async fn take_back(&self, patience: Duration) -> Vec<String> {
        let unsettled: Vec<_> = {
            let mut state = self.lock();
            state.stopped = true;
            state.unsettled.iter().map(|(_, unsettled)| Arc::clone(unsettled)).collect()
        };
        let all = unsettled.iter().map(|unsettled| unsettled.take_back(patience));
        futures::future::join_all(all).await.concat()
    }

    /// Notes what the run would have to take back; gives its number.
    pub(crate) fn add(&self, unsettled: Arc<dyn Unsettled>) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.unsettled.push((number, unsettled));
        number
    }

    /// Forgets what is settled.
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
