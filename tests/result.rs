//! The result: one JSON object with exactly the documented fields, on stdout, also when the command failed; and what is
//! not supported yet says so.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use exports::data_files;
use program::{Run, Site, at, change, full, gone, item, put, simple};
use serde_json::{Value, json};

const RESULT: [&str; 15] = [
    "version",
    "command",
    "table",
    "status",
    "windows",
    "maintenance",
    "watermark",
    "lag_seconds",
    "pending",
    "metadata_location",
    "bytes_read",
    "bytes_written",
    "seconds",
    "warnings",
    "error",
];
/// Parts that one command alone has, or that are there where there is something to tell.
const PARTS: [&str; 3] = ["state", "comparison", "skipped"];
const WINDOW: [&str; 9] =
    ["export_arn", "from", "to", "status", "snapshot_id", "rows", "rescued", "columns_added", "files"];
const ROWS: [&str; 3] = ["inserted", "updated", "deleted"];
const FILES: [&str; 3] = ["data_added", "data_removed", "deletes_added"];
const ERROR: [&str; 5] = ["exit", "message", "file", "line", "attribute"];
const STATUSES: [&str; 6] = ["applied", "already_applied", "nothing_to_do", "dry_run", "failed", "checked"];

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap_or_else(|| panic!("an object: {object}")).keys().map(String::as_str).collect()
}

/// Checks names and types of everything in a result.
#[track_caller]
fn is_documented(run: &Run) {
    assert!(run.stdout.ends_with('\n') && run.stdout.matches('\n').count() == 1, "one line: {:?}", run.stdout);
    let report = &run.report;
    assert_eq!(names(report), RESULT.into());
    assert_eq!(report["version"], 1);
    assert!(STATUSES.contains(&report["status"].as_str().unwrap()), "{report}");
    for name in ["pending", "bytes_read", "bytes_written"] {
        assert!(report[name].is_u64(), "{name}: {report}");
    }
    assert!(report["seconds"].as_f64().unwrap() >= 0.0, "{report}");
    assert!(report["warnings"].as_array().unwrap().iter().all(Value::is_string), "{report}");
    assert_eq!(report["watermark"].is_string(), report["lag_seconds"].is_i64(), "{report}");
    for window in report["windows"].as_array().unwrap() {
        let mut expected: BTreeSet<_> = WINDOW.into();
        if report["command"] == "full-load" {
            expected.remove("from");
        }
        assert_eq!(names(window), expected);
        assert!(STATUSES.contains(&window["status"].as_str().unwrap()), "{window}");
        assert_eq!(names(&window["rows"]), ROWS.into());
        assert_eq!(names(&window["files"]), FILES.into());
        for number in ROWS.map(|name| &window["rows"][name]).iter().chain(&FILES.map(|name| &window["files"][name])) {
            assert!(number.is_u64(), "{window}");
        }
        assert!(window["rescued"].as_object().unwrap().values().all(Value::is_u64), "{window}");
        assert!(window["columns_added"].as_array().unwrap().iter().all(Value::is_string), "{window}");
        match window["status"].as_str().unwrap() {
            "applied" => assert!(window["snapshot_id"].is_string(), "{window}"),
            "dry_run" => assert!(window["snapshot_id"].is_null(), "{window}"),
            _ => assert!(!window["snapshot_id"].is_number(), "a number of 64 bits: {window}"),
        }
    }
    assert_eq!(report["error"].is_null(), run.code == 0, "{report}");
    assert_eq!(report["status"] == "failed", run.code != 0, "{report}");
    if run.code != 0 {
        let error = &report["error"];
        assert_eq!(names(error), ERROR.into());
        assert_eq!(error["exit"], run.code);
        assert!(!run.message().is_empty());
        assert!(run.stderr.lines().any(|line| line == format!("error: {}", run.message())), "{}", run.stderr);
    }
}

