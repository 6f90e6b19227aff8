use serde_json::{Value, json};

use super::*;
use crate::error::Kind;

fn incremental() -> Value {
    json!({"version":"2023-08-01","exportArn":"arn:e","tableArn":"arn:t","tableId":"id",
        "exportFromTime":"2026-01-14T10:20:00.000Z","exportToTime":"2026-01-14T10:35:00.000Z","s3Prefix":null,
        "manifestFilesS3Key":"AWSDynamoDB/x/manifest-files.json","itemCount":6,"outputFormat":"DYNAMODB_JSON",
        "outputView":"NEW_AND_OLD_IMAGES","exportType":"INCREMENTAL_EXPORT","somethingNew":[1]})
}

fn check(change: impl FnOnce(&mut Value), mut value: Value) -> Result<ExportKind, String> {
    change(&mut value);
    let summary = parse_summary(&serde_json::to_vec(&value).unwrap()).and_then(check_summary);
    summary.and_then(|s| s.check_format().map(|()| s.kind)).map_err(|e| {
        assert_eq!(e.kind(), Kind::Input);
        e.to_string()
    })
}

#[test]
fn kinds_and_views() {
    let window = |view| ExportKind::Incremental {
        from: time::parse("2026-01-14T10:20:00Z").unwrap(),
        to: time::parse("2026-01-14T10:35:00Z").unwrap(),
        view,
    };
    assert_eq!(check(|_| {}, incremental()), Ok(window(View::NewAndOldImages)));
    assert_eq!(check(|v| v["outputView"] = "NEW_IMAGES".into(), incremental()), Ok(window(View::NewImage)));
    assert_eq!(check(|v| v["outputView"] = "NEW_IMAGE".into(), incremental()), Ok(window(View::NewImage)));
    assert_eq!(check(|v| v["exportType"] = Value::Null, incremental()), Ok(window(View::NewAndOldImages)));
    let full = json!({"manifestFilesS3Key":"a/manifest-files.json","exportTime":"2026-01-14T10:18:50.622Z"});
    let at = time::parse("2026-01-14T10:18:50.622Z");
    assert_eq!(check(|_| {}, full.clone()), Ok(ExportKind::Full { time: at }));
    assert_eq!(check(|v| v["exportType"] = "FULL_EXPORT".into(), full), Ok(ExportKind::Full { time: at }));
}

#[test]
fn what_matters_must_be_right() {
    for (field, value, message) in [
        ("exportType", json!("FULL_EXPORT"), "contradicts"),
        ("exportType", json!("PARTIAL"), "PARTIAL"),
        ("exportFromTime", json!("2026-01-14T10:35:00.000Z"), "ends"),
        ("exportFromTime", json!(null), "lacks exportFromTime"),
        ("exportToTime", json!("yesterday"), "yesterday"),
        ("outputView", json!(null), "lacks outputView"),
        ("outputView", json!("OLD_IMAGE"), "OLD_IMAGE"),
        ("outputFormat", json!("ION"), "Amazon Ion exports are not supported"),
        ("outputFormat", json!("CSV"), "CSV"),
        ("itemCount", json!(-1), "JSON"),
        ("itemCount", json!("6"), "JSON"),
        ("manifestFilesS3Key", json!(null), "manifestFilesS3Key"),
    ] {
        let error = check(|v| v[field] = value, incremental()).unwrap_err();
        assert!(error.contains(message), "{field}: {error}");
    }
    assert!(parse_summary(b"").is_err());
    assert!(parse_summary(b"[]").is_err());
    assert!(parse_summary(b"{\"itemCount\":1,\"itemCount\":2,\"manifestFilesS3Key\":\"a/b\"}").is_err());
}

#[test]
fn filters_are_refused_by_any_name() {
    for (field, value) in [
        ("filterSpecification", json!({"filterExpression": "v > :v"})),
        ("FilterExpression", json!("v > :v")),
        ("projectionExpression", json!("pk, v")),
        ("keyConditionExpression", json!("pk = :pk")),
        ("exportSpecification", json!({"names": [{"x": null, "FILTER_expression": ["a"]}]})),
        ("isFiltered", json!(true)),
        ("filters", json!(1)),
        ("filters", json!(-1)),
        ("filters", json!(0.5)),
        ("conditions", json!({"a": 1, "b": 0})),
        ("conditions", json!([[], 7, null])),
    ] {
        let error = check(|v| v[field] = value.clone(), incremental()).unwrap_err();
        assert!(error.contains("filtered"), "{field}: {error}");
        let full = json!({"manifestFilesS3Key":"a/manifest-files.json","exportTime":"2026-01-14T10:18:50.622Z"});
        assert!(check(|v| v[field] = value, full).unwrap_err().contains("filtered"), "{field}");
    }
    for value in [
        json!(null),
        json!(""),
        json!({}),
        json!([]),
        json!(false),
        json!(0),
        json!({"a": 0}),
        json!({"filterExpression": null, "a": [" "]}),
    ] {
        assert!(check(|v| v["filterSpecification"] = value.clone(), incremental()).is_ok(), "{value}");
    }
    // The same name twice: neither hides the other.
    let twice = br#"{"manifestFilesS3Key":"a/b","filterExpression":"x","filterExpression":null}"#;
    assert_eq!(parse_summary(twice).unwrap().filter.as_deref(), Some("filterExpression"));
}

#[test]
fn sums() {
    let file = |count| DataFileRef {
        location: Location::parse("/x").unwrap(),
        name: "x".into(),
        item_count: count,
        md5: None,
        position: 0,
    };
    assert!(check_sum(&[file(Some(2)), file(Some(0))], Some(2)).is_ok());
    assert!(check_sum(&[], Some(0)).is_ok());
    assert!(check_sum(&[file(Some(2))], Some(3)).is_err());
    // A file too many, by one item or by many.
    assert!(check_sum(&[file(Some(2)), file(Some(1))], Some(2)).is_err());
    assert!(check_sum(&[file(Some(2)), file(Some(30))], Some(2)).is_err());
    assert!(check_sum(&[file(Some(1))], Some(0)).is_err());
    assert!(check_sum(&[], Some(1)).is_err());
    assert!(check_sum(&[file(Some(u64::MAX)), file(Some(2))], Some(1)).is_err());
    assert!(check_sum(&[file(Some(MAX_ITEMS))], Some(MAX_ITEMS)).is_ok());
    assert!(check_sum(&[file(Some(MAX_ITEMS)), file(Some(1))], Some(MAX_ITEMS + 1)).is_err());
    assert!(check_sum(&[file(None)], Some(3)).is_ok());
    assert!(check_sum(&[file(Some(u64::MAX)), file(None)], None).is_err());
}

/// Without its type, any part of a window makes an export an incremental one.
#[test]
fn what_says_of_a_window_is_of_one() {
    let is = |field: &str, value: &str| {
        let json = json!({"manifestFilesS3Key":"a/b", field: value});
        parse_summary(&serde_json::to_vec(&json).unwrap()).unwrap().is_incremental().unwrap()
    };
    let time = "2026-01-14T10:20:00.000Z";
    assert!(is("exportFromTime", time) && is("exportToTime", time) && is("outputView", "NEW_IMAGE"));
    assert!(!is("exportTime", time) && !is("exportType", "FULL_EXPORT") && is("exportType", "INCREMENTAL_EXPORT"));
}
