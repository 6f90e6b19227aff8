//! Faults, deaths, stalls and wrong bytes at every single call of a load and of increments, and writers that race.
//!
//! Whatever happens: the table reads as before or as after a window, never between; a success means after; an error is
//! honest; running again completes, each window once; and a command that knows that it failed leaves no files behind.
#![allow(missing_docs, clippy::unnecessary_wraps, clippy::unwrap_used, reason = "tests")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/faults.rs"]
mod faults;
#[path = "crash/jobs.rs"]
mod jobs;
#[path = "crash/killing.rs"]
mod killing;
#[path = "crash/racing.rs"]
mod racing;
#[path = "common/reader.rs"]
mod reader;
#[path = "crash/stalls.rs"]
mod stalls;
#[path = "crash/wrong_bytes.rs"]
mod wrong_bytes;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use ddb_iceberg::catalog::Commit;
use ddb_iceberg::commands::{Report, Status};
use ddb_iceberg::error::Kind;
use faults::{Call, Fault, Faults, INJECTED};
use futures::FutureExt as _;
use jobs::{Inputs, Job, JobKind, Place, no_orphans, run, state};

/// Cases that run at once.
const WORKERS: usize = 4;

fn applied(report: &Report) -> usize {
    report.windows.iter().filter(|window| window.status == Status::Applied).count()
}

/// One fault at one call.
async fn case(job: &Job, place: &Place, fault: Fault, n: usize, hit: &Mutex<String>) {
    place.reset();
    let warehouse = place.warehouse();
    let last = job.states.len() - 1;
    let faults = Faults::at(fault, n);
    let (result, report) = run(job, &faults, &warehouse).await;
    let call = faults.hit();
    *hit.lock().unwrap() = format!("{call:?}, then {:?}", result.as_ref().map_err(ToString::to_string));
    let call = call.map(|(call, _)| call);
    let mut found = state(job, &warehouse).await;

    let unknown = matches!(&result, Err(error) if error.kind() == Kind::Unknown);
    match &result {
        Ok(()) => {
            assert_eq!(found, last, "success, and not done");
            assert_eq!(report.status, Status::Applied);
        }
        Err(error) if unknown => {
            assert!(applied(&report) <= found, "what is not known is reported");
            assert!(error.to_string().contains("run the same command again"));
            assert!(matches!(call, Some(Call::Commit | Call::Swap)) || fault.is_death(), "it could be known");
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Failed, "a failing disk is not damaged input");
            assert!(error.to_string().contains(INJECTED), "the cause is not told");
            assert_eq!(applied(&report), found, "the report is not true");
        }
    }
    match (fault, call) {
        (Fault::ConflictAfter | Fault::After, Some(Call::Commit | Call::Swap)) => {
            assert!(result.is_ok(), "applied, and not found");
        }
        (Fault::UnknownBefore | Fault::Held, Some(_)) => assert!(unknown, "it can't be known"),
        (Fault::Before, Some(_)) => assert!(!unknown, "surely not applied"),
        _ => {}
    }

    if fault == Fault::Held && call.is_some() && n % 2 == 1 {
        // The commit comes late, and finds all of its files.
        assert!(matches!(faults.release().await, Ok(Commit::Done(_))), "a late commit lost something");
        let now = state(job, &warehouse).await;
        assert_eq!(now, found + 1);
        found = now;
    }
    if !unknown && !fault.is_death() {
        no_orphans(&warehouse).await;
    }

    let (result, report) = run(job, &Faults::none(), &warehouse).await;
    if job.kind == JobKind::BareLoad && found == last {
        assert!(result.unwrap_err().to_string().contains("exists"));
    } else {
        result.unwrap_or_else(|error| panic!("running again: {error}"));
        assert_eq!(report.status == Status::Applied, found < last, "running again: {:?}", report.status);
        assert_eq!(applied(&report), last - found, "running again");
    }
    assert_eq!(state(job, &warehouse).await, last, "running again did not complete");
    if !unknown && !fault.is_death() {
        no_orphans(&warehouse).await;
    }

    if fault == Fault::Held && call.is_some() && n.is_multiple_of(2) {
        // The commit comes too late: what it would do is done.
        assert!(matches!(faults.release().await, Ok(Commit::Conflict(_))), "applied twice");
        assert_eq!(state(job, &warehouse).await, last);
    }
}

