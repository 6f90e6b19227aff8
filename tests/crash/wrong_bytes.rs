//! Reads that give other bytes than the file's: of exports, metadata, manifests and Parquet files.

use std::sync::Mutex;

use ddb_iceberg::error::Kind;

use crate::applied;
use crate::faults::{Damage, Fault, Faults};
use crate::jobs::{Inputs, Job, JobKind, Place, no_orphans, run, state};
use crate::matrix;

/// One wrong read: the command fails and says so, or it did what it should; never anything else.
pub async fn case(job: &Job, place: &Place, fault: Fault, n: usize, hit: &Mutex<String>) {
    place.reset();
    let (warehouse, last) = (place.warehouse(), job.states.len() - 1);
    let faults = Faults::at(fault, n);
    let (result, report) = run(job, &faults, &warehouse).await;
    let told = result.as_ref().map_err(ToString::to_string);
    *hit.lock().unwrap() = format!("{:?}, then {told:?}", faults.hit());
    let found = state(job, &warehouse).await;
    let unknown = matches!(&result, Err(error) if error.kind() == Kind::Unknown);
    match &result {
        Ok(()) => assert_eq!(found, last, "success, and not done"),
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Failed | Kind::Input | Kind::Unknown), "{:?}", error.kind());
            assert!(unknown || applied(&report) == found, "the report is not true");
            assert!(!error.to_string().contains("a bug"), "a panic");
        }
    }
    if !unknown {
        no_orphans(&warehouse).await;
    }
    let (result, _) = run(job, &Faults::none(), &warehouse).await;
    assert_eq!(result.is_err(), job.kind == JobKind::BareLoad && found == last, "running again: {result:?}");
    assert_eq!(state(job, &warehouse).await, last, "running again did not complete");
    if !unknown {
        no_orphans(&warehouse).await;
    }
}

const DAMAGES: [Damage; 6] = [Damage::Empty, Damage::Half, Damage::Last, Damage::Zeros, Damage::Noise, Damage::Header];

fn damages() -> Vec<Fault> {
    DAMAGES.into_iter().map(Fault::Wrong).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_that_reads_wrong_bytes_makes_no_wrong_table() {
    matrix(|inputs: &Inputs| &inputs.load, &damages()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replace_that_reads_wrong_bytes_makes_no_wrong_table() {
    matrix(|inputs: &Inputs| &inputs.replace, &damages()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn windows_that_read_wrong_bytes_make_no_wrong_table() {
    matrix(|inputs: &Inputs| &inputs.windows, &damages()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn windows_that_rewrite_files_and_read_wrong_bytes_make_no_wrong_table() {
    matrix(|inputs: &Inputs| &inputs.rewrites, &damages()).await;
}

/// Exports have checksums: a single bit is noticed wherever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flipped_bit_of_an_export_is_noticed() {
    let flips: Vec<_> = (0..=255).step_by(17).map(|part| Fault::Wrong(Damage::Flip(part))).collect();
    matrix(|inputs: &Inputs| &inputs.load, &flips).await;
}
