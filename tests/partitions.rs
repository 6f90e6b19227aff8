//! Partitioned tables: what --partition-by makes, windows into them, specs that change in between, and what is not read.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::{Commit, LoadedTable};
use ddb_iceberg::storage::Store;
use ddb_iceberg::table::{LiveFile, live_files};
use iceberg::TableIdent;
use iceberg::spec::{Literal, ManifestList, PrimitiveLiteral, Transform, UnboundPartitionField, UnboundPartitionSpec};
use program::{Run, Site, TABLE, change, full, gone, item, pairs, put, simple};
use serde_json::json;

const COPY: [&str; 2] = ["--write-mode", "copy-on-write"];

/// Loads `items` with the key `pk`.
fn loaded(items: Vec<String>, partition_by: &[&str]) -> Site {
    let site = Site::new();
    let export = full(0).files([items]).write(site.bucket());
    load(&site, export.to_str().unwrap(), partition_by).expect(0);
    site
}

fn load(site: &Site, export: &str, more: &[&str]) -> Run {
    let mut arguments = vec!["full-load", export, "--key", "pk"];
    for spec in more {
        if spec.starts_with("--") {
            arguments.extend(spec.split(' '));
        } else {
            arguments.extend(["--partition-by", spec]);
        }
    }
    site.run(&arguments)
}

async fn live(site: &Site) -> (LoadedTable, Vec<LiveFile>) {
    let table = site.table().await.unwrap();
    let files = live_files(&table).await.unwrap();
    (table, files)
}

fn names(table: &LoadedTable) -> Vec<String> {
    table.metadata.default_partition_spec().fields().iter().map(|f| f.name.clone()).collect()
}

/// Partition values as text, with the number of rows in them, over all live files.
fn partitions(files: &[LiveFile]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for live in files {
        let values: Vec<String> = live.file.partition().iter().map(|v| v.map_or("null".to_owned(), shown)).collect();
        *found.entry(values.join(",")).or_default() += live.file.record_count();
    }
    found
}

fn shown(literal: &Literal) -> String {
    match literal {
        Literal::Primitive(PrimitiveLiteral::String(text)) => format!("{text:?}"),
        Literal::Primitive(PrimitiveLiteral::Long(n)) => n.to_string(),
        Literal::Primitive(PrimitiveLiteral::Int(n)) => n.to_string(),
        Literal::Primitive(PrimitiveLiteral::Int128(n)) => n.to_string(),
        Literal::Primitive(PrimitiveLiteral::Boolean(b)) => b.to_string(),
        Literal::Primitive(PrimitiveLiteral::Binary(bytes)) => format!("{bytes:?}"),
        other => panic!("{other:?}"),
    }
}

