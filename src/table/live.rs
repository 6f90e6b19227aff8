//! What is live: the data files of main's current snapshot, each with the delete files that apply to it.
//!
//! Manifests are read here, not through the crate's scan planning, which drops spec ids and sequence numbers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, Literal, Manifest, ManifestContentType, ManifestEntry,
    ManifestEntryRef, ManifestFile, ManifestList, ManifestStatus, PrimitiveLiteral, Snapshot, Struct, TableMetadata,
};

use super::avro_check::{checked, load_manifest};
use super::manifest_trim::trim;
use super::partition::check_specs;
use crate::catalog::LoadedTable;
use crate::error::{Error, Result};

/// Manifests read at a time.
pub(crate) const CONCURRENT_MANIFESTS: usize = 8;

/// A data file of the current snapshot.
#[derive(Debug, Clone)]
pub struct LiveFile {
    /// The manifest's description.
    pub file: DataFile,
    /// The partition spec that its partition belongs to.
    pub spec_id: i32,
    /// Its data sequence number.
    pub sequence_number: i64,
    /// The position delete files that may hold positions of it.
    pub deletes: Vec<Arc<LiveDeleteFile>>,
    /// The manifest that lists it.
    pub manifest: Arc<str>,
}

impl LiveFile {
    /// A data file that no manifest lists yet: nothing deletes from it.
    pub fn unlisted(file: DataFile) -> Self {
        Self { file, spec_id: 0, sequence_number: 0, deletes: Vec::new(), manifest: "".into() }
    }
}

/// A position delete file of the current snapshot.
#[derive(Debug, Clone)]
pub struct LiveDeleteFile {
    /// The manifest's description.
    pub file: DataFile,
    /// The partition spec that its partition belongs to.
    pub spec_id: i32,
    /// Its data sequence number.
    pub sequence_number: i64,
    /// The manifest that lists it.
    pub manifest: Arc<str>,
}

impl LiveDeleteFile {
    /// The one data file that all its positions are of, where the manifest says so: by `referenced_data_file`, or by equal
    /// bounds of the path.
    pub fn only_path(&self) -> Option<String> {
        self.file.referenced_data_file().or_else(|| {
            let (lower, upper) = self.path_bounds();
            lower.filter(|lower| upper == Some(*lower)).map(str::to_owned)
        })
    }

    /// Whether it may hold positions of the data file with this path.
    pub fn may_reference(&self, path: &str) -> bool {
        if let Some(only) = self.file.referenced_data_file() {
            return only == path;
        }
        let (lower, upper) = self.path_bounds();
        lower.is_none_or(|lower| lower <= path) && upper.is_none_or(|upper| path <= upper)
    }

    fn path_bounds(&self) -> (Option<&str>, Option<&str>) {
        fn text(bound: Option<&iceberg::spec::Datum>) -> Option<&str> {
            match bound.map(iceberg::spec::Datum::literal) {
                Some(PrimitiveLiteral::String(text)) => Some(text),
                _ => None,
            }
        }
        let id = RESERVED_FIELD_ID_DELETE_FILE_PATH;
        (text(self.file.lower_bounds().get(&id)), text(self.file.upper_bounds().get(&id)))
    }
}

/// Refuses tables that this crate would read or write wrongly: those of format version 3, or with partition specs that it
/// does not understand.
pub fn check_supported(metadata: &TableMetadata) -> Result<()> {
    match metadata.format_version() {
        FormatVersion::V1 | FormatVersion::V2 => check_specs(metadata),
        FormatVersion::V3 => Err(Error::failed("the table has format version 3, which is not supported yet")
            .advice("Load into a table of format version 2")),
    }
}

/// As [`check_supported`], and refuses what no snapshot can be added to: tables of format version 1.
pub fn check_writable(metadata: &TableMetadata) -> Result<()> {
    check_supported(metadata)?;
    if metadata.format_version() == FormatVersion::V1 {
        return Err(Error::failed("the table has format version 1, which has no row-level deletes: it is only read")
            .advice(
                "Upgrade it with the program that made it, in Spark by ALTER TABLE … SET TBLPROPERTIES ('format-version' = '2')",
            ));
    }
    Ok(())
}

/// The live data files of main's current snapshot, in the order of its manifests; none if there is no snapshot.
///
/// Refused: format version 3, equality deletes, deletion vectors, and files that are not Parquet.
pub async fn live_files(table: &LoadedTable) -> Result<Vec<LiveFile>> {
    Ok(live_table(table).await?.files)
}

/// As [`live_files`], with bounds of only these columns, by their field ids, and maybe without other metrics: much faster
/// where there are many files.
pub async fn live_files_bounded_by(table: &LoadedTable, field_ids: &[i32]) -> Result<Vec<LiveFile>> {
    let columns = field_ids.iter().copied().chain([RESERVED_FIELD_ID_DELETE_FILE_PATH]).collect();
    Ok(read_live(table, Some(Arc::new(columns))).await?.files)
}

