//! The files that snapshots refer to.

use std::collections::{HashMap, HashSet};

use futures::StreamExt;
use iceberg::spec::{ManifestFile, SnapshotRef, TableMetadata};

use crate::catalog::LoadedTable;
use crate::error::Result;
use crate::storage::Location;
use crate::table::{CONCURRENT_MANIFESTS, read_entries, read_manifest_list};

/// The manifests of many snapshots, each once.
///
/// If `strict`, a manifest list that cannot be read is an error; otherwise it is skipped, and the files in it are kept.
pub(super) async fn manifests_of(
    table: &LoadedTable,
    metadata: &TableMetadata,
    snapshots: Vec<SnapshotRef>,
    strict: bool,
) -> Result<HashMap<String, ManifestFile>> {
    let mut all = HashMap::new();
    let mut lists = futures::stream::iter(snapshots)
        .map(|snapshot: SnapshotRef| async move {
            let list = read_manifest_list(&table.file_io, metadata, &snapshot).await;
            (snapshot.manifest_list().to_owned(), list)
        })
        .buffer_unordered(CONCURRENT_MANIFESTS);
    while let Some((location, list)) = lists.next().await {
        match list {
            Ok(list) => all.extend(list.into_iter().map(|manifest| (manifest.manifest_path.clone(), manifest))),
            Err(error) if strict => return Err(error),
            Err(error) => tracing::warn!("{location} cannot be read, what it names is left behind: {error}"),
        }
    }
    Ok(all)
}

/// Passes on the path of every file in the manifests, including deleted entries unless `alive`.
pub(super) async fn for_each_file(
    table: &LoadedTable,
    manifests: Vec<ManifestFile>,
    alive: bool,
    strict: bool,
    on_path: &mut (dyn FnMut(&str) + Send),
) -> Result<()> {
    let mut read = futures::stream::iter(manifests)
        .map(|manifest| {
            let location = manifest.manifest_path.clone();
            let reading = read_entries(table.file_io.clone(), manifest);
            async move { (location, reading.await) }
        })
        .buffer_unordered(CONCURRENT_MANIFESTS);
    while let Some((location, entries)) = read.next().await {
        match entries {
            Ok((_, entries)) => {
                entries.iter().filter(|entry| !alive || entry.is_alive()).for_each(|entry| on_path(entry.file_path()));
            }
            Err(error) if strict => return Err(error),
            Err(error) => tracing::warn!("{location} cannot be read, what it names is left behind: {error}"),
        }
    }
    Ok(())
}

/// Files that one state of a table needed and a later one does not, in the order in which they are deleted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unneeded {
    /// Data and delete files.
    pub content: Vec<String>,
    /// Manifests.
    pub manifests: Vec<String>,
    /// Manifest lists and statistics.
    pub lists: Vec<String>,
}

impl Unneeded {
    /// All of them; manifests come after their content, and manifest lists after their manifests.
    pub fn into_paths(self) -> impl Iterator<Item = String> {
        self.content.into_iter().chain(self.manifests).chain(self.lists)
    }
}

/// The files that `before` refers to and `after` does not. Fails if anything that `after` needs cannot be read.
pub(super) async fn unneeded(table: &LoadedTable, before: &TableMetadata, after: &TableMetadata) -> Result<Unneeded> {
    let gone: Vec<SnapshotRef> =
        before.snapshots().filter(|snapshot| after.snapshot_by_id(snapshot.snapshot_id()).is_none()).cloned().collect();
    // The same file may be spelled in several ways.
    let kept_lists: HashSet<String> = after.snapshots().map(|snapshot| canonical(snapshot.manifest_list())).collect();
    let mut unneeded = Unneeded {
        lists: gone
            .iter()
            .map(|snapshot| snapshot.manifest_list())
            .filter(|list| !kept_lists.contains(&canonical(list)))
            .map(str::to_owned)
            .collect(),
        ..Unneeded::default()
    };
    let needed: HashSet<String> = statistics(after).map(|path| canonical(&path)).collect();
    unneeded.lists.extend(statistics(before).filter(|path| !needed.contains(&canonical(path))));

    let mut old = manifests_of(table, before, gone, false).await?;
    let kept = manifests_of(table, after, after.snapshots().cloned().collect(), true).await?;
    let named: HashSet<String> = kept.keys().map(|path| canonical(path)).collect();
    old.retain(|path, _| !named.contains(&canonical(path)));
    unneeded.manifests = old.keys().cloned().collect();
    let mut content = HashMap::new();
    let old = old.into_values().collect();
    for_each_file(table, old, true, false, &mut |path| {
        content.insert(canonical(path), path.to_owned());
    })
    .await?;
    if !content.is_empty() {
        let kept = kept.into_values().collect();
        for_each_file(table, kept, true, true, &mut |path| {
            content.remove(&canonical(path));
        })
        .await?;
    }
    unneeded.content = content.into_values().collect();
    unneeded.content.sort_unstable();
    unneeded.manifests.sort_unstable();
    Ok(unneeded)
}

/// A path in canonical spelling: `s3a://` is `s3://`, `file:/x` is `/x`.
fn canonical(path: &str) -> String {
    Location::parse(path).map_or_else(|_| path.to_owned(), |location| location.as_str().to_owned())
}

/// The statistics files of a table.
pub(super) fn statistics(metadata: &TableMetadata) -> impl Iterator<Item = String> {
    let of_table = metadata.statistics_iter().map(|file| file.statistics_path.clone());
    of_table.chain(metadata.partition_statistics_iter().map(|file| file.statistics_path.clone()))
}

/// Passes on every file that the table's metadata refers to: data, deletes, manifests, lists, statistics, metadata
/// files.
pub(super) async fn for_each_named(table: &LoadedTable, on_path: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
    let metadata = &table.metadata;
    on_path(&table.metadata_location);
    metadata.metadata_log().iter().for_each(|log| on_path(&log.metadata_file));
    statistics(metadata).for_each(|path| on_path(&path));
    metadata.snapshots().for_each(|snapshot| on_path(snapshot.manifest_list()));
    let manifests = manifests_of(table, metadata, metadata.snapshots().cloned().collect(), true).await?;
    for path in manifests.keys() {
        on_path(path);
    }
    for_each_file(table, manifests.into_values().collect(), false, true, on_path).await
}
