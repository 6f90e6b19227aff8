//! Lists live files: the data files of main's current snapshot, each with the delete files that apply to it.
//!
//! Manifests are read here, not through the crate's scan planning, which drops spec ids and sequence numbers.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{ManifestContentType, ManifestEntryRef, ManifestFile};

use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::table::deletes::index::DeleteIndex;
use crate::table::files::{LiveDeleteFile, LiveFile};
use crate::table::manifest::read::{CONCURRENT_MANIFESTS, check_entry, read_manifest_list, read_some, sequence_number};
use crate::table::open::check_supported;

/// The live data files of main's current snapshot, in the order of its manifests; empty without a snapshot.
///
/// Refused: format version 3, equality deletes, deletion vectors, and files that are not Parquet.
pub async fn live_files(table: &LoadedTable) -> Result<Vec<LiveFile>> {
    Ok(live_table(table).await?.files)
}

/// Like [`live_files`], but decodes bounds of `field_ids` only; other metrics may be absent. Much faster for many
/// files.
pub async fn live_files_bounded_by(table: &LoadedTable, field_ids: &[i32]) -> Result<Vec<LiveFile>> {
    let columns = field_ids.iter().copied().chain([RESERVED_FIELD_ID_DELETE_FILE_PATH]).collect();
    Ok(read_live(table, Some(Arc::new(columns))).await?.files)
}

/// All live files of main's current snapshot.
#[derive(Debug, Default)]
pub struct LiveTable {
    /// The data files, as in [`live_files`].
    pub files: Vec<LiveFile>,
    /// All position delete files, including those that no longer apply to any data file.
    pub deletes: Vec<Arc<LiveDeleteFile>>,
}

/// Like [`live_files`], with the delete files.
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
