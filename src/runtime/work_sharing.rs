//! Work sharing: idle threads run pieces of jobs that busy threads publish.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Safety timeout: waits normally end by notification.
const LONG: Duration = Duration::from_secs(1);

/// Shared by the threads of one run. By default there are no helpers: each thread runs its pieces alone.
#[derive(Default)]
pub struct WorkSharing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Number of threads that have a task, or are looking for one.
    busy: usize,
    /// Jobs that may have pieces left. The latest is checked first, since it is likely part of another.
    jobs: Vec<(u64, Arc<dyn Help>)>,
    /// Counts events for which a waiting thread may wait.
    events: u64,
}

/// A job that helpers can run pieces of.
trait Help: Send + Sync {
    /// Runs a piece, and notifies the helpers. `false`: no piece is left to start.
    fn help(&self, helpers: &WorkSharing) -> bool;
}

impl WorkSharing {
    /// Registers the calling thread as looking for tasks, until the result is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        lock(&self.state).busy += 1;
        Busy(self)
    }

    /// Runs pieces of other threads' jobs until no thread has a task any more.
    pub(crate) fn help_to_the_end(&self) {
        loop {
            let seen = self.events();
            if lock(&self.state).busy == 0 {
                return;
            }
            self.help_or_wait(seen, LONG);
        }
    }

    /// How many events there were so far.
    pub fn events(&self) -> u64 {
        lock(&self.state).events
    }

    /// Wakes all waiting threads: something that they wait for may have happened.
    pub fn wake(&self) {
        lock(&self.state).events += 1;
        self.changed.notify_all();
    }

    /// Runs a piece of another thread's job. If there is none, waits for an event after those that were `seen`.
    pub fn help_or_wait(&self, seen: u64, at_most: Duration) {
        self.help_since(0, seen, at_most);
    }

    /// The same, but only for jobs that started after the one with this number.
    fn help_since(&self, begun: u64, seen: u64, at_most: Duration) {
        let state = lock(&self.state);
        let latest = state.jobs.last().filter(|(number, _)| *number > begun);
        let Some((number, job)) = latest.map(|(number, job)| (*number, Arc::clone(job))) else {
            drop(self.changed.wait_timeout_while(state, at_most, |state| state.events == seen));
            return;
        };
        drop(state);
        if !job.help(self) {
            self.remove(number);
        }
    }

    /// Runs `work` for each piece, on this thread and on idle ones, and passes the results to `take` on this thread, in
    /// the order of the pieces. The first error of `take` stops it. A panic of `work` is returned as an error.
    pub fn in_order<P, R, E>(
        &self,
        pieces: Vec<P>,
        work: impl Fn(P) -> R + Send + Sync + 'static,
        mut take: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E>
    where
        P: Send + 'static,
        R: Send + 'static,
    {
        if pieces.len() < 2 {
            return pieces.into_iter().try_for_each(|piece| take(work(piece)));
        }
        let count = pieces.len();
        let pieces = Pieces { left: pieces.into_iter().enumerate().collect(), done: VecDeque::new(), taken: 0 };
        let job = Arc::new(Job { work, pieces: Mutex::new(pieces) });
        let listed = self.list(job.clone());
        let mut result = Ok(());
        for _ in 0..count {
            let done = job.next(&listed);
            result = take(done.unwrap_or_else(|panic| resume_unwind(panic)));
            if result.is_err() {
                lock(&job.pieces).left.clear();
                break;
            }
        }
        result
    }

    fn list(&self, job: Arc<dyn Help>) -> Listed<'_> {
        let mut state = lock(&self.state);
        state.events += 1;
        let number = state.events;
        state.jobs.push((number, job));
        self.changed.notify_all();
        Listed(self, number)
    }

    fn remove(&self, number: u64) {
        lock(&self.state).jobs.retain(|(other, _)| *other != number);
    }
}

impl std::fmt::Debug for WorkSharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkSharing").finish_non_exhaustive()
    }
}

/// A thread that may have work for others.
pub(crate) struct Busy<'a>(&'a WorkSharing);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.busy = state.busy.saturating_sub(1);
        state.events += 1;
        self.0.changed.notify_all();
    }
}

/// A job that helpers can find until this is dropped.
struct Listed<'a>(&'a WorkSharing, u64);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

struct Job<P, R, F> {
    work: F,
    pieces: Mutex<Pieces<P, R>>,
}

struct Pieces<P, R> {
    /// Pieces that were not started.
    left: VecDeque<(usize, P)>,
    /// Results from the first piece that was not passed on.
    done: VecDeque<Option<thread::Result<R>>>,
    taken: usize,
}

impl<P, R> Pieces<P, R> {
    fn finish(&mut self, number: usize, result: thread::Result<R>) {
        let at = number.saturating_sub(self.taken);
        while self.done.len() <= at {
            self.done.push_back(None);
        }
        if let Some(slot) = self.done.get_mut(at) {
            *slot = Some(result);
        }
    }

    fn take(&mut self) -> Option<thread::Result<R>> {
        let result = self.done.pop_front_if(|result| result.is_some())??;
        self.taken += 1;
        Some(result)
    }
}

impl<P: Send, R: Send, F: Fn(P) -> R + Send + Sync> Job<P, R, F> {
    /// The result of the first piece that was not passed on: runs pieces until it is available. There must be one.
    fn next(&self, listed: &Listed<'_>) -> thread::Result<R> {
        let Listed(helpers, number) = *listed;
        loop {
            let seen = helpers.events();
            if let Some(result) = lock(&self.pieces).take() {
                return result;
            }
            if !self.help(helpers) {
                // The thread with that piece may have published parts of it.
                helpers.help_since(number, seen, LONG);
            }
        }
    }
}

