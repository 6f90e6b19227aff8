//! Builds a snapshot: manifests, manifest list, summary. The catalog commits it.
//!
//! - New entries carry no sequence number: they inherit the snapshot's. So do new delete files, which are *added*
//!   entries of a deletes manifest.
//! - A manifest that loses files is rewritten: remaining files become EXISTING with their own sequence numbers, removed
//!   ones DELETED. Other manifests are carried over unchanged; one without live files is dropped, as in Iceberg Java.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, FormatVersion, ManifestContentType, ManifestFile, ManifestListWriter, Operation,
    PartitionSpec, SchemaRef, Snapshot, SnapshotRef, TableMetadata,
};
use uuid::Uuid;

use super::summary::SummaryCounts;
use crate::error::{Error, Result};
use crate::table::files::{LiveDeleteFile, LiveFile};
use crate::table::manifest::avro_check::load_manifest;
use crate::table::manifest::merge::{ManifestLimits, merge};
use crate::table::manifest::read::{CONCURRENT_MANIFESTS, check_whole, read_manifest_list};
use crate::table::manifest::write::{Output, check_partition};
use crate::table::write::locations::metadata_folder;

/// Maximum number of entries in a new manifest.
const MANIFEST_ENTRIES: usize = 10_000;

/// A snapshot whose files are written and which is ready to be committed.
#[derive(Debug)]
pub struct BuiltSnapshot {
    /// The snapshot, child of main's current one.
    pub snapshot: Snapshot,
    /// The manifests and the manifest list that were written for it.
    pub files: Vec<String>,
}

/// Collects a change and builds its snapshot.
#[derive(Debug)]
pub struct SnapshotBuilder<'a> {
    base: Option<&'a TableMetadata>,
    metadata: &'a TableMetadata,
    id: i64,
    operation: Operation,
    added_data: BTreeMap<i32, Vec<DataFile>>,
    added_deletes: BTreeMap<i32, Vec<DataFile>>,
    /// Paths to remove, by manifest.
    removed: HashMap<Arc<str>, HashSet<String>>,
    counts: SummaryCounts,
    properties: HashMap<String, String>,
    merges_manifests: bool,
}

impl<'a> SnapshotBuilder<'a> {
    /// A change of the table with metadata `base`; `None` for a new table. `metadata` is the table after the change,
    /// except for this snapshot: its current schema, specs and properties are used.
    pub fn new(base: Option<&'a TableMetadata>, metadata: &'a TableMetadata, operation: Operation) -> Self {
        Self {
            base,
            metadata,
            id: new_snapshot_id(Some(base.unwrap_or(metadata))),
            operation,
            added_data: BTreeMap::new(),
            added_deletes: BTreeMap::new(),
            removed: HashMap::new(),
            counts: SummaryCounts::default(),
            properties: HashMap::new(),
            merges_manifests: false,
        }
    }

    /// Gives the snapshot this id, which the table has not used.
    pub fn with_id(&mut self, id: i64) -> &mut Self {
        self.id = id;
        self
    }

    /// Also merges small manifests if there are more of them than the table's properties allow.
    pub fn merge_manifests(&mut self) -> &mut Self {
        self.merges_manifests = true;
        self
    }

    /// Adds a data file, written in the given spec.
    pub fn add_data_file(&mut self, spec_id: i32, file: DataFile) -> &mut Self {
        self.counts.add(spec_id, &file);
        self.added_data.entry(spec_id).or_default().push(file);
        self
    }

    /// Adds a position delete file, written in the given spec.
    pub fn add_delete_file(&mut self, spec_id: i32, file: DataFile) -> &mut Self {
        self.counts.add(spec_id, &file);
        self.added_deletes.entry(spec_id).or_default().push(file);
        self
    }

    /// Removes a data file. Delete files that applied to it stay until they are removed themselves.
    pub fn remove_data_file(&mut self, live: &LiveFile) -> &mut Self {
        self.remove(&live.manifest, live.spec_id, &live.file)
    }

    /// Removes a position delete file.
    pub fn remove_delete_file(&mut self, live: &LiveDeleteFile) -> &mut Self {
        self.remove(&live.manifest, live.spec_id, &live.file)
    }

