//! `schemas/` and the code describe the same thing.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::fs;

use ddb_iceberg::commands::{
    AppliedWindow, CheckReport, CheckedPart, Comparison, DifferingKey, DueWindow, FileCounts, LiveFiles,
    MaintenanceReport, NextWindow, Report, RowCounts, SkippedWindow, Status, TableState, WindowReport,
};
use ddb_iceberg::error::Error;
use ddb_iceberg::table::watermark::Gap;
use serde_json::Value;

fn schema(name: &str) -> Value {
    let path = format!("{}/schemas/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn full_report(from: Option<&str>) -> Report {
    let mut report = Report::new("incremental", Some("shop.orders".to_owned()));
    report.windows.push(WindowReport {
        export_arn: Some("arn".to_owned()),
        from: from.map(str::to_owned),
        to: Some("2026-01-14T10:30:00.000Z".to_owned()),
        status: Status::Applied,
        snapshot_id: Some("1".to_owned()),
        rows: RowCounts::default(),
        rescued: BTreeMap::from([("a".to_owned(), 1)]),
        columns_added: vec!["b".to_owned()],
        files: FileCounts::default(),
    });
    report.skipped.push(SkippedWindow {
        export_arn: None,
        from: "2026-01-14T10:15:00.000Z".to_owned(),
        to: "2026-01-14T10:30:00.000Z".to_owned(),
        reason: "other windows are taken for its time".to_owned(),
    });
    report.maintenance.push(MaintenanceReport::new("compact", Status::Applied));
    let text = || "2026-01-14T10:30:00.000Z".to_owned();
    report.state = Some(Box::new(TableState {
        windows: vec![AppliedWindow {
            export_arn: None,
            from: from.map(str::to_owned),
            to: None,
            snapshot_id: "1".to_owned(),
            committed: text(),
            added_records: Some(1),
            added_position_deletes: None,
        }],
        gaps: vec![Gap { from: text(), to: text() }],
        due: vec![DueWindow { export_arn: None, from: text(), to: text(), problem: None }],
        next: Some(NextWindow { from: text(), to: text(), ready: true, command: None }),
        files: Some(LiveFiles::default()),
        ..TableState::default()
    }));
    report.comparison = Some(Comparison {
        export_arn: None,
        export_time: Some(text()),
        snapshot_id: "1".to_owned(),
        snapshot_watermark: None,
        items: 1,
        rows: 1,
        equal: 0,
        missing: 0,
        extra: 0,
        different: 1,
        repeated: 0,
        examples: vec![DifferingKey {
            difference: "different",
            key: "pk=1".to_owned(),
            attributes: vec!["a".to_owned()],
        }],
    });
    report.fail(&Error::input("broken").in_file("a.json.gz").on_line(2).of_attribute("pk"));
    report
}

/// Every field that is written is described, every field that must be there is written. Follows `$ref` into `$defs`.
fn agree<'a>(root: &'a Value, mut schema: &'a Value, value: &Value, path: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        schema = root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}: {reference}"));
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        schema = choices.iter().find(|choice| choice["type"] != "null").unwrap();
        return agree(root, schema, value, path);
    }
    match value {
        Value::Object(fields) if !schema["properties"].is_null() => {
            for (name, value) in fields {
                let described = &schema["properties"][name];
                assert!(!described.is_null(), "{path}.{name} is not described");
                agree(root, described, value, &format!("{path}.{name}"));
            }
            for name in schema["required"].as_array().unwrap() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{path}.{name} is missing");
            }
            assert_eq!(schema["additionalProperties"], Value::Null, "{path}: later versions may add fields");
        }
        Value::Array(elements) => {
            for (n, element) in elements.iter().enumerate() {
                agree(root, &schema["items"], element, &format!("{path}[{n}]"));
            }
        }
        _ => {}
    }
}

#[test]
fn the_result_is_described_field_by_field() {
    let schema = schema("result.v1.json");
    for from in [Some("2026-01-14T10:15:00.000Z"), None] {
        agree(&schema, &schema, &serde_json::to_value(full_report(from)).unwrap(), "result");
    }
    let failed_at_once = Report::new("full-load", None);
    agree(&schema, &schema, &serde_json::to_value(failed_at_once).unwrap(), "result");
}

#[test]
fn the_result_of_a_check_is_described_field_by_field() {
    let schema = schema("catalog-check.v1.json");
    let mut report = CheckReport::default();
    agree(&schema, &schema, &serde_json::to_value(&report).unwrap(), "result");
    report.good(CheckedPart::Configuration, "read");
    report.failed(CheckedPart::SignIn, &Error::failed("no").in_file("x"));
    report.failed(CheckedPart::Warehouse, &Error::usage("no"));
    let value = serde_json::to_value(&report).unwrap();
    agree(&schema, &schema, &value, "result");
    assert_eq!((&value["status"], &value["error"]["exit"]), (&"failed".into(), &1.into()), "the first failure counts");
    assert_eq!(value["steps"][1]["part"], "sign_in");
}

#[test]
fn every_status_is_described() {
    let described = &schema("result.v1.json")["$defs"]["status"]["enum"];
    let all =
        [Status::Applied, Status::AlreadyApplied, Status::NothingToDo, Status::DryRun, Status::Failed, Status::Checked];
    assert_eq!(serde_json::to_value(all).unwrap(), *described);
}

#[test]
fn every_exit_code_is_described() {
    use ddb_iceberg::error::Kind;
    let described = &schema("result.v1.json")["$defs"]["error"]["properties"]["exit"]["enum"];
    let all = [Kind::Failed, Kind::Usage, Kind::Input, Kind::Window, Kind::Contended, Kind::Unknown, Kind::Interrupted];
    assert_eq!(serde_json::to_value(all.map(Kind::exit_code)).unwrap(), *described);
}
