//! What a table's metadata must be, whatever its rows are: totals are sums, numbers ascend, bounds contain.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type};
use ddb_iceberg::catalog::LoadedTable;
use iceberg::spec::{
    DataContentType, DataFile, ManifestList, ManifestStatus, NestedField, PrimitiveLiteral, Snapshot, Type,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const FILE_PATH_ID: i32 = 2_147_483_546;

/// Snapshots and files that were checked already: they never change.
#[derive(Default)]
pub struct Checked {
    snapshots: HashSet<i64>,
    files: HashSet<String>,
    /// Every file that a snapshot speaks of.
    known: BTreeSet<String>,
}

pub fn local(location: &str) -> &str {
    location.strip_prefix("file://").unwrap_or_else(|| panic!("{location} is no file:// location"))
}

/// Main's snapshots, oldest first.
pub fn history(table: &LoadedTable) -> Vec<&Snapshot> {
    let mut all = Vec::new();
    let mut next = table.metadata.current_snapshot();
    while let Some(snapshot) = next {
        all.push(snapshot.as_ref());
        next = snapshot.parent_snapshot_id().map(|id| table.metadata.snapshot_by_id(id).expect("the parent"));
    }
    all.reverse();
    all
}

impl Checked {
    /// Checks every snapshot that is new since the last call, and the table's folder.
    pub async fn check(&mut self, table: &LoadedTable) {
        let history = history(table);
        assert_eq!(history.len(), table.metadata.snapshots().count(), "every snapshot is in main's history");
        for pair in history.windows(2) {
            assert!(pair[0].sequence_number() < pair[1].sequence_number(), "sequence numbers ascend");
            assert!(pair[0].timestamp_ms() <= pair[1].timestamp_ms(), "snapshot times do not descend");
        }
        let last = history.last().map_or(0, |s| s.sequence_number());
        assert_eq!(table.metadata.last_sequence_number(), last);
        // A table that was rolled back and forward again has been at a snapshot more than once.
        let mut log: Vec<i64> = Vec::new();
        for entry in table.metadata.history() {
            if !log.contains(&entry.snapshot_id) {
                log.push(entry.snapshot_id);
            }
        }
        assert_eq!(log, history.iter().map(|s| s.snapshot_id()).collect::<Vec<_>>(), "the snapshot log");
        for snapshot in history {
            if self.snapshots.insert(snapshot.snapshot_id()) {
                self.snapshot(table, snapshot).await;
            }
        }
        self.folder(table);
    }

    async fn snapshot(&mut self, table: &LoadedTable, snapshot: &Snapshot) {
        let sequence = snapshot.sequence_number();
        self.known.insert(local(snapshot.manifest_list()).to_owned());
        let bytes = std::fs::read(local(snapshot.manifest_list())).unwrap();
        let list = ManifestList::parse_with_version(&bytes, table.metadata.format_version()).unwrap();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        let mut paths = HashSet::new();
        let mut data_sequences = HashMap::new();
        let mut partitions = HashMap::new();
        let mut deletes = Vec::new();
        for manifest in list.entries() {
            self.known.insert(local(&manifest.manifest_path).to_owned());
            let length = std::fs::metadata(local(&manifest.manifest_path)).unwrap().len();
            assert_eq!(i64::try_from(length).unwrap(), manifest.manifest_length);
            let mut counts: BTreeMap<i32, (u32, u64)> = BTreeMap::new();
            let mut least = i64::MAX;
            for entry in manifest.load_manifest(&table.file_io).await.unwrap().entries() {
                let file = entry.data_file();
                let count = counts.entry(entry.status() as i32).or_default();
                *count = (count.0 + 1, count.1 + file.record_count());
                if !entry.is_alive() {
                    continue;
                }
                let own = entry.sequence_number().expect("a sequence number");
                least = least.min(own);
                assert!(own <= sequence, "{} is newer than its snapshot", file.file_path());
                let added = entry.snapshot_id() == Some(snapshot.snapshot_id());
                assert_eq!(added, own == sequence, "{}: sequence number {own} of {sequence}", file.file_path());
                assert!(paths.insert(file.file_path().to_owned()), "{} stands twice", file.file_path());
                self.known.insert(local(file.file_path()).to_owned());
                let (records, bytes) = (file.record_count(), file.file_size_in_bytes());
                assert_eq!(std::fs::metadata(local(file.file_path())).unwrap().len(), bytes);
                let mut add = |total: &'static str, new: &'static str, n: u64| {
                    *sums.entry(total).or_default() += n;
                    *sums.entry(new).or_default() += if added { n } else { 0 };
                };
                add("total-files-size", "added-files-size", bytes);
                match file.content_type() {
                    DataContentType::Data => {
                        add("total-data-files", "added-data-files", 1);
                        add("total-records", "added-records", records);
                        data_sequences.insert(file.file_path().to_owned(), own);
                        let partition = (manifest.partition_spec_id, file.partition().clone());
                        partitions.insert(file.file_path().to_owned(), partition);
                    }
                    DataContentType::PositionDeletes => {
                        add("total-delete-files", "added-delete-files", 1);
                        add("total-position-deletes", "added-position-deletes", records);
                        deletes.push((file.clone(), own, (manifest.partition_spec_id, file.partition().clone())));
                    }
                    DataContentType::EqualityDeletes => panic!("an equality delete file"),
                }
                if self.files.insert(file.file_path().to_owned()) {
                    match file.content_type() {
                        DataContentType::Data => check_data(table, snapshot, file, manifest.partition_spec_id),
                        _ => check_deletes(file),
                    }
                }
            }
            let of = |status: ManifestStatus| counts.get(&(status as i32)).copied().unwrap_or_default();
            for (status, files, rows) in [
                (ManifestStatus::Added, manifest.added_files_count, manifest.added_rows_count),
                (ManifestStatus::Existing, manifest.existing_files_count, manifest.existing_rows_count),
                (ManifestStatus::Deleted, manifest.deleted_files_count, manifest.deleted_rows_count),
            ] {
                assert_eq!((files, rows), (Some(of(status).0), Some(of(status).1)), "{status:?} of a manifest");
            }
            if least < i64::MAX {
                assert_eq!(manifest.min_sequence_number, least);
            }
        }
        let summary = &snapshot.summary().additional_properties;
        for total in
            ["total-data-files", "total-delete-files", "total-records", "total-files-size", "total-position-deletes"]
        {
            let sum = sums.get(total).copied().unwrap_or(0).to_string();
            assert_eq!(summary.get(total), Some(&sum), "{total} of snapshot {sequence}");
        }
        assert_eq!(summary.get("total-equality-deletes").map(String::as_str), Some("0"));
        for added in
            ["added-data-files", "added-delete-files", "added-records", "added-files-size", "added-position-deletes"]
        {
            let sum = sums.get(added).copied().unwrap_or(0).to_string();
            assert_eq!(summary.get(added).map_or("0", String::as_str), sum, "{added} of snapshot {sequence}");
        }
        // No row is deleted twice, and none that is younger than its delete.
        let mut gone = HashSet::new();
        for (file, own, partition) in deletes {
            for (path, position) in positions(file.file_path()) {
                // A data file that was rewritten leaves the deletes of its old self in files that cover others too.
                let Some(data) = data_sequences.get(&path) else { continue };
                assert!(*data < own, "{path} is as young as its delete");
                assert_eq!(partitions[&path], partition, "{path} and its delete");
                assert!(gone.insert((path, position)), "a row is deleted twice");
            }
        }
    }

    /// Nothing lies in the table's folder that no snapshot speaks of.
    fn folder(&self, table: &LoadedTable) {
        let mut found = BTreeSet::new();
        let mut folders = vec![local(table.metadata.location()).to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let text = path.to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(text);
                } else if !text.ends_with(".metadata.json") {
                    found.insert(text);
                }
            }
        }
        assert_eq!(found, self.known, "files in the table's folder, and files that its snapshots speak of");
    }
}

