//! The bugs of the AWS sample script that this program replaces, each by name.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::fs;

use program::{Site, at, change, full, gone, item, pairs, put, simple, window};
use serde_json::{Value, json};

const EMPTY: Vec<String> = Vec::new();

#[tokio::test(flavor = "multi_thread")]
async fn the_first_data_file_is_empty() {
    let site = Site::new();
    let export = full(0).files([EMPTY, vec![simple("a", 1)], EMPTY, vec![simple("b", 2)]]).write(site.bucket());
    assert_eq!(fs::read(&exports::data_files(site.bucket(), &export)[0]).unwrap().len(), 20);
    assert_eq!(site.load(&export, &["pk"]).expect(0).counts(0), [2, 0, 0]);
    let export = window(0, 15).files([EMPTY, vec![put("a", 10), gone("b"), put("c", 3)]]).write(site.bucket());
    assert_eq!(site.incremental(&[&export], &[]).expect(0).counts(0), [1, 1, 1]);
    assert_eq!(pairs(&site.rows().await), [("a", 10), ("c", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_data_files_of_an_increment_are_empty_and_the_watermark_moves() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let export = window(0, 15).files([EMPTY, EMPTY, EMPTY]).write(site.bucket());
    let run = site.incremental(&[&export], &[]).expect(0);
    assert_eq!(run.statuses(), ("applied", vec!["applied"]));
    assert_eq!(run.counts(0), [0, 0, 0]);
    assert_eq!(run.report["windows"][0]["files"], json!({"data_added": 0, "data_removed": 0, "deletes_added": 0}));
    assert_eq!(run.report["watermark"], at(15));
    assert_eq!(site.summaries("ddb-iceberg.watermark").await, [Some(at(0)), Some(at(15))]);
    let table = site.table().await.unwrap();
    let current = table.metadata.current_snapshot().unwrap();
    assert_eq!(run.report["windows"][0]["snapshot_id"], current.snapshot_id().to_string());
    assert_eq!(pairs(&site.rows().await), [("a", 1)]);
    let next = site.window(15, 30, vec![put("a", 2)]);
    assert_eq!(site.incremental(&[&next], &[]).expect(0).counts(0), [0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_without_any_data_file() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let export = window(0, 15).files(Vec::<Vec<String>>::new()).write(site.bucket());
    assert_eq!(site.incremental(&[&export], &[]).expect(0).report["watermark"], at(15));
    assert_eq!(pairs(&site.rows().await), [("a", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_data_files_of_a_load_are_empty() {
    let site = Site::new();
    let export = full(0).files([EMPTY, EMPTY]).write(site.bucket());
    // Nothing says what the key is made of: the user is asked, and no table appears.
    let run = site.load(&export, &["pk"]).expect(3);
    assert!(run.message().contains("no items") && run.message().contains("--schema"), "{}", run.message());
    assert!(site.table().await.is_none());
    fs::write(site.path().join("schema.json"), r#"{"pk":"S","v":"N"}"#).unwrap();
    let path = export.to_str().unwrap();
    let run = site.run(&["full-load", path, "--schema", "schema.json", "--key", "pk"]).expect(0);
    assert_eq!(run.counts(0), [0, 0, 0]);
    assert_eq!(site.rows().await.len(), 0);
    let export = site.window(0, 15, vec![put("a", 1), gone("b")]);
    assert_eq!(site.incremental(&[&export], &[]).expect(0).counts(0), [1, 0, 0]);
    assert_eq!(pairs(&site.rows().await), [("a", 1)]);
}

/// It inserted a row of NULLs.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_an_absent_key_inserts_nothing() {
    for view in ["NEW_IMAGE", "NEW_AND_OLD_IMAGES"] {
        let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
        let with_old = |pk: &str| {
            let mut record: Value = serde_json::from_str(&gone(pk)).unwrap();
            if view == "NEW_AND_OLD_IMAGES" {
                record["OldImage"] = json!({"pk": {"S": pk}, "v": {"N": "5"}});
            }
            record.to_string()
        };
        let export = window(0, 15).view(view).files([vec![with_old("x"), with_old("y")]]).write(site.bucket());
        let run = site.incremental(&[&export], &[]).expect(0);
        assert_eq!(run.counts(0), [0, 0, 0], "{view}");
        assert_eq!(run.report["windows"][0]["files"]["data_added"], 0, "{view}");
        assert_eq!(run.report["windows"][0]["files"]["deletes_added"], 0, "{view}");
        assert_eq!(pairs(&site.rows().await), [("a", 1)], "{view}");
    }
}

/// There is no `NewImage` in the whole export, so its column could not be found.
#[tokio::test(flavor = "multi_thread")]
async fn an_increment_with_deletes_only_in_the_new_image_view() {
    for view in ["NEW_IMAGE", "NEW_IMAGES"] {
        let site = Site::loaded(vec![simple("a", 1), simple("b", 2), simple("c", 3)], &["pk"]);
        let export = window(0, 15).view(view).files([vec![gone("a")], vec![gone("c")]]).write(site.bucket());
        let run = site.incremental(&[&export], &[]).expect(0);
        assert_eq!(run.counts(0), [0, 0, 2]);
        assert_eq!(run.report["windows"][0]["files"]["data_added"], 0);
        assert_eq!(pairs(&site.rows().await), [("b", 2)]);
    }
}

/// It kept the stale value.
#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_missing_from_every_new_image_becomes_null() {
    let first = json!({"pk": {"S": "a"}, "note": {"S": "old"}, "m": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}});
    let other = json!({"pk": {"S": "b"}, "note": {"S": "kept"}});
    let site = Site::loaded(vec![item(&first), item(&other)], &["pk"]);
    let image = json!({"pk": {"S": "a"}, "m": {"M": {"x": {"N": "1"}}}});
    let mut record: Value = serde_json::from_str(&change(&json!({"pk": {"S": "a"}}), Some(&image))).unwrap();
    record["OldImage"] = first;
    let export = site.window(0, 15, vec![record.to_string()]);
    assert_eq!(site.incremental(&[&export], &[]).expect(0).counts(0), [0, 1, 0]);
    let rows = serde_json::to_value(site.rows().await).unwrap();
    assert_eq!(rows, json!([{"m": {"x": 1}, "pk": "a"}, {"note": "kept", "pk": "b"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_dashes_dots_spaces_reserved_words_and_emoji() {
    let names = [
        "order-id",
        "a.b",
        "c.d.e",
        "two words",
        " ",
        "select",
        "table",
        "group by",
        "_",
        "1st",
        "naïve",
        "😀",
        "a\"b",
        "it's",
        "`tick`",
        "back\\slash",
        "new\nline",
        "$",
        "%41",
        "key",
        "value",
        "element",
        "Item",
        "NewImage",
        "Keys",
    ];
    let image = |text: &str| {
        let mut image = json!({"partition-key.😀 x": {"S": "k"}, "nested": {"M": {}}});
        for name in names {
            image[name] = json!({"S": format!("{name}{text}")});
            image["nested"]["M"][name] = json!({"S": format!("{name}{text}")});
        }
        image
    };
    let expected = |text: &str| {
        let mut row = json!({"partition-key.😀 x": "k", "nested": {}});
        for name in names {
            row[name] = json!(format!("{name}{text}"));
            row["nested"][name] = json!(format!("{name}{text}"));
        }
        row
    };
    let key = "partition-key.😀 x";
    let site = Site::loaded(vec![item(&image(""))], &[key]);
    assert_eq!(serde_json::to_value(site.rows().await).unwrap(), json!([expected("")]));
    let mut newer = image("!");
    newer["new-one 🎉"] = json!({"S": "new"});
    let export = site.window(0, 15, vec![change(&json!({key: {"S": "k"}}), Some(&newer))]);
    let run = site.incremental(&[&export], &[]).expect(0);
    assert_eq!(run.report["windows"][0]["columns_added"], json!(["new-one 🎉"]));
    assert_eq!(run.counts(0), [0, 1, 0]);
    let mut row = expected("!");
    row["new-one 🎉"] = json!("new");
    assert_eq!(serde_json::to_value(site.rows().await).unwrap(), json!([row]));
    let export = site.window(15, 30, vec![change(&json!({key: {"S": "k"}}), None)]);
    assert_eq!(site.incremental(&[&export], &[]).expect(0).counts(0), [0, 0, 1]);
    assert_eq!(site.rows().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_run_again_changes_nothing() {
    let site = Site::new();
    let export = full(0).files([vec![simple("a", 1)]]).write(site.bucket());
    let first = site.load(&export, &["pk"]).expect(0);
    let before = site.files();
    let again = site.load(&export, &["pk"]).expect(0);
    assert_eq!(again.statuses(), ("already_applied", vec!["already_applied"]));
    assert_eq!(again.report["windows"][0]["snapshot_id"], first.report["windows"][0]["snapshot_id"]);
    assert_eq!(again.report["windows"][0]["export_arn"], first.report["windows"][0]["export_arn"]);
    assert_eq!(again.report["metadata_location"], first.report["metadata_location"]);
    assert_eq!(again.report["watermark"], at(0));
    assert!(site.files() == before, "no file was touched");
    // After increments it is still the load that this table began with.
    let increment = site.window(0, 15, vec![put("a", 2)]);
    site.incremental(&[&increment], &[]).expect(0);
    let again = site.load(&export, &["pk"]).expect(0);
    assert_eq!(again.statuses().0, "already_applied");
    assert_eq!(again.report["watermark"], at(15));
    assert_eq!(pairs(&site.rows().await), [("a", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_run_again_change_nothing() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let one = site.window(0, 15, vec![put("a", 2), put("b", 1)]);
    let two = site.window(15, 30, vec![gone("b"), put("c", 1)]);
    site.incremental(&[&one, &two], &[]).expect(0);
    let before = site.files();
    let again = site.incremental(&[&one, &two], &[]).expect(0);
    assert_eq!(again.statuses(), ("already_applied", vec!["already_applied", "already_applied"]));
    assert_eq!(site.incremental(&[&one], &[]).expect(0).statuses(), ("already_applied", vec!["already_applied"]));
    let folder = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!(folder.statuses().0, "nothing_to_do");
    assert_eq!(folder.report["watermark"], at(30));
    assert!(site.files() == before, "no file was touched");
    assert_eq!(pairs(&site.rows().await), [("a", 2), ("c", 1)]);
}