/// What this file expects is what the published schema says.
#[test]
fn the_fields_are_those_of_the_published_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/result.v1.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let window = &schema["$defs"]["window"];
    let all = [&RESULT[..], &PARTS].concat();
    for (part, expected) in [
        (&schema, &all[..]),
        (window, &WINDOW),
        (&window["properties"]["rows"], &ROWS),
        (&window["properties"]["files"], &FILES),
        (&schema["$defs"]["error"], &ERROR),
    ] {
        assert_eq!(names(&part["properties"]), expected.iter().copied().collect());
    }
    assert_eq!(schema["$defs"]["status"]["enum"], json!(STATUSES));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_success_has_the_documented_fields() {
    let site = Site::new();
    let export = full(0).files([vec![simple("a", 1), simple("b", 2)]]);
    let arn = export.arn();
    let export = export.write(site.bucket());
    let load = site.load(&export, &["pk"]).expect(0);
    is_documented(&load);
    assert_eq!(load.report["command"], "full-load");
    assert_eq!(load.report["table"], "shop.orders");
    assert_eq!(load.report["status"], "applied");
    let table = site.table().await.unwrap();
    let snapshot = table.metadata.current_snapshot_id().unwrap().to_string();
    let window = json!({
        "export_arn": arn, "to": at(0), "status": "applied", "snapshot_id": snapshot,
        "rows": {"inserted": 2, "updated": 0, "deleted": 0}, "rescued": {}, "columns_added": [],
        "files": {"data_added": 1, "data_removed": 0, "deletes_added": 0},
    });
    assert_eq!(load.report["windows"], json!([window]));
    assert_eq!(load.report["metadata_location"], table.metadata_location);
    assert!(table.metadata_location.starts_with("file:///"), "{}", table.metadata_location);
    assert_eq!(load.report["watermark"], at(0));
    assert!(load.report["lag_seconds"].as_i64().unwrap() > 24 * 3600);
    is_documented(&site.load(&export, &["pk"]).expect(0));

    let changes = vec![
        change(
            &json!({"pk": {"S": "a"}}),
            Some(&json!({"pk": {"S": "a"}, "v": {"S": "text"}, "more": {"M": {"x": {"N": "1"}}}})),
        ),
        gone("b"),
        put("c", 3),
    ];
    let first = site.window(0, 15, changes);
    site.window(15, 30, vec![put("c", 4)]);
    let run = site.incremental(&[&first], &[]).expect(0);
    is_documented(&run);
    let window = &run.report["windows"][0];
    assert_eq!((&window["from"], &window["to"]), (&json!(at(0)), &json!(at(15))));
    assert_eq!(window["rescued"], json!({"v": 1}));
    assert_eq!(window["columns_added"], json!(["more"]));
    assert_eq!(run.counts(0), [1, 1, 1]);
    assert_eq!(window["files"], json!({"data_added": 1, "data_removed": 0, "deletes_added": 1}));
    is_documented(&site.incremental(&[&site.bucket()], &["--dry-run"]).expect(0));
    is_documented(&site.incremental(&[&site.bucket()], &[]).expect(0));
    let nothing = site.incremental(&[&site.bucket()], &[]).expect(0);
    is_documented(&nothing);
    assert_eq!(nothing.report["windows"], json!([]));
    is_documented(&site.incremental(&[&first], &[]).expect(0));
    let fresh = Site::new();
    let export = full(0).files([vec![simple("a", 1)]]).write(fresh.bucket());
    is_documented(&fresh.run(&["full-load", export.to_str().unwrap(), "--key", "pk", "--dry-run"]).expect(0));
    let arguments = ["detect-schema", export.to_str().unwrap(), "--output", "s.json", "--format", "json"];
    let detected = fresh.plain(&arguments).expect(0);
    is_documented(&detected);
    assert_eq!(detected.report["table"], Value::Null);
}

#[test]
fn bytes_read_and_written_are_those_of_the_files() {
    let site = Site::new();
    let lines = |from: i64| (from..from + 500).map(|n| simple(&format!("k{n}"), n)).collect::<Vec<_>>();
    let export = full(0).files([lines(0), lines(1000)]).write(site.bucket());
    let typed = r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"v":{"type":"long"}}}"#;
    fs::write(site.path().join("schema.json"), typed).unwrap();
    let run = site.run(&["full-load", export.to_str().unwrap(), "--schema", "schema.json"]).expect(0);
    let read: u64 = data_files(site.bucket(), &export).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    assert_eq!(run.report["bytes_read"], read);
    let written: u64 = site
        .table_files()
        .iter()
        .filter(|name| Path::new(name).extension().is_some_and(|e| e == "parquet"))
        .map(|name| fs::metadata(site.warehouse().join(name)).unwrap().len())
        .sum();
    assert!(run.report["bytes_written"].as_u64().unwrap() >= written, "{} of {written}", run.stdout);
}

