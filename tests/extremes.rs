//! Sizes at DynamoDB's limits, by the program itself, within the least `--memory-limit`.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "extremes/memory.rs"]
mod memory;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::collections::BTreeMap;
use std::path::Path;

use program::{Run, Site, change, full, item};
use serde_json::{Map, Value, json};

const LIMIT: u64 = 488;

fn load(site: &Site, lines: Vec<String>) -> Run {
    let export = full(0).files([lines]).write(site.bucket());
    let (run, peak) = site.measured(&["full-load", export.to_str().unwrap(), "--key", "pk"]);
    assert!(peak <= LIMIT, "{peak} MiB to load");
    run.expect(0)
}

fn apply(site: &Site, minute: u32, images: &[Value]) -> Run {
    let lines = images.iter().map(|image| change(&json!({"pk": image["pk"]}), Some(image))).collect();
    let window = site.window(minute, minute + 1, lines);
    let (run, peak) = site.measured(&["incremental", window.to_str().unwrap()]);
    assert!(peak <= LIMIT, "{peak} MiB to apply a window");
    run.expect(0)
}

fn by_key(rows: &[reader::Row]) -> BTreeMap<&str, &reader::Row> {
    rows.iter().map(|row| (row["pk"].as_str().unwrap(), row)).collect()
}

fn s(text: &str) -> Value {
    json!({ "S": text })
}

