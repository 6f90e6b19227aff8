//! The main job over Glue, through the real binary.

use std::process::{Command, Output};

use ddb_iceberg::storage::Store;
use serde_json::{Value, json};

use crate::exports::{ExportWriter, FullExport, IncrementalExport};
use crate::glue::Glue;
use crate::glue_server::{Fault, SECRET_KEY};
use crate::reader;

fn run(place: &Glue, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"));
    command.env_clear().env("HOME", place.folder.path()).current_dir(place.folder.path());
    command.args(arguments).args(["--format", "json", "--threads", "2"]);
    for (key, value) in place.properties() {
        command.arg("--catalog-property").arg(format!("{key}={value}"));
    }
    command.output().unwrap()
}

#[track_caller]
fn report(place: &Glue, arguments: &[&str]) -> Value {
    let output = run(place, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(place: &Glue, arguments: &[&str], code: i32) -> String {
    let output = run(place, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

async fn rows(place: &Glue) -> Vec<reader::Row> {
    let table = reader::load_with(&place.properties(), Store::local(), "shop.orders").await.unwrap();
    reader::rows_of(&table).await
}

fn item(pk: &str, v: usize) -> String {
    format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"v":{{"N":"{v}"}}}}}}"#)
}

fn record(pk: &str, v: Option<usize>) -> String {
    let image = v.map(|v| format!(r#","NewImage":{{"pk":{{"S":"{pk}"}},"v":{{"N":"{v}"}}}}"#)).unwrap_or_default();
    format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1"}}}},"Keys":{{"pk":{{"S":"{pk}"}}}}{image}}}"#)
}

fn write(place: &Glue, export: &ExportWriter) -> String {
    export.write(place.folder.path()).display().to_string()
}

fn full(place: &Glue, time: &str, items: &[(&str, usize)]) -> String {
    let items: Vec<String> = items.iter().map(|(pk, v)| item(pk, *v)).collect();
    write(place, &FullExport::new("orders").time(time).files([items]))
}

fn window(place: &Glue) -> String {
    let changes = vec![record("a", Some(10)), record("b", None), record("d", Some(4))];
    write(
        place,
        &IncrementalExport::new("orders")
            .from("2026-01-14T10:00:00.000Z")
            .to("2026-01-14T10:15:00.000Z")
            .files([changes]),
    )
}

const LOAD: [&str; 4] = ["--table", "shop.orders", "--key", "pk"];

#[tokio::test(flavor = "multi_thread")]
async fn load_window_and_replace_go_through_glue() {
    let place = Glue::fresh();
    let first = full(&place, "2026-01-14T10:00:00.000Z", &[("a", 1), ("b", 2), ("c", 3)]);
    let load = [&["full-load", &first][..], &LOAD].concat();
    let loaded = report(&place, &load);
    assert_eq!(loaded["windows"][0]["rows"]["inserted"], 3);
    assert_eq!(report(&place, &load)["status"], "already_applied");
    let window = window(&place);
    let merge = ["incremental", &window, "--table", "shop.orders"];
    let merged = report(&place, &merge);
    assert_eq!(merged["windows"][0]["rows"], json!({"inserted": 1, "updated": 1, "deleted": 1}));
    assert_eq!(report(&place, &merge)["status"], "already_applied");
    let entry = place.server.table("shop", "orders").unwrap();
    assert_eq!(entry["Parameters"]["metadata_location"], merged["metadata_location"]);
    assert_eq!(entry["Parameters"]["previous_metadata_location"], loaded["metadata_location"]);
    let row = |pk: &str, v: i64| reader::Row::from([("pk".to_owned(), json!(pk)), ("v".to_owned(), json!(v))]);
    assert_eq!(rows(&place).await, [row("a", 10), row("c", 3), row("d", 4)]);

    let second = full(&place, "2026-01-14T11:00:00.000Z", &[("z", 26)]);
    let replace = [&["full-load", &second][..], &LOAD, &["--if-exists", "replace"]].concat();
    assert_eq!(report(&place, &replace)["status"], "applied");
    assert_eq!(rows(&place).await, [row("z", 26)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_ends_as_applied() {
    let place = Glue::fresh();
    let first = full(&place, "2026-01-14T10:00:00.000Z", &[("a", 1), ("b", 2)]);
    place.server.fail_next("CreateTable", 1, Fault::Unanswered);
    assert_eq!(report(&place, &[&["full-load", &first][..], &LOAD].concat())["status"], "applied");
    let window = window(&place);
    place.server.fail_next("UpdateTable", 1, Fault::DoneBut(500, "InternalServiceException", "boo"));
    assert_eq!(report(&place, &["incremental", &window, "--table", "shop.orders"])["status"], "applied");
    assert_eq!(rows(&place).await.len(), 2);
    let table = reader::load_with(&place.properties(), Store::local(), "shop.orders").await.unwrap();
    assert_eq!(table.metadata.snapshots().len(), 2, "a second snapshot");
}

/// Another writer is first, twice: planned again on what is there then.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_planned_again() {
    let place = Glue::fresh();
    let first = full(&place, "2026-01-14T10:00:00.000Z", &[("a", 1), ("b", 2)]);
    report(&place, &[&["full-load", &first][..], &LOAD].concat());
    let window = window(&place);
    place.server.fail_next("UpdateTable", 2, Fault::Answer(400, "ConcurrentModificationException", "other"));
    assert_eq!(report(&place, &["incremental", &window, "--table", "shop.orders"])["status"], "applied");
    assert_eq!(rows(&place).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_work_says_why_and_leaves_nothing() {
    let place = Glue::fresh();
    let first = full(&place, "2026-01-14T10:00:00.000Z", &[("a", 1)]);
    let text = refused(&place, &["full-load", &first, "--table", "shop.Orders", "--key", "pk"], 2);
    assert!(text.contains("capital letters"), "{text}");
    assert!(
        refused(&place, &["full-load", &first, "--table", "a.b.orders", "--key", "pk"], 2).contains("one database")
    );

    place.server.fail_next("CreateTable", 1, Fault::Answer(400, "AccessDeniedException", "no"));
    let load = [&["full-load", &first, "-vvv"][..], &LOAD].concat();
    let text = refused(&place, &load, 1);
    assert!(text.contains("glue:CreateTable"), "{text}");
    assert!(!text.contains(SECRET_KEY), "a secret is in the log");
    let left: Vec<_> = walk(&place.folder.path().join("warehouse"));
    assert!(left.is_empty(), "{left:?}");
    assert!(place.server.table("shop", "orders").is_none());
    place.server.heal();
    assert_eq!(report(&place, &load)["status"], "applied");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}