    fn remove(&mut self, manifest: &Arc<str>, spec_id: i32, file: &DataFile) -> &mut Self {
        // If it is removed twice, it is counted once.
        if self.removed.entry(Arc::clone(manifest)).or_default().insert(file.file_path().to_owned()) {
            self.counts.remove(spec_id, file);
        }
        self
    }

    /// Sets a property of the snapshot's summary.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Writes the manifests and the manifest list. On error, the commit's staging, to which `file_io` belongs, deletes
    /// what was written.
    ///
    /// A change without files is allowed: it keeps the parent's manifest list.
    pub async fn build(self, file_io: &FileIO) -> Result<BuiltSnapshot> {
        let output = Output {
            file_io: file_io.clone(),
            folder: metadata_folder(self.metadata),
            operation: Uuid::new_v4(),
            snapshot_id: self.id,
            written: Mutex::new(Vec::new()),
        };
        let snapshot = self.write(&output).await?;
        Ok(BuiltSnapshot { snapshot, files: output.into_written() })
    }

    async fn write(&self, output: &Output) -> Result<Snapshot> {
        if self.metadata.format_version() != FormatVersion::V2 {
            return Err(Error::failed(format!(
                "cannot write to a table of format version {}",
                self.metadata.format_version()
            ))
            .advice("Tables are written in format version 2"));
        }
        self.check_added()?;
        let parent = self.base.and_then(TableMetadata::current_snapshot);
        let carried = match (self.base, parent) {
            (Some(base), Some(parent)) => read_manifest_list(&output.file_io, base, parent).await?,
            _ => Vec::new(),
        };
        let mut carried = self.rewrite(output, carried).await?;
        if self.merges_manifests {
            let limits = ManifestLimits::of_table(self.metadata.properties())?;
            carried = merge(output, carried, limits).await?;
        }

        let mut manifests = self.write_added(output, ManifestContentType::Data).await?;
        let (data, deletes): (Vec<_>, Vec<_>) =
            carried.into_iter().partition(|m| m.content == ManifestContentType::Data);
        manifests.extend(data);
        manifests.extend(self.write_added(output, ManifestContentType::Deletes).await?);
        manifests.extend(deletes);

        let sequence_number = self.base.map_or(1, TableMetadata::next_sequence_number);
        let parent_id = parent.map(|parent| parent.snapshot_id());
        let list = output.manifest_list();
        let file = output.file_io.new_output(&list)?.writer().await.map_err(|e| Error::from(e).in_file(&list))?;
        let mut writer = ManifestListWriter::v2(file, output.snapshot_id, parent_id, sequence_number);
        writer.add_manifests(manifests.into_iter())?;
        writer.close().await.map_err(|e| Error::from(e).in_file(&list))?;

        let summary = self.counts.finish(self.operation.clone(), parent.map(|p| p.summary()), self.properties.clone());
        Ok(Snapshot::builder()
            .with_snapshot_id(output.snapshot_id)
            .with_parent_snapshot_id(parent_id)
            .with_sequence_number(sequence_number)
            .with_timestamp_ms(self.timestamp(parent))
            .with_manifest_list(list)
            .with_summary(summary)
            .with_schema_id(self.metadata.current_schema_id())
            .build())
    }

    /// Refuses changes that would give an incorrect manifest: a file added twice, or of the wrong kind.
    fn check_added(&self) -> Result<()> {
        let mut paths = HashSet::new();
        for (files, content) in
            [(&self.added_data, DataContentType::Data), (&self.added_deletes, DataContentType::PositionDeletes)]
        {
            for file in files.values().flatten() {
                if file.content_type() != content {
                    return Err(Error::failed("a file was added as what it is not").in_file(file.file_path()));
                }
                if !paths.insert(file.file_path()) {
                    return Err(Error::failed("a file was added twice").in_file(file.file_path()));
                }
            }
        }
        Ok(())
    }

    /// Never earlier than the parent or the last change, even if this machine's clock is behind.
    fn timestamp(&self, parent: Option<&SnapshotRef>) -> i64 {
        let known = [parent.map(|p| p.timestamp_ms()), self.base.map(TableMetadata::last_updated_ms)];
        known.into_iter().flatten().fold(chrono::Utc::now().timestamp_millis(), i64::max)
    }

