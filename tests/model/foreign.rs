//! Other programs that write to the table between windows, as Spark, Flink and PyIceberg do: they rewrite data files in an order
//! of their own, with the sequence numbers of old; append rows, some of them replaced by the commit that adds them, some in
//! files elsewhere; drop, add and widen columns; set statistics, tags and branches.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, LargeBinaryArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::DataType;
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable};
use ddb_iceberg::table::{DeleteCache, LiveFile, Partitioner, conform, live_files, scan_rows};
use iceberg::TableUpdate;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    NestedField, Operation, PartitionStatisticsFile, PrimitiveType, SnapshotReference, SnapshotRetention,
    StatisticsFile, Type,
};
use serde_json::Value;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::columns::FOREIGN;
use super::other_writer::{OtherCommit, schema_of, write_at, write_deletes};
use super::random::Random;
use super::reader::{self, Row};

/// The rows of a file that are not deleted.
async fn rows_of(table: &LoadedTable, live: &LiveFile) -> RecordBatch {
    let (table, live) = (table.clone(), live.clone());
    let work = move || {
        let (handle, schema) = (Handle::current(), table.metadata.current_schema());
        let arrow = Arc::new(schema_to_arrow_schema(schema).unwrap());
        let without = DeleteCache::new(table.file_io.clone(), handle.clone(), 1 << 20).positions(&live).unwrap();
        let mut batches = Vec::new();
        let mut keep = |batch| {
            batches.push(batch);
            Ok(())
        };
        scan_rows(&table.file_io, &handle, &live, &arrow, &without, &mut keep).unwrap();
        concat_batches(&arrow, &batches).unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn picked(batch: &RecordBatch, rows: Vec<u32>) -> RecordBatch {
    take_record_batch(batch, &UInt32Array::from(rows)).unwrap()
}

/// Seconds that the other program's clock may be wrong by. Libraries refuse what is a minute before the last change.
const SKEWS: [i64; 5] = [-50, 0, 40, 7_200, 86_400 * 400];

/// A commit by a clock that may be wrong, with lists and manifests in one way or another.
fn begin(base: &LoadedTable, operation: Operation, random: &mut Random) -> OtherCommit {
    let mut commit = OtherCommit::new(base, operation).skewed(*random.pick(&SKEWS));
    if random.percent(30) {
        commit = commit.apart();
    }
    if random.percent(30) {
        commit = commit.oldest_first();
    }
    commit
}

async fn update(base: &LoadedTable, catalog: &dyn Catalog, updates: Vec<TableUpdate>) {
    let done = catalog.commit(base, Vec::new(), updates).await.unwrap();
    assert!(matches!(done, Commit::Done(_)), "{done:?}");
}

/// Writes the rows of some files again, as one file or two, which may count as as old as what they were made of. Deletes of
/// those that went may stay. `false`: there are none.
pub async fn rewrite(base: &LoadedTable, catalog: &dyn Catalog, random: &mut Random) -> bool {
    let mut live = live_files(base).await.unwrap();
    if live.is_empty() {
        return false;
    }
    random.shuffle(&mut live);
    live.truncate(random.range(1, 4));
    let mut commit = begin(base, Operation::Replace, random);
    let cleans = random.percent(50);
    let last = base.metadata.last_sequence_number();
    let keeps = random.percent(50);
    for file in &live {
        let batch = rows_of(base, file).await;
        commit = commit.remove(file.file.file_path());
        for delete in file.deletes.iter().filter(|delete| cleans && delete.only_path().is_some()) {
            commit = commit.remove(delete.file.file_path());
        }
        let partition = conform(&base.metadata, base.metadata.current_schema(), file.spec_id, file.file.partition());
        let rows = u32::try_from(batch.num_rows()).unwrap();
        let cut = if random.percent(50) { rows } else { rows / 2 };
        for part in [(0..cut).rev().collect::<Vec<_>>(), (cut..rows).collect()] {
            if !part.is_empty() {
                let added = write_at(base, None, file.spec_id, partition.clone(), picked(&batch, part)).await;
                commit = match keeps {
                    true => commit.add_as_old_as(file.spec_id, added, *random.pick(&[file.sequence_number, last])),
                    false => commit.add(file.spec_id, added),
                };
            }
        }
    }
    commit.commit(catalog).await;
    true
}

/// Appends a row for each of these keys (rows of key columns only), all else as in some row that is there; gives them whole.
/// Each may be there twice, with a delete of the first in the same commit, as streams of upserts leave them.
pub async fn append(base: &LoadedTable, catalog: &dyn Catalog, keys: &[Row], random: &mut Random) -> Vec<Row> {
    let mut live = live_files(base).await.unwrap();
    random.shuffle(&mut live);
    let mut found = None;
    for file in &live {
        let batch = rows_of(base, file).await;
        if batch.num_rows() > 0 {
            found = Some(batch);
            break;
        }
    }
    let (Some(batch), false) = (found, keys.is_empty()) else { return Vec::new() };
    let like = u32::try_from(random.range(0, batch.num_rows())).unwrap();
    let batch = picked(&batch, vec![like; keys.len()]);
    let schema = base.metadata.current_schema();
    let columns = batch.columns().iter().zip(schema.as_struct().fields()).map(|(column, field)| {
        let values: Option<Vec<&Value>> = keys.iter().map(|key| key.get(&field.name)).collect();
        match (values, field.name == FOREIGN) {
            (_, true) => own(column.data_type(), keys.len()),
            (Some(values), _) => array(column.data_type(), &values),
            (None, _) => Arc::clone(column),
        }
    });
    let batch = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
    let partitioner = Partitioner::new(base.metadata.default_partition_spec(), schema).unwrap();
    let (spec, count) = (partitioner.spec_id(), u32::try_from(keys.len()).unwrap());
    let twice = random.percent(40);
    let order: Vec<u32> = (0..count).flat_map(|n| std::iter::repeat_n(n, if twice { 2 } else { 1 })).collect();
    let mut commit = begin(base, if twice { Operation::Overwrite } else { Operation::Append }, random);
    for (partition, rows) in partitioner.split(&batch, &order).unwrap() {
        let elsewhere = format!("{}-elsewhere/{}.parquet", base.metadata.location(), Uuid::new_v4());
        let path = random.percent(30).then_some(elsewhere);
        let firsts = (0..rows.len() as u64).step_by(2).collect::<Vec<_>>();
        let file = write_at(base, path, spec, partition.clone(), picked(&batch, rows)).await;
        if twice {
            let positions = vec![(file.file_path().to_owned(), firsts)];
            commit = commit.add(spec, write_deletes(base, spec, partition, positions).await);
        }
        commit = commit.add(spec, file);
    }
    commit.commit(catalog).await;
    (0..keys.len()).map(|row| reader::row(&batch, row, schema)).collect()
}

/// Numbers of the column that is the other program's own.
fn own(ty: &DataType, rows: usize) -> ArrayRef {
    match ty {
        DataType::Int32 => Arc::new((0..rows).map(|n| Some(n as i32 - 1)).collect::<Int32Array>()),
        _ => Arc::new((0..rows).map(|n| Some((n as i64 - 1) << 40)).collect::<Int64Array>()),
    }
}

/// Drops a column.
pub async fn drop_column(base: &LoadedTable, catalog: &dyn Catalog, name: &str) {
    update(base, catalog, schema_of(base, |fields| fields.retain(|field| field.name != name))).await;
}

/// Adds a column of its own, or widens the one that is there.
pub async fn own_column(base: &LoadedTable, catalog: &dyn Catalog) {
    let updates = schema_of(base, |fields| match fields.iter_mut().find(|field| field.name == FOREIGN) {
        Some(field) => *field.field_type = Type::Primitive(PrimitiveType::Long),
        None => {
            let id = base.metadata.last_column_id() + 1;
            fields.push(NestedField::optional(id, FOREIGN, Type::Primitive(PrimitiveType::Int)));
        }
    });
    update(base, catalog, updates).await;
}

/// Sets statistics of the current snapshot, of both kinds, and a tag or branch at it.
pub async fn mark(base: &LoadedTable, catalog: &dyn Catalog, name: &str, random: &mut Random) {
    let id = base.metadata.current_snapshot_id().unwrap();
    let retention = match random.percent(50) {
        true => SnapshotRetention::Tag { max_ref_age_ms: None },
        false => SnapshotRetention::branch(Some(1), None, None),
    };
    let reference = SnapshotReference::new(id, retention);
    let mut updates = vec![TableUpdate::SetSnapshotRef { ref_name: name.to_owned(), reference }];
    if base.metadata.statistics_for_snapshot(id).is_none() {
        let paths = ["stats", "puffin"].map(|ending| format!("{}/metadata/{name}.{ending}", base.metadata.location()));
        for path in &paths {
            base.file_io.new_output(path).unwrap().write("statistics".into()).await.unwrap();
        }
        let [statistics_path, of_partitions] = paths;
        updates.push(TableUpdate::SetStatistics {
            statistics: StatisticsFile {
                snapshot_id: id,
                statistics_path,
                file_size_in_bytes: 10,
                file_footer_size_in_bytes: 5,
                key_metadata: None,
                blob_metadata: Vec::new(),
            },
        });
        updates.push(TableUpdate::SetPartitionStatistics {
            partition_statistics: PartitionStatisticsFile {
                snapshot_id: id,
                statistics_path: of_partitions,
                file_size_in_bytes: 10,
            },
        });
    }
    update(base, catalog, updates).await;
}

fn array(ty: &DataType, values: &[&Value]) -> ArrayRef {
    let texts = || values.iter().map(|value| value.as_str().unwrap().to_owned());
    match ty {
        DataType::Utf8 => Arc::new(texts().collect::<Vec<_>>().into_iter().map(Some).collect::<StringArray>()),
        DataType::Int64 => Arc::new(values.iter().map(|value| value.as_i64()).collect::<Int64Array>()),
        DataType::LargeBinary => {
            let bytes = |value: &&Value| {
                let hex = value["hex"].as_str().unwrap();
                Some((0..hex.len()).step_by(2).map(|n| u8::from_str_radix(&hex[n..n + 2], 16).unwrap()).collect())
            };
            Arc::new(
                values.iter().map(bytes).collect::<Vec<Option<Vec<u8>>>>().into_iter().collect::<LargeBinaryArray>(),
            )
        }
        DataType::Decimal128(precision, scale) => {
            let digits = |value: &&Value| {
                let text = value["decimal"].as_str().unwrap();
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                let fraction = format!("{fraction:0<width$}", width = usize::try_from(*scale).unwrap());
                format!("{whole}{fraction}").parse::<i128>().unwrap()
            };
            let array: Decimal128Array = values.iter().map(digits).map(Some).collect();
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        other => panic!("a key of {other}"),
    }
}