#[test]
fn every_failure_has_the_documented_fields() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let gap = site.window(15, 30, vec![put("a", 2)]);
    let damaged = site.window(0, 15, vec!["oops".to_owned()]);
    let other = full(5).files([vec![simple("a", 1)]]).write(site.bucket());
    for (run, code) in [
        (site.incremental(&[&gap], &[]), 4),
        (site.incremental(&[&damaged], &[]), 3),
        (site.incremental(&[&other], &[]), 3),
        (site.incremental(&[&site.path().join("nowhere")], &[]), 3),
        (site.load(&other, &["pk"]), 1),
        (site.plain(&["incremental", "x", "--table", "shop.absent", "--format", "json"]), 1),
        (site.plain(&["detect-schema", "nowhere", "--format", "json"]), 3),
        (site.run(&["incremental", "x", "--config", "absent.yaml"]), 2),
    ] {
        is_documented(&run.expect(code));
    }
    let run = site.incremental(&[&damaged], &[]);
    assert_eq!(run.report["error"]["line"], 1);
    // What the table is like is told even so.
    assert_eq!(run.report["watermark"], at(0));
    assert!(run.report["metadata_location"].is_string());
}

#[test]
fn a_failure_in_words_is_on_stderr_and_stdout_is_empty() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let gap = site.window(15, 30, vec![put("a", 2)]);
    let run = site.plain(&["incremental", gap.to_str().unwrap(), "--table", "shop.orders"]);
    assert_eq!(run.code, 4);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.starts_with("error: gap"), "{}", run.stderr);
}

#[test]
fn a_wrong_command_line_as_json() {
    let site = Site::new();
    for arguments in [
        &["full-load", "x", "--key", "a", "--key", "a"][..],
        &["full-load", "x", "--key", "a", "--key", "b", "--key", "c"],
        &["full-load", "x", "--key", ""],
        &["incremental", "x", "--catalog-property", "nonsense"],
        &["-q", "incremental", "x", "-v"],
    ] {
        is_documented(&site.run(arguments).expect(2));
    }
    // What does not parse too; there the usage follows the message on stderr.
    for arguments in [&["incremental"][..], &["full-load", "x", "--fly"], &["incremental", "x", "--threads", "many"]] {
        let run = site.run(arguments).expect(2);
        assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
        assert_eq!(run.report["command"], arguments[0]);
    }
}

#[test]
fn what_is_not_supported_yet_says_so() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let export = site.window(0, 15, vec![put("a", 2)]);
    let other = full(5).files([vec![simple("b", 1)]]).write(site.bucket());
    let (export, other) = (export.to_str().unwrap(), other.to_str().unwrap());
    let before = site.files();
    for arguments in [
        &["incremental", export, "--catalog-property", "type=dynamodb"][..],
        &["incremental", export, "--catalog-property", "uri=thrift://localhost:1"],
        &["full-load", other, "--key", "pk", "--catalog-property", "type=hive"],
        &["full-load", other, "--key", "pk", "--catalog-property", "uri=mysql://localhost/db"],
    ] {
        let run = site.run(arguments).expect(2);
        is_documented(&run);
        assert!(run.message().contains("not supported yet"), "{arguments:?}: {}", run.message());
    }
    assert!(site.files() == before, "nothing was touched");
}

/// Control characters of attributes and file names can't reach a terminal.
#[test]
fn what_an_export_holds_can_not_command_the_terminal() {
    let site = Site::new();
    let nasty = "a\u{1b}[2J\u{7}\r\nb";
    let line = item(&json!({"pk": {"S": "a"}, nasty: {"L": [{"S": "x"}]}}));
    let export = full(0).files([vec![line]]).write(site.bucket());
    for arguments in [&["detect-schema", export.to_str().unwrap()][..], &["full-load", export.to_str().unwrap()]] {
        let more: &[&str] = if arguments[0] == "full-load" { &["--key", nasty, "--table", "shop.orders"] } else { &[] };
        for format in ["json", "text"] {
            let run = site.plain(&[arguments, more, &["--format", format]].concat());
            let all = format!("{}{}", run.stdout, run.stderr);
            assert!(!all.contains('\u{1b}') && !all.contains('\u{7}') && !all.contains('\r'), "{all:?}");
        }
    }
}
