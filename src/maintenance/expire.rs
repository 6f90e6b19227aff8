//! Removes snapshots, then the files that only they referred to.
//!
//! The commit comes first: nothing is deleted until it is known to be in the table. If deleting is interrupted, nothing
//! refers to the remaining files, and `orphans` finds them.

use std::collections::HashSet;

use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};

use super::reachable::{Unneeded, unneeded};
use super::retention::{Retention, references};
use crate::catalog::settle::{Outcome, remove_and_settle};
use crate::catalog::{Catalog, Commit, LoadedTable, clock};
use crate::error::Result;
use crate::runtime::progress::Progress;
use crate::storage::Deleted;
use crate::table::commit::requirements::base_requirements;

/// The result of an expiry.
#[derive(Debug)]
pub struct Expired {
    /// The table after the commit.
    pub table: LoadedTable,
    /// Files deleted.
    pub files_deleted: u64,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// The files that would be deleted with the snapshots.
pub async fn unreachable(base: &LoadedTable, retention: &Retention) -> Result<Unneeded> {
    let mut builder = clock::draft(&base.metadata)?;
    for update in updates(&base.metadata, retention) {
        builder = update.apply(builder)?;
    }
    unneeded(base, &base.metadata, &builder.build()?.metadata).await
}

/// Removes the snapshots and their files; `None` if another writer committed first.
pub async fn expire(
    catalog: &dyn Catalog,
    base: &LoadedTable,
    retention: &Retention,
    progress: &Progress,
) -> Result<Option<Expired>> {
    base.place.check()?;
    // A branch or tag that was added or moved since may need what would be deleted.
    let mut requirements = vec![TableRequirement::UuidMatch { uuid: base.metadata.uuid() }];
    for (name, reference) in references(&base.metadata)? {
        let snapshot_id = Some(reference.snapshot_id);
        requirements.push(TableRequirement::RefSnapshotIdMatch { r#ref: name, snapshot_id });
    }
    let updates = updates(&base.metadata, retention);
    let patience = catalog.patience();
    let commit = remove_and_settle(catalog, base, requirements, updates, &retention.snapshots, patience);
    let Outcome::Committed(table) = progress.run().commit(commit).await? else { return Ok(None) };
    let mut expired = Expired { table, files_deleted: 0, warnings: Vec::new() };
    // The snapshots are removed, whether or not deleting the files succeeds.
    match unneeded(&expired.table, &base.metadata, &expired.table.metadata).await {
        Ok(files) => {
            let Deleted { deleted, failed, outside } = base.place.delete(files.into_paths().collect()).await;
            expired.files_deleted = deleted;
            if outside > 0 {
                expired.warnings.push(format!("{outside} files outside of the table's folders were left alone"));
            }
            if failed > 0 {
                let text = format!("{failed} files could not be deleted; `ddb-iceberg orphans` finds them later");
                expired.warnings.push(text);
            }
        }
        Err(error) => expired.warnings.push(format!("files of expired snapshots were left behind: {error}")),
    }
    expired.table = without_unneeded_schemas(catalog, expired.table, progress).await;
    Ok(Some(expired))
}

/// Removes schemas that no snapshot uses any more: each may take hundreds of kilobytes of every metadata file. A commit of
/// its own, since REST servers may not know this update; if it fails, the schemas stay.
async fn without_unneeded_schemas(catalog: &dyn Catalog, table: LoadedTable, progress: &Progress) -> LoadedTable {
    let schema_ids = unneeded_schemas(&table.metadata);
    if schema_ids.is_empty() {
        return table;
    }
    let requirements = base_requirements(&table.metadata);
    let commit = catalog.commit(&table, requirements, vec![TableUpdate::RemoveSchemas { schema_ids }]);
    match progress.run().commit(commit).await {
        Ok(Commit::Done(table)) => table,
        Ok(Commit::Conflict(why) | Commit::Unknown(why)) => {
            tracing::info!("old schemas were left in the metadata: {why}");
            table
        }
        Err(error) => {
            tracing::info!("old schemas were left in the metadata: {error}");
            table
        }
    }
}

/// Ids of schemas that are not current and that no snapshot names. A snapshot that names none may need any.
fn unneeded_schemas(metadata: &TableMetadata) -> Vec<i32> {
    let named: Option<HashSet<i32>> = metadata.snapshots().map(|snapshot| snapshot.schema_id()).collect();
    let Some(needed) = named else { return Vec::new() };
    let ids = metadata.schemas_iter().map(|schema| schema.schema_id());
    let mut unneeded: Vec<i32> = ids.filter(|id| *id != metadata.current_schema_id() && !needed.contains(id)).collect();
    unneeded.sort_unstable();
    unneeded
}

fn updates(metadata: &TableMetadata, retention: &Retention) -> Vec<TableUpdate> {
    let references = retention.references.iter().map(|name| TableUpdate::RemoveSnapshotRef { ref_name: name.clone() });
    let gone: HashSet<i64> = retention.snapshots.iter().copied().collect();
    let statistics = metadata
        .statistics_iter()
        .filter(|file| gone.contains(&file.snapshot_id))
        .map(|file| TableUpdate::RemoveStatistics { snapshot_id: file.snapshot_id });
    let partitions = metadata
        .partition_statistics_iter()
        .filter(|file| gone.contains(&file.snapshot_id))
        .map(|file| TableUpdate::RemovePartitionStatistics { snapshot_id: file.snapshot_id });
    let mut updates: Vec<_> = references.chain(statistics).chain(partitions).collect();
    if !retention.snapshots.is_empty() {
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: retention.snapshots.clone() });
    }
    updates
}
