//! A command that stalls at a call, while another one does the same work and ends.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::timeout;

use crate::applied;
use crate::faults::{Fault, Faults};
use crate::jobs::{Inputs, Job, JobKind, Place, no_orphans, run, state};
use crate::matrix;

const LONG: Duration = Duration::from_mins(1);

/// One stall: whoever was first, each window is there once, both know it, and nothing is left behind.
pub async fn case(job: &Job, place: &Place, fault: Fault, n: usize, hit: &Mutex<String>) {
    place.reset();
    let (warehouse, last) = (place.warehouse(), job.states.len() - 1);
    let faults = Faults::at(fault, n);
    let slow = {
        let (job, faults, warehouse) = (job.clone(), faults.clone(), warehouse.clone());
        tokio::spawn(async move { run(&job, &faults, &warehouse).await })
    };
    timeout(LONG, faults.stalled()).await.expect("a call stalls");
    *hit.lock().unwrap() = format!("{:?}", faults.hit());
    let found = state(job, &warehouse).await;

    let (result, other) = timeout(LONG, run(job, &Faults::none(), &warehouse)).await.expect("it is not held up");
    let exists = job.kind == JobKind::BareLoad && found == last;
    assert_eq!(result.is_err(), exists, "{result:?}");
    assert_eq!(applied(&other), last - found, "the other one does what is left");
    assert_eq!(state(job, &warehouse).await, last);

    faults.go_on();
    let (result, report) = timeout(LONG, slow).await.expect("it ends").unwrap();
    if job.kind == JobKind::BareLoad && found < last {
        assert!(result.unwrap_err().to_string().contains("exists"));
    } else {
        result.unwrap();
        // Below a folder, windows from before the watermark are not told of.
        assert!([0, last].contains(&report.windows.len()), "{:?}", report.windows);
    }
    assert_eq!(applied(&report) + applied(&other), last, "each window was applied by one of them");
    assert_eq!(state(job, &warehouse).await, last, "what was done is undone");
    no_orphans(&warehouse).await;
}

const STALLS: [Fault; 2] = [Fault::StallBefore, Fault::StallAfter];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_that_stalls_anywhere_does_not_undo_another() {
    matrix(|inputs: &Inputs| &inputs.load, &STALLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_of_several_tasks_that_stalls_anywhere_does_not_undo_another() {
    matrix(|inputs: &Inputs| &inputs.bare, &STALLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replace_that_stalls_anywhere_does_not_undo_another() {
    matrix(|inputs: &Inputs| &inputs.replace, &STALLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn windows_that_stall_anywhere_are_applied_once() {
    matrix(|inputs: &Inputs| &inputs.windows, &STALLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn windows_that_rewrite_files_and_stall_anywhere_are_applied_once() {
    matrix(|inputs: &Inputs| &inputs.rewrites, &STALLS).await;
}
