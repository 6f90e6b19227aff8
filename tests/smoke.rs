//! The main job once, through the real binary: load, two windows, rows after each.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/exports.rs"]
mod exports;
#[path = "../examples/from_rust.rs"]
mod from_rust;
#[path = "common/reader.rs"]
mod reader;

use std::path::Path;
use std::process::Command;

use ddb_iceberg::commands::Status;
use exports::{FullExport, IncrementalExport};
use serde_json::Value;

fn run(dir: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"))
        .args(arguments)
        .args(["--table", "shop.orders", "--format", "json"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_becomes_a_table_and_increments_keep_it_true() {
    let dir = tempfile::tempdir().unwrap();
    let item = |pk: &str, v: i64| format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"v":{{"N":"{v}"}}}}}}"#);
    let full = FullExport::new("orders")
        .time("2026-01-14T10:00:00.000Z")
        .files(vec![vec![item("a", 1), item("b", 2)], vec![item("c", 3)]])
        .write(dir.path());
    let record = |pk: &str, v: Option<i64>| {
        let image = v.map(|v| format!(r#","NewImage":{{"pk":{{"S":"{pk}"}},"v":{{"N":"{v}"}}}}"#)).unwrap_or_default();
        format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1"}}}},"Keys":{{"pk":{{"S":"{pk}"}}}}{image}}}"#)
    };
    IncrementalExport::new("orders")
        .from("2026-01-14T10:00:00.000Z")
        .to("2026-01-14T10:15:00.000Z")
        .files(vec![vec![record("a", Some(10)), record("b", None), record("d", Some(4))]])
        .write(dir.path());
    let report = run(dir.path(), &["full-load", full.to_str().unwrap(), "--key", "pk"]);
    assert_eq!(report["windows"][0]["rows"]["inserted"], 3);
    let report = run(dir.path(), &["incremental", "."]);
    assert_eq!(report["windows"][0]["rows"], serde_json::json!({"inserted": 1, "updated": 1, "deleted": 1}));
    assert_eq!(report["watermark"], "2026-01-14T10:15:00.000Z");
    let rows = reader::rows(&dir.path().join("warehouse"), "shop.orders").await;
    let pairs: Vec<_> = rows.iter().map(|r| (r["pk"].as_str().unwrap(), r["v"].as_i64().unwrap())).collect();
    assert_eq!(pairs, [("a", 10), ("c", 3), ("d", 4)]);
}

/// The example for users of the library.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_rust_works() {
    let dir = tempfile::tempdir().unwrap();
    let exports = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/exports");
    let full = format!("{exports}/AWSDynamoDB/01768385700000-5b0e41c7");
    let reports = from_rust::run(&full, exports, dir.path().to_str().unwrap()).await.unwrap();
    let told: Vec<_> = reports.iter().map(|report| (report.command, report.status, report.windows.len())).collect();
    assert_eq!(told, [("full-load", Status::Applied, 1), ("incremental", Status::Applied, 2)]);
}
