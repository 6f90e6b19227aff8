//! What is looked at of an export, what is refused of it, and how columns of the key are called.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::program::{Site, change, full, item, simple, window};
use super::{n, put, s};

fn detect(site: &Site, export: &Path, more: &[&str]) -> super::Run {
    site.plain(&[&["detect-schema", export.to_str().unwrap()], more].concat())
}

#[test]
fn a_sample_has_items_while_there_are_any() {
    let site = Site::new();
    let none = Vec::<String>::new;
    let with = |name: &str| vec![item(&json!({"pk": s(name), name: s("x")}))];
    let export = full(0).files([none(), with("a"), none(), none(), with("b"), with("c"), none()]).write(site.bucket());
    for (files, found, warned) in [("1", &["a"][..], true), ("2", &["a", "b"], true), ("3", &["a", "b", "c"], false)] {
        let run = detect(&site, &export, &["--key", "pk", "--sample-files", files]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let attributes = run.report["attributes"].as_object().unwrap();
        assert!(attributes.keys().filter(|name| *name != "pk").eq(found), "{files}: {}", run.stdout);
        assert_eq!(run.stderr.contains("files were looked at"), warned, "{}", run.stderr);
    }
    // Bare files say of themselves whether they are empty.
    let bare = site.path().join("bare");
    fs::create_dir(&bare).unwrap();
    for at in 0..40 {
        let text = if at == 33 { with("a").join("\n") } else { String::new() };
        fs::write(bare.join(format!("{at:02}.json")), text).unwrap();
    }
    for files in ["1", "2", "39"] {
        let run = detect(&site, &bare, &["--key", "pk", "--sample-files", files, "--without-manifest"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(run.report["items"], 1, "{files}: {}", run.stdout);
    }
}

#[test]
fn an_export_without_items_is_told_as_such() {
    let site = Site::new();
    let export = full(0).files([Vec::<String>::new(), Vec::new()]).write(site.bucket());
    for more in [&["--key", "pk"][..], &["--key", "pk", "--sample-files", "1"]] {
        let run = detect(&site, &export, more);
        assert_eq!(run.code, 3, "{}", run.stderr);
        assert!(
            run.stderr.contains("the export has no items") && !run.stderr.contains("Check --key"),
            "{}",
            run.stderr
        );
    }
    let run = detect(&site, &export, &[]);
    assert!(run.code == 0 && run.stderr.contains("the export has no items"), "{}", run.stderr);
}

/// A name that stands twice in a map: refused with the place, whatever the map would become.
#[test]
fn a_name_that_stands_twice_in_a_map_is_refused_everywhere() {
    let twins = [
        r#"{"M":{"a":{"N":"1"},"a":{"N":"2"}}}"#,
        r#"{"M":{"a":{"NULL":true},"b":{"N":"1"},"\u0061":{"NULL":true}}}"#,
        r#"{"L":[{"S":"x"},{"M":{"b":{"M":{"c":{"L":[]},"c":{"L":[]}}}}}]}"#,
    ];
    let types = json!({
        "struct": {"struct": {"a": {"type": "long"}, "b": {"type": "json"}}}, "map": {"map": "json"}, "json": "json",
        "other": "boolean", "lists": {"list": "json"}
    });
    let mut attributes =
        json!({"pk": {"type": "string"}, "left_out": {"exclude": true}, "open": {"type": "undecided"}});
    for (name, ty) in types.as_object().unwrap() {
        attributes[name] = json!({ "type": ty });
    }
    let names = ["struct", "map", "json", "other", "lists", "open", "unlisted", "left_out"];
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let schema = site.path().join("schema.json");
    fs::write(&schema, json!({"version": 1, "key": ["pk"], "attributes": attributes}).to_string()).unwrap();
    for (at, (name, twin)) in names.iter().flat_map(|name| twins.map(|twin| (name, twin))).enumerate() {
        let line = |value: &str| format!(r#"{{"Item":{{"pk":{{"S":"b"}},"{name}":{value}}}}}"#);
        let export = full(0).files([vec![simple("a", 1), line(twin)]]).write(site.path().join(format!("full {at}")));
        let (whole, refused) = (export.to_str().unwrap(), if *name == "left_out" { "(excluded)" } else { name });
        let to = ["--table", "shop.other", "--format", "json"];
        for command in [&["full-load", whole, "--schema", "schema.json"][..], &["full-load", whole, "--key", "pk"]] {
            let run = site.plain(&[command, &to].concat()).expect(3);
            let error = &run.report["error"];
            let excluded = command.contains(&"--schema") && *name == "left_out";
            assert_eq!(
                (&error["line"], &error["attribute"]),
                (&json!(2), &json!(if excluded { refused } else { name }))
            );
            assert!(excluded || run.message().contains("stands twice in one map"), "{}", run.message());
            assert!(error["file"].as_str().unwrap().ends_with(".json.gz"), "{}", run.stdout);
        }
        let run = detect(&site, &export, &["--key", "pk"]);
        assert!(run.code == 3 && run.stderr.contains("stands twice in one map"), "{}", run.stderr);
        let keys = r#""Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"pk":{"S":"b"}}"#;
        for image in ["NewImage", "OldImage"] {
            let record = format!(r#"{{{keys},"{image}":{{"pk":{{"S":"b"}},"{name}":{twin}}}}}"#);
            let export = window(0, 15).files([vec![record]]).write(site.path().join(format!("{image} {at}")));
            let run = site.incremental(&[&export], &[]).expect(3);
            assert!(run.message().contains("stands twice in one map"), "{}", run.message());
            assert_eq!(run.report["error"]["attribute"], *name, "{}", run.stdout);
        }
    }
    // The map of attributes itself.
    let twice = r#"{"Item":{"pk":{"S":"b"},"new":{"NULL":true},"new":{"NULL":true}}}"#;
    let export = full(0).files([vec![twice.to_owned()]]).write(site.path().join("twice"));
    for command in [&["full-load"][..], &["detect-schema"]] {
        let more = [export.to_str().unwrap(), "--key", "pk", "--format", "json"];
        let table: &[&str] = if command == ["full-load"] { &["--table", "shop.other"] } else { &[] };
        let run = site.plain(&[command, &more, table].concat());
        assert!(run.code == 3 && run.stderr.contains("stands twice in one item"), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_sets_in_json_are_canonical() {
    let mixed = json!({"L": [{"NS": ["1.0", "2E0", "-0.50"]}, {"N": "1.0"}]});
    let site = Site::loaded(
        vec![item(&json!({"pk": s("a"), "v": s("x")})), item(&json!({"pk": s("b"), "v": mixed}))],
        &["pk"],
    );
    let image = json!({"pk": s("a"), "v": {"M": {"x": {"NS": ["100E-2"]}, "y": {"SS": ["b", "a"]}}}});
    site.incremental(&[&site.window(0, 15, vec![put(&image)])], &[]).expect(0);
    let mut values: Vec<Value> = site.rows().await.iter().map(|row| row["v"].clone()).collect();
    values.sort_by_key(ToString::to_string);
    assert_eq!(values, [r#"[{"NS":["1","2","-0.5"]},1]"#, r#"{"x":{"NS":["1"]},"y":{"SS":["b","a"]}}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_the_key_keep_their_names() {
    for (key, other) in [(&["pk"][..], "PK"), (&["a.b"], "a"), (&["a"], "a.b"), (&["x", "sort"], "SORT")] {
        let with = |value: &str| {
            let keys: serde_json::Map<String, Value> = key.iter().map(|name| ((*name).to_owned(), n("1"))).collect();
            let mut image = keys.clone();
            image.insert(other.to_owned(), s(value));
            (Value::Object(keys), Value::Object(image))
        };
        let (keys, image) = with("first");
        let site = Site::loaded(vec![item(&image)], key);
        let by_file = full(0).files([vec![item(&image)]]).write(site.path().join("again"));
        let flags: Vec<&str> = key.iter().flat_map(|name| ["--key", name]).collect();
        let run = detect(&site, &by_file, &[&flags[..], &["--output", "schema.json"]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let file: Value = serde_json::from_str(&fs::read_to_string(site.path().join("schema.json")).unwrap()).unwrap();
        let column = file["attributes"][other]["column"].as_str().unwrap();
        assert!(column.starts_with(&format!("{other}__")) && column.len() == other.len() + 10, "{column}");
        let image = with("second").1;
        let report = site.incremental(&[&site.window(0, 15, vec![change(&keys, Some(&image))])], &[]).expect(0).report;
        assert_eq!(report["windows"][0]["columns_added"], json!([]));
        let rows = site.rows().await;
        assert_eq!((rows.len(), &rows[0][column]), (1, &json!("second")));
        assert!(key.iter().all(|name| rows[0][*name] == 1), "{rows:?}");
    }
    // An attribute that comes later gives way as before.
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let image = json!({"pk": s("a"), "PK": s("x")});
    let report = site.incremental(&[&site.window(0, 15, vec![put(&image)])], &[]).expect(0).report;
    assert_eq!(report["windows"][0]["columns_added"], json!(["PK__fcab7fcc"]));
}

#[test]
fn errors_about_values_show_them() {
    let site = Site::loaded(vec![item(&json!({"pk": n("1"), "v": s("x")}))], &["pk"]);
    let long = "9".repeat(30) + ".5";
    for (record, expected) in [
        (change(&json!({"pk": n("1.5")}), None), r#"does not fit the table's key column: {"N":"1.5"}"#.to_owned()),
        (change(&json!({"pk": n(&long)}), None), format!("key column: {{\"N\":\"{long}")),
        (change(&json!({"pk": s(&"k".repeat(500))}), None), format!("key column: {{\"S\":\"{}…", "k".repeat(54))),
        (change(&json!({"pk": n("1")}), Some(&json!({"pk": n("2")}))), "disagree: \"1\" and \"2\"".to_owned()),
        (change(&json!({"pk": n("1")}), Some(&Value::Null)), "NewImage of the record is null".to_owned()),
        (change(&json!({"pk": n("1")}), Some(&json!({"pk": n("1"), "v": {"BOOL": "no"}}))), "found \"no\"".to_owned()),
        (change(&json!({"pk": n("1")}), Some(&json!({"pk": n("1"), "v": {"N": 5}}))), "found 5".to_owned()),
    ] {
        let run = site.incremental(&[&site.window(0, 15, vec![record.clone()])], &[]).expect(3);
        assert!(run.message().contains(&expected), "{record}: {}", run.message());
        fs::remove_dir_all(site.bucket()).unwrap();
        fs::create_dir(site.bucket()).unwrap();
    }
}
