//! A plain reader of tables, for tests only: every manifest, every file, every delete, one row at a time, with nothing of
//! the crate's own planning or pruning. Values become JSON: decimals `{"decimal":"1.5"}`, binaries `{"hex":"00ff"}`,
//! timestamps `{"instant":"…"}`, nulls are left out of rows and structs.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use bytes::Bytes;
use ddb_iceberg::catalog::LoadedTable;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::storage::Store;
use iceberg::TableIdent;
use iceberg::spec::{
    DataContentType, Manifest, ManifestFile, ManifestList, NestedField, NestedFieldRef, Schema, Snapshot, Type,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

/// A row by column name, nulls left out.
pub type Row = BTreeMap<String, Value>;

/// The table as the catalog has it; `warehouse` is a folder with `catalog.db`.
pub async fn load(warehouse: &Path, table: &str) -> Option<LoadedTable> {
    let properties = BTreeMap::from([("warehouse".to_owned(), warehouse.display().to_string())]);
    load_with(&properties, Store::local(), table).await
}

/// The table as the catalog of these properties has it.
pub async fn load_with(properties: &BTreeMap<String, String>, store: Store, table: &str) -> Option<LoadedTable> {
    let catalog = connect("default", properties, store).await.unwrap();
    catalog.load(&TableIdent::from_strs(table.split('.')).unwrap()).await.unwrap()
}

/// All rows of main, ordered by their JSON text.
pub async fn rows(warehouse: &Path, table: &str) -> Vec<Row> {
    let table = load(warehouse, table).await.expect("the table exists");
    rows_of(&table).await
}

/// All rows of a loaded table, ordered by their JSON text.
pub async fn rows_of(table: &LoadedTable) -> Vec<Row> {
    let mut rows = Seen::default().rows(table).await;
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    rows
}

/// Every file that the table names: of all its snapshots, and its metadata files.
pub async fn named(table: &LoadedTable) -> BTreeSet<String> {
    let mut named = BTreeSet::from([table.metadata_location.clone()]);
    named.extend(table.metadata.metadata_log().iter().map(|log| log.metadata_file.clone()));
    let mut seen = Seen::default();
    for snapshot in table.metadata.snapshots() {
        named.insert(snapshot.manifest_list().to_owned());
        for file in seen.list(table, snapshot).await.entries() {
            named.insert(file.manifest_path.clone());
            let manifest = seen.manifest(table, file).await;
            let alive = manifest.entries().iter().filter(|entry| entry.is_alive());
            named.extend(alive.map(|entry| entry.file_path().to_owned()));
        }
    }
    named
}

/// What was read before, by path: a table's files never change.
#[derive(Default)]
pub struct Seen {
    lists: HashMap<String, Arc<ManifestList>>,
    manifests: HashMap<String, Arc<Manifest>>,
    files: HashMap<String, Arc<Vec<RecordBatch>>>,
}

impl Seen {
    pub async fn list(&mut self, table: &LoadedTable, snapshot: &Snapshot) -> Arc<ManifestList> {
        let path = snapshot.manifest_list();
        if !self.lists.contains_key(path) {
            let bytes = bytes(table, path).await;
            let list = ManifestList::parse_with_version(&bytes, table.metadata.format_version()).unwrap();
            self.lists.insert(path.to_owned(), Arc::new(list));
        }
        Arc::clone(&self.lists[path])
    }

    pub async fn manifest(&mut self, table: &LoadedTable, file: &ManifestFile) -> Arc<Manifest> {
        let path = &file.manifest_path;
        if !self.manifests.contains_key(path) {
            let manifest = file.load_manifest(&table.file_io).await.unwrap();
            self.manifests.insert(path.clone(), Arc::new(manifest));
        }
        Arc::clone(&self.manifests[path])
    }

    /// A Parquet file.
    pub async fn file(&mut self, table: &LoadedTable, path: &str) -> Arc<Vec<RecordBatch>> {
        if !self.files.contains_key(path) {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes(table, path).await).unwrap();
            let batches: Vec<_> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
            self.files.insert(path.to_owned(), Arc::new(batches));
        }
        Arc::clone(&self.files[path])
    }

    /// What a position delete file holds.
    pub async fn positions(&mut self, table: &LoadedTable, path: &str) -> Vec<(String, i64)> {
        let mut all = Vec::new();
        for batch in self.file(table, path).await.iter() {
            let paths = batch.column(0).as_string::<i32>();
            let positions = batch.column(1).as_primitive::<Int64Type>();
            all.extend((0..batch.num_rows()).map(|n| (paths.value(n).to_owned(), positions.value(n))));
        }
        assert!(all.is_sorted(), "position deletes are sorted by path and position");
        all
    }

    /// All rows of main, in no order.
    pub async fn rows(&mut self, table: &LoadedTable) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some(snapshot) = table.metadata.current_snapshot() else { return rows };
        let mut data = Vec::new();
        let mut deleted: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
        for manifest in self.list(table, snapshot).await.entries() {
            for entry in self.manifest(table, manifest).await.entries().iter().filter(|e| e.is_alive()) {
                let sequence = entry.sequence_number().expect("a sequence number");
                match entry.content_type() {
                    DataContentType::Data => data.push((entry.file_path().to_owned(), sequence, entry.record_count())),
                    DataContentType::PositionDeletes => {
                        for (path, position) in self.positions(table, entry.file_path()).await {
                            deleted.entry(path).or_default().push((position, sequence));
                        }
                    }
                    DataContentType::EqualityDeletes => panic!("an equality delete file"),
                }
            }
        }
        for (path, sequence, count) in data {
            let gone: HashSet<i64> = deleted
                .get(&path)
                .into_iter()
                .flatten()
                .filter(|(_, delete_sequence)| *delete_sequence >= sequence)
                .map(|(position, _)| *position)
                .collect();
            let mut position = 0i64;
            for batch in self.file(table, &path).await.iter() {
                let schema = table.metadata.current_schema();
                let slots = slots(batch, schema);
                for n in 0..batch.num_rows() {
                    if !gone.contains(&position) {
                        rows.push(row_of(batch, n, schema, &slots));
                    }
                    position += 1;
                }
            }
            assert_eq!(u64::try_from(position).unwrap(), count, "the manifest's count of {path}");
        }
        rows
    }
}

