//! Another program's commits: manifests and lists written entry by entry, in ways that Spark, Flink and PyIceberg have and
//! this program has not. Of the crate it uses what writes Parquet, not what makes snapshots.
#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "tests; each binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::DataType;
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable};
use ddb_iceberg::table::{
    DataFileWriter, DataPaths, DeleteGroup, WriteOptions, base_requirements, write_position_deletes,
};
use iceberg::TableUpdate;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataContentType, DataFile, MAIN_BRANCH, ManifestContentType, ManifestFile, ManifestList, ManifestListWriter,
    ManifestStatus, ManifestWriter, ManifestWriterBuilder, NestedField, Operation, PartitionSpec, Schema, SchemaRef,
    Snapshot, SnapshotReference, SnapshotRetention, Struct, Summary,
};
use tokio::runtime::Handle;
use uuid::Uuid;

struct Added {
    spec_id: i32,
    file: DataFile,
    /// Its data is as old as that; `None`: it is new.
    sequence: Option<i64>,
}

/// One commit to main.
pub struct OtherCommit {
    base: LoadedTable,
    operation: Operation,
    added: Vec<Added>,
    removed: BTreeSet<String>,
    oldest_first: bool,
    apart: bool,
    skew: i64,
}

impl OtherCommit {
    pub fn new(base: &LoadedTable, operation: Operation) -> Self {
        Self {
            base: base.clone(),
            operation,
            added: Vec::new(),
            removed: BTreeSet::new(),
            oldest_first: false,
            apart: false,
            skew: 0,
        }
    }

    /// Adds a data or delete file.
    pub fn add(mut self, spec_id: i32, file: DataFile) -> Self {
        self.added.push(Added { spec_id, file, sequence: None });
        self
    }

    /// Adds a file whose data is older than the commit, as rewrites do that start from an older snapshot.
    pub fn add_as_old_as(mut self, spec_id: i32, file: DataFile, sequence: i64) -> Self {
        self.added.push(Added { spec_id, file, sequence: Some(sequence) });
        self
    }

    /// Removes the file with this path.
    pub fn remove(mut self, path: &str) -> Self {
        self.removed.insert(path.to_owned());
        self
    }

    /// A list is a set: here its oldest manifests come first.
    pub fn oldest_first(mut self) -> Self {
        self.oldest_first = true;
        self
    }

    /// Each new file has a manifest of its own.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Its clock is wrong by so many seconds.
    pub fn skewed(mut self, seconds: i64) -> Self {
        self.skew = seconds;
        self
    }

