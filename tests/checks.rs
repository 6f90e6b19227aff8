//! `status` and `verify`, run as a user runs them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::fs;
use std::path::Path;

use program::{Run, Site, at, change, full, gone, item, put, simple, window};
use serde_json::{Value, json};

impl Site {
    fn status(&self, arguments: &[&str]) -> Run {
        self.run(&[&["status"], arguments].concat())
    }

    fn verify(&self, export: &Path, arguments: &[&str]) -> Run {
        self.run(&[&["verify", export.to_str().unwrap()], arguments].concat())
    }

    /// A full export of the same DynamoDB table, outside of the bucket.
    fn full(&self, minutes: u32, items: &[String]) -> std::path::PathBuf {
        full(minutes).files(items.chunks(2).map(<[String]>::to_vec)).write(self.path().join("fulls"))
    }
}

/// Missing, extra, different and repeated keys.
#[track_caller]
fn differences(run: &Run) -> [u64; 4] {
    let found = &run.report["comparison"];
    ["missing", "extra", "different", "repeated"].map(|name| found[name].as_u64().unwrap_or_else(|| panic!("{found}")))
}

#[track_caller]
fn equal(run: Run, keys: u64) -> Run {
    let run = run.expect(0);
    assert_eq!(run.report["status"], "checked");
    assert_eq!(differences(&run), [0; 4], "{}", run.stdout);
    for name in ["items", "rows", "equal"] {
        assert_eq!(run.report["comparison"][name], keys, "{name}");
    }
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_far_the_table_is_and_changes_nothing() {
    let site = Site::loaded(vec![simple("a", 1), simple("b", 2), simple("c", 3)], &["pk"]);
    site.window(0, 15, vec![put("a", 10), gone("b")]);
    let bucket = site.bucket();
    site.incremental(&[&bucket], &[]).expect(0);
    let before = site.files();

    let run = site.status(&[]).expect(0);
    assert_eq!(run.report["status"], "checked");
    assert_eq!(run.report["watermark"], at(15));
    let state = &run.report["state"];
    let windows = state["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 2);
    assert_eq!((&windows[0]["from"], &windows[0]["to"]), (&Value::Null, &json!(at(0))));
    assert_eq!((&windows[1]["from"], &windows[1]["to"]), (&json!(at(0)), &json!(at(15))));
    let current = site.table().await.unwrap().metadata.current_snapshot_id().unwrap().to_string();
    assert_eq!(windows[1]["snapshot_id"], current);
    assert_eq!((&windows[1]["added_records"], &windows[1]["added_position_deletes"]), (&json!(1), &json!(2)));
    let files = &state["files"];
    assert_eq!((&files["records"], &files["deleted_positions"]), (&json!(4), &json!(2)));
    assert_eq!((&files["data_files"], &files["delete_files"]), (&json!(2), &json!(1)));
    assert_eq!((&state["snapshots"], &state["windows_since_rewrite"]), (&json!(2), &json!(1)));
    assert_eq!(state["due"], json!([]));
    // The watermark is old: a whole day can be exported at once.
    assert_eq!((&state["next"]["from"], &state["next"]["to"]), (&json!(at(15)), &json!("2026-01-15T10:15:00.000Z")));
    // It can't be exported any more: what would not work is not printed as a command.
    assert_eq!(state["next"]["command"], Value::Null);
    assert!(run.report["warnings"].to_string().contains("more than 35 days ago"), "{}", run.report);

    // With exports: what is due, what would stop it, and the window after that.
    site.window(15, 30, vec![put("d", 4)]);
    site.window(45, 60, vec![put("e", 5)]);
    fs::create_dir(bucket.join("AWSDynamoDB/99999999999999-0a0b0c0d")).unwrap();
    let before_more = site.files();
    let run = site.status(&[bucket.to_str().unwrap(), "--windows", "1"]).expect(0);
    let state = &run.report["state"];
    assert_eq!((state["windows"].as_array().unwrap().len(), &state["windows_kept"]), (1, &json!(2)));
    let due = state["due"].as_array().unwrap();
    assert_eq!((due.len(), &due[0]["from"], &due[0]["problem"]), (2, &json!(at(15)), &Value::Null));
    assert!(due[1]["problem"].as_str().unwrap().contains("gap"), "{}", due[1]);
    assert_eq!((&state["next"]["from"], &run.report["pending"]), (&json!(at(30)), &json!(1)));
    assert_eq!(site.files(), before_more);
    assert!(before.iter().all(|(name, bytes)| before_more.get(name) == Some(bytes)), "status has written");

    // In words.
    let run = site.plain(&["status", "--table", program::TABLE]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.starts_with(&format!("shop.orders: complete up to {}", at(15))), "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_can_be_exported_comes_with_its_command() {
    let site = Site::new();
    let time = ddb_iceberg::time::format(chrono::Utc::now() - chrono::TimeDelta::hours(7));
    let export =
        exports::FullExport::new(program::SOURCE).time(&time).files([vec![simple("a", 1)]]).write(site.bucket());
    site.load(&export, &["pk"]).expect(0);
    let run = site.status(&[]).expect(0);
    let command = run.report["state"]["next"]["command"].as_str().unwrap();
    assert!(command.contains(&format!("--table-arn {} ", exports::table_arn(program::SOURCE))), "{command}");
    assert_eq!(run.report["warnings"], json!([]));
    let words = site.plain(&["status", "--table", program::TABLE]).stdout;
    assert!(words.contains("(lag 7 h") && words.contains("aws dynamodb export-table-to-point-in-time"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lags_too_much_is_an_error_that_tells_all_the_same() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let run = site.status(&["--max-lag", "1h"]).expect(4);
    assert!(run.message().contains("--max-lag"), "{}", run.message());
    assert_eq!(run.report["state"]["files"]["records"], 1);
    site.status(&["--max-lag", "100000d"]).expect(0);
    site.plain(&["status", "--table", "shop.other", "--format", "json"]).expect(1);
    // Gaps are told.
    let late = site.window(15, 30, vec![put("b", 2)]);
    site.incremental(&[&late], &["--allow-gap"]).expect(0);
    let run = site.status(&[]).expect(0);
    assert_eq!(run.report["state"]["gaps"], json!([{"from": at(0), "to": at(15)}]));
}

/// An item of many types; `v` makes it another one.
fn rich(pk: &str, v: i64) -> Value {
    json!({
        "pk": {"S": pk}, "v": {"N": v.to_string()}, "price": {"N": "19.99"}, "wide": {"N": "1E100"},
        "bytes": {"B": "aGk="}, "yes": {"BOOL": true}, "none": {"NULL": true},
        "tags": {"SS": ["x", "y", "z"]}, "numbers": {"NS": ["1", "2.5"]},
        "list": {"L": [{"N": "1"}, {"N": "2"}]},
        "map": {"M": {"a": {"S": "x"}, "b": {"N": "1"}}},
        "mixed": if v % 2 == 0 { json!({"S": "1"}) } else { json!({"M": {"p": {"NS": ["1", "2"]}, "q": {"N": "1.50"}}}) },
    })
}

/// The same items, written in other ways.
fn again(items: &[Value]) -> Vec<String> {
    let mut lines: Vec<_> = items
        .iter()
        .map(|item| {
            let mut item = item.clone();
            let fields = item.as_object_mut().unwrap();
            fields.remove("none");
            if let Some(numbers) = fields.get_mut("numbers") {
                *numbers = json!({"NS": ["2.50", "1.0"]});
            }
            if fields.contains_key("tags") {
                fields.insert("tags".to_owned(), json!({"SS": ["z", "x", "y"]}));
                if fields["map"] == json!({"M": {"a": {"S": "x"}, "b": {"N": "1"}}}) {
                    fields.insert("map".to_owned(), json!({"M": {"b": {"N": "1.0"}, "a": {"S": "x"}}}));
                }
                fields.insert("price".to_owned(), json!({"N": "1999E-2"}));
            }
            if fields.get("mixed").is_some_and(|mixed| mixed.get("M").is_some()) {
                fields.insert("mixed".to_owned(), json!({"M": {"q": {"N": "1.5"}, "p": {"NS": ["2", "1"]}}}));
            }
            let reversed: serde_json::Map<String, Value> =
                fields.iter().rev().map(|(name, value)| (name.clone(), value.clone())).collect();
            program::item(&Value::Object(reversed))
        })
        .collect();
    lines.reverse();
    lines
}

fn put_item(image: &Value) -> String {
    change(&json!({"pk": image["pk"]}), Some(image))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_equals_a_later_full_export_however_that_is_written() {
    let mut items: Vec<Value> = (0..40).map(|n| rich(&format!("k{n:02}"), n)).collect();
    let site = Site::loaded(items.iter().map(item).collect(), &["pk"]);
    equal(site.verify(&site.full(0, &again(&items)), &[]), 40);

    // Values that fit no column, new attributes and fields, deletes.
    items[3]["v"] = json!({"S": "odd"});
    items[4]["map"] = json!({"M": {"a": {"S": "x"}, "b": {"S": "odd"}, "new": {"BOOL": true}}});
    items[5]["later"] = json!({"L": [{"S": "x"}]});
    items[4].as_object_mut().unwrap().remove("tags");
    let removed = items.pop().unwrap();
    let changes = vec![
        put_item(&items[3]),
        put_item(&items[4]),
        put_item(&items[5]),
        change(&json!({"pk": removed["pk"]}), None),
    ];
    let first = site.window(0, 15, changes);
    site.incremental(&[&first], &[]).expect(0);
    let at_15 = site.full(15, &again(&items));
    let verified = equal(site.verify(&at_15, &[]), 39);
    let snapshot = verified.report["comparison"]["snapshot_id"].clone();

    // A newer window does not matter: the state at the export's time is compared.
    let second = site.window(15, 30, vec![put_item(&rich("k07", 700)), put_item(&rich("new", 1))]);
    site.incremental(&[&second], &["--write-mode", "copy-on-write"]).expect(0);
    let before = site.files();
    assert_eq!(equal(site.verify(&at_15, &[]), 39).report["comparison"]["snapshot_id"], snapshot);
    assert_eq!(site.files(), before, "verify has written");
    // Of now, it differs by those two.
    let now = site.table().await.unwrap().metadata.current_snapshot_id().unwrap().to_string();
    let run = site.verify(&at_15, &["--snapshot-id", &now]).expect(1);
    assert_eq!(differences(&run), [0, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_told_by_key_and_attribute() {
    let items: Vec<Value> = (0..30).map(|n| rich(&format!("k{n:02}"), n)).collect();
    let site = Site::loaded(items.iter().map(item).collect(), &["pk"]);
    let mut others = items.clone();
    let removed = others.remove(7);
    others[0]["v"] = json!({"N": "1000"});
    others[1]["list"] = json!({"L": [{"N": "2"}, {"N": "1"}]});
    others[2].as_object_mut().unwrap().remove("yes");
    others[4]["unknown"] = json!({"S": "x"});
    others[5]["map"] = json!({"M": {"a": {"S": "x"}, "b": {"N": "1"}, "c": {"S": ""}}});
    others[6]["mixed"] = json!({"N": "1"});
    others.push(rich("added", 1));
    let run = site.verify(&site.full(0, &again(&others)), &[]).expect(1);
    assert_eq!(differences(&run), [1, 1, 6, 0]);
    assert!(run.message().contains("1 keys are missing, 1 are extra, 6 have other values"), "{}", run.message());
    let found: Vec<_> = run.report["comparison"]["examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["difference"].as_str().unwrap(), e["key"].as_str().unwrap(), e["attributes"].clone()))
        .collect();
    let key = |item: &Value| format!("pk={}", item["pk"]["S"]);
    let names = ["v", "list", "yes", "unknown", "map", "mixed"].map(|name| json!([name]));
    let mut expected = vec![("missing", "pk=\"added\"".to_owned(), json!([])), ("extra", key(&removed), json!([]))];
    let changed = [0, 1, 2, 4, 5, 6].map(|n| key(&others[n]));
    expected.extend(changed.into_iter().zip(names).map(|(key, names)| ("different", key, names)));
    assert_eq!(found, expected.iter().map(|(d, k, n)| (*d, k.as_str(), n.clone())).collect::<Vec<_>>());

    let run = site.verify(&site.full(0, &again(&others)), &["--examples", "2"]).expect(1);
    assert_eq!(run.report["comparison"]["examples"].as_array().unwrap().len(), 4);
    let run = site.plain(&["verify", site.full(0, &again(&others)).to_str().unwrap(), "--table", program::TABLE]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("different: pk=\"k00\" (v)"), "{}", run.stdout);
}

/// What was rescued when it was written may have a column by now.
#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_a_column_came_are_equal() {
    let site = Site::new();
    let mut items: Vec<Value> = (0..6)
        .map(|n| json!({"pk": {"S": format!("k{n}")}, "x": {"N": n.to_string()}, "y": {"M": {"a": {"S": "s"}}}}))
        .collect();
    let schema = site.path().join("schema.json");
    fs::write(&schema, r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"}}}"#).unwrap();
    let export = full(0).files([items.iter().map(item).collect::<Vec<_>>()]).write(site.bucket());
    site.run(&["full-load", export.to_str().unwrap(), "--schema", schema.to_str().unwrap()]).expect(0);
    equal(site.verify(&export, &[]), 6);
    items[0]["x"] = json!({"N": "7"});
    let changes = site.window(0, 15, vec![put_item(&items[0])]);
    let run = site.incremental(&[&changes], &[]).expect(0);
    assert!(run.report["windows"][0]["columns_added"].to_string().contains('x'), "{}", run.stdout);
    let now = site.full(15, &again(&items));
    equal(site.verify(&now, &[]), 6);
    items[1]["x"] = json!({"N": "100"});
    let run = site.verify(&site.full(15, &again(&items)), &[]).expect(1);
    assert_eq!(differences(&run), [0, 0, 1, 0]);
    assert_eq!(run.report["comparison"]["examples"][0]["attributes"], json!(["x"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let window_15 = site.window(0, 15, vec![put("b", 2)]);
    site.incremental(&[&window_15], &[]).expect(0);
    let run = site.verify(&site.full(10, &[simple("a", 1)]), &[]).expect(4);
    assert!(run.message().contains(&at(0)) && run.message().contains(&at(15)), "{}", run.message());
    site.verify(&site.full(20, &[simple("a", 1)]), &[]).expect(4);
    site.verify(&site.full(15, &[simple("a", 1)]), &["--snapshot-id", "1"]).expect(2);
    site.verify(&window_15, &[]).expect(3);
    let other = exports::FullExport::new("others").time(&at(15)).files([[simple("a", 1)]]).write(site.path().join("o"));
    site.verify(&other, &[]).expect(3);
    let twice = site.full(15, &[simple("a", 1), simple("b", 2), simple("a", 1)]);
    let run = site.verify(&twice, &[]).expect(3);
    assert!(run.message().contains("more than once in the export"), "{}", run.message());
    let damaged = site.full(15, &[simple("a", 1), simple("b", 2)]);
    let file = exports::data_files(site.path().join("fulls"), &damaged).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    site.verify(&damaged, &[]).expect(3);
    // An empty window later, the newest snapshot of that time is the one compared.
    let empty = window(15, 30).files([Vec::<String>::new()]).write(site.bucket());
    site.incremental(&[&empty], &[]).expect(0);
    equal(site.verify(&site.full(30, &[simple("a", 1), simple("b", 2)]), &[]), 2);
}

/// The same values elsewhere are a difference: in another column, in another field, or beside their struct instead of in it.
#[test]
fn a_value_that_is_elsewhere_is_different() {
    let n = |value: u32| json!({"N": value.to_string()});
    let of = |pk: &str, rest: Value| {
        let mut image = rest;
        image["pk"] = json!({"S": pk});
        item(&image)
    };
    let whole = json!({
        "a": {"M": {"f0": n(1), "f1": n(1), "f2": n(1), "f3": n(1)}}, "b": n(1), "c": n(1), "d": n(1),
        "l": {"L": [{"M": {"f0": n(1), "f1": n(1)}}]},
    });
    let mut cases = vec![
        (json!({"b": n(2)}), json!({"c": n(2)})),
        (json!({"a": {"M": {"f0": n(2)}}}), json!({"a": {"M": {"f1": n(2)}}})),
        (json!({"a": {"M": {}}}), json!({})),
        (
            json!({"l": {"L": [{"M": {"f0": n(2)}}, {"M": {"f1": n(3)}}]}}),
            json!({"l": {"L": [{"M": {"f0": n(2), "f1": n(3)}}, {"M": {}}]}}),
        ),
        (json!({"l": {"L": [{"M": {"f0": n(2)}}]}}), json!({"l": {"L": [{"M": {"f1": n(2)}}]}})),
    ];
    for field in ["f1", "f2", "f3"] {
        for column in ["b", "c", "d"] {
            let inside = json!({"a": {"M": {"f0": n(2), field: n(3)}}});
            cases.push((inside, json!({"a": {"M": {"f0": n(2)}}, column: n(3)})));
        }
    }
    let items = |side: usize| {
        let pick = |(k, case): (usize, &(Value, Value))| {
            of(&format!("{k}"), if side == 0 { case.0.clone() } else { case.1.clone() })
        };
        cases.iter().enumerate().map(pick).chain([of("whole", whole.clone())]).collect::<Vec<_>>()
    };
    let site = Site::loaded(items(0), &["pk"]);
    let same = site.full(0, &items(0));
    equal(site.verify(&same, &[]), cases.len() as u64 + 1);
    let other = full(0).files([items(1)]).write(site.path().join("others"));
    let run = site.verify(&other, &["--examples", "100"]);
    assert_eq!(differences(&run), [0, 0, cases.len() as u64, 0], "{}", run.stdout);
}
