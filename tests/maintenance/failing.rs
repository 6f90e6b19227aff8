//! Faults and deaths at every call of a compaction and of an expiry, and both beside other writers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable};
use ddb_iceberg::commands::{
    Compact, Context, Expire, Incremental, Maintenance, Report, Status, compact, expire, incremental,
};
use ddb_iceberg::error::{Kind, Result};
use ddb_iceberg::merge::NewAttributes;
use iceberg::TableIdent;
use tokio::sync::Barrier;

use super::faults::{self, Call, Fault, Faults};
use super::program::{Site, TABLE};
use super::{Model, apply, change, model_of, reader, site};

#[derive(Debug, Clone)]
enum Job {
    Compact,
    Expire,
    Windows(PathBuf, Maintenance),
}

async fn run(job: &Job, faults: &Arc<Faults>, catalog: Arc<dyn Catalog>) -> (Result<()>, Report) {
    let context = Context {
        exports: faults::store(faults),
        catalog: Some(catalog),
        threads: 1,
        memory_limit: 64 << 20,
        progress: Arc::default(),
    };
    let table = TableIdent::from_strs(TABLE.split('.')).unwrap();
    let mut report = Report::new("test", Some(TABLE.to_owned()));
    let result = match job {
        Job::Compact => compact(&context, &Compact { table, dry_run: false }, &mut report).await,
        Job::Expire => {
            let older_than = Some(chrono::Utc::now());
            let request = Expire { table, older_than, retain_last: Some(1), dry_run: false };
            expire(&context, &request, &mut report).await
        }
        Job::Windows(folder, maintenance) => {
            let request = Incremental {
                exports: vec![folder.to_str().unwrap().to_owned()],
                table,
                key: Vec::new(),
                write_mode: None,
                new_attributes: NewAttributes::Add,
                allow_gap: false,
                allow_overlap: false,
                maintenance: *maintenance,
                dry_run: false,
            };
            incremental(&context, &request, &mut report).await
        }
    };
    (result.map(|_| ()), report)
}

/// Files in the warehouse that the table does not name; and every file that it names is there.
pub async fn unnamed(warehouse: &Path, table: &LoadedTable) -> BTreeSet<PathBuf> {
    let named = reader::named(table).await;
    let named: BTreeSet<PathBuf> = named.iter().map(|path| path.strip_prefix("file://").unwrap().into()).collect();
    for path in &named {
        assert!(path.exists(), "{} is named and missing", path.display());
    }
    let mut found = BTreeSet::new();
    let mut folders = vec![warehouse.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if !entry.file_name().to_str().unwrap().starts_with("catalog.db") {
                found.insert(entry.path());
            }
        }
    }
    found.difference(&named).cloned().collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A site with some windows; metadata names absolute paths, so the same folder is put back before each case.
fn prepared(windows: u32) -> (Site, Model) {
    let (site, mut model) = site();
    (0..windows).for_each(|n| drop(apply(&site, n, &mut model, &["--maintenance", "off"])));
    copy(&site.warehouse(), &site.path().join("saved"));
    (site, model)
}

fn reset(site: &Site) {
    fs::remove_dir_all(site.warehouse()).unwrap();
    copy(&site.path().join("saved"), &site.warehouse());
}

const ALL: [Fault; 7] = [
    Fault::Before,
    Fault::After,
    Fault::Death,
    Fault::DeathAfter,
    Fault::DeathTorn,
    Fault::UnknownBefore,
    Fault::ConflictAfter,
];

