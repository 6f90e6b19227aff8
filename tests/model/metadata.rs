//! What a table's metadata must be, whatever its rows are: totals are sums, numbers ascend, bounds contain.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int32Type, Int64Type};
use ddb_iceberg::catalog::LoadedTable;
use iceberg::spec::{DataContentType, DataFile, ManifestStatus, NestedField, PrimitiveLiteral, Snapshot, Type};

use super::home::Home;
use super::reader::Seen;
use super::runner::is_ours;

const FILE_PATH_ID: i32 = 2_147_483_546;

/// Snapshots and files that were checked already: they never change.
#[derive(Default)]
pub struct Checked {
    pub seen: Seen,
    /// Files of another writer are not in order, nor are those that they were merged into.
    pub foreign: bool,
    /// Snapshots were expired.
    pub expired: bool,
    /// Snapshots that tags and branches of other programs are at.
    pub tagged: BTreeSet<i64>,
    /// Delete files of other programs, which may delete from files of their own commit.
    others: HashSet<String>,
    /// Every file that a snapshot speaks of, by its id.
    snapshots: HashMap<i64, BTreeSet<String>>,
    files: HashSet<String>,
}

/// Main's snapshots, oldest first, as far as they were not expired.
pub fn history(table: &LoadedTable) -> Vec<&Snapshot> {
    let mut all = Vec::new();
    let mut next = table.metadata.current_snapshot();
    while let Some(snapshot) = next {
        all.push(snapshot.as_ref());
        next = snapshot.parent_snapshot_id().and_then(|id| table.metadata.snapshot_by_id(id));
    }
    all.reverse();
    all
}

impl Checked {
    /// Checks every snapshot that is new since the last call, and the table's folder.
    pub async fn check(&mut self, table: &LoadedTable, home: &Home) {
        let history = history(table);
        for snapshot in table.metadata.snapshots() {
            let id = snapshot.snapshot_id();
            let known = self.tagged.contains(&id) || history.iter().any(|one| one.snapshot_id() == id);
            assert!(known, "{id} is neither in main's history nor tagged");
        }
        let tags = self.tagged.iter();
        tags.for_each(|id| assert!(table.metadata.snapshot_by_id(*id).is_some(), "the tagged snapshot {id} is gone"));
        for pair in history.windows(2) {
            assert!(pair[0].sequence_number() < pair[1].sequence_number(), "sequence numbers ascend");
            // Another program's clock may be behind, by less than Iceberg's tolerance.
            let slack = if is_ours(pair[1]) { 0 } else { 60_000 };
            assert!(pair[0].timestamp_ms() <= pair[1].timestamp_ms() + slack, "snapshot times do not descend");
        }
        let last = history.last().map_or(0, |s| s.sequence_number());
        assert_eq!(table.metadata.last_sequence_number(), last);
        // A table that was rolled back and forward again has been at a snapshot more than once.
        let mut log: Vec<i64> = Vec::new();
        for entry in table.metadata.history() {
            if !log.contains(&entry.snapshot_id) && table.metadata.snapshot_by_id(entry.snapshot_id).is_some() {
                log.push(entry.snapshot_id);
            }
        }
        let ids: Vec<i64> = history.iter().map(|s| s.snapshot_id()).collect();
        if self.expired {
            // As in Iceberg Java, what was before a gap in the log goes, and a rollback puts old ones behind new ones.
            let known = |id: &i64| ids.contains(id) || self.tagged.contains(id);
            assert!(log.iter().all(known), "the snapshot log: {log:?}");
            let last = table.metadata.history().last().map(|entry| entry.snapshot_id);
            assert_eq!(last, ids.last().copied(), "the snapshot log's end");
        } else {
            assert_eq!(log, ids, "the snapshot log");
        }
        for snapshot in history {
            if !self.snapshots.contains_key(&snapshot.snapshot_id()) {
                let known = self.snapshot(table, snapshot).await;
                self.snapshots.insert(snapshot.snapshot_id(), known);
            }
        }
        self.folder(table, home);
    }