    /// Writes the manifests and commits.
    pub async fn commit(self, catalog: &dyn Catalog) -> LoadedTable {
        let snapshot = self.snapshot().await;
        let metadata = &self.base.metadata;
        let reference = SnapshotReference::new(snapshot.snapshot_id(), SnapshotRetention::branch(None, None, None));
        let updates = vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference },
        ];
        match catalog.commit(&self.base, base_requirements(metadata), updates).await.unwrap() {
            Commit::Done(table) => table,
            other => panic!("nobody else writes: {other:?}"),
        }
    }

    async fn snapshot(&self) -> Snapshot {
        let metadata = &self.base.metadata;
        let id = i64::try_from(Uuid::new_v4().as_u64_pair().0 >> 1).unwrap();
        let sequence = metadata.next_sequence_number();
        let mut output = Output { table: &self.base, id, written: 0, counts: BTreeMap::new() };
        let mut manifests = Vec::new();
        for content in [ManifestContentType::Data, ManifestContentType::Deletes] {
            let mut groups: Vec<(i32, Vec<&Added>)> = Vec::new();
            for added in self.added.iter().filter(|added| kind(&added.file) == content) {
                match groups.iter_mut().find(|(spec, _)| !self.apart && *spec == added.spec_id) {
                    Some((_, group)) => group.push(added),
                    None => groups.push((added.spec_id, vec![added])),
                }
            }
            for (spec_id, group) in groups {
                let spec = metadata.partition_spec_by_id(spec_id).unwrap().as_ref().clone();
                let mut writer = output.manifest(content, metadata.current_schema().clone(), spec);
                for added in group {
                    output.count("added", &added.file);
                    output.count("total", &added.file);
                    writer.add_file(added.file.clone(), added.sequence.unwrap_or(-1)).unwrap();
                }
                manifests.push(writer.write_manifest_file().await.unwrap());
            }
        }
        let mut carried = Vec::new();
        if let Some(parent) = metadata.current_snapshot() {
            for manifest in list(&self.base, parent).await {
                carried.extend(self.carry(&mut output, manifest).await);
            }
        }
        if self.oldest_first {
            carried.reverse();
            manifests.splice(0..0, carried);
        } else {
            manifests.extend(carried);
        }
        let location = format!("{}/metadata/snap-{id}-other-{}.avro", metadata.location(), Uuid::new_v4());
        let file = self.base.file_io.new_output(&location).unwrap().writer().await.unwrap();
        let parent = metadata.current_snapshot();
        let mut writer = ManifestListWriter::v2(file, id, parent.map(|parent| parent.snapshot_id()), sequence);
        writer.add_manifests(manifests.into_iter()).unwrap();
        writer.close().await.unwrap();
        let now = chrono::Utc::now().timestamp_millis().max(metadata.last_updated_ms());
        Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent.map(|parent| parent.snapshot_id()))
            .with_sequence_number(sequence)
            .with_timestamp_ms(now + 1000 * self.skew)
            .with_manifest_list(location)
            .with_summary(Summary { operation: self.operation.clone(), additional_properties: output.summary() })
            .with_schema_id(metadata.current_schema_id())
            .build()
    }

    /// A manifest of before, without what was removed; `None` if nothing lives in it.
    async fn carry(&self, output: &mut Output<'_>, manifest: ManifestFile) -> Option<ManifestFile> {
        let read = manifest.load_manifest(&self.base.file_io).await.unwrap();
        let alive: Vec<_> = read.entries().iter().filter(|entry| entry.is_alive()).collect();
        if alive.is_empty() {
            return None;
        }
        for entry in alive.iter().filter(|entry| !self.removed.contains(entry.file_path())) {
            output.count("total", entry.data_file());
        }
        if !alive.iter().any(|entry| self.removed.contains(entry.file_path())) {
            return Some(manifest);
        }
        let spec = read.metadata().partition_spec().clone().with_spec_id(manifest.partition_spec_id);
        let mut writer = output.manifest(manifest.content, read.metadata().schema().clone(), spec);
        for entry in alive {
            assert_ne!(entry.status(), ManifestStatus::Deleted);
            let (file, sequence) = (entry.data_file().clone(), entry.sequence_number().unwrap());
            if self.removed.contains(entry.file_path()) {
                output.count("deleted", &file);
                writer.add_delete_file(file, sequence, entry.file_sequence_number).unwrap();
            } else {
                let snapshot_id = entry.snapshot_id().unwrap();
                writer.add_existing_file(file, snapshot_id, sequence, entry.file_sequence_number).unwrap();
            }
        }
        Some(writer.write_manifest_file().await.unwrap())
    }
}

fn kind(file: &DataFile) -> ManifestContentType {
    match file.content_type() {
        DataContentType::Data => ManifestContentType::Data,
        _ => ManifestContentType::Deletes,
    }
}

struct Output<'a> {
    table: &'a LoadedTable,
    id: i64,
    written: usize,
    counts: BTreeMap<String, u64>,
}

impl Output<'_> {
    fn manifest(&mut self, content: ManifestContentType, schema: SchemaRef, spec: PartitionSpec) -> ManifestWriter {
        self.written += 1;
        let folder = format!("{}/metadata", self.table.metadata.location());
        let location = format!("{folder}/{}-other{}.avro", Uuid::new_v4(), self.written);
        let output = self.table.file_io.new_output(location).unwrap();
        let builder = ManifestWriterBuilder::new(output, Some(self.id), schema, spec);
        match content {
            ManifestContentType::Data => builder.build_v2_data(),
            ManifestContentType::Deletes => builder.build_v2_deletes(),
        }
    }

    fn count(&mut self, what: &str, file: &DataFile) {
        let removed = what == "deleted";
        let names = match (kind(file), removed) {
            (ManifestContentType::Data, _) => ["data-files", "records"],
            (ManifestContentType::Deletes, false) => ["delete-files", "position-deletes"],
            (ManifestContentType::Deletes, true) => return,
        };
        let size = if removed { "removed-files-size".to_owned() } else { format!("{what}-files-size") };
        *self.counts.entry(format!("{what}-{}", names[0])).or_default() += 1;
        *self.counts.entry(format!("{what}-{}", names[1])).or_default() += file.record_count();
        *self.counts.entry(size).or_default() += file.file_size_in_bytes();
    }

    fn summary(&self) -> HashMap<String, String> {
        let totals = ["data-files", "delete-files", "records", "files-size", "position-deletes", "equality-deletes"];
        let none = totals.iter().map(|name| (format!("total-{name}"), "0".to_owned()));
        none.chain(self.counts.iter().map(|(name, count)| (name.clone(), count.to_string()))).collect()
    }
}