/// An item of these attributes.
fn with(pk: &str, attributes: impl IntoIterator<Item = (String, Value)>) -> Value {
    let mut item = Map::from_iter([("pk".to_owned(), s(pk))]);
    item.extend(attributes);
    Value::Object(item)
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_400_kb_in_one_attribute() {
    let site = Site::new();
    let text = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap()).to_string().repeat(400_000);
    let image = |n: usize| with(&format!("{n:04}"), [("v".to_owned(), s(&text(n)))]);
    load(&site, (0..400).map(|n| item(&image(n))).collect());
    apply(
        &site,
        0,
        &(0..40).map(|n| with(&format!("{n:04}"), [("v".to_owned(), s(&text(n + 1)))])).collect::<Vec<_>>(),
    );
    let rows = site.rows().await;
    assert_eq!(rows.len(), 400);
    for row in &rows {
        let n: usize = row["pk"].as_str().unwrap().parse().unwrap();
        assert!(row["v"] == text(if n < 40 { n + 1 } else { n }), "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_attributes() {
    let site = Site::new();
    let attributes = |n: usize| (0..10_000).map(move |k| (format!("attribute {k}"), json!({"N": (k + n).to_string()})));
    load(&site, (0..3).map(|n| item(&with(&n.to_string(), attributes(n)))).collect());
    apply(&site, 0, &[with("1", attributes(7))]);
    let rows = site.rows().await;
    assert_eq!(rows.len(), 3);
    for (row, n) in by_key(&rows).values().zip([0, 7, 2]) {
        assert_eq!(row.len(), 10_001, "all but _ddb_rescued");
        assert!((0..10_000).all(|k| row[&format!("attribute {k}")] == k + n));
    }
}

/// Every item has all of the attributes, so that each column has many values in each file. Rewriting them takes most: two thirds of
/// the limit, so that half as much again for each column is noticed. (With 10,000 attributes some machines are at the limit.)
#[tokio::test(flavor = "multi_thread")]
async fn a_dense_table_of_seven_thousand_attributes() {
    const ATTRIBUTES: usize = 7_000;
    let site = Site::new();
    let value = |k: usize, n: usize| if k.is_multiple_of(2) { json!(k * n) } else { json!(format!("text {}", k + n)) };
    let image = |pk: usize, n: usize| {
        let typed = |v: Value| if v.is_number() { json!({"N": v.to_string()}) } else { json!({ "S": v }) };
        with(&format!("{pk:03}"), (0..ATTRIBUTES).map(|k| (format!("attribute {k}"), typed(value(k, n)))))
    };
    let lines = |pks: std::ops::Range<usize>| pks.map(|n| item(&image(n, n))).collect::<Vec<_>>();
    let export = full(0).files([lines(0..100), lines(100..200)]).write(site.bucket());
    let measured = |arguments: &[&str]| {
        let (run, peak) = site.measured(arguments);
        assert!(peak <= LIMIT, "{peak} MiB for {}", arguments[0]);
        run.expect(0)
    };
    measured(&["full-load", export.to_str().unwrap(), "--key", "pk"]);
    for (minute, mode) in [(0, "merge-on-read"), (1, "copy-on-write")] {
        let changes =
            (0..50).map(|n| change(&json!({"pk": s(&format!("{n:03}"))}), Some(&image(n, n + 1000)))).collect();
        let window = site.window(minute, minute + 1, changes);
        measured(&["incremental", window.to_str().unwrap(), "--write-mode", mode]);
    }
    let rows = site.rows().await;
    assert_eq!(rows.len(), 200);
    for (n, row) in by_key(&rows).values().enumerate() {
        let n = if n < 50 { n + 1000 } else { n };
        assert!((0..ATTRIBUTES).all(|k| row[&format!("attribute {k}")] == value(k, n)));
    }
}

/// 400 KB of tiny attributes are more than a table takes as columns: it says so, or keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn more_attributes_than_a_table_may_have() {
    let site = Site::new();
    let wide = with("a", (0..20_001).map(|k| (format!("{k}"), s(""))));
    let export = full(0).files([[item(&wide)]]).write(site.bucket());
    let run = site.load(&export, &["pk"]).expect(3);
    assert!(run.message().contains("20000 distinct attributes"), "{}", run.message());
    // No task saw too many, all together did.
    let half = |from: usize| item(&with(&format!("{from}"), (from..from + 12_000).map(|k| (format!("{k}"), s("")))));
    let files = [vec![half(0)], vec![half(12_000)]];
    let export = full(1).files(files).write(site.bucket());
    let run = site.load(&export, &["pk"]).expect(3);
    assert!(run.message().contains("20000 distinct attributes"), "{}", run.message());
    assert!(site.table().await.is_none());
    // As a map they are fine.
    let fields: Map<String, Value> = (0..40_000).map(|k| (format!("{k}"), s(""))).collect();
    load(&site, vec![item(&json!({"pk": s("a"), "m": {"M": fields}}))]);
    assert_eq!(site.rows().await[0]["m"].as_object().unwrap().len(), 40_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_and_large_maps() {
    let site = Site::new();
    let numbers = |n: usize| -> Vec<Value> { (0..10_000).map(|k| json!({"N": (k * n).to_string()})).collect() };
    let rows = |n: usize| -> Vec<Value> {
        (0..10_000).map(|k| json!({"M": {"a": {"N": (k + n).to_string()}, "b": s("x")}})).collect()
    };
    let map = |n: usize| -> Map<String, Value> {
        (0..5_000).map(|k| (format!("k{k}"), json!({"N": (k + n).to_string()}))).collect()
    };
    let image = |n: usize| json!({"pk": s(&format!("{n:02}")), "numbers": {"L": numbers(n)}, "rows": {"L": rows(n)}, "map": {"M": map(n)}});
    load(&site, (0..20).map(|n| item(&image(n))).collect());
    let mut newer = image(30);
    newer["pk"] = s("03");
    apply(&site, 0, &[newer]);
    for (at, row) in by_key(&site.rows().await).values().enumerate() {
        let n = if at == 3 { 30 } else { at };
        assert!((0..10_000).all(|k| row["numbers"][k] == k * n));
        assert!((0..10_000).all(|k| row["rows"][k] == json!({"a": k + n, "b": "x"})));
        assert_eq!(row["map"].as_object().unwrap().len(), 5_000);
        assert!((0..5_000).all(|k| row["map"][format!("k{k}")] == k + n));
    }
}

fn nested(levels: usize, list: impl Fn(usize) -> bool) -> Value {
    (0..levels).fold(s("x"), |inner, n| if list(n) { json!({"L": [inner]}) } else { json!({"M": {"a": inner}}) })
}

fn plain(levels: usize, list: impl Fn(usize) -> bool) -> Value {
    (0..levels).fold(json!("x"), |inner, n| if list(n) { json!([inner]) } else { json!({ "a": inner }) })
}

/// The text that a nested value comes down to.
fn innermost(value: &Value) -> Option<&str> {
    match value {
        Value::Array(elements) => innermost(elements.first()?),
        Value::Object(fields) => innermost(fields.values().next()?),
        other => other.as_str(),
    }
}

/// DynamoDB nests to 32 levels. What nests deeper is no export of it; a table whose metadata could be written but not be
/// read again must not come of it.
#[tokio::test(flavor = "multi_thread")]
async fn nesting() {
    let kinds: [fn(usize) -> bool; 3] = [|_| true, |_| false, |n| n % 2 == 0];
    for list in kinds {
        for levels in [32, 36] {
            let site = Site::new();
            let image = json!({"pk": s("a"), "d": nested(levels, list)});
            load(&site, vec![item(&image)]);
            apply(&site, 0, &[json!({"pk": s("b"), "d": nested(levels, list), "new": nested(levels, list)})]);
            apply(&site, 1, &[json!({"pk": s("a"), "d": nested(levels, list)})]);
            let rows = site.rows().await;
            assert_eq!(rows.len(), 2);
            // Columns nest to 32 levels; what is deeper is JSON text in the innermost one.
            let rest = levels.saturating_sub(32);
            let whole = |value: &Value| match rest {
                0 => *value == plain(levels, list),
                _ => innermost(value).is_some_and(|text| innermost(&serde_json::from_str(text).unwrap()) == Some("x")),
            };
            assert!(rows.iter().all(|row| whole(&row["d"])), "{levels}: {}", rows[0]["d"]);
            assert!(whole(&by_key(&rows)["b"]["new"]));
        }
        let site = Site::new();
        for levels in [37, 41, 64, 100, 500] {
            let line = item(&json!({"pk": s("a"), "d": nested(levels, list)}));
            let export = full(0).files([[line]]).write(site.bucket());
            let run = site.load(&export, &["pk"]).expect(3);
            assert!(run.message().contains("nested deeper"), "{}", run.message());
            assert!(site.table().await.is_none());
        }
    }
}

/// The schema file of the deepest items is taken again.
#[test]
fn a_schema_file_of_32_levels() {
    let site = Site::new();
    let export = full(0).files([[item(&json!({"pk": s("a"), "d": nested(32, |_| false)}))]]).write(site.bucket());
    let export = export.to_str().unwrap();
    assert_eq!(site.plain(&["detect-schema", export, "--key", "pk", "--output", "s.json"]).code, 0);
    site.run(&["full-load", export, "--schema", "s.json"]).expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_windows_of_100_new_attributes() {
    let site = Site::new();
    load(&site, vec![item(&json!({"pk": s("a")}))]);
    for window in 0..20 {
        let images: Vec<_> = (0..3)
            .map(|n| with(&format!("{window:02} {n}"), (0..100).map(|k| (format!("w{window}a{k}"), s(&n.to_string())))))
            .collect();
        let run = apply(&site, window, &images);
        assert_eq!(run.report["windows"][0]["columns_added"].as_array().unwrap().len(), 100);
    }
    let rows = site.rows().await;
    assert_eq!(rows.len(), 61);
    for row in rows.iter().filter(|row| row["pk"] != "a") {
        let (window, n) = row["pk"].as_str().unwrap().split_once(' ').unwrap();
        let window: u32 = window.parse().unwrap();
        assert_eq!(row.len(), 101);
        assert!((0..100).all(|k| row[&format!("w{window}a{k}")] == n));
    }
}

/// Names that are data: a struct that meets ever new fields does not remember them all.
#[tokio::test(flavor = "multi_thread")]
async fn a_struct_that_meets_a_million_new_fields() {
    let site = Site::new();
    load(&site, vec![item(&json!({"pk": s("a"), "m": {"M": {"a": {"N": "1"}}}}))]);
    let image = |n: usize| {
        let fields: Map<String, Value> =
            (0..1_000).map(|k| (format!("user {}", n * 1_000 + k), json!({"N": "1"}))).collect();
        json!({"pk": s(&n.to_string()), "m": {"M": fields}})
    };
    let images: Vec<_> = (0..1_000).map(image).collect();
    let run = apply(&site, 0, &images);
    assert_eq!(run.report["windows"][0]["rescued"], json!({"m": 1_000}));
    assert!(run.warnings().contains("too many fields"), "{}", run.warnings());
}

/// Attributes may have the names that the merge uses itself, and key attributes too.
#[tokio::test(flavor = "multi_thread")]
async fn attributes_named_like_the_merges_own_columns() {
    let names = ["__deleted", "__written", "__order", "__line", "__change", "__file", "__key0", "__key1"];
    for key in names.into_iter().chain(["pk"]) {
        let site = Site::new();
        let image = |id: &str, n: i64| {
            let mut image = json!({ key: s(id) });
            for name in names.into_iter().filter(|name| *name != key) {
                image[name] = if name == "__deleted" { json!({"BOOL": true}) } else { json!({"N": n.to_string()}) };
            }
            image
        };
        let lines = vec![item(&image("a", 1)), item(&image("b", 2))];
        let export = full(0).files([lines]).write(site.bucket());
        site.load(&export, &[key]).expect(0);
        let keys = json!({ key: s("a") });
        let records = [(20, 5), (30, 3), (10, 9)].map(|(micros, n)| {
            let mut record: Value = serde_json::from_str(&change(&keys, Some(&image("a", n)))).unwrap();
            record["Metadata"]["WriteTimestampMicros"]["N"] = json!(micros.to_string());
            record.to_string()
        });
        let window = site.window(0, 1, records.to_vec());
        assert_eq!(site.incremental(&[Path::new(&window)], &[]).expect(0).counts(0), [0, 1, 0], "{key}");
        let rows = site.rows().await;
        assert_eq!(rows.len(), 2, "{key}");
        for name in names.into_iter().filter(|name| *name != key) {
            let expected = if name == "__deleted" { json!([true, true]) } else { json!([3, 2]) };
            let found: Vec<&Value> = rows.iter().map(|row| &row[name]).collect();
            let mut found: Vec<Value> = found.into_iter().cloned().collect();
            if rows[0][key] != "a" {
                found.reverse();
            }
            assert_eq!(json!(found), expected, "{name} beside the key {key}");
        }
    }
}
