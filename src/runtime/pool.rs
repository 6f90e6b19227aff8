//! A bounded pool for heavy tasks: many more tasks than threads, on dedicated threads, with results in task order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::cancel::Cancel;
use super::thread::spawn;
use super::work_sharing::WorkSharing;
use crate::error::{Error, Result};

/// Stops the tasks when the caller is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Runs the tasks on at most `threads` threads. The first error stops the others and is returned once no task runs any
/// more. A commit's staging deletes the files that tasks have written by then.
pub async fn run<T, R, F>(threads: usize, tasks: Vec<T>, work: F) -> Result<Vec<R>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T, &Cancel) -> Result<R> + Send + Sync + 'static,
{
    let threads = threads.min(tasks.len());
    run_with_helpers(&Arc::default(), threads, tasks, work).await
}

/// Like [`run`], but threads without a task help those that have one.
pub async fn run_with_helpers<T, R, F>(
    helpers: &Arc<WorkSharing>,
    threads: usize,
    tasks: Vec<T>,
    work: F,
) -> Result<Vec<R>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T, &Cancel) -> Result<R> + Send + Sync + 'static,
{
    let stop = Cancel::default();
    let _guard = CancelOnDrop(stop.clone());
    let count = tasks.len();
    let queue: Arc<Mutex<VecDeque<(usize, T)>>> = Arc::new(Mutex::new(tasks.into_iter().enumerate().collect()));
    let work = Arc::new(work);
    let mut workers = FuturesUnordered::new();
    let threads = threads.max(1);
    for _ in 0..threads {
        let (queue, work, stop, helpers) = (queue.clone(), work.clone(), stop.clone(), helpers.clone());
        let worker = spawn(move || {
            // Not before: a thread that can't be started must not be waited for.
            let busy = helpers.busy();
            let mut done = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((n, task)) = next.filter(|_| stop.check().is_ok()) else {
                    drop(busy);
                    helpers.help_to_the_end();
                    return (done, None);
                };
                match work(task, &stop) {
                    Ok(result) => done.push((n, result)),
                    Err(error) => {
                        // Only the first error is the cause.
                        let first = stop.check().is_ok();
                        stop.set();
                        return (done, first.then_some(error));
                    }
                }
            }
        });
        match worker {
            Ok(worker) => workers.push(worker),
            Err(error) if workers.is_empty() => return Err(error),
            Err(error) => {
                tracing::info!("going on with {} threads: {error}", workers.len());
                break;
            }
        }
    }
    let mut results: Vec<(usize, R)> = Vec::with_capacity(count);
    let mut failure = None;
    while let Some(joined) = workers.next().await {
        match joined {
            Ok((done, error)) => {
                results.extend(done);
                failure = failure.or(error);
            }
            Err(panic) => {
                stop.set();
                failure = Some(panic);
            }
        }
    }
    if failure.is_none() && results.len() == count {
        results.sort_unstable_by_key(|(n, _)| *n);
        return Ok(results.into_iter().map(|(_, result)| result).collect());
    }
    Err(failure.unwrap_or_else(|| Error::failed("the tasks were stopped")))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn results_come_in_order() {
        let squares = run(3, (0..100u64).collect(), |n, _| Ok(n * n)).await.unwrap();
        assert_eq!(squares, (0..100u64).map(|n| n * n).collect::<Vec<_>>());
        assert!(run(3, Vec::<u8>::new(), |n, _| Ok(n)).await.unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_error_stops_the_rest() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let work = move |n: usize, _: &Cancel| {
            counted.fetch_add(1, Ordering::Relaxed);
            if n == 5 { Err(Error::failed("five")) } else { Ok(n) }
        };
        let error = run(1, (0..1000).collect(), work).await.unwrap_err();
        assert_eq!((error.message(), begun.load(Ordering::Relaxed)), ("five", 6));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_an_error() {
        let work = |n: usize, _: &Cancel| -> Result<usize> { if n == 1 { panic!("boom") } else { Ok(n) } };
        assert!(run(2, vec![0, 1, 2], work).await.unwrap_err().to_string().contains("bug"));
    }

    /// As where storage looks up a name, for as many tasks at once as there are threads.
    #[test]
    fn tasks_may_wait_for_the_runtimes_blocking_threads() {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let work = move |n: u64, _: &Cancel| Ok(handle.block_on(tokio::task::spawn_blocking(move || n)).unwrap());
        let tasks = run(5, (0..9u64).collect(), work);
        let done = runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(20), tasks).await });
        assert_eq!(done.unwrap().unwrap(), (0..9).collect::<Vec<_>>());
    }
}