/// Everything live in main's current snapshot.
#[derive(Debug, Default)]
pub struct LiveTable {
    /// The data files, as [`live_files`] gives them.
    pub files: Vec<LiveFile>,
    /// All position delete files, those too that apply to no data file any more.
    pub deletes: Vec<Arc<LiveDeleteFile>>,
}

/// As [`live_files`], with the delete files beside them.
pub async fn live_table(table: &LoadedTable) -> Result<LiveTable> {
    read_live(table, None).await
}

async fn read_live(table: &LoadedTable, columns: Option<Arc<HashSet<i32>>>) -> Result<LiveTable> {
    check_supported(&table.metadata)?;
    let Some(snapshot) = table.metadata.current_snapshot() else { return Ok(LiveTable::default()) };
    let manifests = read_manifest_list(&table.file_io, &table.metadata, snapshot).await?;
    let read: Vec<(ManifestFile, Vec<ManifestEntryRef>)> = futures::stream::iter(manifests)
        .map(|manifest| read_some(table.file_io.clone(), manifest, columns.clone()))
        .buffered(CONCURRENT_MANIFESTS)
        .try_collect()
        .await?;

    let mut files = Vec::new();
    let mut deletes = DeleteIndex::default();
    for (manifest, entries) in read {
        let path: Arc<str> = Arc::from(manifest.manifest_path.as_str());
        for entry in entries.into_iter().filter(|entry| entry.is_alive()) {
            let sequence_number = sequence_number(&manifest, &entry).ok_or_else(|| {
                Error::failed(format!("the file {} has no sequence number", entry.file_path())).in_file(&*path)
            })?;
            check_entry(entry.data_file())?;
            let file = Arc::try_unwrap(entry).map_or_else(|shared| shared.data_file.clone(), |own| own.data_file);
            let spec_id = manifest.partition_spec_id;
            let manifest_path = Arc::clone(&path);
            match manifest.content {
                ManifestContentType::Data => {
                    files.push(LiveFile {
                        file,
                        spec_id,
                        sequence_number,
                        deletes: Vec::new(),
                        manifest: manifest_path,
                    });
                }
                ManifestContentType::Deletes => {
                    deletes.add(LiveDeleteFile { file, spec_id, sequence_number, manifest: manifest_path });
                }
            }
        }
    }
    for live in &mut files {
        live.deletes = deletes.of(live);
    }
    Ok(LiveTable { files, deletes: deletes.into_all() })
}

/// The manifests of main's current snapshot; none if there is no snapshot.
pub async fn manifests(table: &LoadedTable) -> Result<Vec<ManifestFile>> {
    match table.metadata.current_snapshot() {
        Some(snapshot) => read_manifest_list(&table.file_io, &table.metadata, snapshot).await,
        None => Ok(Vec::new()),
    }
}

/// The manifests of a snapshot.
pub(crate) async fn read_manifest_list(
    file_io: &FileIO,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
) -> Result<Vec<ManifestFile>> {
    let location = snapshot.manifest_list();
    let bytes = file_io.new_input(location)?.read().await.map_err(|e| Error::from(e).in_file(location))?;
    let bytes = checked(bytes).map_err(|e| e.in_file(location))?;
    let list = ManifestList::parse_with_version(&bytes, metadata.format_version())
        .map_err(|e| Error::from(e).in_file(location))?;
    let manifests: Vec<ManifestFile> = list.consume_entries().into_iter().collect();
    // An Avro file that was cut off behind its header, or behind any of its blocks, looks whole.
    let total = snapshot.summary().additional_properties.get("total-data-files");
    if manifests.is_empty() && total.and_then(|total| total.parse::<u64>().ok()).is_some_and(|total| total > 0) {
        return Err(cut_off("the manifest list is empty, but its snapshot has data files").in_file(location));
    }
    Ok(manifests)
}

fn cut_off(message: &str) -> Error {
    Error::failed(message).advice("The file may be damaged: restore it, or roll the table back to an older snapshot")
}

/// Refuses a manifest that has fewer entries than the list of manifests says.
pub(super) fn check_whole(manifest: &ManifestFile, entries: &[ManifestEntryRef]) -> Result<()> {
    let counts = [manifest.added_files_count, manifest.existing_files_count, manifest.deleted_files_count];
    let said: Option<u64> = counts.into_iter().map(|count| count.map(u64::from)).sum();
    match said {
        Some(said) if u64::try_from(entries.len()).is_ok_and(|found| found < said) => {
            Err(cut_off("the manifest has fewer entries than its list says").in_file(&manifest.manifest_path))
        }
        _ => Ok(()),
    }
}

/// The entries of a manifest, those deleted too. Decoded on a thread of its own: it is CPU work.
pub(crate) async fn read_entries(
    file_io: FileIO,
    manifest: ManifestFile,
) -> Result<(ManifestFile, Vec<ManifestEntryRef>)> {
    let task = tokio::spawn(async move {
        let entries = load_manifest(&file_io, &manifest).await?.into_parts().0;
        check_whole(&manifest, &entries)?;
        Ok((manifest, entries))
    });
    task.await.map_err(|e| Error::failed("reading a manifest was interrupted").caused_by(e))?
}

