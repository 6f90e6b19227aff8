//! The real program, killed.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::faults::Faults;
use crate::jobs::{Inputs, Job, Place, TABLE, run, state};

/// Killed after ever more time, until it is done before.
async fn killed(job: fn(&Inputs) -> &Job, arguments: &[&str]) {
    let inputs = Inputs::new();
    let job = job(&inputs);
    let place = Place::before(&inputs, job).await;
    let mut killed = 0;
    let mut delay = Duration::ZERO;
    for _ in 0..40 {
        place.reset();
        let mut program = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PYICEBERG_")) {
            program.env_remove(name);
        }
        program
            .args([arguments[0], job.input.to_str().unwrap()])
            .args(["--table", TABLE, "--warehouse", place.warehouse().to_str().unwrap(), "--quiet"])
            .args(&arguments[1..])
            .current_dir(place.dir.path())
            .env("HOME", place.dir.path());
        let mut child = program.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(delay).await;
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let found = state(job, &place.warehouse()).await;
        if let Some(status) = ended {
            assert!(status.success());
            assert_eq!(found, job.states.len() - 1);
            break;
        }
        killed += 1;
        delay += Duration::from_millis(5);
        run(job, &Faults::none(), &place.warehouse()).await.0.unwrap();
        assert_eq!(state(job, &place.warehouse()).await, job.states.len() - 1);
    }
    assert!(killed > 0, "it was never killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_program_leaves_a_whole_table() {
    killed(|inputs| &inputs.load, &["full-load", "--key", "pk"]).await;
    killed(|inputs| &inputs.windows, &["incremental"]).await;
}
