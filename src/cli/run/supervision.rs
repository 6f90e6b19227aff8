//! Runs a command so that a signal stops it only between commits, and a panic becomes an ordinary error.

use std::time::Duration;

use ddb_iceberg::error::{Error, Kind, Result};
use ddb_iceberg::runtime::run::Run;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, timeout};

use super::logs;

/// Time limits after a signal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the answer to a commit that was sent: a slow catalog answers within this time or not at all.
    pub commit: Duration,
    /// For the command to finish after that commit, since it may have been its last.
    pub end: Duration,
    /// For the command to release its resources.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { commit: Duration::from_secs(30), end: Duration::from_millis(500), stop: Duration::from_secs(2) }
    }
}

/// How often a pending commit is checked.
const POLL: Duration = Duration::from_millis(20);

/// Waits for the command, or stops it at the first signal. A second signal ends all waiting and returns `true`.
///
/// `notify` is called when a signal has arrived while a commit is pending.
pub(crate) async fn supervise<T>(
    mut task: JoinHandle<Result<T>>,
    signals: &mut UnboundedReceiver<()>,
    run: &Run,
    patience: Patience,
    notify: impl FnOnce(),
) -> (Result<T>, bool) {
    tokio::select! {
        ended = &mut task => return (result_of(ended, run), false),
        Some(()) = signals.recv() => {}
    }
    if run.committing() {
        notify();
    }
    tokio::select! {
        ended = wind_down(&mut task, run, patience) => match ended.map(|ended| result_of(ended, run)) {
            // An error after the stop is caused by it.
            Some(result) if result.is_ok() || !run.is_stopped() => (result, false),
            _ => (Err(stopped(run)), false),
        },
        Some(()) = signals.recv() => (Err(stopped(run)), true),
    }
}

/// Stops the task between commits. `None`: it did not end in time.
async fn wind_down<T>(task: &mut JoinHandle<T>, run: &Run, patience: Patience) -> Option<Result<T, JoinError>> {
    let deadline = Instant::now() + patience.commit;
    while !run.stop_between_commits() {
        while run.committing() {
            if Instant::now() >= deadline {
                return None;
            }
            tokio::select! {
                ended = &mut *task => return Some(ended),
                () = sleep(POLL) => {}
            }
        }
        // The command may be finished now. If it starts another commit instead, that one is waited for too.
        if let Ok(ended) = timeout(patience.end, &mut *task).await {
            return Some(ended);
        }
    }
    task.abort();
    timeout(patience.stop, task).await.ok()
}

fn result_of<T>(ended: Result<Result<T>, JoinError>, run: &Run) -> Result<T> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(stopped(run)),
        Err(_) => {
            let text = logs::panic_message().unwrap_or_else(|| "no message".to_owned());
            if run.committing() {
                return Err(unknown("the program has a bug and stopped inside of a commit").caused_by(text));
            }
            Err(Error::failed("the program has a bug and stopped")
                .caused_by(text)
                .advice("Please report it, with this line and the command that you ran"))
        }
    }
}

fn stopped(run: &Run) -> Error {
    if run.committing() {
        return unknown("interrupted after the commit was sent, before its outcome was known");
    }
    Error::new(Kind::Interrupted, "interrupted").advice("Run the same command again to go on")
}

fn unknown(message: &str) -> Error {
    Error::new(Kind::Unknown, message)
        .advice("Run the same command again: it finds out whether the table has the change")
}

/// Ctrl-C and, on Unix, SIGTERM, from now on.
pub(crate) fn signals() -> Result<UnboundedReceiver<()>> {
    let failed = |error| Error::failed("signals can't be received").caused_by(error);
    let (sender, receiver) = unbounded_channel();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signal = signal(kind).map_err(failed)?;
            let sender = sender.clone();
            tokio::spawn(async move { while signal.recv().await.is_some() && sender.send(()).is_ok() {} });
        }
    }
    #[cfg(windows)]
    {
        let mut signal = tokio::signal::windows::ctrl_c().map_err(failed)?;
        tokio::spawn(async move { while signal.recv().await.is_some() && sender.send(()).is_ok() {} });
    }
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn patience(commit: u64) -> Patience {
        Patience {
            commit: Duration::from_millis(commit),
            end: Duration::from_millis(300),
            stop: Duration::from_millis(300),
        }
    }

    const LONG: Duration = Duration::from_secs(50);

    async fn supervised<F>(command: F, run: &Run, patience: Patience, signals: usize) -> Result<u8>
    where
        F: Future<Output = Result<u8>> + Send + 'static,
    {
        let (sender, mut receiver) = unbounded_channel();
        let task = tokio::spawn(command);
        // Lets the command reach its first wait.
        sleep(Duration::from_millis(50)).await;
        for _ in 0..signals {
            sender.send(()).unwrap();
        }
        let (result, hurried) = supervise(task, &mut receiver, run, patience, || {}).await;
        assert_eq!(hurried, signals > 1);
        result
    }

    #[tokio::test]
    async fn without_a_signal_the_result_is_the_commands_own() {
        let run = Run::default();
        assert_eq!(supervised(async { Ok(7) }, &run, patience(100), 0).await.unwrap(), 7);
        let error = supervised(async { Err(Error::input("bad")) }, &run, patience(100), 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
    }

    #[tokio::test]
    async fn a_signal_stops_the_command() {
        struct OnDrop(Arc<AtomicBool>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let held = OnDrop(dropped.clone());
        let command = async move {
            let _held = held;
            sleep(LONG).await;
            Ok(1)
        };
        let error = supervised(command, &Run::default(), patience(100), 1).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted);
        assert!(dropped.load(Ordering::SeqCst), "the command let go of what it held");
    }

    async fn lasting(time: Duration) -> Result<()> {
        sleep(time).await;
        Ok(())
    }

    #[tokio::test]
    async fn a_commit_is_waited_for() {
        let run = Arc::new(Run::default());
        let within = run.clone();
        let last = async move {
            within.commit(lasting(Duration::from_millis(150))).await?;
            Ok(1)
        };
        assert_eq!(supervised(last, &run, patience(5_000), 1).await.unwrap(), 1, "the commit was the last thing to do");

        let within = run.clone();
        let not_last = async move {
            within.commit(lasting(Duration::from_millis(150))).await?;
            sleep(LONG).await;
            Ok(1)
        };
        let error = supervised(not_last, &run, patience(5_000), 1).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "the commit is done, the next window is not begun");
    }

    #[tokio::test]
    async fn a_commit_without_an_answer_is_an_unknown_outcome() {
        for (patience, signals) in [(patience(100), 1), (patience(60_000), 2)] {
            let run = Arc::new(Run::default());
            let within = run.clone();
            let command = async move {
                within.commit(lasting(LONG)).await?;
                Ok(1)
            };
            let error = timeout(Duration::from_secs(10), supervised(command, &run, patience, signals))
                .await
                .unwrap()
                .unwrap_err();
            assert_eq!(error.kind(), Kind::Unknown);
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = supervised(async { panic!("oh") }, &Run::default(), patience(100), 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Failed);
        assert!(error.to_string().contains("report"), "{error}");
        let run = Arc::new(Run::default());
        let within = run.clone();
        let command = async move { within.commit(async { panic!("oh") }).await };
        let error = supervised(command, &run, patience(100), 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unknown);
    }
}
