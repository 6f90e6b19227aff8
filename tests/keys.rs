//! Keys of every type, one or two of them, long ones and equal ones: each finds exactly its row.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::collections::{BTreeMap, HashMap};
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::{Commit, NewTable};
use ddb_iceberg::storage::Store;
use exports::data_files;
use iceberg::TableIdent;
use iceberg::spec::{
    FormatVersion, NestedField, PartitionSpec, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type,
};
use program::{Site, change, full, gone, item, pairs, put, simple, window};
use serde_json::{Value, json};

/// Values by name: the row of a key is told by its `id`, which is no part of the key.
type Expected = BTreeMap<String, i64>;

fn with(keys: &Value, id: &str, v: i64) -> Value {
    let mut image = keys.clone();
    image["id"] = json!({ "S": id });
    image["v"] = json!({"N": v.to_string()});
    image
}

async fn found(site: &Site) -> Expected {
    let rows = site.rows().await;
    let all = rows.len();
    let found: Expected =
        rows.into_iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row["v"].as_i64().unwrap())).collect();
    assert_eq!(found.len(), all, "a row is there twice");
    found
}

/// Loads all keys but the last; then the first is changed, the second deleted, the last inserted and then changed.
async fn every_key_is_found(attributes: &[&str], keys: &[Value]) {
    let id = |key: &Value| key.to_string();
    let (last, loaded) = keys.split_last().unwrap();
    let items: Vec<_> = loaded.iter().map(|key| item(&with(key, &id(key), 1))).collect();
    let site = Site::loaded(items, attributes);
    let mut expected: Expected = loaded.iter().map(|key| (id(key), 1)).collect();
    assert_eq!(found(&site).await, expected, "{attributes:?}");

    let changes = vec![
        change(&keys[1], None),
        change(last, Some(&with(last, &id(last), 2))),
        change(&keys[0], Some(&with(&keys[0], &id(&keys[0]), 2))),
    ];
    let run = site.incremental(&[&site.window(0, 15, changes)], &[]).expect(0);
    assert_eq!(run.counts(0), [1, 1, 1], "{attributes:?} {keys:?}");
    expected.remove(&id(&keys[1]));
    expected.insert(id(&keys[0]), 2);
    expected.insert(id(last), 2);
    assert_eq!(found(&site).await, expected, "{keys:?}");

    // Every key once more, those in the delta files too.
    let changes = keys.iter().map(|key| change(key, Some(&with(key, &id(key), 3)))).collect();
    let run = site.incremental(&[&site.window(15, 30, changes)], &[]).expect(0);
    let updated = keys.len() as u64 - 1;
    assert_eq!(run.counts(0), [1, updated, 0], "{keys:?}");
    assert_eq!(found(&site).await, keys.iter().map(|key| (id(key), 3)).collect(), "{keys:?}");
}

