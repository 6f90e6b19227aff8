//! Which windows are applied: gaps, overlaps, replays, order, folders of exports, rollbacks, races.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "windows/borders.rs"]
mod borders;
#[path = "windows/chains.rs"]
mod chains;
#[path = "windows/damaged.rs"]
mod damaged;
#[path = "common/exports.rs"]
mod exports;
#[path = "windows/places.rs"]
mod places;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;
#[path = "windows/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use ddb_iceberg::catalog::Commit;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::storage::Store;
use exports::{FullExport, IncrementalExport};
use iceberg::TableUpdate;
use iceberg::spec::{ManifestList, SnapshotReference, SnapshotRetention};
use program::{Run, SOURCE, Site, at, full, gone, pairs, put, simple, window};
use serde_json::{Value, json};

fn site() -> Site {
    Site::loaded(vec![simple("a", 1)], &["pk"])
}

async fn location(site: &Site) -> String {
    site.table().await.unwrap().metadata_location
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stops_and_says_what_to_export() {
    let site = site();
    let late = site.window(15, 30, vec![put("a", 2)]);
    let before = site.files();
    let run = site.incremental(&[&late], &[]).expect(4);
    assert!(run.message().contains("gap"), "{}", run.message());
    assert!(run.message().contains(&format!("{} to {}", at(0), at(15))), "{}", run.message());
    assert!(run.message().contains("--allow-gap"), "{}", run.message());
    assert!(site.files() == before, "the table is untouched");
    assert_eq!(pairs(&site.rows().await), [("a", 1)]);
    // What was missing closes it.
    site.window(0, 15, vec![put("b", 1)]);
    assert_eq!(site.incremental(&[&site.bucket()], &[]).expect(0).statuses().1, ["applied", "applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_before_a_gap_stays_applied() {
    let site = site();
    site.window(0, 15, vec![put("a", 2)]);
    site.window(30, 45, vec![put("a", 3)]);
    let run = site.incremental(&[&site.bucket()], &[]).expect(4);
    assert_eq!(run.statuses(), ("failed", vec!["applied", "failed"]));
    assert_eq!(run.report["watermark"], at(15));
    assert!(run.message().contains(&format!("{} to {}", at(15), at(30))), "{}", run.message());
    assert_eq!(pairs(&site.rows().await), [("a", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_gap_is_recorded_and_a_late_window_is_refused() {
    let site = site();
    let after = site.window(15, 30, vec![put("a", 2)]);
    let run = site.incremental(&[&after], &["--allow-gap"]).expect(0);
    assert_eq!(run.report["watermark"], at(30));
    assert!(run.warnings().contains(&at(0)) && run.warnings().contains(&at(15)), "{}", run.warnings());
    let table = site.table().await.unwrap();
    let gaps: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.gaps"]).unwrap();
    assert_eq!(gaps, json!([{"from": at(0), "to": at(15)}]));

    let late = site.window(0, 15, vec![put("a", 7)]);
    for flags in [&[][..], &["--allow-gap"], &["--allow-overlap"], &["--allow-gap", "--allow-overlap"]] {
        let run = site.incremental(&[&late], flags).expect(4);
        assert!(run.message().contains("full-load"), "says to reload: {}", run.message());
    }
    // A window that only touches the gap as well.
    let wide = site.window(5, 40, vec![put("a", 8)]);
    site.incremental(&[&wide], &["--allow-overlap"]).expect(4);
    assert_eq!(location(&site).await, table.metadata_location);
    // What follows is applied as ever, and a second gap stands beside the first.
    let next = site.window(30, 45, vec![put("a", 3)]);
    site.incremental(&[&next], &[]).expect(0);
    let far = site.window(60, 75, vec![put("a", 4)]);
    site.incremental(&[&far], &["--allow-gap"]).expect(0);
    let table = site.table().await.unwrap();
    let gaps: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.gaps"]).unwrap();
    assert_eq!(gaps, json!([{"from": at(0), "to": at(15)}, {"from": at(45), "to": at(60)}]));
    assert_eq!(pairs(&site.rows().await), [("a", 4)]);
}

/// A window of the gap that turns up in the scheduled folder is not passed over in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_window_of_a_gap_in_a_folder_is_refused_too() {
    let site = site();
    let after = site.window(15, 30, vec![put("a", 2)]);
    site.incremental(&[&after], &["--allow-gap"]).expect(0);
    let id = format!("{:014}-0123abcd", 1_768_386_096_366_u64);
    window(0, 15).id(&id).files([vec![put("a", 7)]]).write(site.bucket());
    site.incremental(&[&site.bucket()], &[]).expect(4);
    assert_eq!(pairs(&site.rows().await), [("a", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlap_is_refused_unless_allowed() {
    let site = site();
    let first = site.window(0, 30, vec![put("a", 2), put("b", 2)]);
    site.incremental(&[&first], &[]).expect(0);
    let over = site.window(15, 45, vec![put("a", 3), gone("b"), gone("never")]);
    let before = site.files();
    let run = site.incremental(&[&over], &[]).expect(4);
    assert!(run.message().contains("overlap") && run.message().contains("--allow-overlap"), "{}", run.message());
    assert!(run.message().contains(&at(30)), "{}", run.message());
    site.incremental(&[&over], &["--allow-gap"]).expect(4);
    assert!(site.files() == before, "the table is untouched");

    let run = site.incremental(&[&over], &["--allow-overlap"]).expect(0);
    assert_eq!(run.counts(0), [0, 1, 1]);
    assert_eq!(run.report["watermark"], at(45));
    assert!(run.warnings().contains("overlap"), "{}", run.warnings());
    assert_eq!(pairs(&site.rows().await), [("a", 3)]);
}

/// Two exports of the same start: the longer one is taken. What overlaps a chain that went on waits for the user's word.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_one_folder_that_overlap_each_other() {
    let site = site();
    site.window(0, 15, vec![put("a", 2)]);
    site.window(0, 30, vec![put("a", 3)]);
    site.window(20, 45, vec![put("a", 4)]);
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!((run.statuses(), &run.report["watermark"]), (("applied", vec!["applied"]), &json!(at(30))));
    assert_eq!(run.report["skipped"].as_array().unwrap().len(), 2, "{}", run.stdout);
    site.incremental(&[&site.bucket()], &[]).expect(4);
    let run = site.incremental(&[&site.bucket()], &["--allow-overlap"]).expect(0);
    assert_eq!(run.report["watermark"], at(45));
    assert_eq!(pairs(&site.rows().await), [("a", 4)]);
}

/// A replayed old window would put old images over newer ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_changes_nothing() {
    let site = site();
    let windows: Vec<_> = (0..3).map(|n| site.window(n * 15, n * 15 + 15, vec![put("a", 10 + i64::from(n))])).collect();
    site.incremental(&[&windows[0], &windows[1], &windows[2]], &[]).expect(0);
    let inside = site.window(5, 20, vec![put("a", 99)]);
    let before = site.files();
    for flags in [&[][..], &["--allow-gap", "--allow-overlap"]] {
        let run = site.incremental(&[&windows[1], &inside], flags).expect(0);
        assert_eq!(run.statuses(), ("already_applied", vec!["already_applied", "already_applied"]));
        // Only the replayed export has a snapshot of its own; what is inside of others' windows has none.
        assert!(run.report["windows"][0]["snapshot_id"].is_null(), "{}", run.stdout);
        assert!(run.report["windows"][1]["snapshot_id"].is_string(), "{}", run.stdout);
        assert_eq!(run.report["watermark"], at(45));
    }
    assert!(site.files() == before, "the table is untouched");
    assert_eq!(pairs(&site.rows().await), [("a", 12)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_on_the_command_line_is_irrelevant() {
    for order in [[2, 0, 1, 2], [1, 2, 0, 0], [2, 1, 0, 1]] {
        let site = site();
        let windows: Vec<_> = (0..3_u32)
            .map(|n| site.window(n * 15, n * 15 + 15, vec![put("a", 10 + i64::from(n)), put(&format!("w{n}"), 0)]))
            .collect();
        let run = site.incremental(&order.map(|n| windows[n].as_path()), &[]).expect(0);
        assert_eq!(run.statuses(), ("applied", vec!["applied"; 3]), "a window named twice is one window");
        let ends: Vec<_> = (0..3).map(|n| run.report["windows"][n]["to"].as_str().unwrap()).collect();
        assert_eq!(ends, [at(15), at(30), at(45)]);
        assert_eq!(pairs(&site.rows().await), [("a", 12), ("w0", 0), ("w1", 0), ("w2", 0)]);
        assert_eq!(site.summaries("ddb-iceberg.window-to").await, [0, 15, 30, 45].map(|n| Some(at(n))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_tell_their_export_and_window() {
    let site = site();
    let export = window(0, 15).files([vec![put("a", 2)]]);
    let arn = export.arn();
    let run = site.incremental(&[&export.write(site.bucket())], &[]).expect(0);
    assert_eq!(site.summaries("ddb-iceberg.window-from").await, [None, Some(at(0))]);
    assert_eq!(site.summaries("ddb-iceberg.window-to").await, [Some(at(0)), Some(at(15))]);
    assert_eq!(site.summaries("ddb-iceberg.export-arn").await[1], Some(arn.clone()));
    assert_eq!(run.report["windows"][0]["export_arn"], arn);
    let table = site.table().await.unwrap();
    let mark: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.watermark"]).unwrap();
    let current = table.metadata.current_snapshot_id().unwrap().to_string();
    assert_eq!(mark, json!({"time": at(15), "snapshot-id": current}));
}

/// A table whose rows are replaced has no gap any more: what lies where one was is as any other window.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_table_has_no_gaps_left() {
    let site = site();
    site.window(15, 30, vec![put("a", 2)]);
    site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(0);
    let overlapping = site.window(5, 45, vec![put("a", 4), put("b", 4)]);
    let run = site.incremental(&[&overlapping], &["--allow-overlap"]).expect(4);
    assert!(run.message().contains("gap"), "{}", run.message());
    fs::remove_dir_all(&overlapping).unwrap();

    let load = full(30).files([[simple("a", 2), simple("c", 3)]]).write(site.bucket());
    site.run(&["full-load", load.to_str().unwrap(), "--if-exists", "replace"]).expect(0);
    let table = site.table().await.unwrap();
    let left: Vec<_> = table.metadata.properties().keys().filter(|name| name.contains("gaps")).collect();
    assert!(left.is_empty(), "{left:?}");
    let run = site.run(&["status", site.bucket().to_str().unwrap()]).expect(0);
    assert_eq!(run.report["state"]["gaps"], json!([]), "{}", run.stdout);
    // What lay in it is in the load, and nothing is told of it.
    let late = site.window(0, 15, vec![put("a", 7)]);
    let run = site.incremental(&[&late], &[]);
    assert!(!run.message().contains("gap"), "{}", run.message());
    assert_eq!(location(&site).await, table.metadata_location);
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!((run.statuses().0, run.warnings().as_str()), ("nothing_to_do", "[]"), "{}", run.stdout);
    // A window that begins where it was, and goes on past the load.
    let overlapping = site.window(5, 45, vec![put("a", 4), put("b", 4)]);
    site.incremental(&[&overlapping], &["--allow-overlap"]).expect(0);
    assert_eq!(pairs(&site.rows().await), [("a", 4), ("b", 4), ("c", 3)]);
    let next = site.window(45, 60, vec![gone("b")]);
    assert_eq!(site.incremental(&[&next], &[]).expect(0).warnings(), "[]");
    assert_eq!(pairs(&site.rows().await), [("a", 4), ("c", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_other_tables_full_exports_and_pending_ones() {
    let site = site();
    let bucket = site.bucket();
    site.window(0, 15, vec![put("a", 2)]);
    window(15, 30).prefix("deep/er").files([vec![put("a", 3)]]).write(&bucket);
    full(20).files([vec![simple("x", 1)]]).write(&bucket);
    for other in ["customers", "orders2", "order"] {
        FullExport::new(other).time(&at(1)).files([vec![simple("x", 1)]]).write(&bucket);
        IncrementalExport::new(other).from(&at(0)).to(&at(15)).files([vec![put("x", 1)]]).write(&bucket);
    }
    let milliseconds = |ago: u128| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        format!("{:014}-00000000", now - ago * 3_600_000)
    };
    for (id, name) in [(milliseconds(0), "_started"), (milliseconds(23), "manifest-files.json")] {
        fs::create_dir_all(bucket.join("AWSDynamoDB").join(&id)).unwrap();
        fs::write(bucket.join("AWSDynamoDB").join(id).join(name), "").unwrap();
    }
    let abandoned = milliseconds(25);
    fs::create_dir_all(bucket.join("AWSDynamoDB").join(&abandoned)).unwrap();
    fs::write(bucket.join("AWSDynamoDB").join(&abandoned).join("_started"), "").unwrap();

    let run = site.incremental(&[&bucket], &[]).expect(0);
    assert_eq!(run.statuses(), ("applied", vec!["applied", "applied"]));
    assert_eq!(run.report["pending"], 2);
    assert_eq!(run.report["warnings"].as_array().unwrap().len(), 1, "{}", run.warnings());
    assert!(run.warnings().contains(&abandoned), "{}", run.warnings());
    assert_eq!(pairs(&site.rows().await), [("a", 3)]);
    // The scheduled command again: nothing is due.
    let run = site.incremental(&[&bucket], &[]).expect(0);
    assert_eq!(run.statuses().0, "nothing_to_do");
    assert_eq!(run.report["pending"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_and_an_export_in_it_are_one_argument_twice() {
    let site = site();
    let first = site.window(0, 15, vec![put("a", 2)]);
    site.window(15, 30, vec![put("a", 3)]);
    let summary = first.join("manifest-summary.json");
    let run = site.incremental(&[&site.bucket(), &first, &summary], &[]).expect(0);
    assert_eq!(run.statuses().1, ["applied", "applied"]);
    assert_eq!(site.summaries("ddb-iceberg.window-to").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_made_again_is_another_table() {
    let site = site();
    let again = window(0, 15).table_id("00000000-aaaa-bbbb-cccc-000000000000").files([vec![put("a", 2)]]);
    let again = again.write(site.bucket());
    let before = site.files();
    for argument in [&again, &site.bucket()] {
        let run = site.incremental(&[argument], &[]).expect(3);
        assert!(run.message().contains("00000000-aaaa-bbbb-cccc-000000000000"), "{}", run.message());
        assert!(run.message().contains("full-load"), "{}", run.message());
    }
    assert!(site.files() == before, "the table is untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_another_table_named_as_such_is_refused() {
    let site = site();
    let other = IncrementalExport::new("customers").from(&at(0)).to(&at(15)).files([vec![put("a", 2)]]);
    let other = other.write(site.bucket());
    let run = site.incremental(&[&other], &[]).expect(3);
    assert!(run.message().contains("table/customers") && run.message().contains("table/orders"), "{}", run.message());
    assert_eq!(pairs(&site.rows().await), [("a", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_window_starts_within_the_second_of_a_load_with_milliseconds() {
    let site = Site::new();
    let export = FullExport::new(SOURCE).time("2026-01-14T10:00:00.622Z").files([vec![simple("a", 1)]]);
    let run = site.load(&export.write(site.bucket()), &["pk"]).expect(0);
    assert!(run.warnings().contains("--export-time"), "{}", run.warnings());
    assert_eq!(run.report["watermark"], "2026-01-14T10:00:00.622Z");
    let early = IncrementalExport::new(SOURCE).from("2026-01-14T09:59:59Z").to(&at(15)).files([vec![put("a", 9)]]);
    site.incremental(&[&early.write(site.bucket())], &[]).expect(4);
    let next = IncrementalExport::new(SOURCE).from("2026-01-14T10:00:01Z").to(&at(15)).files([vec![put("a", 9)]]);
    site.incremental(&[&next.write(site.bucket())], &[]).expect(4);
    let first = site.window(0, 15, vec![put("a", 2)]);
    let run = site.incremental(&[&first], &[]).expect(0);
    assert!(run.warnings().contains("second"), "{}", run.warnings());
    let run = site.incremental(&[&site.window(15, 30, vec![put("a", 3)])], &[]).expect(0);
    assert_eq!(run.warnings(), "[]");
    assert_eq!(pairs(&site.rows().await), [("a", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_at_a_whole_second_has_nothing_to_warn_of() {
    let site = Site::new();
    let export = full(0).files([vec![simple("a", 1)]]).write(site.bucket());
    assert_eq!(site.load(&export, &["pk"]).expect(0).warnings(), "[]");
    assert_eq!(site.incremental(&[&site.window(0, 15, vec![])], &[]).expect(0).warnings(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_table_is_refused() {
    let site = site();
    let windows: Vec<_> =
        (0..3_u32).map(|n| site.window(n * 15, n * 15 + 15, vec![put("a", 10 + i64::from(n))])).collect();
    site.incremental(&[&windows[0], &windows[1]], &[]).expect(0);
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let table = site.table().await.unwrap();
    let main = async |id: i64| {
        let retention =
            SnapshotRetention::Branch { min_snapshots_to_keep: None, max_snapshot_age_ms: None, max_ref_age_ms: None };
        let reference = SnapshotReference::new(id, retention);
        let update = TableUpdate::SetSnapshotRef { ref_name: "main".to_owned(), reference };
        let base = site.table().await.unwrap();
        let Commit::Done(table) = catalog.commit(&base, Vec::new(), vec![update]).await.unwrap() else {
            panic!("nobody else writes")
        };
        table
    };
    let newest = table.metadata.current_snapshot_id().unwrap();
    let older = table.metadata.current_snapshot().unwrap().parent_snapshot_id().unwrap();
    main(older).await;
    assert_eq!(pairs(&site.rows().await), [("a", 10)]);
    let before = site.files();
    for windows in [&windows[1..2], &windows[2..]] {
        for flags in [&[][..], &["--allow-gap", "--allow-overlap"]] {
            let windows: Vec<_> = windows.iter().map(std::path::PathBuf::as_path).collect();
            let run = site.incremental(&windows, flags).expect(4);
            assert!(run.message().contains("rolled back") && run.message().contains(&at(30)), "{}", run.message());
        }
    }
    site.incremental(&[&site.bucket()], &[]).expect(4);
    assert!(site.files() == before, "the table is untouched");
    // Rolled forward again, all is as it was.
    main(newest).await;
    site.incremental(&[&windows[2]], &[]).expect(0);
    assert_eq!(pairs(&site.rows().await), [("a", 12)]);
}

/// What a newer program agreed upon is not known here.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_newer_version_is_refused() {
    let site = site();
    let window = site.window(0, 15, vec![put("a", 2)]);
    let load = full(60).files([vec![simple("b", 1)]]).write(site.bucket());
    let (window, load) = (window.to_str().unwrap(), load.to_str().unwrap());
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let base = site.table().await.unwrap();
    let updates = [("ddb-iceberg.version".to_owned(), "2.1".to_owned())].into();
    catalog.commit(&base, Vec::new(), vec![TableUpdate::SetProperties { updates }]).await.unwrap();
    let before = site.files();
    let commands: [&[&str]; 6] = [
        &["incremental", window],
        &["full-load", load, "--key", "pk", "--if-exists", "replace"],
        &["compact"],
        &["expire", "--older-than", "0s"],
        &["orphans", "--delete"],
        &["status"],
    ];
    for command in commands {
        let run = site.run(command).expect(1);
        assert!(run.message().contains("newer") && run.message().contains("2.1"), "{command:?}: {}", run.message());
    }
    assert!(site.files() == before, "the table is untouched");
}

#[test]
fn there_is_no_table() {
    let site = Site::new();
    let export = site.window(0, 15, vec![put("a", 1)]);
    let before = site.files();
    let run = site.incremental(&[&export], &[]).expect(1);
    assert!(run.message().contains("shop.orders") && run.message().contains("full-load"), "{}", run.message());
    assert!(site.files() == before, "a look made nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_exists() {
    let site = site();
    let other = full(5).files([vec![simple("b", 1)]]).write(site.bucket());
    let before = site.files();
    let run = site.load(&other, &["pk"]).expect(1);
    assert!(run.message().contains("exists") && run.message().contains("shop.orders"), "{}", run.message());
    assert!(site.files() == before, "the table is untouched");
    assert_eq!(pairs(&site.rows().await), [("a", 1)]);
}

#[test]
fn a_dry_full_load_writes_nothing() {
    let site = Site::new();
    let export = full(0).files([vec![simple("a", 1)]]).write(site.bucket());
    let before = site.files();
    let path = export.to_str().unwrap();
    let run = site.run(&["full-load", path, "--key", "pk", "--dry-run"]).expect(0);
    assert_eq!(run.statuses(), ("dry_run", vec!["dry_run"]));
    assert_eq!(run.report["windows"][0]["to"], at(0));
    assert_eq!(run.report["windows"][0]["snapshot_id"], Value::Null);
    let run = site.plain(&["full-load", path, "--key", "pk", "--dry-run", "--table", "shop.orders"]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("would") && run.stdout.contains("shop.orders"), "{}", run.stdout);
    let run = site.plain(&["detect-schema", path, "--dry-run", "--output", "schema.json"]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("Would write") && run.stdout.contains("schema.json"), "{}", run.stdout);
    assert!(site.files() == before, "nothing was written");
}

#[test]
fn a_dry_increment_writes_nothing() {
    let site = site();
    site.window(0, 15, vec![put("a", 2)]);
    site.window(15, 30, vec![put("a", 3)]);
    let before = site.files();
    let run = site.incremental(&[&site.bucket()], &["--dry-run"]).expect(0);
    assert_eq!(run.statuses(), ("dry_run", vec!["dry_run", "dry_run"]));
    assert_eq!(run.report["windows"][1]["from"], at(15));
    assert_eq!(run.report["windows"][1]["to"], at(30));
    assert_eq!(run.report["watermark"], at(0));
    let bucket = site.bucket();
    let run = site.plain(&["incremental", bucket.to_str().unwrap(), "--dry-run", "--table", "shop.orders"]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("would apply 2 windows"), "{}", run.stdout);
    assert!(run.stdout.contains(&at(30)), "{}", run.stdout);
    // A gap is found by a dry run too.
    site.window(45, 60, vec![put("a", 4)]);
    let with_gap = site.files();
    let run = site.incremental(&[&site.bucket()], &["--dry-run"]).expect(4);
    assert!(run.message().contains(&format!("{} to {}", at(30), at(45))), "{}", run.message());
    assert!(site.files() == with_gap && before.iter().all(|(name, bytes)| with_gap.get(name) == Some(bytes)));
}

/// Each window once, whoever applies it, and both tell the truth.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_once_on_one_folder_apply_each_window_once() {
    for round in 0..3 {
        let site = site();
        let windows = 5_u32;
        for n in 0..windows {
            let mut changes = vec![put("a", 10 + i64::from(n)), put(&format!("w{n}"), i64::from(n))];
            if n > 0 {
                changes.push(gone(&format!("w{}", n - 1)));
            }
            site.window(n * 15, n * 15 + 15, changes);
        }
        let bucket = site.bucket();
        let arguments = ["incremental", bucket.to_str().unwrap()];
        let children: Vec<_> = (0..2).map(|_| site.start(&arguments)).collect();
        let runs: Vec<Run> = children.into_iter().map(|child| Run::of(child.wait_with_output().unwrap())).collect();
        let mut applied = Vec::new();
        for run in &runs {
            assert!(matches!(run.code, 0 | 5), "round {round}: {}\n{}", run.stdout, run.stderr);
            for window in run.report["windows"].as_array().unwrap() {
                let status = window["status"].as_str().unwrap();
                let failed = run.code == 5 && status == "failed";
                assert!(failed || ["applied", "already_applied"].contains(&status), "round {round}: {}", run.stdout);
                if status == "applied" {
                    let id = window["snapshot_id"].as_str().unwrap().parse::<i64>().unwrap();
                    applied.push((window["to"].as_str().unwrap().to_owned(), id, window["rows"].clone()));
                }
            }
            if run.code == 0 {
                assert_eq!(run.report["watermark"], at(windows * 15), "round {round}: {}", run.stdout);
            }
        }
        assert!(runs.iter().any(|run| run.code == 0), "round {round}: somebody wins");
        applied.sort_by(|a, b| a.0.cmp(&b.0));
        let ends: Vec<_> = (1..=windows).map(|n| at(n * 15)).collect();
        assert_eq!(applied.iter().map(|(to, ..)| to.clone()).collect::<Vec<_>>(), ends, "round {round}");
        for (n, (.., rows)) in applied.iter().enumerate() {
            let expected = json!({"inserted": 1, "updated": 1, "deleted": u8::from(n > 0)});
            assert_eq!(rows, &expected, "round {round}, window {n}");
        }
        let table = site.table().await.unwrap();
        for (to, id, _) in &applied {
            let snapshot = table.metadata.snapshot_by_id(*id).expect("the snapshot that was told");
            assert_eq!(&snapshot.summary().additional_properties["ddb-iceberg.window-to"], to);
        }
        let marks: Vec<_> = site.summaries("ddb-iceberg.window-to").await.into_iter().flatten().collect();
        assert_eq!(marks, [vec![at(0)], ends].concat(), "round {round}");
        assert_eq!(pairs(&site.rows().await), [("a", 14), ("w4", 4)], "round {round}");
        let orphans = orphans(&site).await;
        assert!(orphans.is_empty(), "round {round}: the loser left {orphans:?} behind");
    }
}

/// Data and manifest files that no snapshot of the table names.
async fn orphans(site: &Site) -> BTreeSet<String> {
    let table = site.table().await.unwrap();
    let mut known = BTreeSet::new();
    for snapshot in table.metadata.snapshots() {
        known.insert(snapshot.manifest_list().to_owned());
        let list = fs::read(snapshot.manifest_list().trim_start_matches("file://")).unwrap();
        let list = ManifestList::parse_with_version(&list, table.metadata.format_version()).unwrap();
        for manifest in list.entries() {
            known.insert(manifest.manifest_path.clone());
            for entry in manifest.load_manifest(&table.file_io).await.unwrap().entries() {
                known.insert(entry.file_path().to_owned());
            }
        }
    }
    let names = site.table_files();
    let all = names.iter().filter(|name| !name.ends_with(".metadata.json"));
    all.filter(|name| !known.iter().any(|path| path.ends_with(name.as_str()))).cloned().collect()
}
