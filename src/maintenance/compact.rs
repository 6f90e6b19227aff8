//! Compaction in one `replace` snapshot: the same rows in fewer and larger data files, with their deletes applied.
//!
//! The new files have the snapshot's own sequence number. This loses no delete of another writer, since the commit
//! requires that main is still the snapshot on which it was planned.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{DataFile, Operation};
use tokio::runtime::Handle;

use super::due::COMPACTION_FAILED;
use super::pick::{Candidate, Group, Policy, TARGET_BYTES, may_have_many_deletes, pick};
use super::rewrite::{RewriteGroup, Rewriter, Rewriting, Rewritten};
use crate::catalog::settle::Outcome;
use crate::catalog::{Catalog, LoadedTable, clock};
use crate::error::Result;
use crate::runtime::resources::Resources;
use crate::runtime::thread;
use crate::schema::TableSchema;
use crate::table::columns::sort_order_by_key;
use crate::table::commit::transaction::{Change, FileChanges, Transaction};
use crate::table::manifest::merge::ManifestLimits;
use crate::table::write::spec::WriteSpec;
use crate::table::{DeleteCache, LiveDeleteFile, LiveFile, live_table, manifests, target_file_bytes, watermark};

/// Runs compactions of one state of a table.
#[derive(Debug)]
pub struct Compactor {
    /// The table.
    pub base: LoadedTable,
    /// Resources of a compaction.
    pub resources: Resources,
}

/// The plan of a compaction.
#[derive(Debug, Default)]
pub struct Compaction {
    groups: Vec<Group>,
    /// Delete files that are not needed once the groups are rewritten.
    deletes_removed: Vec<Arc<LiveDeleteFile>>,
    merges_manifests: bool,
}

/// The result of a compaction.
#[derive(Debug)]
pub struct Compacted {
    /// The table after the commit.
    pub table: LoadedTable,
    /// Its snapshot.
    pub snapshot_id: i64,
    /// Data files written.
    pub added: Vec<DataFile>,
}

impl Compaction {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.deletes_removed.is_empty() && !self.merges_manifests
    }

    /// Whether it would only remove delete files that apply to nothing, which is not worth a snapshot.
    pub fn is_worthless(&self) -> bool {
        self.groups.is_empty() && !self.merges_manifests
    }

    /// Data files to be rewritten.
    pub fn rewritten(&self) -> impl Iterator<Item = &LiveFile> {
        self.groups.iter().flat_map(|group| &group.files)
    }

    /// Delete files to be removed.
    pub fn deletes_removed(&self) -> &[Arc<LiveDeleteFile>] {
        &self.deletes_removed
    }
}

impl Compactor {
    /// The target size of a data file in bytes, by the table's properties.
    pub fn target_bytes(&self) -> Result<u64> {
        Ok(target_file_bytes(self.base.metadata.properties())?.unwrap_or(TARGET_BYTES))
    }

