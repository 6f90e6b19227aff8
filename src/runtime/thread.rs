//! Dedicated threads for work that waits.
//!
//! The runtime's blocking threads are limited, and storage needs them, for example for name resolution. A task that
//! occupied one while waiting for storage, or for another task, could wait for itself. So work that waits runs here,
//! and the runtime's blocking threads are left to work that finishes without waiting.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::{self, Builder};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Work on its own thread, as a future of its result; the work continues if the future is dropped.
#[derive(Debug)]
pub struct Thread<R> {
    thread: thread::JoinHandle<()>,
    ended: oneshot::Receiver<thread::Result<R>>,
}

/// Starts a thread in the caller's runtime: the work may block on futures.
///
/// Errors: no more threads can be started.
pub fn spawn<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<Thread<R>> {
    let runtime = Handle::try_current()
        .map_err(|e| Error::failed("threads can only be started inside of a tokio runtime").caused_by(e))?;
    spawn_in(&runtime, work)
}

/// Like [`spawn`], in the given runtime.
pub fn spawn_in<R: Send + 'static>(runtime: &Handle, work: impl FnOnce() -> R + Send + 'static) -> Result<Thread<R>> {
    let (sender, ended) = oneshot::channel();
    let runtime = runtime.clone();
    let body = move || {
        let _entered = runtime.enter();
        // The receiver may have been dropped.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    };
    let thread = Builder::new()
        .name("ddb-iceberg-task".to_owned())
        .spawn(body)
        .map_err(|e| Error::failed("a thread can't be started").caused_by(e).advice("Try a smaller --threads"))?;
    Ok(Thread { thread, ended })
}

impl<R> Thread<R> {
    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl<R> Future for Thread<R> {
    type Output = Result<R>;

    /// An error if the work panicked.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        Pin::new(&mut self.ended).poll(context).map(|ended| match ended {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(panic)) => Err(broke_down(panic.as_ref())),
            Err(_) => Err(Error::failed("a thread ended without a result")),
        })
    }
}

fn broke_down(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::failed("a task broke down; please report this as a bug").caused_by(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_result_or_a_panic_comes_back() {
        let handle = Handle::current();
        let thread = spawn(move || handle.block_on(async { tokio::task::spawn_blocking(|| 7).await }));
        assert_eq!(thread.unwrap().await.unwrap().unwrap(), 7);
        let error = spawn(|| -> u8 { panic!("boom") }).unwrap().await.unwrap_err();
        assert!(error.to_string().contains("bug") && error.to_string().contains("boom"), "{error}");
    }
}
