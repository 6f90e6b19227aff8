//! Another program that writes to the table between windows: it rewrites data files in an order of its own, as Spark's
//! `rewrite_data_files` may, and appends rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, LargeBinaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::DataType;
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable};
use ddb_iceberg::table::{
    DataFileWriter, DataPaths, DeleteCache, LiveFile, Partitioner, SnapshotBuilder, WriteOptions, base_requirements,
    conform, live_files, scan_rows,
};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, MAIN_BRANCH, Operation, Snapshot, Struct};
use serde_json::Value;
use tokio::runtime::Handle;

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

/// Writes a data file without a sort order.
async fn write(table: &LoadedTable, spec_id: i32, partition: Struct, batch: RecordBatch) -> DataFile {
    let table = table.clone();
    let work = move || {
        let schema = table.metadata.current_schema();
        let options = WriteOptions::for_table(&table.metadata, schema);
        let path = DataPaths::new(&table.metadata).data_file(0);
        let (file_io, handle) = (&table.file_io, Handle::current());
        let mut writer =
            DataFileWriter::create(file_io, &handle, path, schema, spec_id, partition, None, &options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn picked(batch: &RecordBatch, rows: Vec<u32>) -> RecordBatch {
    take_record_batch(batch, &UInt32Array::from(rows)).unwrap()
}

/// Seconds that the other program's clock may be wrong by. Libraries refuse what is a minute before the last change.
const SKEWS: [i64; 5] = [-50, 0, 40, 7_200, 86_400 * 400];

/// Commits by a clock that may be wrong.
async fn commit(base: &LoadedTable, catalog: &dyn Catalog, snapshot: SnapshotBuilder<'_>, random: &mut Random) {
    let built = snapshot.build(&base.file_io).await.unwrap().snapshot;
    let skewed = Snapshot::builder()
        .with_snapshot_id(built.snapshot_id())
        .with_parent_snapshot_id(built.parent_snapshot_id())
        .with_sequence_number(built.sequence_number())
        .with_timestamp_ms(built.timestamp_ms() + 1000 * random.pick(&SKEWS))
        .with_manifest_list(built.manifest_list())
        .with_summary(built.summary().clone())
        .with_schema_id(built.schema_id().unwrap())
        .build();
    let builder = (*base.metadata).clone().into_builder(Some(base.metadata_location.clone()));
    let made = builder.set_branch_snapshot(skewed, MAIN_BRANCH).unwrap().build().unwrap();
    let done = catalog.commit(base, base_requirements(&base.metadata), made.changes).await.unwrap();
    assert!(matches!(done, Commit::Done(_)), "{done:?}");
}

/// Writes the rows of some files again, as one file or two. Deletes of those that went may stay. `false`: there are none.
pub async fn rewrite(base: &LoadedTable, catalog: &dyn Catalog, random: &mut Random) -> bool {
    let mut live = live_files(base).await.unwrap();
    if live.is_empty() {
        return false;
    }
    random.shuffle(&mut live);
    live.truncate(random.range(1, 4));
    let mut snapshot = SnapshotBuilder::new(Some(&base.metadata), &base.metadata, Operation::Replace);
    let cleans = random.percent(50);
    for file in &live {
        let batch = rows_of(base, file).await;
        snapshot.remove_data_file(file);
        for delete in file.deletes.iter().filter(|delete| cleans && delete.only_path().is_some()) {
            snapshot.remove_delete_file(delete);
        }
        let partition = conform(&base.metadata, base.metadata.current_schema(), file.spec_id, file.file.partition());
        let rows = u32::try_from(batch.num_rows()).unwrap();
        let cut = if random.percent(50) { rows } else { rows / 2 };
        for part in [(0..cut).rev().collect::<Vec<_>>(), (cut..rows).collect()] {
            if !part.is_empty() {
                let added = write(base, file.spec_id, partition.clone(), picked(&batch, part)).await;
                snapshot.add_data_file(file.spec_id, added);
            }
        }
    }
    commit(base, catalog, snapshot, random).await;
    true
}

/// Appends a row for each of these keys (rows of key columns only), all else as in some row that is there; gives them whole.
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
        values.map_or_else(|| Arc::clone(column), |values| array(column.data_type(), &values))
    });
    let batch = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
    let partitioner = Partitioner::new(base.metadata.default_partition_spec(), schema).unwrap();
    let order: Vec<u32> = (0..u32::try_from(keys.len()).unwrap()).collect();
    let mut snapshot = SnapshotBuilder::new(Some(&base.metadata), &base.metadata, Operation::Append);
    for (partition, rows) in partitioner.split(&batch, &order).unwrap() {
        let file = write(base, partitioner.spec_id(), partition, picked(&batch, rows)).await;
        snapshot.add_data_file(partitioner.spec_id(), file);
    }
    commit(base, catalog, snapshot, random).await;
    (0..keys.len()).map(|row| reader::row(&batch, row, schema)).collect()
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