    /// Checks a snapshot; gives the files that it speaks of.
    async fn snapshot(&mut self, table: &LoadedTable, snapshot: &Snapshot) -> BTreeSet<String> {
        let sequence = snapshot.sequence_number();
        let others = snapshot.manifest_list().contains("-other-");
        let mut known = BTreeSet::from([snapshot.manifest_list().to_owned()]);
        let list = self.seen.list(table, snapshot).await;
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        let mut paths = HashSet::new();
        let mut data_sequences = HashMap::new();
        let mut partitions = HashMap::new();
        let mut deletes = Vec::new();
        for manifest in list.entries() {
            known.insert(manifest.manifest_path.clone());
            let length = size(table, &manifest.manifest_path).await;
            assert_eq!(i64::try_from(length).unwrap(), manifest.manifest_length);
            let mut counts: BTreeMap<i32, (u32, u64)> = BTreeMap::new();
            let mut least = i64::MAX;
            for entry in self.seen.manifest(table, manifest).await.entries() {
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
                // What another program rewrites may be as old as what it was.
                let right = added == (own == sequence) || (added && others);
                assert!(right, "{}: sequence number {own} of {sequence}", file.file_path());
                assert!(paths.insert(file.file_path().to_owned()), "{} stands twice", file.file_path());
                known.insert(file.file_path().to_owned());
                let (records, bytes) = (file.record_count(), file.file_size_in_bytes());
                assert_eq!(size(table, file.file_path()).await, bytes);
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
                        if added && others {
                            self.others.insert(file.file_path().to_owned());
                        }
                        add("total-delete-files", "added-delete-files", 1);
                        add("total-position-deletes", "added-position-deletes", records);
                        deletes.push((file.clone(), own, (manifest.partition_spec_id, file.partition().clone())));
                    }
                    DataContentType::EqualityDeletes => panic!("an equality delete file"),
                }
                if self.files.insert(file.file_path().to_owned()) {
                    match file.content_type() {
                        DataContentType::Data => {
                            let batch = read(&self.seen.file(table, file.file_path()).await);
                            check_data(table, snapshot, file, manifest.partition_spec_id, &batch, self.foreign);
                        }
                        _ => check_deletes(file, &self.seen.positions(table, file.file_path()).await),
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
            for (path, position) in self.seen.positions(table, file.file_path()).await {
                // A data file that was rewritten leaves the deletes of its old self in files that cover others too.
                let Some(data) = data_sequences.get(&path) else { continue };
                let younger = *data < own || *data == own && self.others.contains(file.file_path());
                assert!(younger, "{path} is as young as its delete");
                assert_eq!(partitions[&path], partition, "{path} and its delete");
                assert!(gone.insert((path, position)), "a row is deleted twice");
            }
        }
        known
    }

    /// Nothing lies in the table's folder that no snapshot speaks of.
    fn folder(&self, table: &LoadedTable, home: &Home) {
        let mut found = home.files(table.metadata.location());
        found.retain(|path| !path.ends_with(".metadata.json"));
        let named = table.metadata.snapshots().flat_map(|s| &self.snapshots[&s.snapshot_id()]).cloned();
        let statistics = table.metadata.statistics_iter().map(|file| file.statistics_path.clone());
        let of_partitions = table.metadata.partition_statistics_iter().map(|file| file.statistics_path.clone());
        let below = format!("{}/", table.metadata.location());
        let known = named.chain(statistics).chain(of_partitions).filter(|path| path.starts_with(&below)).collect();
        assert_eq!(found, known, "files in the table's folder, and files that its snapshots speak of");
    }
}

async fn size(table: &LoadedTable, path: &str) -> u64 {
    table.file_io.new_input(path).unwrap().metadata().await.unwrap().size
}

fn read(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&batches[0].schema(), batches).unwrap()
}

fn check_deletes(file: &DataFile, positions: &[(String, i64)]) {
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

fn check_data(
    table: &LoadedTable,
    snapshot: &Snapshot,
    file: &DataFile,
    spec_id: i32,
    batch: &RecordBatch,
    foreign: bool,
) {
    let path = file.file_path();
    assert_eq!(batch.num_rows() as u64, file.record_count(), "{path}");
    assert!(batch.num_rows() > 0, "{path} is empty");
    let schema = snapshot.schema(&table.metadata).unwrap();
    let fields = schema.as_struct().fields();
    assert_eq!(batch.num_columns(), fields.len(), "{path} has the columns of its snapshot's schema");
    let spec = table.metadata.partition_spec_by_id(spec_id).unwrap();
    super::partitions::check(spec, &schema, file, batch);
    let everywhere = vec![true; batch.num_rows()];
    for field in fields {
        let n = batch.schema().fields().iter().position(|f| field_id(f) == field.id).expect("a column by field id");
        check_column(file, field, batch.column(n), &everywhere);
    }
    if foreign && file.sort_order_id().is_none() {
        return;
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
        DataType::Int32 => PrimitiveLiteral::Int(array.as_primitive::<Int32Type>().value(n)),
        DataType::Int64 => PrimitiveLiteral::Long(array.as_primitive::<Int64Type>().value(n)),
        DataType::Boolean => PrimitiveLiteral::Boolean(array.as_boolean().value(n)),
        DataType::Decimal128(..) => PrimitiveLiteral::Int128(array.as_primitive::<Decimal128Type>().value(n)),
        other => panic!("{other}"),
    }
}
