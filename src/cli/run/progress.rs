//! The progress bar: a thread reads the counters ten times a second and draws it on stderr.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ddb_iceberg::runtime::progress::{Progress, Snapshot};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::args::ProgressMode;
use crate::cli::render::{escape, units};

/// How often the counters are read.
const TICK: Duration = Duration::from_millis(100);
/// The time span over which the speed is averaged.
const SPEED_OVER: Duration = Duration::from_secs(3);
/// How often a line is printed without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Stderr, shared by the bar and the logs: lines are printed above the bar.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen(Arc<Mutex<Option<ProgressBar>>>);

impl Screen {
    /// Prints whole lines. If stderr is closed, nobody can be told.
    pub fn print(&self, text: &[u8]) {
        let write = || {
            let _ = io::stderr().lock().write_all(text);
        };
        match self.0.lock().ok().as_deref() {
            Some(Some(bar)) => bar.suspend(write),
            _ => write(),
        }
    }

    fn show(&self, bar: Option<ProgressBar>) {
        if let Ok(mut shown) = self.0.lock()
            && let Some(old) = std::mem::replace(&mut *shown, bar)
        {
            old.finish_and_clear();
        }
    }
}

/// The thread that draws the bar; when this is dropped, it ends and the bar is removed.
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, there is nothing to clear.
            let _ = thread.join();
        }
    }
}

/// Starts showing progress if requested; without a terminal, as an occasional line.
pub(crate) fn watch(mode: ProgressMode, quiet: bool, progress: Arc<Progress>, screen: Screen) -> Option<Watch> {
    let terminal = io::stderr().is_terminal();
    match mode {
        ProgressMode::Never => return None,
        ProgressMode::Auto if quiet || !terminal => return None,
        ProgressMode::Auto | ProgressMode::Always => {}
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    // A terminal that can't move its cursor gets no bar either.
    let drawn = terminal && !bar.is_hidden();
    if drawn {
        screen.show(Some(bar.clone()));
    }
    let (stop, stopped) = channel::<()>();
    let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
        let mut meter = Meter::default();
        let mut drawer = Drawer { bar, drawn, with_total: None, printed: None };
        while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let now = progress.snapshot();
            let speed = meter.speed(Instant::now(), now.bytes_read);
            drawer.draw(&now, speed, &screen);
        }
        screen.show(None);
    });
    // Without the thread, the work continues without a display.
    thread.ok().map(|thread| Watch { stop: Some(stop), thread: Some(thread) })
}

struct Drawer {
    bar: ProgressBar,
    drawn: bool,
    with_total: Option<bool>,
    printed: Option<(String, Instant)>,
}

impl Drawer {
    fn draw(&mut self, now: &Snapshot, speed: u64, screen: &Screen) {
        if self.drawn {
            self.redraw(now, speed);
        } else {
            self.print(now, speed, screen);
        }
    }

    fn redraw(&mut self, now: &Snapshot, speed: u64) {
        let with_total = now.files_total > 0;
        if self.with_total != Some(with_total) {
            self.with_total = Some(with_total);
            let template = if with_total {
                "{spinner} {prefix} [{bar:24}] {pos}/{len} files {wide_msg}"
            } else {
                "{spinner} {prefix} {wide_msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style.progress_chars("=> "));
            }
        }
        self.bar.set_prefix(escape::line(&now.step).into_owned());
        self.bar.set_length(now.files_total);
        self.bar.set_position(now.files_done.min(now.files_total));
        self.bar.set_message(counters(now, speed));
        self.bar.tick();
    }

    fn print(&mut self, now: &Snapshot, speed: u64, screen: &Screen) {
        let due = self.printed.as_ref().is_none_or(|(step, at)| *step != now.step || at.elapsed() >= LINE_EVERY);
        if due && !now.step.is_empty() {
            self.printed = Some((now.step.clone(), Instant::now()));
            screen.print(plain_line(now, speed).as_bytes());
        }
    }
}

fn plain_line(now: &Snapshot, speed: u64) -> String {
    let step = escape::line(&now.step);
    match now.files_total {
        0 => format!("{step}: {}\n", counters(now, speed)),
        total => format!("{step}: {}/{total} files, {}\n", now.files_done, counters(now, speed)),
    }
}

fn counters(now: &Snapshot, speed: u64) -> String {
    let mut parts = Vec::new();
    if now.items > 0 {
        parts.push(units::count(now.items, "item"));
    }
    if speed > 0 {
        parts.push(format!("{}/s", units::bytes(speed)));
    }
    if parts.is_empty() {
        return "…".to_owned();
    }
    parts.join(", ")
}

/// Bytes per second over the last few seconds.
#[derive(Debug, Default)]
struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    fn speed(&mut self, at: Instant, bytes: u64) -> u64 {
        self.samples.push_back((at, bytes));
        while self.samples.get(1).is_some_and(|(next, _)| at.duration_since(*next) >= SPEED_OVER) {
            self.samples.pop_front();
        }
        let Some((since, before)) = self.samples.front() else { return 0 };
        let millis = u64::try_from(at.duration_since(*since).as_millis()).unwrap_or(u64::MAX);
        bytes.saturating_sub(*before).saturating_mul(1000).checked_div(millis).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.speed(start, 0), 0);
        assert_eq!(meter.speed(start + Duration::from_secs(1), 1_000), 1_000);
        for second in 2..=10 {
            meter.speed(start + Duration::from_secs(second), 1_000 + (second - 1) * 50);
        }
        assert_eq!(meter.speed(start + Duration::from_secs(11), 1_500), 50);
        assert!(meter.samples.len() < 10);
    }

    #[test]
    fn a_line_for_logs() {
        let mut now = Snapshot { step: "Loading\u{1b}".to_owned(), items: 1234, ..Snapshot::default() };
        assert_eq!(plain_line(&now, 2_500_000), "Loading\\u{1b}: 1,234 items, 2.5 MB/s\n");
        (now.files_total, now.files_done) = (8, 3);
        assert_eq!(plain_line(&now, 0), "Loading\\u{1b}: 3/8 files, 1,234 items\n");
    }

    #[test]
    fn the_thread_ends_when_the_watch_is_dropped() {
        let watch = watch(ProgressMode::Always, false, Arc::default(), Screen::default()).unwrap();
        drop(watch);
        assert!(super::watch(ProgressMode::Never, false, Arc::default(), Screen::default()).is_none());
        assert!(super::watch(ProgressMode::Auto, true, Arc::default(), Screen::default()).is_none());
    }
}
