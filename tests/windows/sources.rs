//! Whose table an export is: compared with the table as it is when the export is judged. And loads without a time, filtered
//! exports, tables that can't be written.

use ddb_iceberg::catalog::NewTable;
use ddb_iceberg::table::watermark;
use ddb_iceberg::table::{SnapshotBuilder, base_requirements, live_files};
use iceberg::TableIdent;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, Operation, PartitionSpec, SortOrder, TableMetadata, TableMetadataBuilder,
};

use super::{
    BTreeMap, FullExport, IncrementalExport, SOURCE, Site, Store, Value, at, connect, fs, full, gone, json, pairs, put,
    simple, site, window,
};

/// A site whose table was loaded from bare files: it knows no DynamoDB table and no time.
fn bare(items: &[String]) -> Site {
    let site = Site::new();
    let folder = bare_files(&site, items);
    site.run(&["full-load", &folder, "--without-manifest", "--key", "pk"]).expect(0);
    site
}

fn bare_files(site: &Site, items: &[String]) -> String {
    let folder = site.path().join("bare");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("items.json"), items.join("\n")).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn source(table: &TableMetadata) -> [Option<&str>; 2] {
    ["ddb-iceberg.table-arn", "ddb-iceberg.table-id"].map(|name| table.properties().get(name).map(String::as_str))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tables_export_replaces_only_on_purpose() {
    let again = "00000000-aaaa-bbbb-cccc-000000000000";
    let items = || [[simple("b", 2)]];
    let elsewhere = |summary: &mut Value| {
        let arn = summary["tableArn"].as_str().unwrap().replace("eu-north-1", "eu-west-1");
        summary["tableArn"] = arn.into();
    };
    let cases = [
        (FullExport::new("orders_restored").time(&at(10)).files(items()), "table/orders_restored"),
        (full(10).table_id(again).files(items()), again),
        (full(10).edit_summary(elsewhere).files(items()), "eu-west-1"),
    ];
    for (export, said) in cases {
        let site = site();
        let folder = export.write(site.bucket());
        let folder = folder.to_str().unwrap();
        let before = site.files();
        for dry in [&["--dry-run"][..], &[]] {
            let replace = [&["full-load", folder, "--if-exists", "replace"], dry].concat();
            let run = site.run(&replace).expect(3);
            assert!(run.message().contains(said) && run.message().contains("--allow-other-table"), "{}", run.message());
        }
        assert!(site.files() == before, "the table is untouched");
        site.run(&["full-load", folder, "--if-exists", "replace", "--allow-other-table"]).expect(0);
        assert_eq!(pairs(&site.rows().await), [("b", 2)]);
        let table = site.table().await.unwrap();
        let now = source(&table.metadata);
        assert!(now.into_iter().flatten().any(|text| text.contains(said)), "{now:?}");
        // It is the other one's now.
        let run = site.incremental(&[&site.window(10, 25, vec![put("b", 3)])], &[]);
        assert_eq!((run.code, pairs(&site.rows().await)), (3, vec![("b", 2)]));
    }
}

/// The first window tells a table whose it is; the next one is another's.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_two_tables_named_together_are_refused() {
    for (from, to) in [(0, 15), (15, 30)] {
        let site = bare(&[simple("a", 1)]);
        let mine = site.window(0, 15, vec![put("a", 2)]);
        let other = IncrementalExport::new("customers").from(&at(from)).to(&at(to)).files([[put("a", 666)]]);
        let other = other.write(site.bucket());
        let before = site.files();
        let dry = site.incremental(&[&mine, &other], &["--allow-gap", "--dry-run"]).expect(3);
        assert!(dry.message().contains("table/customers"), "{}", dry.message());
        assert!(site.files() == before, "the table is untouched");
        let run = site.incremental(&[&mine, &other], &["--allow-gap"]).expect(3);
        let mut said = [run.message().contains("table/customers"), run.message().contains(&format!("table/{SOURCE}"))];
        said.sort_unstable();
        assert_eq!(said, [true, true], "{}", run.message());
        assert!(site.files() == before, "neither table's window has entered");
        // By themselves they may.
        site.incremental(&[&mine], &["--allow-gap"]).expect(0);
        let run = site.incremental(&[&other], &["--allow-gap"]).expect(3);
        assert!(run.message().contains("table/customers"), "{}", run.message());
        assert_eq!(pairs(&site.rows().await), [("a", 2)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_without_a_time_ends_what_was_known() {
    for compacted in [false, true] {
        let site = site();
        let load = full(0).files([vec![simple("a", 1)]]).write(site.bucket());
        site.incremental(&[&site.window(0, 15, vec![put("a", 2)])], &[]).expect(0);
        let folder = bare_files(&site, &[simple("x", 9)]);
        let run = site.run(&["full-load", &folder, "--without-manifest", "--if-exists", "replace"]).expect(0);
        assert_eq!(run.report["watermark"], Value::Null);
        if compacted {
            // What maintenance and others do changes nothing of it.
            site.run(&["expire", "--older-than", "0s"]).expect(0);
            site.run(&["compact"]).expect(0);
        }
        let next = site.window(15, 30, vec![put("a", 3)]);
        let run = site.run(&["status", next.to_str().unwrap()]).expect(0);
        assert_eq!(run.report["watermark"], Value::Null);
        assert!(run.report["state"]["due"][0]["problem"].as_str().unwrap().contains("no watermark"), "{}", run.stdout);
        assert_eq!(run.report["state"]["windows_since_rewrite"], 0);
        for flags in [&["--dry-run"][..], &[]] {
            let run = site.incremental(&[&next], flags).expect(4);
            assert!(run.message().contains("no watermark"), "{}", run.message());
        }
        assert_eq!(pairs(&site.rows().await), [("x", 9)]);
        let table = site.table().await.unwrap();
        assert_eq!(source(&table.metadata)[0].map(|arn| arn.ends_with("/orders")), Some(true), "it is still known");
        if !compacted {
            // As an earlier version left it, which did not mark such a load.
            let mut old = serde_json::to_value(&*table.metadata).unwrap();
            for snapshot in old["snapshots"].as_array_mut().unwrap() {
                snapshot["summary"].as_object_mut().unwrap().remove("ddb-iceberg.command");
            }
            let old: TableMetadata = serde_json::from_value(old).unwrap();
            assert_eq!(watermark::watermark(&old).unwrap(), None);
        }
        // The very export of the load before is none that the table holds.
        let load = load.to_str().unwrap();
        assert!(site.run(&["full-load", load, "--key", "pk"]).expect(1).message().contains("exists"));
        let run = site.run(&["full-load", load, "--if-exists", "replace"]).expect(0);
        assert_eq!((run.statuses().0, pairs(&site.rows().await)), ("applied", vec![("a", 1)]));
        site.incremental(&[&site.bucket()], &[]).expect(0);
        assert_eq!(pairs(&site.rows().await), [("a", 3)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_exports_are_never_taken_for_whole_ones() {
    let filter = |summary: &mut Value| {
        summary["filterSpecification"] = json!({"filterExpression": "v > :v", "projectionExpression": null});
    };
    let site = site();
    let load = full(20).edit_summary(filter).files([[simple("a", 5)]]).write(site.bucket());
    let filtered = window(0, 15).id("01768385900000-aaaaaaaa").edit_summary(filter).files([[put("a", 6)]]);
    let filtered = filtered.write(site.bucket());
    let before = site.files();
    let (load, filtered) = (load.to_str().unwrap(), filtered.to_str().unwrap());
    for command in [
        &["full-load", load, "--if-exists", "replace"][..],
        &["verify", load],
        &["incremental", filtered],
        &["incremental", filtered, "--dry-run"],
        &["status", filtered],
    ] {
        let run = site.run(command).expect(3);
        assert!(run.message().contains("filterSpecification"), "{command:?}: {}", run.message());
    }
    let run = site.plain(&["detect-schema", load, "--format", "json"]);
    assert!(run.code == 3 && run.stdout.contains("filterSpecification"), "{}", run.stdout);
    assert!(site.files() == before, "the table is untouched");
    // Below a folder it is somebody else's, and in nobody's way.
    site.window(0, 15, vec![put("a", 2)]);
    site.window(15, 30, vec![gone("a"), put("b", 1)]);
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert!(run.warnings().contains("filtered"), "{}", run.warnings());
    assert_eq!(run.statuses().1, ["applied", "applied"]);
    assert_eq!(pairs(&site.rows().await), [("b", 1)]);
}

/// What was filtered can't fill a gap, and is no news in each run.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_export_of_a_gap_is_passed_over() {
    let filter = |summary: &mut Value| summary["filterSpecification"] = json!({"filterExpression": "v > :v"});
    let site = site();
    site.window(15, 30, vec![put("a", 2)]);
    site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(0);
    let filtered = window(0, 15).id("01768387900000-aaaaaaaa").edit_summary(filter).files([[put("a", 6)]]);
    filtered.write(site.bucket());
    site.window(30, 45, vec![put("b", 1)]);
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert!(!run.warnings().contains("filtered"), "{}", run.warnings());
    assert_eq!(pairs(&site.rows().await), [("a", 2), ("b", 1)]);
}

/// As whoever copies exports has them: one export in two folders.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_there_twice_counts_once() {
    let site = site();
    let write = |root: &std::path::Path| {
        window(0, 15).id("01768385900000-aaaaaaaa").files([[put("a", 2), put("b", 3)]]).write(root)
    };
    let (first, second) = (write(&site.bucket().join("one")), write(&site.bucket().join("two")));
    let dry = site.incremental(&[&first, &second], &["--dry-run"]).expect(0);
    assert_eq!(dry.statuses().1.len(), 1, "{}", dry.stdout);
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!(run.statuses(), ("applied", vec!["applied"]));
    assert_eq!(pairs(&site.rows().await), [("a", 2), ("b", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_format_version_1_is_refused_before_any_work() {
    let site = site();
    let ours = site.table().await.unwrap();
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let location = format!("file://{}/shop/old", site.warehouse().display());
    let schema = (**ours.metadata.current_schema()).clone();
    let (spec, order) = (PartitionSpec::unpartition_spec(), SortOrder::unsorted_order());
    let properties = ours.metadata.properties().clone();
    let builder = TableMetadataBuilder::new(schema, spec, order, location, FormatVersion::V1, properties).unwrap();
    let made = builder.build().unwrap();
    let old = TableIdent::from_strs(["shop", "old"]).unwrap();
    catalog.create(&old, NewTable { metadata: made.metadata, updates: made.changes }).await.unwrap();
    let load = full(10).files([[simple("a", 5)]]).write(site.bucket());
    let next = site.window(0, 15, vec![put("a", 2)]);
    let (load, next) = (load.to_str().unwrap(), next.to_str().unwrap());
    let before = site.files();
    for command in [&["full-load", load, "--if-exists", "replace"][..], &["incremental", next], &["compact"]] {
        let run = site.plain(&[command, &["--table", "shop.old", "--format", "json"]].concat()).expect(1);
        assert!(run.message().contains("format version 1") && run.message().contains("Upgrade"), "{}", run.message());
        assert_eq!(run.report["bytes_written"], 0);
    }
    assert!(site.files() == before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_table_has_no_delete_files_left() {
    let site = Site::loaded(vec![simple("a", 1), simple("b", 1), simple("c", 1)], &["pk"]);
    site.incremental(&[&site.window(0, 15, vec![put("a", 2), gone("b")])], &["--write-mode", "merge-on-read"])
        .expect(0);
    // Another program takes the data files away, and leaves the deletes.
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let base = site.table().await.unwrap();
    let mut snapshot = SnapshotBuilder::new(Some(&base.metadata), &base.metadata, Operation::Delete);
    for live in live_files(&base).await.unwrap() {
        snapshot.remove_data_file(&live);
    }
    let built = snapshot.build(&base.file_io).await.unwrap().snapshot;
    let builder = (*base.metadata).clone().into_builder(Some(base.metadata_location.clone()));
    let made = builder.set_branch_snapshot(built, MAIN_BRANCH).unwrap().build().unwrap();
    catalog.commit(&base, base_requirements(&base.metadata), made.changes).await.unwrap();
    let totals = |table: &TableMetadata| {
        let summary = table.current_snapshot().unwrap().summary().additional_properties.clone();
        ["total-records", "total-data-files", "total-delete-files", "total-position-deletes"]
            .map(|name| summary[name].clone())
    };
    let table = site.table().await.unwrap();
    assert_ne!(totals(&table.metadata)[2], "0");
    let load = full(30).files([[simple("z", 1)]]).write(site.bucket());
    site.run(&["full-load", load.to_str().unwrap(), "--if-exists", "replace"]).expect(0);
    let table = site.table().await.unwrap();
    assert_eq!(totals(&table.metadata), ["1", "1", "0", "0"]);
    assert_eq!(pairs(&site.rows().await), [("z", 1)]);
}