fn read(path: &str) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(local(path)).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn positions(path: &str) -> Vec<(String, i64)> {
    let batch = read(path);
    let (paths, positions) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
    (0..batch.num_rows()).map(|n| (paths.value(n).to_owned(), positions.value(n))).collect()
}

fn check_deletes(file: &DataFile) {
    let positions = positions(file.file_path());
    assert_eq!(positions.len() as u64, file.record_count());
    assert!(positions.is_sorted() && !positions.is_empty());
    assert_eq!(file.sort_order_id(), None);
    let paths: BTreeSet<_> = positions.iter().map(|(path, _)| path.clone()).collect();
    let (first, last) = (paths.first().unwrap(), paths.last().unwrap());
    let bound = |bounds: &HashMap<i32, iceberg::spec::Datum>| match bounds[&FILE_PATH_ID].literal() {
        PrimitiveLiteral::String(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((bound(file.lower_bounds()), bound(file.upper_bounds())), (first.clone(), last.clone()));
    assert_eq!(file.referenced_data_file(), (paths.len() == 1).then(|| first.clone()));
}

fn check_data(table: &LoadedTable, snapshot: &Snapshot, file: &DataFile, spec_id: i32) {
    let path = file.file_path();
    let batch = read(path);
    assert_eq!(batch.num_rows() as u64, file.record_count(), "{path}");
    assert!(batch.num_rows() > 0, "{path} is empty");
    let schema = snapshot.schema(&table.metadata).unwrap();
    let fields = schema.as_struct().fields();
    assert_eq!(batch.num_columns(), fields.len(), "{path} has the columns of its snapshot's schema");
    let spec = table.metadata.partition_spec_by_id(spec_id).unwrap();
    super::partitions::check(spec, &schema, file, &batch);
    let everywhere = vec![true; batch.num_rows()];
    for field in fields {
        let n = batch.schema().fields().iter().position(|f| field_id(f) == field.id).expect("a column by field id");
        check_column(file, field, batch.column(n), &everywhere);
    }
    let order = table.metadata.default_sort_order();
    assert_eq!(file.sort_order_id().map(i64::from), Some(order.order_id), "{path}");
    let keys: Vec<&NestedField> = fields.iter().filter(|f| f.required).map(AsRef::as_ref).collect();
    let row = |n: usize| -> Vec<PrimitiveLiteral> {
        let column = |f: &&NestedField| batch.schema().fields().iter().position(|a| field_id(a) == f.id).unwrap();
        // The sort order's own order of columns: partition key, then sort key.
        order
            .fields
            .iter()
            .map(|s| keys.iter().find(|k| k.id == s.source_id).expect("a key column"))
            .map(|f| literal(batch.column(column(f)), n))
            .collect()
    };
    for n in 1..batch.num_rows() {
        assert!(row(n - 1) < row(n), "{path}: rows {} and {n} are not in the order of their keys", n - 1);
    }
}

pub fn field_id(field: &Field) -> i32 {
    field.metadata()["PARQUET:field_id"].parse().unwrap()
}

fn check_column(file: &DataFile, field: &NestedField, array: &ArrayRef, parents: &[bool]) {
    let there: Vec<bool> = parents.iter().enumerate().map(|(n, parent)| *parent && !array.is_null(n)).collect();
    if let (Type::Struct(inner), DataType::Struct(arrow_fields)) = (&*field.field_type, array.data_type()) {
        for field in inner.fields() {
            let n = arrow_fields.iter().position(|f| field_id(f) == field.id).expect("a field by its id");
            check_column(file, field, array.as_struct().column(n), &there);
        }
        return;
    }
    let (lower, upper) = (file.lower_bounds().get(&field.id), file.upper_bounds().get(&field.id));
    if !field.field_type.is_primitive() {
        assert!(lower.is_none() && upper.is_none(), "{} has bounds", field.name);
        return;
    }
    let nulls = there.iter().filter(|t| !**t).count() as u64;
    assert_eq!(file.value_counts().get(&field.id), Some(&(there.len() as u64)), "values of {}", field.name);
    assert_eq!(file.null_value_counts().get(&field.id), Some(&nulls), "nulls of {}", field.name);
    let any = there.contains(&true);
    assert_eq!(lower.is_some(), any, "{}: a lower bound is there if and only if a value is", field.name);
    assert!(any || upper.is_none(), "{} has an upper bound, but no values", field.name);
    for (n, _) in there.iter().enumerate().filter(|(_, there)| **there) {
        let value = literal(array, n);
        let name = &field.name;
        if let Some(lower) = lower {
            assert!(*lower.literal() <= value, "{name}: {value:?} is below the lower bound {lower}");
        }
        match upper {
            Some(upper) => assert!(value <= *upper.literal(), "{name}: {value:?} is above the upper bound {upper}"),
            None => assert!(unbounded(array, &there), "{name} has no upper bound, but could have one"),
        }
    }
}

/// Whether some value is so that no short text is above it.
fn unbounded(array: &ArrayRef, there: &[bool]) -> bool {
    (0..there.len()).filter(|n| there[*n]).any(|n| match literal(array, n) {
        PrimitiveLiteral::String(text) => text.chars().take(16).all(|c| c == char::MAX),
        PrimitiveLiteral::Binary(bytes) => bytes.iter().take(16).all(|b| *b == 0xff),
        _ => false,
    })
}

pub fn literal(array: &ArrayRef, n: usize) -> PrimitiveLiteral {
    match array.data_type() {
        DataType::Utf8 => PrimitiveLiteral::String(array.as_string::<i32>().value(n).to_owned()),
        DataType::LargeBinary => PrimitiveLiteral::Binary(array.as_binary::<i64>().value(n).to_vec()),
        DataType::Binary => PrimitiveLiteral::Binary(array.as_binary::<i32>().value(n).to_vec()),
        DataType::Int64 => PrimitiveLiteral::Long(array.as_primitive::<Int64Type>().value(n)),
        DataType::Boolean => PrimitiveLiteral::Boolean(array.as_boolean().value(n)),
        DataType::Decimal128(..) => PrimitiveLiteral::Int128(array.as_primitive::<Decimal128Type>().value(n)),
        other => panic!("{other}"),
    }
}
