//! Every edit of the schema file, through detect, load, increment and reading back; what the file may not say; names.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/other_writer.rs"]
mod other_writer;
#[path = "schema_file/others.rs"]
mod others;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;
#[path = "schema_file/reading.rs"]
mod reading;
#[path = "schema_file/replaced.rs"]
mod replaced;
#[path = "schema_file/undecided.rs"]
mod undecided;

use std::collections::BTreeMap;
use std::fs;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::{Commit, LoadedTable};
use ddb_iceberg::storage::Store;
use iceberg::TableUpdate;
use iceberg::spec::{DataFile, ManifestList, NestedField, Schema};
use program::{Run, Site, change, full, item, window};
use serde_json::{Map, Value, json};

/// A site with an export of these items; its schema file is what `edit` makes of the one that detect-schema writes.
fn edited(items: &[Value], edit: impl FnOnce(&mut Map<String, Value>)) -> (Site, String) {
    let site = Site::new();
    let export = full(0).files([items.iter().map(item).collect::<Vec<_>>()]).write(site.bucket());
    let export = export.to_str().unwrap().to_owned();
    let run = site.plain(&["detect-schema", &export, "--key", "pk", "--output", "schema.json", "-q"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let path = site.path().join("schema.json");
    let mut file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(file["attributes"].as_object_mut().unwrap());
    fs::write(&path, file.to_string()).unwrap();
    (site, export)
}

fn load(site: &Site, export: &str) -> Run {
    site.run(&["full-load", export, "--schema", "schema.json"])
}

fn put(attributes: &Value) -> String {
    change(&json!({"pk": attributes["pk"]}), Some(attributes))
}

/// The attribute `a` of the item loaded, then that of the item in a window; what its column holds; whether it is rescued.
type Expected = (Value, Value, bool);

/// Loads one value and applies the others in windows of either write mode.
async fn retyped(edit: Value, values: &[Expected]) {
    let place = |n: usize| format!("k{n:03}");
    let with = |n: usize, value: &Value| json!({"pk": {"S": place(n)}, "a": value, "other": {"S": "kept"}});
    let (loaded, more) = values.split_first().unwrap();
    let about = format!("{edit}");
    let (site, export) = edited(&[with(0, &loaded.0)], |attributes| {
        attributes["a"].as_object_mut().unwrap().insert("type".to_owned(), edit);
    });
    let mut report = load(&site, &export).expect(0).report;
    let mut rescued = u64::from(loaded.2);
    assert_eq!(report["windows"][0]["rescued"].get("a").map_or(0, |n| n.as_u64().unwrap()), rescued, "{about}");
    for (n, mode) in ["merge-on-read", "copy-on-write"].into_iter().enumerate() {
        let lines = more.iter().enumerate().map(|(m, value)| put(&with(m + 1, &value.0))).collect();
        let at = u32::try_from(n).unwrap() * 15;
        let export = site.window(at, at + 15, lines);
        report = site.incremental(&[&export], &["--write-mode", mode]).expect(0).report;
        rescued = more.iter().map(|value| u64::from(value.2)).sum();
        assert_eq!(report["windows"][0]["rescued"].get("a").map_or(0, |n| n.as_u64().unwrap()), rescued, "{about}");
        assert_eq!(report["windows"][0]["columns_added"], json!([]), "{about}");
    }
    let mut rows = site.rows().await;
    rows.sort_by_key(|row| row["pk"].to_string());
    assert_eq!(rows.len(), values.len(), "{about}");
    for (n, (value, column, rescued)) in values.iter().enumerate() {
        let row = &rows[n];
        assert_eq!(row["pk"], json!(place(n)));
        assert_eq!(row["other"], "kept");
        assert_eq!(row.get("a").unwrap_or(&Value::Null), column, "{about}: {value}");
        let kept = row.get("_ddb_rescued").map(|text| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap());
        assert_eq!(kept, rescued.then(|| json!({"a": value})), "{about}: {value}");
    }
}

fn fits(value: Value, column: Value) -> Expected {
    (value, column, false)
}

fn kept_aside(value: Value) -> Expected {
    (value, Value::Null, true)
}

fn decimal(text: &str) -> Value {
    json!({ "decimal": text })
}

fn instant(text: &str) -> Value {
    json!({ "instant": text })
}

fn n(text: &str) -> Value {
    json!({ "N": text })
}

fn s(text: &str) -> Value {
    json!({ "S": text })
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_in_other_types() {
    retyped(
        json!("number-string"),
        &[
            fits(n("1"), json!("1")),
            fits(n("1.50"), json!("1.5")),
            fits(n("-0"), json!("0")),
            fits(n("1E2"), json!("100")),
            fits(
                n("9.9999999999999999999999999999999999999E+125"),
                json!("9.9999999999999999999999999999999999999E+125"),
            ),
            fits(n("1E-130"), json!("1E-130")),
            kept_aside(s("1")),
        ],
    )
    .await;
    retyped(
        json!("decimal(10, 2)"),
        &[
            fits(n("1"), decimal("1")),
            fits(n("12345678.99"), decimal("12345678.99")),
            fits(n("-0"), decimal("0")),
            fits(n("1.230"), decimal("1.23")),
            kept_aside(n("0.001")),
            kept_aside(n("123456789")),
        ],
    )
    .await;
    retyped(
        json!("decimal(38,0)"),
        &[
            fits(n("1"), decimal("1")),
            fits(n("99999999999999999999999999999999999999"), decimal("99999999999999999999999999999999999999")),
            kept_aside(n("1E38")),
            kept_aside(n("0.5")),
        ],
    )
    .await;
    retyped(
        json!("double"),
        &[
            fits(n("1"), json!(1.0)),
            fits(n("0.1"), json!(0.1)),
            fits(n("-0"), json!(0.0)),
            fits(n("12345678901234567890123456789012345678"), json!(1.234_567_890_123_456_8e37)),
            fits(n("9.9999999999999999999999999999999999999E+125"), json!(1e126)),
            fits(n("1E-130"), json!(1e-130)),
            kept_aside(s("0.1")),
        ],
    )
    .await;
    // The way that every table meets its first fraction.
    retyped(json!("long"), &[fits(n("1"), json!(1)), kept_aside(n("19.99")), fits(n("2.0"), json!(2))]).await;
    retyped(
        json!("json"),
        &[
            fits(n("1.50"), json!("1.5")),
            fits(s("1.50"), json!("\"1.50\"")),
            fits(json!({"BOOL": true}), json!("true")),
            fits(json!({"M": {"x": {"L": [n("1"), {"B": "YQ=="}]}}}), json!("{\"x\":[1,{\"B\":\"YQ==\"}]}")),
            fits(json!({"NULL": true}), Value::Null),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instants() {
    retyped(
        json!("timestamp(seconds)"),
        &[
            fits(n("1768386096"), instant("2026-01-14T10:21:36+00:00")),
            fits(n("1768386096.366933"), instant("2026-01-14T10:21:36.366933+00:00")),
            fits(n("-1"), instant("1969-12-31T23:59:59+00:00")),
            fits(json!({"NULL": true}), Value::Null),
            kept_aside(n("1768386096.3669331")),
            kept_aside(n("1768386096366")),
            kept_aside(s("1768386096")),
        ],
    )
    .await;
    retyped(
        json!("timestamp(milliseconds)"),
        &[
            fits(n("1768386096366"), instant("2026-01-14T10:21:36.366+00:00")),
            fits(n("0.001"), instant("1970-01-01T00:00:00.000001+00:00")),
            kept_aside(n("0.0001")),
            kept_aside(n("1E20")),
        ],
    )
    .await;
    retyped(
        json!("timestamp(iso-8601)"),
        &[
            fits(s("2026-01-14T10:21:36Z"), instant("2026-01-14T10:21:36+00:00")),
            fits(s("2026-01-14 10:21:36"), instant("2026-01-14T10:21:36+00:00")),
            fits(s("2026-01-14T12:21:36.366933000+02:00"), instant("2026-01-14T10:21:36.366933+00:00")),
            kept_aside(s("2026-01-14T10:21:36.3669331Z")),
            kept_aside(s("2016-12-31T23:59:60Z")),
            kept_aside(s("14.01.2026")),
            kept_aside(s("")),
            kept_aside(n("1768386096")),
        ],
    )
    .await;
    let (at, other) = ("2026-01-14T10:21:36+00:00", "2026-01-14T10:21:37+00:00");
    retyped(
        json!({"list": "timestamp(seconds)"}),
        &[
            fits(json!({"L": [n("1768386096"), n("1768386097")]}), json!([instant(at), instant(other)])),
            (json!({"L": [n("1768386096"), s("?")]}), json!([instant(at), null]), true),
        ],
    )
    .await;
    retyped(
        json!({"map": "timestamp(iso-8601)"}),
        &[
            fits(json!({"M": {"x": s("2026-01-14T10:21:36Z")}}), json!({"x": instant(at)})),
            (json!({"M": {"x": s("?"), "y": s("2026-01-14T10:21:36Z")}}), json!({"x": null, "y": instant(at)}), true),
        ],
    )
    .await;
    retyped(
        json!({"set": "timestamp(seconds)"}),
        &[
            fits(json!({"NS": ["1768386096"]}), json!([instant(at)])),
            kept_aside(json!({"SS": ["2026-01-14T10:21:36Z"]})),
        ],
    )
    .await;
    retyped(
        json!({"set": "timestamp(iso-8601)"}),
        &[fits(json!({"SS": ["2026-01-14T10:21:36Z"]}), json!([instant(at)]))],
    )
    .await;
    retyped(
        json!({"struct": {"at": {"column": "when", "type": "timestamp(seconds)"}}}),
        &[
            fits(json!({"M": {"at": n("1768386096")}}), json!({"when": instant(at)})),
            (json!({"M": {"at": n("1E30")}}), json!({}), true),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_structs_lists_and_sets() {
    retyped(
        json!({"map": "long"}),
        &[
            fits(json!({"M": {"x": n("1")}}), json!({"x": 1})),
            fits(json!({"M": {"y": n("2"), "z": n("3")}}), json!({"y": 2, "z": 3})),
            fits(json!({"M": {}}), json!({})),
            (json!({"M": {"y": n("2"), "z": s("3")}}), json!({"y": 2, "z": null}), true),
            kept_aside(json!({"L": []})),
        ],
    )
    .await;
    // A struct where observation would give a map: the map was empty.
    retyped(
        json!({"struct": {"x": {"type": "long"}, "y": {"column": "why", "type": {"list": "string"}}}}),
        &[
            fits(json!({"M": {}}), json!({})),
            fits(json!({"M": {"y": {"L": [s("a")]}, "x": n("1")}}), json!({"x": 1, "why": ["a"]})),
            (json!({"M": {"x": s("a"), "y": {"L": [s("a"), n("1")]}}}), json!({"why": ["a", null]}), true),
        ],
    )
    .await;
    retyped(
        json!({"list": {"map": {"set": "string"}}}),
        &[
            fits(json!({"L": [{"M": {"x": {"SS": ["a", "b"]}}}, {"NULL": true}]}), json!([{"x": ["a", "b"]}, null])),
            kept_aside(json!({"SS": ["a"]})),
        ],
    )
    .await;
    retyped(
        json!({"set": "double"}),
        &[
            fits(json!({"NS": ["1", "0.5"]}), json!([1.0, 0.5])),
            kept_aside(json!({"L": [n("1")]})),
            kept_aside(json!({"BS": ["YQ=="]})),
        ],
    )
    .await;
}

/// Bounds of timestamp columns are in the manifest, and an increment keeps the type and its form in the mapping.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_knows_its_instants() {
    let items = ["1768386096", "1768386095.5", "1E30"]
        .iter()
        .enumerate()
        .map(|(k, v)| json!({"pk": s(&k.to_string()), "at": n(v)}));
    let (site, export) = edited(&items.collect::<Vec<_>>(), |attributes| {
        attributes["at"] = json!({"column": "when", "type": "timestamp(seconds)"});
    });
    load(&site, &export).expect(0);
    site.incremental(&[&site.window(0, 15, vec![put(&json!({"pk": s("9"), "at": n("0"), "new": s("x")}))])], &[])
        .expect(0);
    let table = site.table().await.unwrap();
    let property: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.schema"]).unwrap();
    assert_eq!(property["fields"]["2"], json!({"name": "at", "type": "timestamp(seconds)"}));
    let field = table.metadata.current_schema().field_by_name("when").unwrap();
    assert_eq!((field.id, field.field_type.to_string()), (2, "timestamptz".to_owned()));
    let mut bounds: Vec<_> = data_files(&table)
        .await
        .iter()
        .map(|file| {
            (file.lower_bounds()[&2].to_bytes().unwrap().to_vec(), file.upper_bounds()[&2].to_bytes().unwrap().to_vec())
        })
        .collect();
    bounds.sort();
    let bytes = |micros: i64| micros.to_le_bytes().to_vec();
    let mut expected = vec![(bytes(0), bytes(0)), (bytes(1_768_386_095_500_000), bytes(1_768_386_096_000_000))];
    expected.sort();
    assert_eq!(bounds, expected);
}

async fn data_files(table: &LoadedTable) -> Vec<DataFile> {
    let list = table.file_io.new_input(table.metadata.current_snapshot().unwrap().manifest_list()).unwrap();
    let list = ManifestList::parse_with_version(&list.read().await.unwrap(), table.metadata.format_version()).unwrap();
    let mut files = Vec::new();
    for manifest in list.entries() {
        let manifest = manifest.load_manifest(&table.file_io).await.unwrap();
        files.extend(manifest.entries().iter().filter(|e| e.is_alive()).map(|e| e.data_file().clone()));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_is_left_out_never_comes_back() {
    const SECRETS: [&str; 3] = ["top-secret-name", "top-secret-value", "top-secret-field"];
    let secret = json!({"M": {"top-secret-field": s("top-secret-value")}});
    let with = |pk: &str, v: &str| json!({"pk": s(pk), "top-secret-name": secret, "v": n(v)});
    let (site, export) = edited(&[with("a", "1")], |attributes| {
        attributes["top-secret-name"] = json!({"exclude": true});
    });
    let quiet = |run: &Run| {
        for text in [&run.stdout, &run.stderr] {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
    };
    let run = site.run(&["full-load", &export, "--schema", "schema.json", "-vvv"]).expect(0);
    quiet(&run);
    assert_eq!(run.report["windows"][0]["rescued"], json!({}));
    let keys = json!({"pk": s("a")});
    let record = |new: Option<&Value>, old: &Value| {
        let mut record: Value = serde_json::from_str(&change(&keys, new)).unwrap();
        record["OldImage"] = old.clone();
        record.to_string()
    };
    let image = json!({"pk": s("a"), "top-secret-name": {"SS": ["top-secret-value"]}, "v": s("no number")});
    let increment = site.window(0, 15, vec![record(Some(&image), &with("a", "1"))]);
    for flags in [&["--dry-run", "-vvv"][..], &["-vvv", "--write-mode", "copy-on-write"]] {
        let run = site.incremental(&[&increment], flags).expect(0);
        quiet(&run);
    }
    let rows = site.rows().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["_ddb_rescued"], r#"{"v":{"S":"no number"}}"#);
    for secret in SECRETS {
        assert!(!serde_json::to_string(&rows).unwrap().contains(secret));
    }
    let table = site.table().await.unwrap();
    assert!(!serde_json::to_string(table.metadata.current_schema()).unwrap().contains("secret"));
    // Where it is damaged: nothing of it in the message, in the new image or in the old one.
    for value in
        [json!({"N": "top-secret-value"}), json!({"top-secret-field": "x"}), json!({"S": 1}), json!("top-secret-value")]
    {
        let damaged = json!({"pk": s("a"), "top-secret-name": value});
        for line in [record(Some(&damaged), &keys), record(None, &damaged)] {
            let run = site.incremental(&[&site.window(15, 30, vec![line])], &["-vvv"]).expect(3);
            quiet(&run);
            assert_eq!(run.report["error"]["line"], 1, "{}", run.message());
            assert!(run.message().contains("left out"), "{}", run.message());
            fs::remove_dir_all(site.bucket()).unwrap();
            fs::create_dir(site.bucket()).unwrap();
        }
        let bare = full(30).files([vec![item(&damaged)]]).write(site.bucket());
        let arguments =
            ["full-load", bare.to_str().unwrap(), "--schema", "schema.json", "--if-exists", "replace", "-vvv"];
        let run = site.run(&arguments).expect(3);
        quiet(&run);
        fs::remove_dir_all(site.bucket()).unwrap();
        fs::create_dir(site.bucket()).unwrap();
    }
}

/// A column that another program renamed is still the attribute's.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_was_renamed_later() {
    let site = Site::loaded(vec![program::simple("a", 1), program::simple("b", 2)], &["pk"]);
    let table = site.table().await.unwrap();
    let old = table.metadata.current_schema();
    let fields = old.as_struct().fields().iter().map(|field| {
        let name = match field.name.as_str() {
            "v" => "amount",
            "pk" => "id",
            other => other,
        };
        NestedField { name: name.to_owned(), ..(**field).clone() }.into()
    });
    let schema =
        Schema::builder().with_fields(fields).with_identifier_field_ids(old.identifier_field_ids()).build().unwrap();
    let updates = vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    assert!(matches!(catalog.commit(&table, Vec::new(), updates).await.unwrap(), Commit::Done(_)));
    for (at, mode) in [(0, "merge-on-read"), (15, "copy-on-write")] {
        let export = site.window(at, at + 15, vec![program::put("a", i64::from(at) + 10)]);
        let report = site.incremental(&[&export], &["--write-mode", mode]).expect(0).report;
        assert_eq!(report["windows"][0]["columns_added"], json!([]));
        let rows = site.rows().await;
        let mut found: Vec<_> =
            rows.iter().map(|row| (row["id"].as_str().unwrap(), row["amount"].as_i64().unwrap())).collect();
        found.sort_unstable();
        assert_eq!(found, [("a", i64::from(at) + 10), ("b", 2)]);
    }
}

#[test]
fn what_is_wrong_with_the_file_is_said() {
    let site = Site::new();
    let export = full(0).files([vec![program::simple("a", 1)]]).write(site.bucket());
    let export = export.to_str().unwrap();
    let good = r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"v":{"type":"long"}}}"#;
    let long = format!("{}{}", good, " ".repeat(64 << 20));
    for (bytes, expected) in [
        (&b"{\"version\":1,\n\"key\":[\"pk\xff\"]}"[..], &["schema.json:2: ", "not UTF-8"][..]),
        (b"{\n \"version\": 1,\n}\n", &["schema.json:3: ", "trailing comma at line 3 column 1"]),
        (b"", &["schema.json", "empty"]),
        (br#"{"version":1,"attributes":{"pk":{"type":"sting"}}}"#, &["schema.json: ", "$.attributes[\"pk\"].type", "did you mean string?"]),
        (
            br#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"a":{"type":"long"},"v":{"column":"A","type":"long"}}}"#,
            &["schema.json: ", "\"A\"", "column"],
        ),
        (br#"{"version":1,"attributes":{"v":{"type":"long"}}}"#, &["does not list", "\"pk\""]),
        (br#"{"version":1,"attributes":{"pk":{"exclude":true},"v":{"type":"long"}}}"#, &["leaves out", "\"pk\""]),
        (br#"{"version":1,"attributes":{"pk":{"type":"timestamp(iso-8601)"}}}"#, &["timestamp(iso-8601)", "\"pk\""]),
        (br#"{"version":1,"attributes":{"pk":{"type":"boolean"}}}"#, &["boolean", "\"pk\""]),
        (br#"{"version":1,"key":["v"],"attributes":{"v":{"type":"long"}}}"#, &["--key says pk, the schema file says v"]),
        (long.as_bytes(), &["schema.json: ", "67108864"]),
    ] {
        fs::write(site.path().join("schema.json"), bytes).unwrap();
        let run = site.run(&["full-load", export, "--schema", "schema.json", "--key", "pk"]);
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(expected.iter().all(|part| run.message().contains(part)), "{}", run.message());
        assert!(!site.warehouse().join("shop").exists());
    }
    fs::write(site.path().join("schema.json"), format!("\u{feff}{good}\r\n")).unwrap();
    site.run(&["full-load", export, "--schema", "schema.json"]).expect(0);
}

/// Past the field limit a struct takes no new fields: they are rescued whole, and the result says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_struct_that_is_full_is_closed() {
    let fields = |from: usize, to: usize| -> Value {
        json!({"M": (from..to).map(|n| (format!("f{n}"), json!({"N": n.to_string()}))).collect::<Map<_, _>>()})
    };
    let with = |pk: &str, m: &Value, l: &Value| json!({"pk": s(pk), "m": m, "l": {"L": [l]}});
    let site = Site::loaded(vec![item(&with("a", &fields(0, 250), &fields(0, 2)))], &["pk"]);
    // Six more fit.
    let export = site.window(0, 15, vec![put(&with("b", &fields(250, 256), &fields(1, 3)))]);
    let report = site.incremental(&[&export], &[]).expect(0).report;
    assert_eq!(report["windows"][0]["columns_added"].as_array().unwrap().len(), 7);
    assert_eq!(report["windows"][0]["rescued"], json!({}));
    // One more does not, nor do a thousand.
    for (at, to) in [(15, 257), (30, 1256)] {
        let new = with("c", &fields(255, to), &fields(2, 4));
        let export = site.window(at, at + 15, vec![put(&new), put(&with("d", &fields(0, 1), &fields(0, 1)))]);
        let report = site.incremental(&[&export], &[]).expect(0).report;
        assert_eq!(report["windows"][0]["columns_added"], if at == 15 { json!(["l.element.f3"]) } else { json!([]) });
        assert_eq!(report["windows"][0]["rescued"], json!({"m": 1}));
        assert!(report["warnings"].to_string().contains("m has too many fields"), "{}", report["warnings"]);
        let rows = site.rows().await;
        let row = rows.iter().find(|row| row["pk"] == "c").unwrap();
        assert_eq!(row["m"], json!({"f255": 255}));
        assert_eq!(row["l"], json!([{"f2": 2, "f3": 3}]));
        let rescued: Value = serde_json::from_str(row["_ddb_rescued"].as_str().unwrap()).unwrap();
        assert_eq!(rescued, json!({ "m": new["m"] }));
        assert!(!rows.iter().find(|row| row["pk"] == "d").unwrap().contains_key("_ddb_rescued"));
    }
}

#[test]
fn detect_schema_says_what_deserves_a_look() {
    let site = Site::new();
    let evil = "evil\u{1b}[31m\nrow";
    let long = "l".repeat(60_000);
    let items = [
        json!({"pk": s("do-not-print-1"), "at": n("1768386096"), "mixed": s("do-not-print-2"), evil: s("x"), &long: s("y")}),
        json!({"pk": s("do-not-print-3"), "at": n("1768386097"), "mixed": n("31415926"), "At": s("2026-01-14T10:20:00Z")}),
    ];
    let export = full(0).files([items.iter().map(item).collect::<Vec<_>>()]).write(site.bucket());
    let export = export.to_str().unwrap();
    let run = site.plain(&["detect-schema", export, "--key", "pk"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for part in [
        "at: differs from \"At\" by case only",
        "at: could be instants: the type would be \"timestamp(seconds)\"",
        "At: could be instants: the type would be \"timestamp(iso-8601)\"",
        "mixed: S (1) and N (1) have nothing in common",
        "evil\\u{1b}[31m\\nrow",
        "S 1, N 1",
        "100.0%",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in {}", run.stderr);
    }
    assert!(!run.stderr.contains("do-not-print") && !run.stderr.contains("31415926"), "{}", run.stderr);
    assert!(run.stderr.lines().all(|line| line.chars().count() < 300), "{}", run.stderr);
    let file: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(file["attributes"]["at"]["type"], "long", "a hint changes no type");
    let run = site.plain(&["detect-schema", export, "--key", "pk", "--output", "x.json", "--format", "json"]).expect(0);
    assert!(run.warnings().contains("timestamp(seconds)"), "{}", run.warnings());
    assert!(!run.stdout.contains("do-not-print"), "{}", run.stdout);
    // A key that some item lacks is none.
    let run = site.plain(&["detect-schema", export, "--key", "At", "--format", "json"]).expect(3);
    assert!(run.message().contains("1 of 2 items have no value for the key attribute"), "{}", run.message());
    assert_eq!(run.report["error"]["attribute"], "At");
    for wrong in [&["--key", "pk", "--key", "pk"][..], &["--key", "pk", "--key", "at", "--key", "At"]] {
        assert_eq!(site.plain(&[&["detect-schema", export][..], wrong].concat()).code, 2);
    }
}

/// Names that need care get the same columns from run to run, and the schema file says which.
#[tokio::test(flavor = "multi_thread")]
async fn odd_names() {
    let names = [
        " ",
        "😀",
        "a.b",
        "a",
        "a.element",
        "name",
        "Name",
        "k",
        "\u{212a}",
        "s",
        "ſ",
        "ß",
        "SS",
        "_ddb_rescued",
        "_DDB_RESCUED",
        "_file",
        "_pos",
        "`",
        "'",
        "\"",
        "\n",
        "\0",
        "\u{1b}[0m",
        "order by",
        "__deleted",
        "__written",
        "__order",
        "__line",
    ];
    let n255 = "n".repeat(255);
    let huge = "h".repeat(60_000);
    let mut attributes: BTreeMap<&str, Value> = names.iter().map(|name| (*name, s(name))).collect();
    attributes.insert(&n255, s("255"));
    attributes.insert(&huge, s("60000"));
    attributes.insert("a", json!({"M": {"b": s("in"), "B": s("IN"), "": s("empty"), "_file": s("f"), "b.c": s("d")}}));
    let with = |pk: &str, backwards: bool| {
        let mut parts: Vec<_> = attributes.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        parts.push(format!("\"pk\":{{\"S\":\"{pk}\"}}"));
        if backwards {
            parts.reverse();
        }
        format!("{{{}}}", parts.join(","))
    };
    let mut files = Vec::new();
    for backwards in [false, true] {
        let site = Site::new();
        let export = full(0).files([vec![format!("{{\"Item\":{}}}", with("a", backwards))]]).write(site.bucket());
        let export = export.to_str().unwrap();
        let run = site.plain(&["detect-schema", export, "--key", "pk", "--output", "schema.json", "-q"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        files.push(fs::read_to_string(site.path().join("schema.json")).unwrap());
        load(&site, export).expect(0);
        let file: Value = serde_json::from_str(&files[0]).unwrap();
        let image: Value = serde_json::from_str(&with("b", backwards)).unwrap();
        for (at, mode) in [(0, "merge-on-read"), (15, "copy-on-write")] {
            let export = site.window(at, at + 15, vec![put(&image)]);
            let report = site.incremental(&[&export], &["--write-mode", mode]).expect(0).report;
            assert_eq!(report["windows"][0]["columns_added"], json!([]));
            assert_eq!(report["windows"][0]["rescued"], json!({}));
        }
        let rows = site.rows().await;
        assert_eq!(rows.len(), 2);
        for row in &rows {
            assert_eq!(row.len(), attributes.len() + 1);
            for (name, value) in &attributes {
                let column = file["attributes"][name]["column"].as_str().unwrap_or(name);
                if *name == "a" {
                    let a = row[column].as_object().unwrap();
                    assert_eq!(a.len(), 5);
                    assert_eq!(a["B"], "IN");
                    assert_eq!(a["_file"], "f");
                } else {
                    assert_eq!(row[column], value["S"], "{name:?}");
                }
            }
        }
    }
    assert_eq!(files[0], files[1]);
    let file: Value = serde_json::from_str(&files[0]).unwrap();
    let renamed = |name: &str| !file["attributes"][name]["column"].is_null();
    for name in ["a.b", "a.element", "name", "\u{212a}", "ſ", "_ddb_rescued", "_DDB_RESCUED", "_file", "_pos"] {
        assert!(renamed(name), "{name} keeps its name");
    }
    for name in [" ", "😀", "a", "Name", "k", "s", "ß", "SS", "`", "\0", "order by", "__deleted", &n255, &huge] {
        assert!(!renamed(name), "{name:?} gets another name");
    }
}

/// Attributes, the key among them, that are called like something the program has inside: the newest change still wins.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_program_uses_itself() {
    let names =
        ["__deleted", "__written", "__order", "__line", "__change", "__file", "__position", "_pos", "file_path"];
    for key in names {
        let with = |v: u64| -> Value {
            let all = names.iter().map(|name| ((*name).to_owned(), n(&(if *name == key { 7 } else { v }).to_string())));
            Value::Object(all.collect())
        };
        let site = Site::loaded(vec![item(&with(0))], &[key]);
        // Later lines are newer; the attributes' values say the contrary.
        let changes = (1..=5).map(|v| change(&json!({ key: n("7") }), Some(&with(10 - v)))).collect();
        let report = site.incremental(&[&site.window(0, 15, changes)], &[]).expect(0).report;
        assert_eq!(report["windows"][0]["rows"], json!({"inserted": 0, "updated": 1, "deleted": 0}), "{key}");
        let rows = site.rows().await;
        assert_eq!(rows.len(), 1, "{key}");
        let values: Vec<_> = rows[0].values().map(|value| value.as_u64().unwrap()).collect();
        assert_eq!(values.iter().filter(|v| **v == 5).count(), names.len() - 1, "{key}: {values:?}");
    }
}

#[test]
fn an_empty_window_after_an_edit_changes_nothing() {
    let (site, export) = edited(&[json!({"pk": s("a"), "v": n("1")})], |attributes| {
        attributes["v"] = json!({"column": "amount", "type": "decimal(20,4)"});
    });
    load(&site, &export).expect(0);
    let empty = window(0, 15).files([Vec::<String>::new()]).write(site.bucket());
    let report = site.incremental(&[&empty], &[]).expect(0).report;
    assert_eq!(report["windows"][0]["columns_added"], json!([]));
}
