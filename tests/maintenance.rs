//! Compaction, expiry, orphans, and the upkeep that `incremental` does by itself: rows, watermark and history that remains are
//! as before, whatever fails and whoever writes beside.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "maintenance/failing.rs"]
pub mod failing;
#[path = "common/faults.rs"]
mod faults;
#[path = "common/other_writer.rs"]
mod other_writer;
#[path = "maintenance/others.rs"]
mod others;
#[path = "maintenance/partial.rs"]
mod partial;
#[path = "maintenance/partitioned.rs"]
mod partitioned;
#[path = "common/program.rs"]
mod program;
#[path = "maintenance/properties.rs"]
mod properties;
#[path = "common/reader.rs"]
mod reader;
#[path = "maintenance/sharing.rs"]
mod sharing;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use ddb_iceberg::catalog::LoadedTable;
use ddb_iceberg::table::{live_table, manifests};
use iceberg::TableUpdate;
use iceberg::spec::{Operation, SnapshotReference, SnapshotRetention};
use program::{Run, Site, TABLE, at, gone, pairs, put, simple};
use serde_json::Value;

type Model = BTreeMap<String, i64>;

fn model_of(rows: &[reader::Row]) -> Model {
    pairs(rows).into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A table of 40 items.
fn site() -> (Site, Model) {
    (Site::loaded(items(), &["pk"]), (0..40).map(|n| (format!("k{n:02}"), n)).collect())
}

fn items() -> Vec<String> {
    (0..40).map(|n| simple(&format!("k{n:02}"), n)).collect()
}

/// Window `n`: updates, an insert and a delete.
fn change(n: u32, model: &mut Model) -> Vec<String> {
    let mut changes = Vec::new();
    for key in [format!("k{:02}", n * 7 % 40), format!("k{:02}", n * 11 % 40), format!("new{n:03}")] {
        changes.push(put(&key, i64::from(1000 + n)));
        model.insert(key, i64::from(1000 + n));
    }
    let key = format!("k{:02}", (n * 13 + 5) % 40);
    if !changes.iter().any(|line| line.contains(&key)) {
        model.remove(&key);
        changes.push(gone(&key));
    }
    changes
}

fn apply(site: &Site, n: u32, model: &mut Model, flags: &[&str]) -> Run {
    let folder = site.window(n, n + 1, change(n, model));
    site.incremental(&[&folder], flags).expect(0)
}

/// The rows as of an older snapshot.
async fn rows_at(table: &LoadedTable, snapshot_id: i64) -> Model {
    let retention = SnapshotRetention::branch(None, None, None);
    let builder = (*table.metadata).clone().into_builder(None);
    let made = builder.set_ref("main", SnapshotReference { snapshot_id, retention }).unwrap().build().unwrap();
    model_of(&reader::rows_of(&LoadedTable { metadata: made.metadata.into(), ..table.clone() }).await)
}

async fn update(site: &Site, updates: Vec<TableUpdate>) {
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let store = ddb_iceberg::storage::Store::local();
    let catalog = ddb_iceberg::catalog::connect::connect("default", &properties, store).await.unwrap();
    catalog.commit(&site.table().await.unwrap(), Vec::new(), updates).await.unwrap();
}

async fn set_properties(site: &Site, properties: &[(&str, &str)]) {
    let updates = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    update(site, vec![TableUpdate::SetProperties { updates }]).await;
}

fn counted(run: &Run, field: &str) -> u64 {
    run.report["maintenance"][0][field].as_u64().unwrap()
}

async fn compacted_in(mode: &str) {
    let (site, mut model) = site();
    let mut history = Vec::new();
    for n in 0..10 {
        apply(&site, n, &mut model, &["--maintenance", "off", "--write-mode", mode]);
        history.push((site.table().await.unwrap().metadata.current_snapshot_id().unwrap(), model.clone()));
    }
    let before = site.files();
    assert_eq!(site.run(&["compact", "--dry-run"]).expect(0).report["status"], "dry_run");
    assert!(site.files() == before, "a dry run wrote");
    let run = site.run(&["compact"]).expect(0);
    assert_eq!(run.report["status"], "applied");
    assert!(counted(&run, "data_files_removed") >= 5, "{}", run.stdout);
    assert_eq!(run.report["watermark"], at(10));

    let table = site.table().await.unwrap();
    assert_eq!(model_of(&site.rows().await), model);
    let live = live_table(&table).await.unwrap();
    assert_eq!((live.files.len(), live.deletes.len()), (1, 0));
    assert_eq!(live.files[0].file.record_count(), model.len() as u64);
    assert_eq!(live.files[0].file.sort_order_id().map(i64::from), Some(table.metadata.default_sort_order_id()));
    let keys: Vec<_> = reader::rows_of(&table).await.iter().map(|row| row["pk"].clone()).collect();
    assert!(keys.iter().map(Value::to_string).is_sorted());
    let snapshot = table.metadata.current_snapshot().unwrap();
    assert_eq!(snapshot.summary().operation, Operation::Replace);
    let summary = &snapshot.summary().additional_properties;
    assert!(summary.keys().all(|key| !key.starts_with("ddb-iceberg.")), "{summary:?}");
    assert_eq!(summary["total-records"], model.len().to_string());
    assert_eq!((summary["total-delete-files"].as_str(), summary["total-data-files"].as_str()), ("0", "1"));
    for (id, model) in &history {
        assert_eq!(rows_at(&table, *id).await, *model, "time travel");
    }

    assert_eq!(site.run(&["compact"]).expect(0).report["status"], "nothing_to_do");
    // Windows go on, and replays are known.
    apply(&site, 10, &mut model, &["--write-mode", mode]);
    assert_eq!(model_of(&site.rows().await), model);
    let again = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert!(again.report["status"] == "nothing_to_do" || again.report["status"] == "already_applied");
    assert_eq!(model_of(&site.rows().await), model);
}

#[tokio::test(flavor = "multi_thread")]
async fn position_deletes_are_compacted_away() {
    compacted_in("merge-on-read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_files_are_compacted() {
    compacted_in("copy-on-write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_columns_are_filled_in_and_nothing_is_lost() {
    let (site, mut model) = site();
    for n in 0..6 {
        let folder = site.window(n, n + 1, vec![
            program::change(
                &serde_json::json!({"pk": {"S": format!("c{n}")}}),
                Some(&serde_json::json!({"pk": {"S": format!("c{n}")}, "v": {"N": "7"}, format!("a{n}"): {"M": {"x": {"L": [{"S": "y"}]}}}})),
            ),
        ]);
        site.incremental(&[&folder], &[]).expect(0);
        model.insert(format!("c{n}"), 7);
    }
    let before = site.rows().await;
    site.run(&["compact"]).expect(0);
    assert_eq!(site.rows().await, before);
    assert_eq!(model_of(&before), model);
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_keeps_what_is_needed_and_deletes_the_rest() {
    let (site, mut model) = site();
    let mut history = Vec::new();
    for n in 0..8 {
        apply(&site, n, &mut model, &["--maintenance", "off"]);
        history.push((site.table().await.unwrap().metadata.current_snapshot_id().unwrap(), model.clone()));
    }
    site.run(&["compact"]).expect(0);
    let tag =
        SnapshotReference { snapshot_id: history[2].0, retention: SnapshotRetention::Tag { max_ref_age_ms: None } };
    update(&site, vec![TableUpdate::SetSnapshotRef { ref_name: "keep".to_owned(), reference: tag }]).await;
    assert_eq!(site.run(&["expire"]).expect(0).report["status"], "nothing_to_do", "five days are kept");

    let before = site.files();
    let dry = site.run(&["expire", "--older-than", "0s", "--dry-run"]).expect(0);
    assert!(site.files() == before && dry.report["status"] == "dry_run");
    let run = site.run(&["expire", "--older-than", "0s"]).expect(0);
    // The load and eight windows; the tag's stays, and the last window, which tells the watermark.
    assert_eq!(counted(&run, "snapshots_removed"), 7);
    assert_eq!(counted(&run, "files_deleted"), counted(&dry, "files_deleted"));
    // What the last window needs stays: the lists and some manifests of the others went.
    assert!(counted(&run, "files_deleted") >= 7);
    assert_eq!(run.report["watermark"], at(8));
    assert_eq!(model_of(&site.rows().await), model);
    let table = site.table().await.unwrap();
    assert_eq!(rows_at(&table, history[2].0).await, history[2].1, "the tag");
    assert_eq!(rows_at(&table, history[7].0).await, history[7].1, "the window before the compaction");
    assert!(failing::unnamed(&site.warehouse(), &table).await.is_empty(), "all that is left is named");
    assert_eq!(site.run(&["expire", "--older-than", "0s"]).expect(0).report["status"], "nothing_to_do");

    // Every window is still known, and the next one goes on.
    let again = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert!(again.report["status"] != "applied");
    apply(&site, 8, &mut model, &[]);
    assert_eq!(model_of(&site.rows().await), model);
}

/// The same load again is known, whether its snapshot is still there or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_whose_snapshot_was_expired_is_still_known() {
    let (site, mut model) = site();
    let load = site.bucket().join("AWSDynamoDB").join(program::full(0).files([items()]).export_id());
    let load = load.to_str().unwrap();
    let other = program::full(0).files([[simple("other", 1)]]).write(site.bucket());
    let first = site.table().await.unwrap().metadata.current_snapshot_id().unwrap();
    (0..4).for_each(|n| drop(apply(&site, n, &mut model, &["--maintenance", "off"])));
    let last = site.table().await.unwrap().metadata.current_snapshot_id().unwrap();
    for expired in [false, true] {
        if expired {
            site.run(&["expire", "--older-than", "0s", "--retain-last", "2"]).expect(0);
            assert!(site.table().await.unwrap().metadata.snapshot_by_id(first).is_none());
        }
        let before = site.files();
        let run = site.run(&["full-load", load, "--key", "pk"]).expect(0);
        assert_eq!(run.statuses(), ("already_applied", vec!["already_applied"]));
        assert_eq!(run.report["watermark"], at(4));
        assert_eq!(run.report["windows"][0]["snapshot_id"].is_null(), expired, "{}", run.stdout);
        // Another one of the same time and table is not known.
        let run = site.run(&["full-load", other.to_str().unwrap(), "--key", "pk"]).expect(1);
        assert!(run.message().contains("exists"), "{}", run.message());
        // To replace would take the windows away.
        site.run(&["full-load", load, "--key", "pk", "--if-exists", "replace"]).expect(4);
        assert!(site.files() == before, "the table is untouched");
    }
    // Rolled back by another program: where main comes from is not known any more.
    let table = site.table().await.unwrap();
    let older = table.metadata.snapshot_by_id(last).unwrap().parent_snapshot_id().unwrap();
    let retention = SnapshotRetention::branch(None, None, None);
    let reference = SnapshotReference { snapshot_id: older, retention };
    update(&site, vec![TableUpdate::SetSnapshotRef { ref_name: "main".to_owned(), reference }]).await;
    assert!(site.run(&["full-load", load, "--key", "pk"]).expect(1).message().contains("exists"));
}

/// Also where a tag has kept the load's snapshot, and nothing leads to it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_whose_snapshot_a_tag_keeps_is_still_known() {
    let (site, mut model) = site();
    let load = site.bucket().join("AWSDynamoDB").join(program::full(0).files([items()]).export_id());
    let load = load.to_str().unwrap();
    let snapshot_id = site.table().await.unwrap().metadata.current_snapshot_id().unwrap();
    let tag = SnapshotReference { snapshot_id, retention: SnapshotRetention::Tag { max_ref_age_ms: None } };
    update(&site, vec![TableUpdate::SetSnapshotRef { ref_name: "loaded".to_owned(), reference: tag }]).await;
    (0..4).for_each(|n| drop(apply(&site, n, &mut model, &["--maintenance", "off"])));
    for expired in [false, true] {
        if expired {
            site.run(&["expire", "--older-than", "0s"]).expect(0);
            let table = site.table().await.unwrap();
            assert!(table.metadata.snapshot_by_id(snapshot_id).is_some() && table.metadata.snapshots().len() == 2);
        }
        let before = site.files();
        let run = site.run(&["full-load", load, "--key", "pk"]).expect(0);
        assert_eq!(run.statuses(), ("already_applied", vec!["already_applied"]));
        site.run(&["full-load", load, "--key", "pk", "--if-exists", "replace"]).expect(4);
        assert!(site.files() == before, "the table is untouched");
    }
    // Rolled back to the tag by another program: it is in main's history again, and the windows are not.
    let main = SnapshotReference { snapshot_id, retention: SnapshotRetention::branch(None, None, None) };
    update(&site, vec![TableUpdate::SetSnapshotRef { ref_name: "main".to_owned(), reference: main }]).await;
    let window = site.window(4, 5, change(4, &mut model));
    site.incremental(&[&window], &[]).expect(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_files_are_never_deleted() {
    let (site, mut model) = site();
    (0..3).for_each(|n| drop(apply(&site, n, &mut model, &[])));
    set_properties(&site, &[("gc.enabled", "false")]).await;
    let before = site.files();
    for command in [&["expire", "--older-than", "0s"][..], &["orphans", "--delete"]] {
        assert!(site.run(command).expect(1).message().contains("gc.enabled"));
    }
    assert!(site.files() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_old_files_that_nothing_names() {
    let (site, mut model) = site();
    apply(&site, 0, &mut model, &[]);
    let table = site.warehouse().join("shop/orders");
    let old = SystemTime::now() - Duration::from_hours(10 * 24);
    let make = |name: &str, age: SystemTime| {
        let path = table.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(age).unwrap();
        path
    };
    // The table's location is level 0, and 64 the last that is looked at.
    let deep = |levels: usize| format!("data{}/old.parquet", "/d".repeat(levels - 1));
    let orphans = [
        make("data/old.parquet", old),
        make("data/a=1/b/old.avro", old),
        make("metadata/00009-x.metadata.json", old),
        make(&deep(64), old),
    ];
    let mut stay = vec![
        make("data/young.parquet", SystemTime::now()),
        make("data/notes.txt", old),
        make("data/.hidden.parquet", old),
        make("inner/metadata/00000-y.metadata.json", old),
        make("inner/data/theirs.parquet", old),
        make(&deep(65), old),
    ];
    let outside = site.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::rename(make("data/link.parquet", old), outside.join("elsewhere.parquet")).unwrap();
    std::os::unix::fs::symlink(&outside, table.join("data/linked")).unwrap();
    stay.push(outside.join("elsewhere.parquet"));
    // Everything the table names is old too.
    for name in site.table_files() {
        let path = site.warehouse().join(name);
        if !stay.contains(&path) {
            fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
    }

    let run = site.run(&["orphans"]).expect(0);
    let mut expected: Vec<_> = orphans.iter().map(|path| format!("file://{}", path.display())).collect();
    expected.sort();
    assert_eq!(run.report["maintenance"][0]["files"], serde_json::json!(expected));
    assert_eq!(run.report["status"], "dry_run");
    let warnings = run.warnings();
    for why in ["another table", "out of the table", "were left out: too deep"] {
        assert_eq!(warnings.matches(why).count(), 1, "{why}: {warnings}");
    }
    assert!(!warnings.contains("unknown age"), "{warnings}");
    assert!(orphans.iter().all(|path| path.exists()), "only listed");
    site.run(&["orphans", "--older-than", "23h"]).expect(2);
    for more in [&[][..], &["--dry-run"]] {
        let run = site.run(&[&["orphans", "--delete"], more].concat()).expect(1);
        assert!(run.message().contains("holds another table"), "{}", run.message());
    }
    assert!(orphans.iter().all(|path| path.exists()), "where another table lies within");
    fs::rename(table.join("inner"), site.path().join("inner")).unwrap();
    let stay: Vec<_> = stay.into_iter().filter(|path| path.exists()).collect();
    assert_eq!(site.run(&["orphans", "--delete", "--dry-run"]).expect(0).report["status"], "dry_run");
    assert!(orphans.iter().all(|path| path.exists()), "a dry run");

    let run = site.run(&["orphans", "--delete"]).expect(0);
    assert_eq!((run.report["status"].as_str(), counted(&run, "files_deleted")), (Some("applied"), 4));
    assert!(orphans.iter().all(|path| !path.exists()) && stay.iter().all(|path| path.exists()));
    assert_eq!(model_of(&site.rows().await), model);
    assert_eq!(site.run(&["orphans"]).expect(0).report["status"], "nothing_to_do");
}

/// Small files, deletes, manifests and snapshots stay few, the table reads right after each window.
#[tokio::test(flavor = "multi_thread")]
async fn many_windows_leave_a_small_table() {
    let windows: u32 = std::env::var("MAINTENANCE_WINDOWS").map_or(60, |text| text.parse().unwrap());
    let (site, mut model) = site();
    // As if each window were more than five days after the last.
    set_properties(&site, &[("history.expire.max-snapshot-age-ms", "1")]).await;
    let (mut compactions, mut expiries) = (0, 0);
    let mut most = [0; 5];
    for n in 0..windows {
        let run = apply(&site, n, &mut model, &[]);
        let actions = run.report["maintenance"].as_array().unwrap();
        assert!(n >= 16 || actions.iter().all(|action| action["action"] != "compact"), "too early: {}", run.stdout);
        assert!(actions.iter().all(|action| action["status"] == "applied"), "{}", run.stdout);
        compactions += actions.iter().filter(|action| action["action"] == "compact").count();
        expiries += actions.iter().filter(|action| action["action"] == "expire").count();
        let table = site.table().await.unwrap();
        assert_eq!(model_of(&reader::rows_of(&table).await), model, "after window {n}");
        assert_eq!(run.report["metadata_location"], table.metadata_location);
        let live = live_table(&table).await.unwrap();
        let now = [
            live.files.len(),
            live.deletes.len(),
            manifests(&table).await.unwrap().len(),
            table.metadata.snapshots().len(),
            site.table_files().len(),
        ];
        most = std::array::from_fn(|n| most[n].max(now[n]));
    }
    println!("{windows} windows, {compactions} compactions, {expiries} expiries; at most: {most:?}");
    assert!(
        compactions * 20 + 20 >= windows as usize && expiries > 0,
        "{compactions} compactions, {expiries} expiries"
    );
    let [files, deletes, manifests, snapshots, stored] = most;
    assert!(files <= 32 && deletes <= 16 && manifests <= 64 && snapshots <= 40, "{most:?}");
    assert!(stored <= 100 + 6 * 40 + 64, "files in storage: {most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_compacts_in_between_and_off_means_off() {
    let (site, mut model) = site();
    for n in 0..70 {
        site.window(n, n + 1, change(n, &mut model));
    }
    let run = site.incremental(&[&site.bucket()], &["--dry-run"]).expect(0);
    assert_eq!(run.report["maintenance"], serde_json::json!([]));
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!(run.report["windows"].as_array().unwrap().len(), 70);
    assert_eq!(run.report["maintenance"][0]["action"], "compact");
    assert_eq!(model_of(&site.rows().await), model);
    for n in 70..90 {
        let run = apply(&site, n, &mut model, &["--maintenance", "off"]);
        assert_eq!(run.report["maintenance"], serde_json::json!([]));
    }
    assert_eq!(model_of(&site.rows().await), model);
    assert_eq!(site.table().await.unwrap().ident.to_string(), TABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_merged_where_there_are_many() {
    let (site, mut model) = site();
    (0..4).for_each(|n| drop(apply(&site, n, &mut model, &["--maintenance", "off"])));
    set_properties(&site, &[("commit.manifest.min-count-to-merge", "3")]).await;
    let before = manifests(&site.table().await.unwrap()).await.unwrap().len();
    let run = site.run(&["compact"]).expect(0);
    assert_eq!(run.report["status"], "applied");
    (4..7).for_each(|n| drop(apply(&site, n, &mut model, &["--maintenance", "off"])));
    site.run(&["compact"]).expect(0);
    // Manifests that only tell what went are dropped by the next commit.
    apply(&site, 7, &mut model, &["--maintenance", "off"]);
    let table = site.table().await.unwrap();
    assert!(before > 6 && manifests(&table).await.unwrap().len() <= 4);
    assert_eq!(model_of(&reader::rows_of(&table).await), model);
}
