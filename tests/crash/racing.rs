//! Several writers on one table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable, NewTable, TableHome};
use ddb_iceberg::commands::{Report, Status};
use ddb_iceberg::error::{Kind, Result};
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use tokio::sync::Barrier;

use crate::faults::{self, Faults};
use crate::jobs::{ARN, Inputs, Job, Place, TABLE, command, no_orphans, rows, run, state, window};
use crate::reader;

/// Several commands at once that all plan on the same state, then all commit.
async fn race(jobs: &[&Job], warehouse: &Path) -> Vec<Report> {
    let start = Arc::new(Barrier::new(jobs.len()));
    let running: Vec<_> = jobs
        .iter()
        .map(|&job| {
            let (job, start, faults) = (job.clone(), Arc::clone(&start), Faults::none());
            let catalog = faults::catalog(&faults, warehouse, Some(start));
            tokio::spawn(async move { command(&job, &faults, catalog).await })
        })
        .collect();
    let mut reports = Vec::new();
    for one in running {
        let (result, report) = tokio::time::timeout(Duration::from_mins(1), one).await.expect("no end").unwrap();
        result.unwrap();
        reports.push(report);
    }
    reports
}

/// Each window was applied by exactly one of the racers, and every one of them knows it is there.
async fn judge(reports: &[Report], job: &Job, warehouse: &Path) {
    assert_eq!(state(job, warehouse).await, job.states.len() - 1);
    no_orphans(warehouse).await;
    let table = reader::load(warehouse, TABLE).await.unwrap();
    let due = &job.arns[job.arns.len() - (job.states.len() - 1)..];
    for arn in due {
        let of_window = |report: &Report| {
            report.windows.iter().find(|w| w.export_arn.as_ref() == Some(arn)).cloned().expect("every window is told")
        };
        let windows: Vec<_> = reports.iter().map(of_window).collect();
        let winners: Vec<_> = windows.iter().filter(|window| window.status == Status::Applied).collect();
        assert_eq!(winners.len(), 1, "{arn}: {windows:#?}");
        assert!(windows.iter().all(|w| matches!(w.status, Status::Applied | Status::AlreadyApplied)), "{windows:#?}");
        for window in windows.iter().filter(|window| window.status == Status::AlreadyApplied) {
            assert_eq!((window.rows.inserted, window.files.data_added), (0, 0), "the loser did nothing: {window:#?}");
        }
        let id: i64 = winners[0].snapshot_id.as_ref().unwrap().parse().unwrap();
        let snapshot = table.metadata.snapshot_by_id(id).unwrap();
        assert_eq!(snapshot.summary().additional_properties.get(ARN), Some(arn), "the winner names its own snapshot");
    }
    for report in reports {
        let applied = report.windows.iter().any(|window| window.status == Status::Applied);
        assert_eq!(report.status, if applied { Status::Applied } else { Status::AlreadyApplied });
        assert_eq!(report.watermark, reports[0].watermark);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_increments_on_one_base_one_wins_and_the_other_plans_again() {
    let inputs = Inputs::new();
    let job = &inputs.windows;
    let place = Place::before(&inputs, job).await;
    let reports = race(&[job; 2], &place.warehouse()).await;
    judge(&reports, job, &place.warehouse()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_racers_apply_six_windows_once() {
    let inputs = Inputs::new();
    let dir = tempfile::tempdir().unwrap();
    let mut values = BTreeMap::from([("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]);
    let text = |values: &BTreeMap<&str, usize>| {
        values.iter().map(|(key, value)| format!("{key} v={value}")).collect::<Vec<_>>()
    };
    let state = |texts: &[String]| rows(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut job = Job { states: vec![state(&text(&values))], input: dir.path().to_owned(), ..inputs.windows.clone() };
    job.arns.truncate(1);
    for n in 0..6 {
        // Every window touches the row that all others touch, one of its own, and takes one away.
        let gone = ["b", "new0", "c", "new2", "d", "new4"][n];
        let own = ["new0", "new1", "new2", "new3", "new4", "new5"][n];
        values.insert("a", 100 + n);
        values.insert(own, n);
        values.remove(gone);
        let export = window(n, &[&[&format!("a v={}", 100 + n), &format!("{own} v={n}"), gone]]);
        job.arns.push(export.arn());
        export.write(dir.path());
        job.states.push(state(&text(&values)));
    }
    let place = Place::before(&inputs, &job).await;
    let reports = race(&[&job; 4], &place.warehouse()).await;
    judge(&reports, &job, &place.warehouse()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_loads_of_one_export_one_makes_the_table() {
    let inputs = Inputs::new();
    let place = Place::before(&inputs, &inputs.load).await;
    let reports = race(&[&inputs.load; 2], &place.warehouse()).await;
    judge(&reports, &inputs.load, &place.warehouse()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_replaces_by_one_export_one_replaces() {
    let inputs = Inputs::new();
    let place = Place::before(&inputs, &inputs.replace).await;
    let reports = race(&[&inputs.replace; 2], &place.warehouse()).await;
    judge(&reports, &inputs.replace, &place.warehouse()).await;
}

/// The later export holds what the windows say: whoever is first, no window is applied on top of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replace_beside_an_increment_has_the_last_word() {
    let inputs = Inputs::new();
    let place = Place::before(&inputs, &inputs.replace).await;
    race(&[&inputs.replace, &inputs.windows], &place.warehouse()).await;
    let table = reader::load(&place.warehouse(), TABLE).await.unwrap();
    assert_eq!(Some(reader::rows_of(&table).await), inputs.replace.states[1]);
    no_orphans(&place.warehouse()).await;
}

/// A catalog in which another writer is first, so many times, or right behind a table's creation, whose answer is lost.
#[derive(Debug)]
struct Rival {
    inner: Arc<dyn Catalog>,
    wins: AtomicUsize,
    /// What is run after a creation, in which warehouse.
    then: Option<(Job, PathBuf)>,
}

#[async_trait]
impl Catalog for Rival {
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>> {
        self.inner.prepare(ident, planned).await
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        self.inner.load(ident).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.inner.ensure_namespace(namespace).await
    }

    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit> {
        let answer = self.inner.create(ident, table).await;
        let Some((job, warehouse)) = &self.then else { return answer };
        assert!(matches!(answer, Ok(Commit::Done(_))), "{answer:?}");
        run(job, &Faults::none(), warehouse).await.0?;
        Ok(Commit::Unknown("no answer".to_owned()))
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit> {
        if self.wins.fetch_update(SeqCst, SeqCst, |wins| wins.checked_sub(1)).is_ok() {
            let updates = [("rival".to_owned(), "was here".to_owned())].into();
            let theirs = self.inner.commit(base, Vec::new(), vec![TableUpdate::SetProperties { updates }]).await;
            assert!(matches!(theirs, Ok(Commit::Done(_))), "{theirs:?}");
        }
        self.inner.commit(base, requirements, updates).await
    }
}

async fn against_a_rival(wins: usize) -> (Result<()>, Report, usize) {
    let inputs = Inputs::new();
    let job = &inputs.windows;
    let place = Place::before(&inputs, job).await;
    let faults = Faults::none();
    let inner = faults::catalog(&faults, &place.warehouse(), None);
    let (result, report) = command(job, &faults, Arc::new(Rival { inner, wins: wins.into(), then: None })).await;
    no_orphans(&place.warehouse()).await;
    let found = state(job, &place.warehouse()).await;
    let table = reader::load(&place.warehouse(), TABLE).await.unwrap();
    assert_eq!(table.metadata.properties()["rival"], "was here", "a foreign change is lost");
    run(job, &Faults::none(), &place.warehouse()).await.0.unwrap();
    assert_eq!(state(job, &place.warehouse()).await, 2);
    (result, report, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_loses_three_times_plans_four_times() {
    let (result, report, found) = against_a_rival(3).await;
    result.unwrap();
    assert_eq!((report.windows.len(), found), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_always_loses_gives_up_and_says_so() {
    let (result, report, found) = against_a_rival(usize::MAX).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Contended, "{error}");
    assert_eq!((report.windows.len(), found), (1, 0));
    assert_eq!(report.windows[0].status, Status::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_names_its_own_snapshot_though_windows_came_since() {
    let inputs = Inputs::new();
    let place = Place::before(&inputs, &inputs.load).await;
    let faults = Faults::none();
    let inner = faults::catalog(&faults, &place.warehouse(), None);
    let then = Some((inputs.windows.clone(), place.warehouse()));
    let (result, report) = command(&inputs.load, &faults, Arc::new(Rival { inner, wins: 0.into(), then })).await;
    result.unwrap();
    assert_eq!(state(&inputs.windows, &place.warehouse()).await, 2);
    let table = reader::load(&place.warehouse(), TABLE).await.unwrap();
    let id: i64 = report.windows[0].snapshot_id.as_ref().unwrap().parse().unwrap();
    let summary = &table.metadata.snapshot_by_id(id).unwrap().summary().additional_properties;
    assert_eq!(summary.get(ARN), inputs.load.arns.first());
}
