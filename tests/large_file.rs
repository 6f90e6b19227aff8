//! Exports with one large file: the lines that several threads parse are the same, and so is what is said of them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::collections::BTreeMap;
use std::path::PathBuf;

use program::{Site, change, full, item, window};
use serde_json::{Value, json};

/// Enough for two threads that write.
const ITEMS: i64 = 100_000;

fn text(v: i64) -> String {
    format!("{v:04}").repeat(40)
}

fn image(n: i64, v: i64) -> Value {
    json!({"pk": {"S": format!("{n:08}")}, "v": {"N": v.to_string()}, "text": {"S": text(v)}})
}

fn items() -> Vec<String> {
    (0..ITEMS).map(|n| item(&image(n, n % 7))).collect()
}

fn export(site: &Site, items: Vec<String>) -> PathBuf {
    full(0).files([items]).write(site.bucket())
}

/// The rows, as numbers of items and their `v`; their text is looked at here.
async fn rows(site: &Site) -> BTreeMap<i64, i64> {
    let rows = site.rows().await;
    let found: BTreeMap<i64, i64> = rows
        .iter()
        .map(|row| {
            let v = row["v"].as_i64().unwrap();
            assert_eq!(row["text"].as_str().unwrap(), text(v));
            (row["pk"].as_str().unwrap().parse().unwrap(), v)
        })
        .collect();
    assert_eq!(found.len(), rows.len(), "a key is twice in the table");
    found
}

#[tokio::test]
async fn a_load_a_window_and_a_comparison_by_several_threads_have_every_line_once() {
    let site = Site::new();
    let loaded = export(&site, items());
    site.load(&loaded, &["pk"]).expect(0);
    let mut model: BTreeMap<i64, i64> = (0..ITEMS).map(|n| (n, n % 7)).collect();
    assert_eq!(rows(&site).await, model);
    let verified = site.run(&["verify", loaded.to_str().unwrap()]).expect(0);
    assert_eq!(verified.report["comparison"]["equal"], ITEMS, "{}", verified.stdout);

    // Nine of ten items change or go; some change twice, thousands of lines apart.
    let mut changes = Vec::new();
    for (twice, v) in [(false, 100), (true, 200)] {
        for n in (0..ITEMS).filter(|n| n % 10 != 9 && (!twice || n % 3 == 0)) {
            let image = (n % 2 == 0).then(|| image(n, v));
            changes.push(change(&json!({"pk": {"S": format!("{n:08}")}}), image.as_ref()));
            if n % 2 == 0 {
                model.insert(n, v)
            } else {
                model.remove(&n)
            };
        }
    }
    let folder = window(0, 15).files([changes]).write(site.bucket());
    let run = site.incremental(&[&folder], &[]).expect(0);
    let tenth = u64::try_from(ITEMS).unwrap() / 10;
    assert_eq!(run.counts(0), [0, 5 * tenth, 4 * tenth]);
    assert_eq!(rows(&site).await, model);
}

#[test]
fn a_schema_is_the_same_by_any_number_of_threads() {
    let site = Site::new();
    let mut items = items();
    items[17_000] = item(&json!({"pk": {"S": "x"}, "v": {"N": "1.25"}, "rare": {"L": [{"BOOL": true}]}}));
    let export = export(&site, items);
    let by = |threads: &str| {
        let run = site.plain(&["detect-schema", export.to_str().unwrap(), "--key", "pk", "--threads", threads]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    };
    assert!(by("1").contains("rare"));
    assert_eq!(by("1"), by("4"));
}

#[test]
fn a_damaged_line_of_a_large_file_is_named_and_nothing_is_left() {
    let site = Site::new();
    let mut items = items();
    items[83_456] = r#"{"Item":{"pk":{"S":"x"},"v":{"N":"twelve"}}}"#.to_owned();
    let export = export(&site, items);
    let run = site.load(&export, &["pk"]).expect(3);
    let error = &run.report["error"];
    assert_eq!(error["line"], 83_457, "{}", run.stdout);
    assert!(error["file"].as_str().unwrap().ends_with(".json.gz"), "{}", run.stdout);
    assert!(site.table_files().iter().all(|name| !name.ends_with(".parquet")), "{:?}", site.table_files());
}

#[tokio::test]
async fn a_damaged_line_of_a_large_window_is_named_and_nothing_is_applied() {
    let site = Site::new();
    site.load(&export(&site, vec![item(&image(0, 7))]), &["pk"]).expect(0);
    let before = site.table_files();
    let good = || (0..ITEMS).map(|n| change(&json!({"pk": {"S": format!("{n:08}")}}), Some(&image(n, 1)))).collect();
    let damages = [
        (83_456, change(&json!({"pk": {"S": "x"}}), Some(&json!({"pk": {"S": "x"}, "v": {"N": "twelve"}}))), "twelve"),
        (61_234, change(&json!({"pk": {"S": "x"}}), Some(&image(5, 1))), "disagree"),
        (99_999, change(&json!({"pk": {"S": "x"}}), None)[1..].to_owned(), "JSON"),
    ];
    for (minutes, (number, damaged, said)) in (1..).zip(damages) {
        let mut changes: Vec<String> = good();
        changes[number] = damaged;
        let folder = window(0, minutes).files([changes]).write(site.bucket());
        let run = site.incremental(&[&folder], &[]).expect(3);
        let error = &run.report["error"];
        assert_eq!(error["line"], number + 1, "{}", run.stdout);
        assert!(error["file"].as_str().unwrap().ends_with(".json.gz"), "{}", run.stdout);
        assert!(run.message().contains(said), "{}", run.stdout);
        assert_eq!(site.table_files(), before);
        assert_eq!(rows(&site).await, BTreeMap::from([(0, 7)]));
    }
}