/// Makes another spec the default, as Spark's `ALTER TABLE … PARTITION FIELD` does.
async fn repartition(site: &Site, fields: &[(&str, &str, Transform)]) {
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    let base = catalog.load(&TableIdent::from_strs(TABLE.split('.')).unwrap()).await.unwrap().unwrap();
    let fields = fields.iter().map(|(source, name, transform)| UnboundPartitionField {
        source_id: base.metadata.current_schema().field_id_by_name(source).unwrap(),
        field_id: None,
        name: (*name).to_owned(),
        transform: *transform,
    });
    let spec = UnboundPartitionSpec::builder().add_partition_fields(fields).unwrap().build();
    let builder = (*base.metadata).clone().into_builder(Some(base.metadata_location.clone()));
    let made = builder.add_default_partition_spec(spec).unwrap().build().unwrap();
    let Commit::Done(_) = catalog.commit(&base, Vec::new(), made.changes).await.unwrap() else { panic!("committed") };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_holds_one_partition() {
    let rows = |pk: &str, more: serde_json::Value| {
        let mut attributes = json!({"pk": {"S": pk}});
        attributes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item(&attributes)
    };
    let items = vec![
        rows(
            "a",
            json!({"region": {"S": "eu"}, "n": {"N": "-7"}, "d": {"N": "1.5"}, "b": {"B": "AQID"}, "f": {"BOOL": true}}),
        ),
        rows(
            "b",
            json!({"region": {"S": ""}, "n": {"N": "7"}, "d": {"N": "-1.5"}, "b": {"B": ""}, "f": {"BOOL": false}}),
        ),
        rows(
            "c",
            json!({"region": {"S": "eu"}, "n": {"N": "-7"}, "d": {"N": "1.5"}, "b": {"B": "AQIE"}, "f": {"BOOL": true}}),
        ),
        rows("d", json!({"region": {"NULL": true}})),
    ];
    let spec = ["region", "truncate(10, n)", "d", "truncate(2, b)", "identity(f)"];
    let site = loaded(items, &spec);
    let (table, files) = live(&site).await;
    assert_eq!(names(&table), ["region", "n_trunc", "d", "b_trunc", "f"]);
    let expected = BTreeMap::from([
        ("\"eu\",-10,1500000000,[1, 2],true".to_owned(), 2),
        ("\"\",0,-1500000000,[],false".to_owned(), 1),
        ("null,null,null,null,null".to_owned(), 1),
    ]);
    assert_eq!(partitions(&files), expected);
    assert_eq!(files.len(), 3);
    assert_eq!(site.rows().await.len(), 4);
    assert!(files.iter().all(|f| f.file.file_path().contains("/data/00000-")), "no path made of values");
    assert!(files.iter().all(|f| f.file.sort_order_id() == Some(1)));

    // The manifest list sums them up.
    let snapshot = table.metadata.current_snapshot().unwrap();
    let bytes = table.file_io.new_input(snapshot.manifest_list()).unwrap().read().await.unwrap();
    let list = ManifestList::parse_with_version(&bytes, table.metadata.format_version()).unwrap();
    let summaries = list.entries()[0].partitions.clone().unwrap();
    assert_eq!(summaries.len(), 5);
    assert!(summaries.iter().all(|summary| summary.contains_null));
    let bounds =
        |n: usize| [&summaries[n].lower_bound, &summaries[n].upper_bound].map(|b| b.clone().unwrap().into_vec());
    assert_eq!(bounds(0), [b"".to_vec(), b"eu".to_vec()]);
    assert_eq!(bounds(1), [(-10_i64).to_le_bytes().to_vec(), 0_i64.to_le_bytes().to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_follow_each_row_to_its_partition() {
    for mode in [&[][..], &COPY] {
        let items = (0..40).map(|n| simple(&format!("k{n:02}"), n % 4)).collect();
        let site = loaded(items, &["v", "bucket(4, pk)"]);
        // k00 moves to another partition, k01 stays, k02 goes, k03 becomes null, k99 is new in a partition of its own.
        let none = change(&json!({"pk": {"S": "k03"}}), Some(&json!({"pk": {"S": "k03"}})));
        let window = site.window(0, 15, vec![put("k00", 3), put("k01", 1), gone("k02"), none, put("k99", 77)]);
        let run = site.incremental(&[&window], mode).expect(0);
        assert_eq!(run.counts(0), [1, 3, 1]);
        let rows = site.rows().await;
        assert_eq!(rows.len(), 40);
        let value = |pk: &str| rows.iter().find(|row| row["pk"] == pk).map(|row| row.get("v").cloned());
        assert_eq!(value("k00"), Some(Some(json!(3))));
        assert_eq!(value("k02"), None);
        assert_eq!(value("k03"), Some(None));
        let (_, files) = live(&site).await;
        for live in &files {
            for delete in &live.deletes {
                assert_eq!(delete.file.partition(), live.file.partition(), "a delete is of its data file's partition");
            }
        }
        let by_value = |first: &str| -> u64 {
            partitions(&files).iter().filter(|(name, _)| name.starts_with(first)).map(|(_, rows)| rows).sum()
        };
        assert_eq!((by_value("77,"), by_value("null,")), (1, 1));
        // Back again, and nothing is there twice.
        let window = site.window(15, 30, vec![put("k00", 0), put("k03", 3), gone("k99")]);
        assert_eq!(site.incremental(&[&window], mode).expect(0).counts(0), [0, 2, 1]);
        assert_eq!(site.rows().await.len(), 39);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spec_may_change_between_windows() {
    for modes in [[&[][..], &[]], [&COPY, &COPY], [&[], &COPY], [&COPY, &[]]] {
        let items = (0..20).map(|n| simple(&format!("k{n:02}"), n)).collect();
        let site = loaded(items, &["bucket(2, pk)"]);
        let window = site.window(0, 15, vec![put("k00", 100), gone("k01")]);
        site.incremental(&[&window], modes[0]).expect(0);
        repartition(&site, &[("v", "v_trunc_10", Transform::Truncate(10)), ("pk", "gone", Transform::Void)]).await;
        let window = site.window(15, 30, vec![put("k02", 102), put("k00", 103), gone("k03"), put("new", 104)]);
        let run = site.incremental(&[&window], modes[1]).expect(0);
        assert_eq!(run.counts(0), [1, 2, 1]);
        repartition(&site, &[]).await;
        let window = site.window(30, 45, vec![put("k02", 105), put("k04", 106), gone("new")]);
        assert_eq!(site.incremental(&[&window], modes[0]).expect(0).counts(0), [0, 2, 1]);

        let mut expected: BTreeMap<String, i64> = (0..20).map(|n| (format!("k{n:02}"), n)).collect();
        expected.retain(|pk, _| pk != "k01" && pk != "k03");
        expected.extend([("k00", 103), ("k02", 105), ("k04", 106)].map(|(pk, v)| (pk.to_owned(), v)));
        let rows = site.rows().await;
        let found: BTreeMap<String, i64> = pairs(&rows).into_iter().map(|(pk, v)| (pk.to_owned(), v)).collect();
        assert_eq!(found, expected);
        assert_eq!(rows.len(), expected.len());
        let (table, files) = live(&site).await;
        let specs: BTreeSet<i32> = files.iter().map(|f| f.spec_id).collect();
        assert!(specs.len() >= 2 && specs.contains(&table.metadata.default_partition_spec_id()), "{specs:?}");
        for live in &files {
            let fields = table.metadata.partition_spec_by_id(live.spec_id).unwrap().fields().len();
            assert_eq!(live.file.partition().fields().len(), fields);
        }
    }
}

/// Data files of partitions that no changed key can be in are not even opened: here they are gone.
#[tokio::test(flavor = "multi_thread")]
async fn other_partitions_are_not_read() {
    for mode in [&[][..], &COPY] {
        let items: Vec<String> = (0..200).map(|n| simple(&format!("k{n:03}"), n)).collect();
        let site = loaded(items, &["bucket(8, pk)"]);
        let (table, before) = live(&site).await;
        assert_eq!(before.len(), 8);
        // All files' bounds hold the key; only its own bucket's file is left.
        let own = before.iter().find(|live| {
            let path = live.file.file_path().strip_prefix("file://").unwrap();
            let reader =
                parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap());
            let mut keys = reader.unwrap().build().unwrap().flat_map(|batch| {
                let batch = batch.unwrap();
                let keys = arrow::array::AsArray::as_string::<i32>(batch.column(0));
                keys.iter().map(|key| key.unwrap().to_owned()).collect::<Vec<_>>()
            });
            keys.any(|key| key == "k100")
        });
        let own = own.expect("the file with the key").file.file_path().to_owned();
        for live in before.iter().filter(|live| live.file.file_path() != own) {
            fs::remove_file(live.file.file_path().strip_prefix("file://").unwrap()).unwrap();
        }
        let window = site.window(0, 15, vec![put("k100", -1)]);
        assert_eq!(site.incremental(&[&window], mode).expect(0).counts(0), [0, 1, 0]);
        assert!(table.metadata.current_snapshot_id() != site.table().await.unwrap().metadata.current_snapshot_id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attribute_with_a_partition_fields_name() {
    let site = loaded(vec![simple("a", 1)], &["bucket(2, pk)", "truncate(10, v)"]);
    let image = json!({"pk": {"S": "b"}, "pk_bucket": {"S": "x"}, "V_trunc": {"N": "2"}});
    let window = site.window(0, 15, vec![change(&json!({"pk": {"S": "b"}}), Some(&image))]);
    let run = site.incremental(&[&window], &[]).expect(0);
    let added: Vec<&str> =
        run.report["windows"][0]["columns_added"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    assert!(added[0].starts_with("V_trunc__") && added[1].starts_with("pk_bucket__"), "{added:?}");
    // The same at a full load of the table anew.
    let export =
        full(20).files([vec![item(&image), item(&json!({"pk": {"S": "c"}, "v": {"N": "3"}}))]]).write(site.bucket());
    load(&site, export.to_str().unwrap(), &["--if-exists replace"]).expect(0);
    let (table, _) = live(&site).await;
    let schema = table.metadata.current_schema();
    assert!(schema.field_by_name("pk_bucket").is_none() && schema.field_by_name("V_trunc").is_none());
    let rows = site.rows().await;
    assert!(rows[0].values().any(|v| v == "x") && rows.len() == 2, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_no_identifiers() {
    let image =
        |n: i32| item(&json!({"pk": {"S": format!("k{n}")}, "order-id": {"N": n.to_string()}, "a, (b)": {"S": "x"}}));
    let site = loaded((0..4).map(image).collect(), &["bucket(2, order-id)", "order-id", "truncate(1, a, (b))"]);
    let (table, files) = live(&site).await;
    for name in names(&table) {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
    }
    assert_eq!(files.len(), 4);
    let window = site.window(0, 15, vec![gone("k1")]);
    site.incremental(&[&window], &[]).expect(0);
    assert_eq!(site.rows().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_sets_a_spec_or_keeps_it() {
    let site = loaded(vec![simple("a", 1), simple("b", 2)], &["bucket(4, pk)"]);
    let export = |minutes: u32, lines: Vec<String>| {
        full(minutes).files([lines]).write(site.bucket()).to_str().unwrap().to_owned()
    };
    let spec_ids = || async {
        let (table, files) = live(&site).await;
        let of_files: BTreeSet<i32> = files.iter().map(|f| f.spec_id).collect();
        assert_eq!(of_files, BTreeSet::from([table.metadata.default_partition_spec_id()]));
        (table.metadata.default_partition_spec_id(), table.metadata.partition_specs_iter().count())
    };
    let first = export(10, vec![simple("a", 3)]);
    load(&site, &first, &["--if-exists replace"]).expect(0);
    assert_eq!(spec_ids().await, (0, 1), "it stays");
    let second = export(20, vec![simple("a", 4), simple("b", 25)]);
    load(&site, &second, &["--if-exists replace", "truncate(10, v)", "bucket(8, pk)"]).expect(0);
    assert_eq!(spec_ids().await, (1, 2), "a new one");
    let (table, _) = live(&site).await;
    assert!(names(&table)[1].starts_with("pk_bucket__"), "another field had the name: {:?}", names(&table));
    let third = export(30, vec![simple("a", 5)]);
    load(&site, &third, &["--if-exists replace", "bucket(4, pk)"]).expect(0);
    assert_eq!(spec_ids().await, (0, 2), "an equal one is there");
    load(&site, &export(40, vec![simple("a", 5)]), &["--if-exists replace", "truncate(10, v)", "bucket(8, pk)"])
        .expect(0);
    assert_eq!(spec_ids().await, (1, 2));

    // The column that it is partitioned by becomes another one.
    let text = item(&json!({"pk": {"S": "a"}, "v": {"S": "text"}}));
    let fourth = export(50, vec![text]);
    let before = site.files();
    for dry in [&["--if-exists replace", "--dry-run"][..], &["--if-exists replace"]] {
        let run = load(&site, &fourth, dry).expect(2);
        assert!(run.message().contains("v_trunc") && run.message().contains("--partition-by"), "{}", run.message());
    }
    assert!(site.files() == before, "nothing was written");
    load(&site, &fourth, &["--if-exists replace", "truncate(1, v)"]).expect(0);
    assert_eq!(site.rows().await[0].values().filter(|v| *v == "text").count(), 1);
    let window = site.window(50, 65, vec![gone("a")]);
    assert_eq!(site.incremental(&[&window], &[]).expect(0).counts(0), [0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_before_anything_is_written() {
    let site = Site::new();
    let export = full(0).files([vec![simple("a", 1)]]).write(site.bucket());
    let export = export.to_str().unwrap();
    let before = site.files();
    for (spec, said) in [
        ("bucket(0, pk)", "from 1 to"),
        ("bucket(4, pkk)", "did you mean \"pk\"?"),
        ("day(v)", "day takes date and timestamp columns"),
        ("zorder(v)", "no transform \"zorder\""),
    ] {
        for flags in [&[spec][..], &[spec, "--dry-run"]] {
            let run = load(&site, export, flags).expect(2);
            assert!(run.message().contains(said), "{}", run.message());
        }
    }
    assert!(site.files() == before);
    load(&site, export, &["bucket(4, pk)", "--dry-run"]).expect(0);
    assert!(site.files() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_partitions_of_a_load_are_refused_but_not_of_a_window() {
    let site = Site::new();
    let lines: Vec<String> = (0..10_001).map(|n| simple(&format!("k{n}"), n)).collect();
    let export = full(0).files([lines.clone()]).write(site.bucket());
    let run = load(&site, export.to_str().unwrap(), &["pk"]).expect(2);
    assert!(run.message().contains("10000 partitions"), "{}", run.message());
    assert!(site.table_files().is_empty(), "{:?}", site.table_files().len());
    // A window may have what it has.
    let export = full(5).files([vec![simple("a", 1)]]).write(site.bucket());
    load(&site, export.to_str().unwrap(), &["truncate(3, pk)"]).expect(0);
    let window = site.window(5, 20, (0..300).map(|n| put(&format!("{n:03}"), n)).collect());
    assert_eq!(site.incremental(&[&window], &[]).expect(0).report["windows"][0]["files"]["data_added"], 300);
}

/// A partition's delete files become one once there are many, whatever lies in other partitions and specs.
#[tokio::test(flavor = "multi_thread")]
async fn delete_files_of_a_partition_are_merged() {
    let items = (0..60).map(|n| simple(&format!("k{n:02}"), n % 2)).collect();
    let site = loaded(items, &["v"]);
    for n in 0..12_u32 {
        if n == 5 {
            repartition(&site, &[("v", "v_trunc_5", Transform::Truncate(5))]).await;
        }
        // A key of each partition goes, and one comes back in the other.
        let window = vec![gone(&format!("k{:02}", 2 * n)), put(&format!("k{:02}", 59 - 2 * n), 0)];
        let window = site.window(n * 15, n * 15 + 15, window);
        assert_eq!(site.incremental(&[&window], &[]).expect(0).counts(0), [0, 1, 1]);
    }
    let rows = site.rows().await;
    assert_eq!(rows.len(), 48);
    assert_eq!(pairs(&rows).iter().filter(|(_, v)| *v == 1).count(), 18);
    let (_, files) = live(&site).await;
    let most = files.iter().map(|live| live.deletes.len()).max().unwrap();
    assert!((1..=8).contains(&most), "{most} delete files of one data file");
}
