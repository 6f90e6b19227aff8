//! Reads manifest lists and manifests, and checks that they are complete.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Manifest, ManifestEntry, ManifestEntryRef, ManifestFile, ManifestList,
    ManifestStatus, Snapshot, TableMetadata,
};

use super::avro_check::{checked, load_manifest};
use super::prune_metrics::trim;
use crate::catalog::LoadedTable;
use crate::error::{Error, Result};

/// The manifests of main's current snapshot; empty without a snapshot.
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
    // An Avro file that was truncated after its header, or after any block, looks complete.
    let total = snapshot.summary().additional_properties.get("total-data-files");
    if manifests.is_empty() && total.and_then(|total| total.parse::<u64>().ok()).is_some_and(|total| total > 0) {
        return Err(cut_off("the manifest list is empty, but its snapshot has data files").in_file(location));
    }
    Ok(manifests)
}

fn cut_off(message: &str) -> Error {
    Error::failed(message).advice("The file may be damaged: restore it, or roll the table back to an older snapshot")
}

/// Refuses a manifest that has fewer entries than the manifest list says.
pub(crate) fn check_whole(manifest: &ManifestFile, entries: &[ManifestEntryRef]) -> Result<()> {
    let counts = [manifest.added_files_count, manifest.existing_files_count, manifest.deleted_files_count];
    let said: Option<u64> = counts.into_iter().map(|count| count.map(u64::from)).sum();
    match said {
        Some(said) if u64::try_from(entries.len()).is_ok_and(|found| found < said) => {
            Err(cut_off("the manifest has fewer entries than its list says").in_file(&manifest.manifest_path))
        }
        _ => Ok(()),
    }
}

/// The entries of a manifest, including deleted ones. Decoded on a separate thread, since this is CPU work.
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

/// Like [`read_entries`]. With `columns`, decodes bounds of these only, no other metrics, and nothing that entries
/// inherit.
pub(crate) async fn read_some(
    file_io: FileIO,
    manifest: ManifestFile,
    columns: Option<Arc<HashSet<i32>>>,
) -> Result<(ManifestFile, Vec<ManifestEntryRef>)> {
    // An encrypted manifest is refused there.
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

/// The entry's own data sequence number, or the one that a new file inherits.
pub(crate) fn sequence_number(manifest: &ManifestFile, entry: &ManifestEntry) -> Option<i64> {
    let inherits = entry.status() == ManifestStatus::Added || manifest.sequence_number == 0;
    entry.sequence_number().or_else(|| inherits.then_some(manifest.sequence_number))
}

pub(crate) fn check_entry(file: &DataFile) -> Result<()> {
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

/// Number of manifests read in parallel.
pub(crate) const CONCURRENT_MANIFESTS: usize = 8;
