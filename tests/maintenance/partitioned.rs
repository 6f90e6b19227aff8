//! Partitioned tables: compacted partition by partition, also where other programs changed the spec in between.

use std::collections::{BTreeMap, BTreeSet};

use ddb_iceberg::catalog::LoadedTable;
use ddb_iceberg::schema::{PartitionTerm, TableSchema, partition_spec};
use ddb_iceberg::table::{Partitioner, live_table};
use iceberg::spec::{Literal, PrimitiveLiteral, Transform, UnboundPartitionSpec};

use super::partial::counted_rows;
use super::program::{Site, full, gone, pairs, put, simple};
use super::reader::{self, Seen};
use super::{Model, apply, counted, model_of, rows_at, update};

/// A table of 40 items in partitions.
pub fn site(terms: &[&str]) -> (Site, Model) {
    let model: Model = (0..40).map(|n| (format!("k{n:02}"), n)).collect();
    let site = Site::new();
    let items: Vec<_> = model.iter().map(|(key, value)| simple(key, *value)).collect();
    let export = full(0).files([items]).write(site.bucket());
    let mut arguments = vec!["full-load", export.to_str().unwrap(), "--key", "pk"];
    arguments.extend(terms.iter().flat_map(|term| ["--partition-by", term]));
    site.run(&arguments).expect(0);
    (site, model)
}

/// Another program makes another spec the default.
async fn partition_by(site: &Site, terms: &[&str]) {
    let base = site.table().await.unwrap();
    let property = base.metadata.properties().get("ddb-iceberg.schema").map(String::as_str);
    let columns = TableSchema::of_table(base.metadata.current_schema().clone(), property).unwrap();
    let specs: Vec<_> = base.metadata.partition_specs_iter().cloned().collect();
    let terms: Vec<_> = terms.iter().map(|term| PartitionTerm::parse(term).unwrap()).collect();
    let spec = partition_spec(&terms, &columns, &specs).unwrap();
    let builder = (*base.metadata).clone().into_builder(Some(base.metadata_location.clone()));
    update(site, builder.add_default_partition_spec(spec).unwrap().build().unwrap().changes).await;
}

/// The same, by a column as it is, whoever made it.
pub async fn partition_by_column(site: &Site, column: &str) {
    let base = site.table().await.unwrap();
    let source = base.metadata.current_schema().field_id_by_name(column).unwrap();
    let spec =
        UnboundPartitionSpec::builder().add_partition_field(source, column, Transform::Identity).unwrap().build();
    let builder = (*base.metadata).clone().into_builder(Some(base.metadata_location.clone()));
    update(site, builder.add_default_partition_spec(spec).unwrap().build().unwrap().changes).await;
}

/// Every row lies in a file of its partition by `truncate(100, v)`, where the file's spec has that field; gives the number of
/// files of each partition.
async fn partitions(table: &LoadedTable) -> BTreeMap<(i32, String), usize> {
    let mut found = BTreeMap::new();
    let live = live_table(table).await.unwrap();
    let mut seen = Seen::default();
    for one in &live.files {
        let spec = table.metadata.partition_spec_by_id(one.spec_id).unwrap();
        assert_eq!(spec.fields().len(), one.file.partition().fields().len());
        *found.entry((one.spec_id, format!("{:?}", one.file.partition()))).or_default() += 1;
        let Some(place) = spec.fields().iter().position(|field| field.name.starts_with("v_trunc")) else { continue };
        let Some(Literal::Primitive(PrimitiveLiteral::Long(lowest))) = one.file.partition().fields()[place] else {
            panic!("{:?}", one.file.partition());
        };
        for batch in seen.file(table, one.file.file_path()).await.iter() {
            for n in 0..batch.num_rows() {
                let row = reader::row(batch, n, table.metadata.current_schema());
                let value = row["v"].as_i64().unwrap();
                assert!((lowest..lowest + 100).contains(&value), "{value} in the partition {lowest}");
            }
        }
    }
    found
}

/// Compacts; every partition that a file was added to has that one only.
async fn compact(site: &Site, model: &Model) -> usize {
    let before = site.table().await.unwrap();
    let run = site.run(&["compact"]).expect(0);
    assert_eq!(run.report["status"], "applied", "{}", run.stdout);
    let table = site.table().await.unwrap();
    assert_eq!(model_of(&reader::rows_of(&table).await), *model);
    let old = live_table(&before).await.unwrap().files;
    let old: BTreeSet<_> = old.iter().map(|live| live.file.file_path()).collect();
    let counts = partitions(&table).await;
    let live = live_table(&table).await.unwrap();
    let mut added = 0;
    for one in live.files.iter().filter(|live| !old.contains(live.file.file_path())) {
        added += 1;
        assert_eq!(counts[&(one.spec_id, format!("{:?}", one.file.partition()))], 1, "{:?}", one.file.partition());
        assert!(one.deletes.is_empty(), "rows of new files are deleted");
    }
    assert_eq!(added, usize::try_from(counted(&run, "data_files_added")).unwrap());
    added
}

