//! Numbers are exact on every path: extremes, spellings, and columns that meet what they can't hold.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use program::{Site, change, item};
use serde_json::{Value, json};

const DIGITS_38: &str = "12345678901234567890123456789012345678";

fn n(text: &str) -> Value {
    json!({ "N": text })
}

fn decimal(text: &str) -> Value {
    json!({ "decimal": text })
}

/// The row with this key.
async fn row(site: &Site, pk: &str) -> reader::Row {
    site.rows().await.into_iter().find(|row| row["pk"] == pk).unwrap()
}

fn rescued(row: &reader::Row) -> Value {
    row.get("_ddb_rescued").map_or(Value::Null, |text| serde_json::from_str(text.as_str().unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_number_has_a_column_that_holds_it() {
    let cases = [
        ("zero", "-0", json!(0)),
        ("one", "1.0", json!(1)),
        ("hundred", "1E2", json!(100)),
        ("least_long", "-9223372036854775808", json!(i64::MIN)),
        ("beyond_long", "9223372036854775808", decimal("9223372036854775808")),
        ("price", "19.990", decimal("19.99")),
        ("digits", DIGITS_38, decimal(DIGITS_38)),
        ("minus_digits", "-99999999999999999999999999999999999999", decimal("-99999999999999999999999999999999999999")),
        ("fraction", "0.99999999999999999999999999999999999999", decimal("0.99999999999999999999999999999999999999")),
        ("least", "1E-130", json!("1E-130")),
        ("most", "9.99E+125", json!("9.99E+125")),
        (
            "longest",
            "-9.9999999999999999999999999999999999999E+125",
            json!("-9.9999999999999999999999999999999999999E+125"),
        ),
        ("wide", "1E38", json!("1E+38")),
    ];
    let mut attributes = json!({"pk": {"S": "a"}});
    for (name, text, _) in &cases {
        attributes[*name] = n(text);
        attributes[format!("set_{name}")] = json!({ "NS": [text] });
        attributes[format!("list_{name}")] = json!({ "L": [n(text), {"S": "text"}] });
    }
    let site = Site::loaded(vec![item(&attributes)], &["pk"]);
    let row = row(&site, "a").await;
    for (name, text, expected) in &cases {
        assert_eq!(&row[*name], expected, "{text}");
        assert_eq!(row[&format!("set_{name}")], json!([expected]), "{text} in a set");
        // JSON text has all digits too.
        let digits = expected.get("decimal").unwrap_or(expected);
        let digits = digits.as_str().map_or_else(|| digits.to_string(), str::to_owned);
        assert_eq!(row[&format!("list_{name}")], json!([digits, "\"text\""]), "{text} as JSON");
    }
    assert_eq!(rescued(&row), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_column_can_not_hold_is_rescued_and_the_rest_of_the_row_is_right() {
    let first = json!({"pk": {"S": "a"}, "long": n("1"), "decimal": n("0.5"), "digits": n("1E100"), "other": n("7"),
        "longs": {"NS": ["1", "2"]}, "list": {"L": [n("1")]}, "m": {"M": {"x": n("1"), "y": n("2")}}});
    let site = Site::loaded(vec![item(&first)], &["pk"]);
    // The values of item "b", what its columns then hold, and what is rescued.
    let cases = [
        ("long", n("19.99"), Value::Null, true),
        ("long", n("1E18"), json!(1_000_000_000_000_000_000_i64), false),
        ("long", n("1E19"), Value::Null, true),
        ("long", n("12.000"), json!(12), false),
        ("decimal", n("0.0000000001"), Value::Null, true),
        ("decimal", n("0.000000001"), decimal("0.000000001"), false),
        ("decimal", n("99999999999999999999999999999.5"), decimal("99999999999999999999999999999.5"), false),
        ("decimal", n("100000000000000000000000000000"), Value::Null, true),
        ("decimal", n("1E-130"), Value::Null, true),
        ("digits", n("19.990"), json!("19.99"), false),
        ("digits", n("-0"), json!("0"), false),
        ("longs", json!({"NS": ["1", "2.5"]}), json!([1, null]), true),
        ("longs", json!({"NS": ["1", "3.0"]}), json!([1, 3]), false),
        ("list", json!({"L": [n("2"), n("2.5")]}), json!([2, null]), true),
        ("m", json!({"M": {"x": n("0.1"), "y": n("3")}}), json!({"y": 3}), true),
    ];
    for (minute, (name, value, expected, kept)) in (0..).zip(cases) {
        let keys = json!({"pk": {"S": "b"}});
        let mut image = json!({"pk": {"S": "b"}, "other": n("8.0")});
        image[name] = value.clone();
        let window = site.window(minute, minute + 1, vec![change(&keys, Some(&image))]);
        let run = site.incremental(&[&window], &[]).expect(0);
        let report = &run.report["windows"][0]["rescued"];
        assert_eq!(*report, if kept { json!({ name: 1 }) } else { json!({}) }, "{value}");
        assert_eq!(run.warnings().contains(&format!("\\\"{name}\\\"")), kept, "{}", run.warnings());
        let row = row(&site, "b").await;
        assert_eq!(row.get(name).cloned().unwrap_or_default(), expected, "{value}");
        assert_eq!(row["other"], 8);
        assert_eq!(rescued(&row), if kept { json!({ name: value }) } else { Value::Null });
    }
}

/// No number that DynamoDB can't hold is taken for one.
#[test]
fn what_is_no_number_stops_the_load() {
    for text in
        ["1E126", "9E-131", "123456789012345678901234567890123456789", "NaN", "Infinity", "0x1", "1,5", "", "1e"]
    {
        let site = Site::new();
        let lines = [item(&json!({"pk": {"S": "a"}, "v": n("1")})), item(&json!({"pk": {"S": "b"}, "v": n(text)}))];
        let export = program::full(0).files([lines]).write(site.bucket());
        let run = site.load(&export, &["pk"]).expect(3);
        let error = &run.report["error"];
        assert_eq!((&error["line"], &error["attribute"]), (&json!(2), &json!("v")), "{error}");
        assert!(site.table_files().is_empty());
    }
}