impl<P: Send, R: Send, F: Fn(P) -> R + Send + Sync> Help for Job<P, R, F> {
    fn help(&self, helpers: &WorkSharing) -> bool {
        let Some((number, piece)) = lock(&self.pieces).left.pop_front() else { return false };
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(piece)));
        lock(&self.pieces).finish(number, result);
        helpers.wake();
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread::ThreadId;
    use std::time::Instant;

    use super::*;
    use crate::error::{Error, Result};
    use crate::runtime::cancel::Cancel;
    use crate::runtime::pool::run_with_helpers;

    /// What a task of three threads makes of it; the other two have none.
    async fn with_two_helpers<R: Send + 'static>(
        task: impl Fn(&Arc<WorkSharing>) -> Result<R> + Send + Sync + 'static,
    ) -> Result<R> {
        let helpers = Arc::new(WorkSharing::default());
        let shared = Arc::clone(&helpers);
        let work = move |(): (), _: &Cancel| task(&shared);
        let mut done = run_with_helpers(&helpers, 3, vec![()], work).await?;
        assert!(lock(&helpers.state).jobs.is_empty());
        done.pop().ok_or_else(|| Error::failed("no result"))
    }

    #[test]
    fn without_helpers_pieces_are_done_in_order() {
        let mut seen = Vec::new();
        let push = |n| {
            seen.push(n);
            Ok::<_, Infallible>(())
        };
        WorkSharing::default().in_order((0..100).collect(), |n: u64| n * n, push).unwrap();
        assert_eq!(seen, (0..100).map(|n| n * n).collect::<Vec<_>>());
    }

    /// Which threads did how many pieces.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<HashMap<ThreadId, usize>>>);

    impl Seen {
        fn note(&self) {
            *lock(&self.0).entry(thread::current().id()).or_default() += 1;
        }

        /// Who is quick must not do all of it.
        fn wait_for(&self, threads: usize) {
            let patience = Instant::now() + Duration::from_secs(10);
            while lock(&self.0).len() < threads && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn helpers_take_pieces_and_pieces_of_pieces_each_once() {
        let (outer, inner) = (Seen::default(), Seen::default());
        let seen = (outer.clone(), inner.clone());
        let sums = with_two_helpers(move |helpers| {
            let (more, (outer, inner)) = (Arc::clone(helpers), seen.clone());
            let piece = move |n: usize| {
                outer.note();
                if n < 3 {
                    outer.wait_for(3);
                }
                let inner = inner.clone();
                let part = move |k: usize| {
                    inner.note();
                    n * k
                };
                let mut sum = 0;
                let add = |product| {
                    sum += product;
                    Ok::<_, Infallible>(())
                };
                more.in_order((0..5).collect(), part, add).unwrap();
                sum
            };
            let mut sums = Vec::new();
            helpers.in_order((0..50).collect(), piece, |sum| {
                sums.push(sum);
                Ok::<_, Error>(())
            })?;
            Ok(sums)
        });
        assert_eq!(sums.await.unwrap(), (0..50).map(|n| n * 10).collect::<Vec<_>>());
        assert_eq!(lock(&outer.0).len(), 3);
        assert_eq!(lock(&outer.0).values().sum::<usize>(), 50);
        assert_eq!(lock(&inner.0).values().sum::<usize>(), 250);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_something_else_helps_meanwhile_and_is_woken() {
        let helpers = Arc::new(WorkSharing::default());
        let seen = Seen::default();
        let (shared, noted) = (Arc::clone(&helpers), seen.clone());
        let (sent, woken) = (AtomicBool::new(false), AtomicBool::new(false));
        let work = move |has_pieces: bool, _: &Cancel| {
            let noted = noted.clone();
            if has_pieces {
                let piece = move |_: usize| {
                    noted.note();
                    noted.wait_for(2);
                };
                shared.in_order((0..8).collect(), piece, Ok::<_, Error>)?;
                sent.store(true, Ordering::SeqCst);
                shared.wake();
                // Its end would wake the other too.
                let patience = Instant::now() + Duration::from_secs(10);
                while !woken.load(Ordering::SeqCst) {
                    assert!(Instant::now() < patience, "nobody was woken");
                    thread::sleep(Duration::from_millis(1));
                }
            } else {
                noted.wait_for(1);
                loop {
                    let events = shared.events();
                    if sent.load(Ordering::SeqCst) {
                        break;
                    }
                    shared.help_or_wait(events, Duration::from_mins(1));
                }
                woken.store(true, Ordering::SeqCst);
            }
            Ok(())
        };
        run_with_helpers(&helpers, 2, vec![false, true], work).await.unwrap();
        assert_eq!(lock(&seen.0).len(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_error_ends_it_and_a_panic_of_a_helper_is_the_tasks() {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let failed = with_two_helpers(move |helpers| {
            helpers.in_order(
                (0..1000).collect(),
                |n: usize| n,
                |n| {
                    count.fetch_add(1, Ordering::SeqCst);
                    if n == 7 { Err(Error::failed("seven")) } else { Ok(()) }
                },
            )
        });
        assert_eq!(failed.await.unwrap_err().message(), "seven");
        assert_eq!(taken.load(Ordering::SeqCst), 8);

        let broken = with_two_helpers(|helpers| {
            let work = |n: usize| if n % 2 == 1 { panic!("boom") } else { n };
            helpers.in_order((0..9).collect(), work, |_| Ok::<_, Error>(()))
        });
        assert!(broken.await.unwrap_err().to_string().contains("bug"));
    }
}
