//! One commit to a table, and the files that are written for it.
//!
//! ```text
//! begin ── file_io: data, delete and metadata files ── commit ─┬─ committed, or unknown: the files stay
//!                                                              └─ moved, failed, or an error before: they are deleted
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, MAIN_BRANCH, Operation, TableMetadata, TableMetadataBuilder};

use super::requirements::base_requirements;
use super::snapshot::{SnapshotBuilder, new_snapshot_id};
use crate::catalog::settle::{Outcome, commit_and_settle, create_and_settle};
use crate::catalog::{Catalog, LoadedTable, NewTable};
use crate::error::{Kind, Result};
use crate::runtime::run::Run;
use crate::storage::Staging;
use crate::table::files::{LiveDeleteFile, LiveFile};

/// A pending commit. If dropped before [`commit`](Self::commit), it deletes its files in the background.
#[derive(Debug)]
pub struct Transaction<'a> {
    catalog: &'a dyn Catalog,
    ident: &'a TableIdent,
    /// The state on which the change is planned; `None` to create the table.
    base: Option<&'a LoadedTable>,
    file_io: FileIO,
    staging: Staging,
    snapshot_id: i64,
}

/// A change of the table.
#[derive(Debug)]
pub struct Change {
    /// The base's metadata with all changes except the snapshot and the properties: columns, specs, sort order.
    pub metadata: TableMetadataBuilder,
    /// The snapshot's operation.
    pub operation: Operation,
    /// Files to add and to remove.
    pub files: FileChanges,
    /// Also merge small manifests, as the table's properties say.
    pub merge_manifests: bool,
    /// Properties of the snapshot's summary, in addition to the counts.
    pub summary: Vec<(&'static str, String)>,
    /// Table properties to set.
    pub properties: HashMap<String, String>,
    /// Table properties to remove.
    pub properties_removed: Vec<String>,
}

/// Files that a commit adds and removes.
#[derive(Debug, Default)]
pub struct FileChanges {
    /// New data files, with their specs.
    pub data_added: Vec<(i32, DataFile)>,
    /// New position delete files, with the specs of the data files that they apply to.
    pub deletes_added: Vec<(i32, DataFile)>,
    /// Data files to remove.
    pub data_removed: Vec<LiveFile>,
    /// Delete files to remove.
    pub deletes_removed: Vec<Arc<LiveDeleteFile>>,
}

impl Change {
    /// A change that does nothing yet.
    pub fn new(metadata: TableMetadataBuilder, operation: Operation) -> Self {
        Self {
            metadata,
            operation,
            files: FileChanges::default(),
            merge_manifests: false,
            summary: Vec::new(),
            properties: HashMap::new(),
            properties_removed: Vec::new(),
        }
    }
}

impl<'a> Transaction<'a> {
    /// A change of the table with state `base`.
    pub fn begin(catalog: &'a dyn Catalog, base: &'a LoadedTable, run: &Arc<Run>) -> Self {
        let snapshot_id = new_snapshot_id(Some(&base.metadata));
        let staging = Staging::begin(run);
        let file_io = staging.file_io(&base.file_io);
        Self { catalog, ident: &base.ident, base: Some(base), file_io, staging, snapshot_id }
    }

    /// Creation of a table, whose files go to `home`.
    pub fn create(catalog: &'a dyn Catalog, ident: &'a TableIdent, home: &FileIO, run: &Arc<Run>) -> Self {
        let staging = Staging::begin(run);
        let file_io = staging.file_io(home);
        Self { catalog, ident, base: None, file_io, staging, snapshot_id: new_snapshot_id(None) }
    }

    /// Storage of the table. Files written through it belong to this commit.
    pub fn file_io(&self) -> &FileIO {
        &self.file_io
    }

    /// The id of the snapshot that the commit creates.
    pub fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    /// Commits the prepared change in one attempt and determines the outcome; returns the other prepared value along
    /// with it. If the preparation failed, returns its error. Files are kept if they are, or may be, in the table;
    /// otherwise they are deleted as far as possible.
    ///
    /// Errors: [`Kind::Unknown`] if the outcome can't be determined; with any other error nothing was changed.
    pub async fn commit<T>(self, prepared: Result<(Change, T)>) -> Result<(T, Outcome)> {
        let outcome = match prepared {
            Ok((change, beside)) => self.send(change).await.map(|outcome| (beside, outcome)),
            Err(error) => Err(error),
        };
        let may_be_in_table = match &outcome {
            Ok((_, outcome)) => outcome.is_committed(),
            Err(error) => error.kind() == Kind::Unknown,
        };
        if may_be_in_table {
            self.staging.keep();
        } else {
            self.staging.take_back().await;
        }
        outcome
    }

    async fn send(&self, change: Change) -> Result<Outcome> {
        let Change { metadata, operation, files, merge_manifests, summary, properties, properties_removed } = change;
        let after = metadata.clone().build()?.metadata;
        let base = self.base.map(|base| base.metadata.as_ref());
        let mut snapshot = snapshot_of(base, &after, operation, files);
        snapshot.with_id(self.snapshot_id);
        if merge_manifests {
            snapshot.merge_manifests();
        }
        for (name, value) in summary {
            snapshot.set(name, value);
        }
        let built = snapshot.build(&self.file_io).await?;
        let mut metadata = metadata.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?;
        if !properties.is_empty() {
            metadata = metadata.set_properties(properties)?;
        }
        if !properties_removed.is_empty() {
            metadata = metadata.remove_properties(&properties_removed)?;
        }
        let made = metadata.build()?;
        let patience = self.catalog.patience();
        let Some(base) = self.base else {
            let table = NewTable { metadata: made.metadata, updates: made.changes };
            self.catalog.ensure_namespace(self.ident.namespace()).await?;
            return self.staging.commit(create_and_settle(self.catalog, self.ident, table, patience)).await;
        };
        let requirements = base_requirements(&base.metadata);
        let sent = commit_and_settle(self.catalog, base, requirements, made.changes, self.snapshot_id, patience);
        self.staging.commit(sent).await
    }
}

/// A snapshot of these files.
fn snapshot_of<'m>(
    base: Option<&'m TableMetadata>,
    after: &'m TableMetadata,
    operation: Operation,
    files: FileChanges,
) -> SnapshotBuilder<'m> {
    let FileChanges { data_added, deletes_added, data_removed, deletes_removed } = files;
    let mut snapshot = SnapshotBuilder::new(base, after, operation);
    for (spec_id, file) in data_added {
        snapshot.add_data_file(spec_id, file);
    }
    for (spec_id, file) in deletes_added {
        snapshot.add_delete_file(spec_id, file);
    }
    for live in &data_removed {
        snapshot.remove_data_file(live);
    }
    for live in &deletes_removed {
        snapshot.remove_delete_file(live);
    }
    snapshot
}