/// Every fault at every call that it fits. All failures are told, not only the first.
async fn matrix(job: fn(&Inputs) -> &Job, all: &[Fault]) {
    let inputs = Arc::new(Inputs::new());
    let place = Place::before(&inputs, job(&inputs)).await;
    let counted = Faults::none();
    run(job(&inputs), &counted, &place.warehouse()).await.0.unwrap();
    assert_eq!(state(job(&inputs), &place.warehouse()).await, job(&inputs).states.len() - 1);
    no_orphans(&place.warehouse()).await;

    let mut cases = VecDeque::new();
    for fault in all {
        let count = counted.count(*fault);
        assert!(count > 0, "{fault:?} fits no call");
        cases.extend((1..=count).map(|n| (*fault, n)));
    }
    assert!(cases.len() > 20, "only {} cases", cases.len());
    println!("{} cases", cases.len());
    let cases = Arc::new(Mutex::new(cases));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let workers = (0..WORKERS).map(|_| {
        let (inputs, cases, failures) = (Arc::clone(&inputs), Arc::clone(&cases), Arc::clone(&failures));
        tokio::spawn(async move {
            let place = Arc::new(Place::before(&inputs, job(&inputs)).await);
            loop {
                let next = cases.lock().unwrap().pop_front();
                let Some((fault, n)) = next else { return };
                let hit = Arc::new(Mutex::new(String::new()));
                let (inputs, place, told) = (Arc::clone(&inputs), Arc::clone(&place), Arc::clone(&hit));
                let one = tokio::spawn(async move {
                    let job = job(&inputs);
                    match fault {
                        Fault::StallBefore | Fault::StallAfter => stalls::case(job, &place, fault, n, &told).await,
                        Fault::Wrong(_) => wrong_bytes::case(job, &place, fault, n, &told).await,
                        _ => case(job, &place, fault, n, &told).await,
                    }
                });
                if let Err(panic) = one.await {
                    let why = panic.into_panic();
                    let why = why.downcast::<String>().map_or_else(|why| format!("{why:?}"), |why| *why);
                    failures.lock().unwrap().push(format!("{fault:?} {n}: {why}\n  hit {}", hit.lock().unwrap()));
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let failures = failures.lock().unwrap();
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

const ALL: [Fault; 9] = [
    Fault::Before,
    Fault::After,
    Fault::Death,
    Fault::DeathAfter,
    Fault::DeathTorn,
    Fault::Full,
    Fault::UnknownBefore,
    Fault::ConflictAfter,
    Fault::Held,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_is_whole_or_not_there_wherever_it_fails() {
    matrix(|inputs| &inputs.load, &ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn windows_are_applied_once_and_whole_wherever_they_fail() {
    matrix(|inputs| &inputs.windows, &ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_of_several_tasks_takes_back_what_the_others_wrote() {
    matrix(|inputs| &inputs.bare, &[Fault::Before, Fault::After, Fault::Full]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn windows_that_rewrite_files_are_applied_once_and_whole() {
    matrix(|inputs| &inputs.rewrites, &[Fault::Before, Fault::After, Fault::Full]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replaced_table_has_the_old_rows_or_the_new_ones() {
    matrix(|inputs| &inputs.replace, &ALL).await;
}

/// A panic wherever something is written, in a task or not: no commit, and running again completes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_is_no_commit() {
    let inputs = Inputs::new();
    for job in [&inputs.load, &inputs.windows, &inputs.rewrites] {
        let place = Place::before(&inputs, job).await;
        let (last, mut panics) = (job.states.len() - 1, 0);
        for n in 1.. {
            place.reset();
            let faults = Faults::at(Fault::Panic, n);
            let warehouse = place.warehouse();
            let ended = AssertUnwindSafe(run(job, &faults, &warehouse)).catch_unwind().await;
            let found = state(job, &warehouse).await;
            if faults.hit().is_none() {
                assert_eq!(found, last);
                break;
            }
            panics += 1;
            assert!(found < last, "{n}: committed what a task did not finish");
            if let Ok((result, _)) = ended {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), Kind::Failed, "{error}");
                assert!(error.to_string().contains("bug"), "{error}");
            }
            run(job, &Faults::none(), &warehouse).await.0.unwrap();
            assert_eq!(state(job, &warehouse).await, last);
        }
        assert!(panics > 2, "only {panics} panics");
    }
}

/// A window's files are read twice: for the keys, then for the images. Without MD5s in its manifest only the count of
/// images can tell that the second reading was of another file.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn export_files_that_change_between_two_readings() {
    let inputs = Inputs::new();
    let place = Place::before(&inputs, &inputs.windows).await;
    let bucket = tempfile::tempdir().unwrap();
    let line = |n: usize| jobs::change(&format!("k{n} v={n}"));
    let export = exports::IncrementalExport::new("orders").from(&jobs::minute(0)).to(&jobs::minute(1));
    let export = export.files([(0..10).map(line).collect::<Vec<_>>()]);
    // No count either: one of them would tell before.
    let export = export.edit_summary(|summary| summary["itemCount"] = serde_json::Value::Null).edit_files(|files| {
        files[0]["md5Checksum"] = serde_json::Value::Null;
        files[0]["itemCount"] = serde_json::Value::Null;
    });
    let folder = export.write(bucket.path());
    let file = exports::data_files(bucket.path(), &folder).remove(0);
    let good = std::fs::read(&file).unwrap();
    let job = Job { input: folder, ..inputs.windows.clone() };
    let catalog = || faults::catalog(&Faults::none(), &place.warehouse(), None);
    let lines = |range: std::ops::Range<usize>| range.map(|n| line(n) + "\n").collect::<String>();
    let fewer = exports::gzip(lines(0..9));
    let more = exports::gzip(lines(0..11));
    let deletes = exports::gzip(lines(0..9) + &jobs::change("k9") + "\n");
    for other in [fewer, more, deletes, exports::gzip("")] {
        place.reset();
        std::fs::write(&file, &good).unwrap();
        // The first time for the keys, the second for the images.
        let faults = Faults::swapping(&file, 2, other);
        let (result, _) = jobs::command(&job, &faults, catalog()).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{error}");
        assert!(error.to_string().contains("changed while it was read"), "{error}");
        assert_eq!(state(&inputs.windows, &place.warehouse()).await, 0);
        no_orphans(&place.warehouse()).await;
    }
    std::fs::write(&file, &good).unwrap();
    let (result, report) = jobs::command(&job, &Faults::none(), catalog()).await;
    result.unwrap();
    assert_eq!(applied(&report), 1);
}