/// One row, by the schema's columns.
pub fn row(batch: &RecordBatch, n: usize, schema: &Schema) -> Row {
    row_of(batch, n, schema, &slots(batch, schema))
}

/// Which of the file's columns is which of the schema's.
fn slots(batch: &RecordBatch, schema: &Schema) -> Vec<Option<usize>> {
    let file = batch.schema();
    let ids: HashMap<i32, usize> =
        file.fields().iter().enumerate().filter_map(|(n, field)| Some((field_id(field)?, n))).collect();
    schema.as_struct().fields().iter().map(|field| ids.get(&field.id).copied()).collect()
}

fn row_of(batch: &RecordBatch, n: usize, schema: &Schema, slots: &[Option<usize>]) -> Row {
    let cell = |(field, slot): (&NestedFieldRef, &Option<usize>)| {
        Some((field.name.clone(), value(batch.column((*slot)?), n, field)?))
    };
    schema.as_struct().fields().iter().zip(slots).filter_map(cell).collect()
}

async fn bytes(table: &LoadedTable, location: &str) -> Bytes {
    table.file_io.new_input(location).unwrap().read().await.unwrap()
}

fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get("PARQUET:field_id").and_then(|id| id.parse().ok())
}

fn value(array: &ArrayRef, row: usize, field: &NestedField) -> Option<Value> {
    if array.is_null(row) {
        return None;
    }
    Some(match (&*field.field_type, array.data_type()) {
        (Type::Struct(fields), DataType::Struct(arrow_fields)) => {
            let array = array.as_struct();
            let mut object = Map::new();
            for field in fields.fields() {
                let child = arrow_fields.iter().position(|f| field_id(f) == Some(field.id));
                if let Some(found) = child.and_then(|c| value(array.column(c), row, field)) {
                    object.insert(field.name.clone(), found);
                }
            }
            Value::Object(object)
        }
        (Type::List(list), DataType::List(_)) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|n| value(&items, n, &list.element_field).unwrap_or(Value::Null)).collect()
        }
        (Type::Map(map), DataType::Map(..)) => {
            let entries = array.as_map().value(row);
            let names = entries.column(0).as_string::<i32>();
            let pairs = (0..entries.len()).map(|n| {
                let found = value(entries.column(1), n, &map.value_field).unwrap_or(Value::Null);
                (names.value(n).to_owned(), found)
            });
            Value::Object(pairs.collect())
        }
        (_, DataType::Utf8) => json!(array.as_string::<i32>().value(row)),
        (_, DataType::LargeUtf8) => json!(array.as_string::<i64>().value(row)),
        (_, DataType::Int32) => json!(array.as_primitive::<Int32Type>().value(row)),
        (_, DataType::Int64) => json!(array.as_primitive::<Int64Type>().value(row)),
        (_, DataType::Float64) => json!(array.as_primitive::<Float64Type>().value(row)),
        (_, DataType::Boolean) => json!(array.as_boolean().value(row)),
        (_, DataType::Decimal128(..)) => {
            let text = array.as_primitive::<Decimal128Type>().value_as_string(row);
            let plain = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            json!({"decimal": plain})
        }
        (_, DataType::Timestamp(TimeUnit::Microsecond, Some(_))) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            json!({"instant": chrono::DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339()})
        }
        (_, DataType::LargeBinary) => json!({"hex": hex(array.as_binary::<i64>().value(row))}),
        (_, DataType::Binary) => json!({"hex": hex(array.as_binary::<i32>().value(row))}),
        (iceberg, arrow) => panic!("{iceberg} in a file as {arrow}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"))
}