/// As [`read_entries`], where `columns` are given with bounds of only these, without other metrics, and without what entries
/// inherit.
async fn read_some(
    file_io: FileIO,
    manifest: ManifestFile,
    columns: Option<Arc<HashSet<i32>>>,
) -> Result<(ManifestFile, Vec<ManifestEntryRef>)> {
    // An encrypted one is refused there.
    let Some(columns) = columns.filter(|_| manifest.key_metadata.is_none()) else {
        return read_entries(file_io, manifest).await;
    };
    let location = manifest.manifest_path.clone();
    let in_file = |e: iceberg::Error| Error::from(e).in_file(&location);
    let bytes = file_io.new_input(&location).map_err(in_file)?.read().await.map_err(in_file)?;
    let trimmed = on_a_thread(move || match trim(&bytes, &columns) {
        Some(parts) => Ok(parts),
        None => checked(bytes).map(|whole| vec![whole.to_vec()]),
    });
    let trimmed = trimmed.await?.map_err(|e| e.in_file(&location))?;
    let decoded: Vec<_> = trimmed.into_iter().map(|part| on_a_thread(move || Manifest::parse_avro(&part))).collect();
    let mut entries = Vec::new();
    for part in futures::future::join_all(decoded).await {
        entries.extend(part?.map_err(in_file)?.into_parts().0);
    }
    check_whole(&manifest, &entries)?;
    Ok((manifest, entries))
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::spawn(async move { work() })
        .await
        .map_err(|e| Error::failed("reading a manifest was interrupted").caused_by(e))
}

/// The entry's own data sequence number, or that which a new file inherits.
fn sequence_number(manifest: &ManifestFile, entry: &ManifestEntry) -> Option<i64> {
    let inherits = entry.status() == ManifestStatus::Added || manifest.sequence_number == 0;
    entry.sequence_number().or_else(|| inherits.then_some(manifest.sequence_number))
}

fn check_entry(file: &DataFile) -> Result<()> {
    let (what, advice) = match (file.content_type(), file.file_format()) {
        (DataContentType::EqualityDeletes, _) => (
            "the table has equality deletes, which are not supported yet",
            "Compact it with the engine that wrote them",
        ),
        (DataContentType::PositionDeletes, DataFileFormat::Puffin) => (
            "the table has deletion vectors, which are not supported yet",
            "Compact it with the engine that wrote them",
        ),
        (_, DataFileFormat::Parquet) => return Ok(()),
        _ => ("the table has a file that is not Parquet", "Rewrite it as Parquet with the engine that wrote it"),
    };
    Err(Error::failed(what).in_file(file.file_path()).advice(advice))
}

/// Delete files by what they can apply to.
#[derive(Default)]
struct DeleteIndex {
    /// Those whose positions are all of one data file. As in Iceberg Java, the path alone decides: it is unique in a table.
    by_path: HashMap<String, Vec<Arc<LiveDeleteFile>>>,
    by_partition: HashMap<(i32, PartitionKey), Vec<Arc<LiveDeleteFile>>>,
}

/// A partition as what it means: a value read from an old manifest may have a narrower type than the same one in a new.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionKey(Vec<Option<Literal>>);

impl From<&Struct> for PartitionKey {
    fn from(partition: &Struct) -> Self {
        let widen = |literal: &Literal| match literal {
            Literal::Primitive(PrimitiveLiteral::Int(v)) => Literal::long(i64::from(*v)),
            Literal::Primitive(PrimitiveLiteral::Float(v)) => Literal::double(f64::from(v.into_inner())),
            other => other.clone(),
        };
        Self(partition.iter().map(|literal| literal.map(widen)).collect())
    }
}

impl DeleteIndex {
    fn add(&mut self, delete: LiveDeleteFile) {
        let delete = Arc::new(delete);
        let list = if let Some(path) = delete.only_path() {
            self.by_path.entry(path).or_default()
        } else {
            let key = (delete.spec_id, PartitionKey::from(delete.file.partition()));
            self.by_partition.entry(key).or_default()
        };
        list.push(delete);
    }

    fn into_all(self) -> Vec<Arc<LiveDeleteFile>> {
        self.by_path.into_values().chain(self.by_partition.into_values()).flatten().collect()
    }

    /// Those that apply: not older than the data, of its partition, and with its path within their bounds.
    fn of(&self, live: &LiveFile) -> Vec<Arc<LiveDeleteFile>> {
        if self.by_path.is_empty() && self.by_partition.is_empty() {
            return Vec::new();
        }
        let path = live.file.file_path();
        let own = self.by_path.get(path).into_iter().flatten();
        let shared =
            self.by_partition.get(&(live.spec_id, PartitionKey::from(live.file.partition()))).into_iter().flatten();
        own.chain(shared.filter(|delete| delete.may_reference(path)))
            .filter(|delete| live.sequence_number <= delete.sequence_number)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
