//! A small table on disk, for this module's tests.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, NestedField, NestedFieldRef, Operation, PartitionSpec, PrimitiveType, Schema,
    SchemaRef, SortOrder, Struct, TableMetadata, TableMetadataBuilder, Type, UnboundPartitionSpec,
};
use iceberg::{NamespaceIdent, TableIdent};
use tokio::runtime::{Handle, Runtime};

use super::files::LiveFile;
use crate::catalog::{LoadedTable, place};
use crate::storage::{AllowedLocations, Lent, Location, Store};
use crate::table::commit::snapshot::{BuiltSnapshot, SnapshotBuilder};
use crate::table::deletes::cache::DeleteCache;
use crate::table::deletes::write::DeleteGroup;
use crate::table::write::data_file::DataFileWriter;
use crate::table::write::locations::DataPaths;
use crate::table::write::options::WriteOptions;

/// `pk` string (the key), `n` long, `tag` string.
pub(super) fn schema() -> Schema {
    let primitive = |p| Type::Primitive(p);
    Schema::builder()
        .with_fields([
            Arc::new(NestedField::required(1, "pk", primitive(PrimitiveType::String))),
            Arc::new(NestedField::optional(2, "n", primitive(PrimitiveType::Long))),
            Arc::new(NestedField::optional(3, "tag", primitive(PrimitiveType::String))),
        ])
        .with_identifier_field_ids([1])
        .build()
        .unwrap()
}

pub(super) fn metadata_with(
    location: &str,
    spec: impl Into<UnboundPartitionSpec>,
    properties: HashMap<String, String>,
) -> TableMetadata {
    TableMetadataBuilder::new(
        schema(),
        spec,
        SortOrder::unsorted_order(),
        location.to_owned(),
        FormatVersion::V2,
        properties,
    )
    .unwrap()
    .build()
    .unwrap()
    .metadata
}

pub(super) fn metadata(location: &str, properties: HashMap<String, String>) -> TableMetadata {
    metadata_with(location, PartitionSpec::unpartition_spec(), properties)
}