    /// The parent's manifests without the removed files.
    async fn rewrite(&self, output: &Output, manifests: Vec<ManifestFile>) -> Result<Vec<ManifestFile>> {
        if let Some(lost) = self.removed.keys().find(|path| manifests.iter().all(|m| m.manifest_path != ***path)) {
            return Err(Error::failed("a file to be removed is not in the table's current snapshot").in_file(&**lost));
        }
        futures::stream::iter(manifests)
            .map(|manifest| async move {
                match self.removed.get(manifest.manifest_path.as_str()) {
                    Some(paths) => self.rewrite_one(output, manifest, paths).await.map(Some),
                    None => Ok((manifest.has_added_files() || manifest.has_existing_files()).then_some(manifest)),
                }
            })
            .buffered(CONCURRENT_MANIFESTS)
            .try_filter_map(|kept| async move { Ok(kept) })
            .try_collect()
            .await
    }

    async fn rewrite_one(
        &self,
        output: &Output,
        manifest: ManifestFile,
        paths: &HashSet<String>,
    ) -> Result<ManifestFile> {
        let location = manifest.manifest_path.clone();
        let read = load_manifest(&output.file_io, &manifest).await?;
        let (entries, read) = read.into_parts();
        check_whole(&manifest, &entries)?;
        // The spec and schema with which it was written fit its entries, whatever the table's are now.
        let spec = read.partition_spec().clone().with_spec_id(manifest.partition_spec_id);
        let mut writer = output.manifest(manifest.content, Arc::clone(read.schema()), spec)?;
        let mut found = 0_usize;
        for entry in entries.into_iter().filter(|entry| entry.is_alive()) {
            let removed = paths.contains(entry.file_path());
            let sequence_number = entry.sequence_number();
            let (snapshot_id, file_sequence_number) = (entry.snapshot_id(), entry.file_sequence_number);
            let file = Arc::try_unwrap(entry).map_or_else(|shared| shared.data_file.clone(), |own| own.data_file);
            let (Some(sequence_number), Some(snapshot_id)) = (sequence_number, snapshot_id) else {
                return Err(Error::failed(format!("{} has no sequence number", file.file_path())).in_file(&location));
            };
            if removed {
                found += 1;
                writer.add_delete_file(file, sequence_number, file_sequence_number)?;
            } else {
                writer.add_existing_file(file, snapshot_id, sequence_number, file_sequence_number)?;
            }
        }
        if found != paths.len() {
            return Err(Error::failed("a file to be removed is not in its manifest any more").in_file(&location));
        }
        Ok(writer.write_manifest_file().await?)
    }

    async fn write_added(&self, output: &Output, content: ManifestContentType) -> Result<Vec<ManifestFile>> {
        let added = match content {
            ManifestContentType::Data => &self.added_data,
            ManifestContentType::Deletes => &self.added_deletes,
        };
        let mut manifests = Vec::new();
        for (spec_id, files) in added {
            let (spec, schema) = self.spec(*spec_id)?;
            for chunk in files.chunks(MANIFEST_ENTRIES) {
                let mut writer = output.manifest(content, Arc::clone(&schema), spec.clone())?;
                for file in chunk {
                    check_partition(&spec, file)?;
                    writer.add_file(file.clone(), -1)?;
                }
                manifests.push(writer.write_manifest_file().await?);
            }
        }
        Ok(manifests)
    }

    /// A spec with a matching schema: the current one, or, if a source column was dropped, the newest that has it.
    fn spec(&self, spec_id: i32) -> Result<(PartitionSpec, SchemaRef)> {
        let spec = self
            .metadata
            .partition_spec_by_id(spec_id)
            .ok_or_else(|| Error::failed(format!("the table has no partition spec {spec_id}")))?;
        let mut schemas: Vec<_> = self.metadata.schemas_iter().collect();
        schemas.sort_unstable_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
        std::iter::once(self.metadata.current_schema())
            .chain(schemas)
            .find(|schema| spec.partition_type(schema).is_ok())
            .map(|schema| (spec.as_ref().clone(), Arc::clone(schema)))
            .ok_or_else(|| Error::failed(format!("no schema of the table fits partition spec {spec_id}")))
    }
}

/// A random positive id that the table has not used.
pub fn new_snapshot_id(metadata: Option<&TableMetadata>) -> i64 {
    loop {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let id = i64::try_from((high ^ low) >> 1).unwrap_or(0);
        if id > 0 && metadata.is_none_or(|metadata| metadata.snapshot_by_id(id).is_none()) {
            return id;
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