/// The manifests of a snapshot.
pub async fn list(table: &LoadedTable, snapshot: &Snapshot) -> Vec<ManifestFile> {
    let bytes = table.file_io.new_input(snapshot.manifest_list()).unwrap().read().await.unwrap();
    let list = ManifestList::parse_with_version(&bytes, table.metadata.format_version()).unwrap();
    list.consume_entries().into_iter().collect()
}

/// Writes a data file without a sort order; `None`: where the table has its files.
pub async fn write_at(
    table: &LoadedTable,
    path: Option<String>,
    spec_id: i32,
    partition: Struct,
    batch: RecordBatch,
) -> DataFile {
    let table = table.clone();
    let work = move || {
        let schema = table.metadata.current_schema();
        let options = WriteOptions::for_table(&table.metadata, schema);
        let path = path.unwrap_or_else(|| DataPaths::new(&table.metadata).data_file(0));
        // Others write where they want.
        let (file_io, handle) = (table.place.store().file_io(), Handle::current());
        let mut writer =
            DataFileWriter::create(&file_io, &handle, path, schema, spec_id, partition, None, &options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// One position delete file of these positions by path.
pub async fn write_deletes(
    table: &LoadedTable,
    spec_id: i32,
    partition: Struct,
    files: Vec<(String, Vec<u64>)>,
) -> DataFile {
    let table = table.clone();
    let work = move || {
        let options = WriteOptions::for_table(&table.metadata, table.metadata.current_schema());
        let paths = DataPaths::new(&table.metadata);
        let groups = vec![DeleteGroup { spec_id, partition, files }];
        let written = write_position_deletes(&table.file_io, &Handle::current(), &paths, 0, groups, &options);
        written.unwrap().remove(0).1
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Rows of the current columns: text in `pk`, numbers in `v` and in those named, null elsewhere.
pub fn batch(table: &LoadedTable, rows: &[(&str, i64)], more: &[&str]) -> RecordBatch {
    let arrow = schema_to_arrow_schema(table.metadata.current_schema()).unwrap();
    let columns = arrow.fields().iter().map(|field| -> ArrayRef {
        let values = rows.iter().map(|(_, value)| *value);
        match (field.name().as_str(), field.data_type()) {
            ("pk", _) => Arc::new(rows.iter().map(|(pk, _)| Some(*pk)).collect::<StringArray>()),
            (name, DataType::Int64) if name == "v" || more.contains(&name) => {
                Arc::new(values.map(Some).collect::<Int64Array>())
            }
            (name, DataType::Int32) if more.contains(&name) => {
                Arc::new(values.map(|value| Some(i32::try_from(value).unwrap())).collect::<Int32Array>())
            }
            (_, ty) => new_null_array(ty, rows.len()),
        }
    });
    RecordBatch::try_new(Arc::new(arrow.clone()), columns.collect()).unwrap()
}

/// Makes another schema the current one: columns may be dropped, added and widened.
pub fn schema_of(table: &LoadedTable, change: impl FnOnce(&mut Vec<NestedField>)) -> Vec<TableUpdate> {
    let old = table.metadata.current_schema();
    let mut fields: Vec<NestedField> = old.as_struct().fields().iter().map(|field| (**field).clone()).collect();
    change(&mut fields);
    let schema = Schema::builder()
        .with_fields(fields.into_iter().map(Into::into))
        .with_identifier_field_ids(old.identifier_field_ids())
        .build()
        .unwrap();
    vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }]
}