async fn compacted_in(mode: &str) {
    let (site, mut model) = site(&["truncate(100, v)"]);
    let windows = |from: u32, to: u32, model: &mut Model| {
        (from..to).for_each(|n| drop(apply(&site, n, model, &["--maintenance", "off", "--write-mode", mode])));
    };
    windows(0, 8, &mut model);
    let (id, then) = (site.table().await.unwrap().metadata.current_snapshot_id().unwrap(), model.clone());
    assert!(compact(&site, &model).await >= 1);

    // Another field, none, and the first one again: files of all specs are in one table.
    partition_by(&site, &["truncate(100, v)", "bucket(2, pk)"]).await;
    windows(8, 22, &mut model);
    assert!(compact(&site, &model).await >= 1);
    partition_by(&site, &[]).await;
    windows(22, 30, &mut model);
    assert!(compact(&site, &model).await >= 1);
    partition_by(&site, &["truncate(100, v)"]).await;
    windows(30, 38, &mut model);
    assert!(compact(&site, &model).await >= 1);

    let table = site.table().await.unwrap();
    let used: BTreeSet<i32> = partitions(&table).await.into_keys().map(|(spec, _)| spec).collect();
    assert!(used.len() > 1, "files of one spec only: {used:?}");
    assert_eq!(rows_at(&table, id).await, then, "time travel");
    site.run(&["expire", "--older-than", "0s", "--retain-last", "1"]).expect(0);
    windows(38, 40, &mut model);
    assert_eq!(model_of(&site.rows().await), model);
    assert_eq!(pairs(&site.rows().await).len(), model.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_with_position_deletes_are_compacted() {
    compacted_in("merge-on-read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_rewritten_files_are_compacted() {
    compacted_in("copy-on-write").await;
}

/// Every data file holds the rows of its partition in its own spec, and every delete file is of the partition and the spec of
/// the data files that it deletes from, as readers take it for granted that look for deletes by partition.
async fn whole(site: &Site, model: &Model, when: &str) -> LoadedTable {
    let table = site.table().await.unwrap();
    let rows = reader::rows_of(&table).await;
    assert_eq!(model_of(&rows), *model, "{when}");
    assert_eq!((rows.len(), counted_rows(&table).await), (model.len(), model.len() as u64), "{when}");
    let live = live_table(&table).await.unwrap();
    let mut seen = Seen::default();
    let mut places = BTreeMap::new();
    for one in &live.files {
        let spec = table.metadata.partition_spec_by_id(one.spec_id).unwrap();
        let partitioner = Partitioner::new(spec, table.metadata.current_schema()).unwrap();
        for batch in seen.file(&table, one.file.file_path()).await.iter() {
            let order: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap()).collect();
            for (partition, _) in partitioner.split(batch, &order).unwrap() {
                assert_eq!(
                    &partition,
                    one.file.partition(),
                    "{when}: rows of spec {} in another partition",
                    one.spec_id
                );
            }
        }
        places.insert(one.file.file_path().to_owned(), (one.spec_id, one.file.partition().clone()));
    }
    for delete in &live.deletes {
        let place = (delete.spec_id, delete.file.partition().clone());
        for (path, _) in seen.positions(&table, delete.file.file_path()).await {
            assert!(places.get(&path).is_none_or(|of| *of == place), "{when}: a delete file of another partition");
        }
    }
    table
}

/// `bucket(4, pk)` becomes `bucket(8, pk)`: half of the partitions of the one are written as those of the other are.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_two_specs_that_are_written_alike_are_kept_apart() {
    for (before, after) in [("bucket(4, pk)", "bucket(8, pk)"), ("truncate(100, v)", "truncate(50, v)")] {
        let (site, mut model) = site(&[before]);
        let mut minute = 0;
        let mut window = |site: &Site, model: &mut Model, new: &str, flags: &[&str]| {
            // One key of each ten is updated, one goes, some are new.
            let mut changes = Vec::new();
            let keys: Vec<String> = model.keys().cloned().collect();
            let (gone_now, updated): (Vec<_>, Vec<_>) =
                keys.into_iter().skip(minute as usize % 5).step_by(6).enumerate().partition(|(n, _)| n % 3 == 0);
            for (_, key) in &gone_now {
                model.remove(key);
                changes.push(gone(key));
            }
            let fresh = (0..8).map(|n| format!("{new}{n}"));
            for key in updated.iter().map(|(_, key)| key.clone()).chain(fresh) {
                let value = (i64::from(minute) * 31 + i64::try_from(changes.len()).unwrap() * 17) % 200;
                changes.push(put(&key, value));
                model.insert(key, value);
            }
            let export = site.window(minute, minute + 1, changes);
            minute += 1;
            let run = site.incremental(&[&export], &[&["--maintenance", "off"], flags].concat()).expect(0);
            assert_eq!(run.counts(0), [8, updated.len() as u64, gone_now.len() as u64]);
        };
        let merge = ["--write-mode", "merge-on-read"];
        for n in 0..2 {
            window(&site, &mut model, &format!("a{n}"), &merge);
        }
        partition_by(&site, &[after]).await;
        for n in 0..5 {
            window(&site, &mut model, &format!("b{n}"), &merge);
            whole(&site, &model, &format!("window {n}")).await;
        }
        let table = site.table().await.unwrap();
        let live = live_table(&table).await.unwrap();
        let of = |spec: i32| -> BTreeSet<String> {
            live.files
                .iter()
                .filter(|one| one.spec_id == spec)
                .map(|one| format!("{:?}", one.file.partition()))
                .collect()
        };
        assert!(of(0).intersection(&of(1)).count() >= 2, "partitions that are written alike");
        assert_eq!(site.run(&["compact"]).expect(0).report["status"], "applied");
        whole(&site, &model, "compacted").await;
        window(&site, &mut model, "c", &["--write-mode", "copy-on-write"]);
        whole(&site, &model, "rewritten").await;
        for n in 0..9 {
            window(&site, &mut model, &format!("d{n}"), &merge);
        }
        whole(&site, &model, "delete files were merged").await;
    }
}