/// Values that keys of one type have; those of `N` are of columns of long, of decimal, and of digits.
fn values() -> Vec<Vec<Value>> {
    let list = |ty: &str, values: &[&str]| values.iter().map(|value| json!({ ty: value })).collect();
    vec![
        list("S", &["a", "A", "b ", "b", "😀"]),
        list("N", &["1", "-2", "10", "0", "9223372036854775807"]),
        list("N", &["1", "-2.5", "0.1", "10", "12345678901234567890"]),
        list("N", &["1", "1E+100", "-1E-120", "12345678901234567890123456789012345678", "0"]),
        list("B", &["AA==", "AAA=", "/w==", "AQ==", "//8="]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn single_keys_of_every_type() {
    for values in values() {
        let keys: Vec<_> = values.iter().map(|value| json!({ "pk": value })).collect();
        every_key_is_found(&["pk"], &keys).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_of_keys_of_every_type() {
    for first in values() {
        for second in values() {
            let keys: Vec<_> = first
                .iter()
                .take(3)
                .flat_map(|pk| second.iter().map(move |sk| json!({"the pk": pk, "a-sk": sk})))
                .collect();
            every_key_is_found(&["the pk", "a-sk"], &keys).await;
        }
    }
}

/// Bounds are truncated: what a file's bounds say of such keys is nearly nothing, and for some no upper bound exists.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_2048_bytes_that_share_their_first_200() {
    let text = |shared: &str| {
        let shared = shared.repeat(200 / shared.len());
        move |n: usize| json!({"S": format!("{shared}{n:05}{}", "x".repeat(2048 - 205))})
    };
    let binary = |byte: u8| {
        move |n: usize| {
            let mut bytes = vec![byte; 2048];
            bytes[200..205].copy_from_slice(format!("{n:05}").as_bytes());
            json!({"B": STANDARD.encode(bytes)})
        }
    };
    let ends = |n: usize| json!({"S": format!("{}{n:05}", "y".repeat(2043))});
    let makers: [Box<dyn Fn(usize) -> Value>; 6] = [
        Box::new(text("a")),
        Box::new(text("é")),
        Box::new(text("\u{10FFFF}")),
        Box::new(binary(0xFF)),
        Box::new(binary(0)),
        Box::new(ends),
    ];
    for make in makers {
        let key = |n: usize| json!({"pk": make(n), "sk": {"S": "s".repeat(1024)}});
        let line = |n: usize, v: i64| change(&key(n), Some(&with(&key(n), &n.to_string(), v)));
        // Even numbers are in the table, odd ones lie between them.
        let files: Vec<Vec<_>> = (0..4)
            .map(|file| (0..600).filter(|n| n % 4 == file).map(|n| n * 2).collect::<Vec<_>>())
            .map(|numbers| numbers.into_iter().map(|n| item(&with(&key(n), &n.to_string(), 1))).collect())
            .collect();
        let site = Site::new();
        let export = full(0).files(files).write(site.bucket());
        site.load(&export, &["pk", "sk"]).expect(0);
        let mut expected: Expected = (0..600).map(|n| ((n * 2).to_string(), 1)).collect();

        let mut changes = Vec::new();
        for n in 0..100 {
            changes.push(line(n * 12, 2));
            expected.insert((n * 12).to_string(), 2);
            changes.push(change(&key(n * 12 + 2), None));
            expected.remove(&(n * 12 + 2).to_string());
            changes.push(change(&key(n * 12 + 3), None));
            changes.push(line(n * 12 + 5, 2));
            expected.insert((n * 12 + 5).to_string(), 2);
        }
        let run = site.incremental(&[&site.window(0, 15, changes)], &[]).expect(0);
        assert_eq!(run.counts(0), [100, 100, 100]);
        assert!(found(&site).await == expected, "after the first window");

        // One key alone, in the middle: only one row may go.
        let run = site.incremental(&[&site.window(15, 30, vec![line(606, 3)])], &[]).expect(0);
        assert_eq!(run.counts(0), [0, 1, 0]);
        expected.insert("606".to_owned(), 3);
        let run = site.incremental(&[&site.window(30, 45, vec![change(&key(607), None)])], &[]).expect(0);
        assert_eq!(run.counts(0), [0, 0, 0]);
        let all = expected.keys().map(|n| change(&key(n.parse().unwrap()), None)).collect::<Vec<_>>();
        assert!(found(&site).await == expected, "after the second window");
        let run = site.incremental(&[&site.window(45, 60, all)], &[]).expect(0);
        assert_eq!(run.counts(0), [0, 0, expected.len() as u64]);
        assert!(found(&site).await.is_empty());
    }
}

/// "1", "1.0" and "1E0" are one key, whatever column it is in.
#[tokio::test(flavor = "multi_thread")]
async fn number_keys_are_equal_by_value() {
    let spellings = [["1", "1.0", "1E0"], ["30", "3E1", "0.3e+2"], ["-200", "-2E2", "-200.000"], ["0", "-0", "0E5"]];
    // A fifth key decides what the column is: long, decimal, digits.
    for other in ["7", "0.5", "1E+100"] {
        let number = |text: &str| json!({"pk": {"N": text}});
        let line = |keys: &str, image: &str, id: &str, v| change(&number(keys), Some(&with(&number(image), id, v)));
        let mut items: Vec<_> = spellings.iter().map(|[a, ..]| item(&with(&number(a), a, 1))).collect();
        items.push(item(&with(&number(other), other, 1)));
        let site = Site::loaded(items, &["pk"]);
        let keys_before: HashMap<_, _> =
            site.rows().await.into_iter().map(|row| (row["id"].clone(), row["pk"].clone())).collect();

        let changes = spellings.iter().map(|[a, b, c]| line(b, c, a, 2)).collect();
        let run = site.incremental(&[&site.window(0, 15, changes)], &[]).expect(0);
        assert_eq!(run.counts(0), [0, 4, 0], "beside {other}");
        assert_eq!(found(&site).await.values().copied().collect::<Vec<_>>().iter().sum::<i64>(), 9);
        for row in site.rows().await {
            assert_eq!(row["pk"], keys_before[&row["id"]], "one form for one number, beside {other}");
        }
        let changes = spellings.iter().map(|[.., c]| change(&number(c), None)).collect();
        let run = site.incremental(&[&site.window(15, 30, changes)], &[]).expect(0);
        assert_eq!(run.counts(0), [0, 0, 4], "beside {other}");
        assert_eq!(found(&site).await, Expected::from([(other.to_owned(), 1)]));
        // In a load they are a key that is there twice.
        let site = Site::new();
        let items = vec![item(&with(&number(other), "x", 1)), item(&number("40")), item(&number("4.0E1"))];
        let export = full(0).files([items]).write(site.bucket());
        let run = site.load(&export, &["pk"]).expect(3);
        assert!(run.message().contains("40"), "{}", run.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_twice_in_a_full_load() {
    let many = |from: i64| (from..from + 200).map(|n| simple(&format!("k{n}"), n)).collect::<Vec<_>>();
    let twin = || vec![simple("k17", 0)];
    for files in [vec![[many(0), twin()].concat()], vec![many(0), [many(200), twin()].concat()]] {
        let site = Site::new();
        let export = full(0).files(files).write(site.bucket());
        let typed = r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"v":{"type":"long"}}}"#;
        fs::write(site.path().join("schema.json"), typed).unwrap();
        for arguments in [["--key", "pk"], ["--schema", "schema.json"]] {
            let run = site.run(&[&["full-load", export.to_str().unwrap()][..], &arguments].concat()).expect(3);
            assert!(run.message().contains("k17"), "names the key: {}", run.message());
            assert!(site.table().await.is_none());
            assert!(site.table_files().is_empty(), "left behind: {:?}", site.table_files());
        }
    }
    // Of two attributes, both count.
    let pair = |pk: &str, sk: i64| json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}});
    let items: Vec<_> = (0..100).map(|n| item(&pair(if n < 50 { "a" } else { "b" }, n % 50))).collect();
    let site = Site::new();
    let export = full(0).files([items.clone(), vec![item(&pair("b", 31))]]).write(site.bucket());
    assert_eq!(data_files(site.bucket(), &export).len(), 2);
    let run = site.load(&export, &["pk", "sk"]).expect(3);
    assert!(run.message().contains("\"b\"") || run.message().contains('b'), "{}", run.message());
    assert!(run.message().contains("31"), "{}", run.message());
    assert_eq!(Site::loaded(items, &["pk", "sk"]).rows().await.len(), 100);
}

/// Whatever its place in the runs that it is in: runs of different threads, since files whose counts the manifest does not
/// tell are taken for large ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_twice_is_found_at_each_place_of_each_run() {
    let site = Site::new();
    // Five lines a run, by key or against it, one of them the twin.
    let run = |twin: usize, first: bool, descending: bool| {
        let key = |n: usize| match n.cmp(&twin) {
            std::cmp::Ordering::Less => format!("a{n}{first}"),
            std::cmp::Ordering::Equal => "m".to_owned(),
            std::cmp::Ordering::Greater => format!("x{n}{first}"),
        };
        let mut lines: Vec<_> = (0..5).map(|n| simple(&key(n), 1)).collect();
        if descending {
            lines.reverse();
        }
        lines
    };
    let mut exports = Vec::new();
    for (first, second) in [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4), (4, 0), (4, 2), (4, 4)] {
        for descending in [false, true] {
            exports.push(vec![run(first, true, descending), run(second, false, false)]);
        }
    }
    // Twins of one run: the first two, those in the middle, the last two; side by side and apart.
    let keys = |text: &str| text.chars().map(|c| simple(&c.to_string(), 1)).collect::<Vec<_>>();
    exports.extend(["mmxyz", "ammyz", "abcmm", "mabcm", "amxym", "zymxm"].map(|text| vec![keys(text)]));
    let whole = exports.len();
    exports.push(vec![run(0, true, false), vec![simple("y", 1)]]);
    for (n, files) in exports.into_iter().enumerate() {
        let export = full(u32::try_from(n).unwrap()).files(files);
        let uncounted = |files: &mut Vec<Value>| {
            for file in files {
                file.as_object_mut().unwrap().remove("itemCount");
            }
        };
        let export = export.edit_files(uncounted).write(site.bucket());
        let run = site.load(&export, &["pk"]);
        if n < whole {
            let run = run.expect(3);
            assert!(run.message().contains("same key") && run.message().contains("\"m\""), "{n}: {}", run.message());
            assert!(site.table_files().is_empty(), "{n}: {:?}", site.table_files());
        } else {
            run.expect(0);
            let table = site.table().await.unwrap();
            assert_eq!(ddb_iceberg::table::live_files(&table).await.unwrap().len(), 2, "a run a file");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_identifier_fields_needs_its_key() {
    let site = Site::new();
    let string = || Type::Primitive(PrimitiveType::String);
    let fields = vec![
        NestedField::required(1, "pk", string()).into(),
        NestedField::optional(2, "v", Type::Primitive(PrimitiveType::Long)).into(),
        NestedField::optional(3, "_ddb_rescued", string()).into(),
    ];
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let place = format!("file://{}/shop/orders", site.warehouse().display());
    let (spec, order) = (PartitionSpec::unpartition_spec(), SortOrder::unsorted_order());
    let builder = TableMetadataBuilder::new(schema, spec, order, place, FormatVersion::V2, HashMap::new()).unwrap();
    let made = builder.build().unwrap();
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let ident = TableIdent::from_strs(["shop", "orders"]).unwrap();
    catalog.ensure_namespace(ident.namespace()).await.unwrap();
    let new = NewTable { metadata: made.metadata, updates: made.changes };
    assert!(matches!(catalog.create(&ident, new).await.unwrap(), Commit::Done(_)));

    let first = site.window(0, 15, vec![put("a", 1), put("b", 1)]);
    let run = site.incremental(&[&first], &["--allow-gap"]).expect(2);
    assert!(run.message().contains("--key"), "{}", run.message());
    let run = site.incremental(&[&first], &["--key", "pk"]).expect(4);
    assert!(run.message().contains("no watermark"), "{}", run.message());
    let run = site.incremental(&[&first], &["--key", "absent", "--allow-gap"]).expect(2);
    assert!(run.message().contains("\"absent\"") && run.message().contains("--key"), "{}", run.message());
    let run = site.incremental(&[&first], &["--key", "v", "--allow-gap"]).expect(3);
    assert!(run.message().contains("--key"), "{}", run.message());
    assert_eq!(site.rows().await.len(), 0);
    let run = site.incremental(&[&first], &["--key", "pk", "--allow-gap"]).expect(0);
    assert_eq!(run.counts(0), [2, 0, 0]);
    let second = site.window(15, 30, vec![put("a", 2), gone("b"), gone("c")]);
    let run = site.incremental(&[&second], &["--key", "pk"]).expect(0);
    assert_eq!(run.counts(0), [0, 1, 1]);
    assert_eq!(pairs(&site.rows().await), [("a", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_disagrees_with_the_tables() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let export = site.window(0, 15, vec![put("a", 2)]);
    for key in [&["--key", "v"][..], &["--key", "pk", "--key", "v"]] {
        let run = site.incremental(&[&export], key).expect(2);
        assert!(run.message().contains("--key"), "{}", run.message());
    }
    site.incremental(&[&export], &["--key", "pk"]).expect(0);
    // And a load's --key with the schema file's.
    fs::write(site.path().join("schema.json"), r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"}}}"#)
        .unwrap();
    let site2 = Site::new();
    fs::copy(site.path().join("schema.json"), site2.path().join("schema.json")).unwrap();
    let export = full(0).files([vec![simple("a", 1)]]).write(site2.bucket());
    let path = export.to_str().unwrap();
    site2.run(&["full-load", path, "--schema", "schema.json", "--key", "v"]).expect(2);
    let run = site2.run(&["full-load", path]).expect(2);
    assert!(run.message().contains("--key"), "says how to give it: {}", run.message());
    site2.load(&export, &["nosuch"]).expect(2);
    assert!(site2.table().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_keys_type_stops_before_any_commit() {
    let cases = [
        (json!({"S": "a"}), vec![json!({"N": "1"}), json!({"B": "YQ=="}), json!({"BOOL": true}), json!({"L": []})]),
        (json!({"B": "YQ=="}), vec![json!({"S": "a"}), json!({"N": "1"})]),
        (json!({"N": "1"}), vec![json!({"S": "1"}), json!({"N": "1.5"}), json!({"N": "9223372036854775808"})]),
        (json!({"N": "1.5"}), vec![json!({"S": "1.5"}), json!({"N": "0.0000000001"}), json!({"N": "1E+100"})]),
    ];
    for (loaded, changed) in cases {
        let site = Site::loaded(vec![item(&json!({"pk": loaded, "v": {"N": "1"}}))], &["pk"]);
        let rows = site.rows().await;
        for value in changed {
            let keys = json!({"pk": value});
            for image in [Some(&keys), None] {
                let good = json!({"pk": loaded});
                let lines = vec![change(&good, Some(&with(&good, "x", 2))), change(&keys, image)];
                let export = window(0, 15).files([lines]).write(site.bucket());
                let before = site.files();
                let run = site.incremental(&[&export], &[]).expect(3);
                assert_eq!(run.report["error"]["attribute"], "pk", "{}", run.message());
                assert_eq!(run.report["error"]["line"], 2, "{}", run.message());
                let after = site.files();
                assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
                assert!(after.keys().all(|name| name.ends_with('/') || before.contains_key(name)));
            }
        }
        assert_eq!(site.rows().await, rows);
    }
    // Two types in one load.
    let site = Site::new();
    let items = [json!({"S": "a"}), json!({"N": "1"})].map(|pk| item(&json!({ "pk": pk })));
    let export = full(0).files([items]).write(site.bucket());
    let run = site.load(&export, &["pk"]).expect(3);
    assert_eq!(run.report["error"]["attribute"], "pk", "{}", run.message());
    assert!(site.table().await.is_none());
}