async fn matrix(job: Job) {
    let (site, model) = prepared(6);
    let counting = Faults::none();
    run(&job, &counting, faults::catalog(&counting, &site.warehouse(), None)).await.0.unwrap();
    let mut cases = 0;
    // MAINTENANCE_EVERY_CALL=1: at every call, also of those that only look.
    let every = std::env::var_os("MAINTENANCE_EVERY_CALL").is_some();
    for fault in ALL {
        let step = if every || !matches!(fault, Fault::Before | Fault::Death) { 1 } else { 3 };
        for n in (1..=counting.count(fault)).step_by(step) {
            cases += 1;
            reset(&site);
            let faults = Faults::at(fault, n);
            let (result, report) = run(&job, &faults, faults::catalog(&faults, &site.warehouse(), None)).await;
            let hit = faults.hit();
            let told = format!("{job:?}, {fault:?} {n} at {hit:?}: {:?}", result.as_ref().map_err(ToString::to_string));
            let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
            assert_eq!(model_of(&reader::rows_of(&table).await), model, "{told}");
            let left = unnamed(&site.warehouse(), &table).await;
            let unknown = matches!(&result, Err(error) if error.kind() == Kind::Unknown);
            let commit = matches!(hit, Some((Call::Commit | Call::Swap, _)));
            assert!(!unknown || commit || fault.is_death(), "{told}");
            if matches!(fault, Fault::After | Fault::ConflictAfter) && commit {
                assert!(result.is_ok(), "applied and not found: {told}");
            }
            if result.is_ok() {
                assert_eq!(report.status, Status::Applied, "{told}");
            }
            // Expired snapshots stay expired when a file cannot be deleted: a warning says so.
            if !unknown && !fault.is_death() && report.warnings.is_empty() {
                assert!(left.is_empty(), "{told}: left behind {left:#?}");
            }
            // Again: done, or nothing left to do.
            let faults = Faults::none();
            run(&job, &faults, faults::catalog(&faults, &site.warehouse(), None)).await.0.unwrap();
            let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
            assert_eq!(model_of(&reader::rows_of(&table).await), model, "again, after {told}");
            unnamed(&site.warehouse(), &table).await;
        }
    }
    println!("{cases} cases");
    assert!(cases > 20, "{cases} cases");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_compaction_that_fails_anywhere_changes_no_row() {
    matrix(Job::Compact).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_expiry_that_fails_anywhere_deletes_nothing_that_is_named() {
    matrix(Job::Expire).await;
}

/// Maintenance that fails is a warning: the windows are in.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn upkeep_that_fails_never_fails_the_windows() {
    let (site, mut model) = prepared(16);
    let folder = site.window(16, 17, change(16, &mut model));
    let counting = Faults::none();
    let off = Job::Windows(folder.clone(), Maintenance::Off);
    run(&off, &counting, faults::catalog(&counting, &site.warehouse(), None)).await.0.unwrap();
    reset(&site);
    let all = Faults::none();
    let auto = Job::Windows(folder, Maintenance::Auto);
    let (result, report) = run(&auto, &all, faults::catalog(&all, &site.warehouse(), None)).await;
    result.unwrap();
    assert_eq!(report.maintenance.len(), 1, "{report:?}");
    let (first, last) = (counting.count(Fault::Before), all.count(Fault::Before));
    assert!(last > first + 10, "{first} calls without, {last} with");
    let mut warned = 0;
    for fault in [Fault::Before, Fault::Death] {
        for n in (first + 1..=last).step_by(3) {
            reset(&site);
            let faults = Faults::at(fault, n);
            let (result, report) = run(&auto, &faults, faults::catalog(&faults, &site.warehouse(), None)).await;
            result.unwrap_or_else(|error| panic!("{fault:?} {n} at {:?}: {error}", faults.hit()));
            assert_eq!(report.windows[0].status, Status::Applied);
            warned += usize::from(!report.warnings.is_empty());
            let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
            assert_eq!(model_of(&reader::rows_of(&table).await), model);
            unnamed(&site.warehouse(), &table).await;
        }
    }
    assert!(warned > 5, "{warned}");
}

/// A compaction that fails at every window is tried after more and more of them, and only then told; once it works again it
/// is done, and nothing of it is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_fails_is_tried_less_and_less_often() {
    let (site, mut model) = prepared(16);
    let hidden = site.path().join("hidden");
    let first = site.table_files().into_iter().find(|name| name.ends_with(".parquet")).unwrap();
    let first = site.warehouse().join(first);
    // One of its files can't be read; no window needs it.
    fs::rename(&first, &hidden).unwrap();
    let mut tried = Vec::new();
    for n in 16..49 {
        if n == 48 {
            fs::rename(&hidden, &first).unwrap();
        }
        let folder = site.window(n, n + 1, vec![super::put(&format!("only{n}"), 1)]);
        model.insert(format!("only{n}"), 1);
        let run = site.incremental(&[&folder], &[]).expect(0);
        let done = run.report["maintenance"].as_array().unwrap();
        if let Some(compact) = done.iter().find(|done| done["action"] == "compact") {
            let failed = compact["status"] == "failed";
            assert_eq!(failed, run.warnings().contains("the table was not compacted"), "{}", run.stdout);
            tried.push((n + 1, failed));
        }
    }
    // The last is a snapshot itself.
    assert_eq!(tried, [(17, true), (18, true), (20, true), (24, true), (32, true), (48, true)]);
    let recorded = |table: &LoadedTable| table.metadata.properties().get("ddb-iceberg.compaction-failed").cloned();
    let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
    assert!(recorded(&table).unwrap().contains(r#""times":6"#), "{:?}", recorded(&table));
    // By hand it is done at once, and then windows count anew.
    site.run(&["compact"]).expect(0);
    let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
    assert_eq!(recorded(&table), None);
    assert_eq!(model_of(&reader::rows_of(&table).await), model);
}

/// Several commands at once that plan on the same state, then commit.
async fn race(jobs: impl Fn(PathBuf) -> Vec<Job>) {
    let (site, mut model) = prepared(6);
    for n in 6..9 {
        let changes = change(n, &mut model);
        site.window(n, n + 1, changes);
    }
    for _ in 0..3 {
        reset(&site);
        let jobs = jobs(site.bucket());
        let start = Arc::new(Barrier::new(jobs.len()));
        let running: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let faults = Faults::none();
                let catalog = faults::catalog(&faults, &site.warehouse(), Some(Arc::clone(&start)));
                tokio::spawn(async move { run(&job, &faults, catalog).await })
            })
            .collect();
        for one in running {
            one.await.unwrap().0.unwrap();
        }
        let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
        assert_eq!(model_of(&reader::rows_of(&table).await), model, "a row is lost or came back");
        let left = unnamed(&site.warehouse(), &table).await;
        assert!(left.is_empty(), "{left:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_compaction_beside_windows_loses_nothing() {
    race(|bucket| vec![Job::Compact, Job::Windows(bucket, Maintenance::Off)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_expiry_beside_windows_loses_nothing() {
    race(|bucket| vec![Job::Expire, Job::Windows(bucket, Maintenance::Off)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_runs_with_upkeep_beside_a_compaction_lose_nothing() {
    race(|bucket| {
        vec![Job::Windows(bucket.clone(), Maintenance::Auto), Job::Windows(bucket, Maintenance::Auto), Job::Compact]
    })
    .await;
}

/// The first commit of a job that is sent has no answer, and is applied later than anybody waits for: until then, after that, and
/// where the same command has run again in between, no file is gone that the table names.
async fn held(site: &Site, model: &Model, job: &Job, nth: usize) {
    let warehouse = site.warehouse();
    let rows = async || {
        let table = reader::load(&warehouse, TABLE).await.unwrap();
        assert_eq!(model_of(&reader::rows_of(&table).await), *model, "{job:?}");
        unnamed(&warehouse, &table).await
    };
    for again in [false, true] {
        reset(site);
        let faults = Faults::at(Fault::Held, nth);
        let (result, report) = run(job, &faults, faults::catalog(&faults, &warehouse, None)).await;
        match job {
            // Upkeep that fails does not fail the windows.
            Job::Windows(..) => {
                result.unwrap();
                assert!(report.warnings.iter().any(|warning| warning.contains("not known")), "{:?}", report.warnings);
            }
            _ => assert_eq!(result.unwrap_err().kind(), Kind::Unknown, "{job:?}"),
        }
        rows().await;
        if again {
            let none = Faults::none();
            run(job, &none, faults::catalog(&none, &warehouse, None)).await.0.unwrap();
            rows().await;
        }
        // Applied in the end, or refused since another one was.
        match (faults.release().await.unwrap(), job) {
            (Commit::Done(_), Job::Compact | Job::Expire) => assert!(!again, "{job:?} was applied twice"),
            (Commit::Conflict(_), Job::Compact | Job::Expire) => assert!(again, "{job:?} was not applied"),
            (Commit::Done(_) | Commit::Conflict(_), Job::Windows(..)) => {}
            (late, _) => panic!("{late:?}"),
        }
        let left = rows().await;
        assert!(again || !matches!(job, Job::Compact) || left.is_empty(), "{job:?}: left behind {left:#?}");
        let none = Faults::none();
        run(job, &none, faults::catalog(&none, &warehouse, None)).await.0.unwrap();
        rows().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_deleted_while_it_is_not_known_what_became_of_a_commit() {
    let (site, model) = prepared(6);
    held(&site, &model, &Job::Compact, 1).await;
    held(&site, &model, &Job::Expire, 1).await;
}

/// Nor are metadata files of before, where the table keeps few of them: the pointer may still be at one that names them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metadata_files_of_before_stay_while_it_is_not_known_where_the_pointer_is() {
    let (site, mut model) = site();
    super::set_properties(&site, &[("write.metadata.previous-versions-max", "1")]).await;
    (0..6).for_each(|n| drop(apply(&site, n, &mut model, &["--maintenance", "off"])));
    copy(&site.warehouse(), &site.path().join("saved"));
    let mut later = model.clone();
    let folder = site.window(6, 7, change(6, &mut later));
    for (job, after) in
        [(Job::Compact, &model), (Job::Expire, &model), (Job::Windows(folder, Maintenance::Off), &later)]
    {
        reset(&site);
        // The commit is the first call that it fits, the swap of the pointer in it the second.
        let faults = Faults::at(Fault::UnknownBefore, 2);
        let result = run(&job, &faults, faults::catalog(&faults, &site.warehouse(), None)).await.0;
        assert_eq!(result.unwrap_err().kind(), Kind::Unknown, "{job:?}");
        assert_eq!(faults.hit().map(|(call, _)| call), Some(Call::Swap), "{job:?}");
        let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
        assert_eq!(table.metadata.metadata_log().len(), 1);
        assert_eq!(model_of(&reader::rows_of(&table).await), model, "{job:?}");
        unnamed(&site.warehouse(), &table).await;
        let none = Faults::none();
        run(&job, &none, faults::catalog(&none, &site.warehouse(), None)).await.0.unwrap();
        let table = reader::load(&site.warehouse(), TABLE).await.unwrap();
        assert_eq!(model_of(&reader::rows_of(&table).await), *after, "{job:?}");
        unnamed(&site.warehouse(), &table).await;
    }
}

/// The same for what the scheduled command does by itself: the compaction, then the expiry.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn upkeep_deletes_nothing_while_it_is_not_known_what_became_of_its_commit() {
    for (windows, wanted) in [(17, &["compact"][..]), (34, &["compact", "expire"])] {
        let (site, mut model) = site();
        super::set_properties(&site, &[("history.expire.max-snapshot-age-ms", "1")]).await;
        (0..windows).for_each(|n| drop(site.window(n, n + 1, change(n, &mut model))));
        site.incremental(&[&site.bucket()], &["--maintenance", "off"]).expect(0);
        copy(&site.warehouse(), &site.path().join("saved"));
        let job = Job::Windows(site.window(windows, windows + 1, change(windows, &mut model)), Maintenance::Auto);
        let none = Faults::none();
        let (result, report) = run(&job, &none, faults::catalog(&none, &site.warehouse(), None)).await;
        result.unwrap();
        let actions: Vec<_> = report.maintenance.iter().map(|action| action.action).collect();
        assert_eq!(actions, wanted);
        // The window's own commit is the first.
        for nth in 2..2 + wanted.len() {
            held(&site, &model, &job, nth).await;
        }
    }
}
