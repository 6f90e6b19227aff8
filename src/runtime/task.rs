//! Tasks as values: what a stage's tasks share, each task and its output can be sent to another process.
//!
//! The values name everything that a task reads and writes: columns, files, positions, names of new files. What can't be
//! sent is in the environment, which is opened where the tasks run: stores, progress, caches, and the lines and columns
//! that threads of one process share.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cancel::Cancel;
use super::pool;
use super::work_sharing::WorkSharing;
use crate::error::Result;

/// A unit of work of a stage, as a value.
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// Names the kind of task.
    const NAME: &'static str;
    /// What all tasks of the stage share, sent once. The environment is opened from it.
    type Shared: Serialize + DeserializeOwned;
    /// What the task needs of its process.
    type Env: Send + Sync + 'static;
    /// What it returns.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Runs on a thread that may wait. Long loops check `cancel`.
    fn run(self, env: &Self::Env, cancel: &Cancel) -> Result<Self::Output>;
}

/// Where tasks run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Runner {
    /// On threads of this process, which pass values on as they are.
    #[default]
    Local,
    /// The same, with all values sent through bytes; notes the names of tasks that run.
    #[cfg(test)]
    Bytes(bytes::Names),
}

impl Runner {
    /// Brings what the tasks of a stage share to where they run.
    pub fn share<T: Task>(&self, shared: T::Shared) -> Result<T::Shared> {
        match self {
            Self::Local => Ok(shared),
            #[cfg(test)]
            Self::Bytes(_) => bytes::sent(&shared),
        }
    }

    /// Runs the tasks on at most `threads` threads; the outputs are in their order. The first error cancels the rest.
    pub async fn run<T: Task>(&self, threads: usize, env: &Arc<T::Env>, tasks: Vec<T>) -> Result<Vec<T::Output>> {
        let threads = threads.min(tasks.len());
        self.run_with_helpers(&Arc::default(), threads, env, tasks).await
    }

    /// Like [`run`](Self::run), but threads without a task help those that have one.
    pub async fn run_with_helpers<T: Task>(
        &self,
        helpers: &Arc<WorkSharing>,
        threads: usize,
        env: &Arc<T::Env>,
        tasks: Vec<T>,
    ) -> Result<Vec<T::Output>> {
        let env = Arc::clone(env);
        match self {
            Self::Local => {
                let work = move |task: T, cancel: &Cancel| task.run(&env, cancel);
                pool::run_with_helpers(helpers, threads, tasks, work).await
            }
            #[cfg(test)]
            Self::Bytes(names) => {
                names.note(T::NAME);
                let work = move |task: T, cancel: &Cancel| bytes::sent(&bytes::sent(&task)?.run(&env, cancel)?);
                pool::run_with_helpers(helpers, threads, tasks, work).await
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod bytes {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::{DeserializeOwned, Result, Serialize};
    use crate::error::Error;

    /// The names of tasks that were run.
    #[derive(Debug, Clone, Default)]
    pub struct Names(Arc<Mutex<BTreeSet<&'static str>>>);

    impl Names {
        pub(super) fn note(&self, name: &'static str) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }

        pub(crate) fn noted(&self) -> BTreeSet<&'static str> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    /// The value as another process would have it.
    pub(super) fn sent<T: Serialize + DeserializeOwned>(value: &T) -> Result<T> {
        let broken = |e: serde_json::Error| Error::failed("a value of a task can't be sent").caused_by(e);
        serde_json::from_slice(&serde_json::to_vec(value).map_err(broken)?).map_err(broken)
    }
}