/// A table in a temporary folder, without a catalog.
pub(super) struct Fixture {
    pub(super) runtime: Runtime,
    pub(super) file_io: FileIO,
    pub(super) metadata: TableMetadata,
    pub(super) dir: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with_spec(PartitionSpec::unpartition_spec())
    }

    pub(super) fn with_spec(spec: impl Into<UnboundPartitionSpec>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let location = format!("file://{}/ns/t", dir.path().display());
        Self {
            runtime: Runtime::new().unwrap(),
            file_io: FileIO::new_with_fs(),
            metadata: metadata_with(&location, spec, HashMap::new()),
            dir,
        }
    }

    pub(super) fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.metadata.current_schema().clone()
    }

    pub(super) fn key(&self) -> Vec<NestedFieldRef> {
        vec![self.schema().field_by_name("pk").unwrap().clone()]
    }

    pub(super) fn options(&self) -> WriteOptions {
        WriteOptions::for_table(&self.metadata, &self.schema())
    }

    pub(super) fn paths(&self) -> DataPaths {
        DataPaths::new(&self.metadata)
    }

    pub(super) fn cache(&self) -> DeleteCache {
        DeleteCache::new(self.file_io.clone(), self.handle().clone(), 1 << 20)
    }

    /// Files on disk whose name ends so.
    pub(super) fn count_files(&self, ending: &str) -> usize {
        let mut folders = vec![self.dir.path().to_owned()];
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_str().unwrap().ends_with(ending) {
                    count += 1;
                }
            }
        }
        count
    }

    /// `n` counts from 0, `tag` is null in every third row.
    pub(super) fn batch(&self, keys: &[&str]) -> RecordBatch {
        let n = Int64Array::from_iter_values((0_i64..).take(keys.len()));
        let tags: StringArray = (0..keys.len()).map(|i| (i % 3 != 0).then(|| format!("tag {i}"))).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(keys.to_vec())), Arc::new(n), Arc::new(tags)];
        RecordBatch::try_new(Arc::new(schema_to_arrow_schema(&self.schema()).unwrap()), columns).unwrap()
    }

    pub(super) fn write_with(&self, keys: &[&str], partition: Struct, options: &WriteOptions) -> DataFile {
        let mut writer = DataFileWriter::create(
            &self.file_io,
            self.handle(),
            self.paths().data_file(0),
            &self.schema(),
            0,
            partition,
            None,
            options,
        )
        .unwrap();
        writer.write(&self.batch(keys)).unwrap();
        writer.finish().unwrap()
    }

    pub(super) fn write(&self, keys: &[&str]) -> DataFile {
        self.write_with(keys, Struct::empty(), &self.options())
    }

    pub(super) fn write_deletes(&self, files: &[(&DataFile, &[u64])]) -> Vec<(i32, DataFile)> {
        let files = files.iter().map(|(file, positions)| (file.file_path().to_owned(), positions.to_vec())).collect();
        let group = DeleteGroup { spec_id: 0, partition: Struct::empty(), files };
        crate::table::deletes::write::write_position_deletes(
            &self.file_io,
            self.handle(),
            &self.paths(),
            0,
            vec![group],
            &self.options(),
        )
        .unwrap()
    }

    pub(super) fn build(
        &self,
        operation: Operation,
        change: impl FnOnce(&mut SnapshotBuilder<'_>),
    ) -> crate::error::Result<BuiltSnapshot> {
        let base = self.metadata.current_snapshot().map(|_| &self.metadata);
        let mut builder = SnapshotBuilder::new(base, &self.metadata, operation);
        change(&mut builder);
        self.runtime.block_on(builder.build(&self.file_io))
    }

    /// Builds the change and makes it main's.
    pub(super) fn commit(
        &mut self,
        operation: Operation,
        change: impl FnOnce(&mut SnapshotBuilder<'_>),
    ) -> BuiltSnapshot {
        let built = self.build(operation, change).unwrap();
        let builder = self.metadata.clone().into_builder(None);
        self.metadata =
            builder.set_branch_snapshot(built.snapshot.clone(), MAIN_BRANCH).unwrap().build().unwrap().metadata;
        built
    }

    pub(super) fn append(&mut self, keys: &[&str]) -> DataFile {
        let file = self.write(keys);
        self.commit(Operation::Append, |b| {
            b.add_data_file(0, file.clone());
        });
        file
    }

    pub(super) fn loaded(&self) -> LoadedTable {
        let ident = TableIdent::new(NamespaceIdent::new("ns".to_owned()), "t".to_owned());
        let warehouse = Location::parse(self.dir.path().to_str().unwrap()).unwrap();
        let allowed = AllowedLocations::below(Some(warehouse));
        let (location, properties) = (self.metadata.location(), self.metadata.properties());
        let place = place::of_table(&ident, location, properties, &allowed, &Lent::default(), &Store::local());
        LoadedTable::new(ident, self.metadata.clone(), String::new(), place)
    }

    pub(super) fn live(&self) -> Vec<LiveFile> {
        self.runtime.block_on(crate::table::scan::plan::live_files(&self.loaded())).unwrap()
    }

    pub(super) fn live_of(&self, file: &DataFile) -> LiveFile {
        self.live().into_iter().find(|live| live.file.file_path() == file.file_path()).unwrap()
    }

    /// Keys and positions of the live rows of a file.
    pub(super) fn keys(
        &self,
        live: &LiveFile,
        sought: Option<&crate::table::scan::key_filter::KeyFilter>,
    ) -> Vec<(String, i64)> {
        let mut rows = Vec::new();
        crate::table::scan::keys::scan_keys(
            &self.file_io,
            self.handle(),
            live,
            &self.key(),
            sought,
            &self.cache(),
            &mut |batch| {
                let keys = batch.column(0).as_any().downcast_ref::<StringArray>().unwrap().clone();
                let positions = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap().clone();
                rows.extend(
                    keys.iter().zip(positions.iter()).map(|(key, pos)| (key.unwrap().to_owned(), pos.unwrap())),
                );
                Ok(())
            },
        )
        .unwrap();
        rows
    }

    /// Keys of all live rows, sorted.
    pub(super) fn all_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.live().iter().flat_map(|live| self.keys(live, None)).map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }
}