    /// Finds everything that should be compacted.
    pub async fn plan(&self, policy: &Policy) -> Result<Compaction> {
        let live = live_table(&self.base).await?;
        let sort_order = sort_order_by_key(&self.base.metadata, &self.columns()?)?;
        let suspects: Vec<(usize, LiveFile)> = live
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| may_have_many_deletes(file, policy))
            .map(|(n, file)| (n, file.clone()))
            .collect();
        let mut candidates: Vec<Candidate> =
            live.files.iter().map(|file| Candidate { live: file.clone(), deleted: 0 }).collect();
        let cache = self.cache();
        let counted = thread::spawn(move || {
            suspects.into_iter().map(|(n, file)| Ok((n, cache.positions(&file)?.len()))).collect::<Result<Vec<_>>>()
        });
        for (n, deleted) in counted?.await?? {
            if let Some(candidate) = candidates.get_mut(n) {
                candidate.deleted = u64::try_from(deleted).unwrap_or(u64::MAX);
            }
        }
        let memory = u64::try_from(self.share() / 3).unwrap_or(u64::MAX);
        let groups = pick(candidates, policy, sort_order, memory);
        let gone: HashSet<&str> =
            groups.iter().flat_map(|group| &group.files).map(|live| live.file.file_path()).collect();
        let needed: HashSet<&str> = live
            .files
            .iter()
            .filter(|live| !gone.contains(live.file.file_path()))
            .flat_map(|live| &live.deletes)
            .map(|delete| delete.file.file_path())
            .collect();
        let mut seen = HashSet::new();
        let deletes_removed = live
            .deletes
            .iter()
            .filter(|delete| {
                !needed.contains(delete.file.file_path()) && seen.insert(delete.file.file_path().to_owned())
            })
            .cloned()
            .collect();
        let limits = ManifestLimits::of_table(self.base.metadata.properties())?;
        let merges_manifests = limits.are_passed(&manifests(&self.base).await?);
        Ok(Compaction { groups, deletes_removed, merges_manifests })
    }

    /// Writes the files and commits; `None` if another writer committed first. On failure, written files are deleted as
    /// far as possible, unless the outcome is unknown.
    pub async fn run(&self, catalog: &dyn Catalog, compaction: Compaction) -> Result<Option<Compacted>> {
        let transaction = Transaction::begin(catalog, &self.base, self.resources.progress.run());
        let snapshot_id = transaction.snapshot_id();
        let prepared = self.prepare(compaction, transaction.file_io()).await;
        Ok(match transaction.commit(prepared).await? {
            (added, Outcome::Committed(table)) => Some(Compacted { table, snapshot_id, added }),
            (_, Outcome::Moved(_)) => None,
        })
    }

    /// Writes the files; returns the change to be committed, and the new files.
    async fn prepare(&self, compaction: Compaction, file_io: &FileIO) -> Result<(Change, Vec<DataFile>)> {
        let data_removed: Vec<LiveFile> = compaction.rewritten().cloned().collect();
        let data_added = self.rewrite(compaction.groups, file_io).await?;
        let added = data_added.iter().map(|(_, file)| file.clone()).collect();
        let mut change = Change::new(clock::draft(&self.base.metadata)?, Operation::Replace);
        change.files = FileChanges {
            data_added,
            data_removed,
            deletes_removed: compaction.deletes_removed,
            ..FileChanges::default()
        };
        change.merge_manifests = true;
        if self.base.metadata.properties().contains_key(COMPACTION_FAILED) {
            change.properties_removed.push(COMPACTION_FAILED.to_owned());
        }
        Ok((change, added))
    }

    async fn rewrite(&self, groups: Vec<Group>, file_io: &FileIO) -> Result<Vec<(i32, DataFile)>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let files: usize = groups.iter().map(|group| group.files.len()).sum();
        self.resources.progress.start("compacting", u64::try_from(files).unwrap_or(u64::MAX));
        let shared = Rewriting {
            write: WriteSpec::new(self.base.metadata.clone(), self.columns()?, self.share() / 4),
            target_bytes: self.target_bytes()?,
            // A quarter is the writer's, and what allocators and encoders take besides.
            reading: self.share() / 2,
            memory: self.resources.memory_limit / 4 * 3,
        };
        let Resources { threads, runner, .. } = &self.resources;
        let shared = runner.share::<RewriteGroup>(shared)?;
        let rewriter = Arc::new(Rewriter::open(shared, file_io.clone(), self.cache(), &self.resources)?);
        let tasks = (0..).zip(groups).map(|(number, group)| RewriteGroup { number, group }).collect();
        let mut written = Vec::new();
        for Rewritten { spec_id, files } in runner.run(*threads, &rewriter, tasks).await? {
            written.extend(files.into_iter().map(|file| (spec_id, file)));
        }
        Ok(written)
    }

    fn columns(&self) -> Result<TableSchema> {
        watermark::columns(&self.base.metadata)
    }

    fn cache(&self) -> DeleteCache {
        DeleteCache::new(self.base.file_io.clone(), Handle::current(), self.resources.memory_limit / 16)
    }

    /// Bytes of memory for one group.
    fn share(&self) -> usize {
        self.resources.memory_limit / self.resources.threads.max(1)
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat};

    use super::*;

    #[test]
    fn to_remove_what_applies_to_nothing_is_not_worth_a_snapshot() {
        let file = DataFileBuilder::default()
            .content(DataContentType::PositionDeletes)
            .file_path("d.parquet".to_owned())
            .file_format(DataFileFormat::Parquet)
            .record_count(1)
            .file_size_in_bytes(1)
            .build()
            .unwrap();
        let delete = Arc::new(LiveDeleteFile { file, spec_id: 0, sequence_number: 1, manifest: Arc::from("m") });
        let of = |deletes: &[&Arc<LiveDeleteFile>], groups: usize, merges_manifests: bool| {
            let deletes_removed = deletes.iter().map(|delete| Arc::clone(delete)).collect();
            let groups = vec![Group { files: Vec::new(), sorted: true, bytes: 0 }; groups];
            let compaction = Compaction { groups, deletes_removed, merges_manifests };
            (compaction.is_empty(), compaction.is_worthless())
        };
        assert_eq!(of(&[], 0, false), (true, true));
        assert_eq!(of(&[&delete], 0, false), (false, true));
        assert_eq!(of(&[&delete], 0, true), (false, false));
        assert_eq!(of(&[], 0, true), (false, false));
        assert_eq!(of(&[], 1, false), (false, false));
    }
}
