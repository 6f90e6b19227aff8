//! The real program, stopped and killed at random moments, and where it can't write. The seed is fixed; the moments are as the
//! machine is.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "signals/disk.rs"]
mod disk;
#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/random.rs"]
mod random;
#[path = "common/reader.rs"]
mod reader;
#[path = "signals/upkeep.rs"]
mod upkeep;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use program::{Run, Site, full, gone, put, simple, window};
use random::Random;

const ITEMS: i64 = 12_000;
const MOMENTS: usize = 8;

/// A load, and a window that changes two thirds of its rows.
struct Job {
    site: Site,
    load: PathBuf,
    window: PathBuf,
    random: Random,
}

impl Job {
    fn new(seed: u64) -> Self {
        let site = Site::new();
        let items = (0..8).map(|file| (0..ITEMS / 8).map(move |n| simple(&key(n * 8 + file), n)).collect::<Vec<_>>());
        let load = full(0).files(items).write(site.bucket());
        let change = |n: i64| if n % 3 == 0 { gone(&key(n)) } else { put(&key(n), -1) };
        let changes = (0..4)
            .map(|file| (0..ITEMS / 4).map(|n| n * 4 + file).filter(|n| n % 3 != 2).map(change).collect::<Vec<_>>());
        let window = window(0, 15).files(changes).write(site.bucket());
        Self { site, load, window, random: Random::new(seed) }
    }

    fn arguments(&self, load: bool) -> Vec<&str> {
        if load {
            vec!["full-load", self.load.to_str().unwrap(), "--key", "pk"]
        } else {
            vec!["incremental", self.window.to_str().unwrap()]
        }
    }

    fn moment(&mut self, most: Duration) -> Duration {
        most * u32::try_from(self.random.below(1024)).unwrap() / 1024
    }

    /// Starts the command and sends it a signal after a while.
    fn signalled(&self, load: bool, signal: &str, after: Duration) -> Output {
        let child = self.site.start(&self.arguments(load));
        std::thread::sleep(after);
        Command::new("sh").args(["-c", &format!("kill -{signal} {} 2>/dev/null", child.id())]).status().unwrap();
        child.wait_with_output().unwrap()
    }

    /// 0: there is no table; 1: it is loaded; 2: it has the window.
    async fn state(&self) -> u8 {
        if self.site.table().await.is_none() {
            return 0;
        }
        let rows = self.site.rows().await;
        let sum: i64 = program::pairs(&rows).iter().map(|(_, v)| v).sum();
        let third = ITEMS / 3;
        if rows.len() == usize::try_from(ITEMS).unwrap() && sum > 0 {
            return 1;
        }
        assert_eq!(rows.len(), usize::try_from(2 * third).unwrap(), "a table in between");
        assert_eq!(program::pairs(&rows).iter().filter(|(_, v)| *v == -1).count(), usize::try_from(third).unwrap());
        2
    }

    fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.site.warehouse());
    }
}

fn key(n: i64) -> String {
    format!("k{n:06}")
}

/// How long the load and the window take; what the site is like after the load.
fn measure(job: &Job) -> [Duration; 2] {
    [true, false].map(|load| {
        let start = Instant::now();
        job.site.run(&job.arguments(load)).expect(0);
        start.elapsed()
    })
}

/// Waits longer next time if the run was in time to be stopped, else not so long: how long a run takes depends on what else
/// the machine does.
fn follow(most: &mut Duration, in_time: bool) {
    *most = if in_time { *most * 5 / 4 } else { *most * 3 / 4 };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_program_leaves_nothing_behind() {
    let mut job = Job::new(0x5EED_0001);
    let mut took = measure(&job);
    let mut stopped = 0;
    for n in 0..MOMENTS {
        let signal = if n % 2 == 0 { "TERM" } else { "INT" };
        job.forget();
        for (load, most) in [true, false].into_iter().zip(&mut took) {
            let (files, before) = (job.site.table_files(), u8::from(!load));
            let after = job.moment(*most);
            let output = job.signalled(load, signal, after);
            let now = job.state().await;
            follow(most, now == before);
            // A signal before the program listens for it ends it as any other.
            if output.status.code().is_none() {
                assert_eq!((now, job.site.table_files()), (before, files));
            } else {
                let run = Run::of(output);
                assert!([0, 130].contains(&run.code), "{signal} after {after:?}: {}", run.stderr);
                assert!(now == before || now == before + 1, "{before} {now}");
                if now == before {
                    assert_eq!(run.code, 130, "{}", run.stderr);
                    assert_eq!(
                        job.site.table_files(),
                        files,
                        "{signal} after {after:?} left files behind: {}",
                        run.stderr
                    );
                    assert_eq!(run.report["error"]["exit"], 130, "{}", run.stdout);
                    stopped += 1;
                }
            }
            job.site.run(&job.arguments(load)).expect(0);
            assert_eq!(job.state().await, before + 1);
        }
    }
    assert!(stopped > MOMENTS / 2, "only {stopped} runs were stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_killed_at_a_random_moment_can_run_again() {
    let mut job = Job::new(0x5EED_0002);
    let mut took = measure(&job);
    let mut killed = 0;
    for _ in 0..MOMENTS {
        job.forget();
        for (load, most) in [true, false].into_iter().zip(&mut took) {
            let before = u8::from(!load);
            let after = job.moment(*most);
            let ended = job.signalled(load, "KILL", after).status;
            let now = job.state().await;
            follow(most, now == before);
            assert!(now == before || now == before + 1);
            killed += usize::from(ended.code().is_none() && now == before);
            let run = job.site.run(&job.arguments(load)).expect(0);
            assert_eq!(run.report["status"], if now == before { "applied" } else { "already_applied" });
            assert_eq!(job.state().await, before + 1);
        }
    }
    assert!(killed > MOMENTS / 2, "only {killed} runs were killed");
}
