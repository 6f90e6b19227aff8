//! What one window writes and deletes, planned on one state of the table. A plan is made of files that nobody sees yet.

use std::sync::Arc;

use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::DataFile;
use tokio::runtime::Handle;

use super::changes::{ChangeFiles, NewAttributesPolicy, Newest};
use super::engine::Engine;
use super::images::{Images, Superseded};
use super::locate::LiveKeys;
use super::work::Work;
use crate::catalog::LoadedTable;
use crate::columns::Rescued;
use crate::error::{Error, Result};
use crate::export::Export;
use crate::load::Shares;
use crate::progress::Progress;
use crate::schema::{Limits, NewFields, TableSchema, evolve, partition_names};
use crate::storage::Store;
use crate::table::{DataPaths, DeleteCache, LiveDeleteFile, LiveFile, WriteOptions, live_files_bounded_by};

// Parts of the memory limit.
/// Sorting the changes of a window; with more, a large one is not merged faster.
const SORT_PART: usize = 4;
/// The changed keys that are looked for at once; the join holds them up to four times, with its table of hashes.
const CHUNK_PART: usize = 16;
/// Positions that delete files have.
const CACHE_PART: usize = 16;
/// Rows, and files that are written; what was sorted and joined is gone by then.
const IMAGES_PART: usize = 2;

/// How old rows are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Position deletes beside the data files.
    MergeOnRead,
    /// The data files that hold old rows are written again without them.
    CopyOnWrite,
}

/// Plans windows on one state of a table.
#[derive(Debug)]
pub struct Planner {
    /// Storage of the exports.
    pub exports: Store,
    /// The table that the plan is for.
    pub base: LoadedTable,
    /// Its columns.
    pub table: TableSchema,
    /// What happens to new attributes.
    pub new_attributes: NewAttributesPolicy,
    /// How old rows are taken away.
    pub removal: Removal,
    /// Bounds of what is remembered.
    pub limits: Limits,
    /// Tasks that run at once.
    pub threads: usize,
    /// Bytes that a plan may take in all.
    pub memory_limit: usize,
    /// Raised as the work goes on.
    pub progress: Arc<Progress>,
}

/// What one window does to the table.
#[derive(Debug, Default)]
pub struct Plan {
    /// The table's columns, if the window adds any.
    pub evolved: Option<TableSchema>,
    /// Full names of what it adds.
    pub columns_added: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Values kept in `_ddb_rescued`, by attribute.
    pub rescued: Rescued,
    /// New data files, with their specs.
    pub data_files: Vec<(i32, DataFile)>,
    /// New position delete files, with the spec of what they delete from.
    pub delete_files: Vec<(i32, DataFile)>,
    /// Data files that new ones take the place of.
    pub data_removed: Vec<LiveFile>,
    /// Delete files that new ones take the place of, or whose data files are gone.
    pub deletes_removed: Vec<Arc<LiveDeleteFile>>,
    /// Rows of keys that were not in the table.
    pub inserted: u64,
    /// Rows that took the place of an old one.
    pub updated: u64,
    /// Rows that went.
    pub deleted: u64,
}

impl Plan {
    /// Deletes the files of a plan that was not committed, as far as possible.
    pub async fn discard(&self, base: &LoadedTable) {
        for (_, file) in self.data_files.iter().chain(&self.delete_files) {
            if let Err(error) = base.file_io.delete(file.file_path()).await {
                tracing::warn!("{} was left behind: {error}", file.file_path());
            }
        }
    }
}

impl Planner {
    /// Reads a window's changes, writes their new images, finds their old rows and writes deletes for them.
    ///
    /// If it fails, nothing it wrote is left, as far as possible.
    pub async fn plan(&self, export: &Export) -> Result<Plan> {
        let mut plan = Plan::default();
        let result = self.fill(export, &mut plan).await;
        if result.is_err() {
            plan.discard(&self.base).await;
        }
        result.map(|()| plan)
    }

    async fn fill(&self, export: &Export, plan: &mut Plan) -> Result<()> {
        let files = u64::try_from(export.files().len()).unwrap_or(u64::MAX);
        self.progress.start("reading changes", files);
        let mut newest = self.read(export)?;
        let first = newest.next().await?;
        let new = newest.take_found().new;
        if !new.is_empty() {
            self.evolve(&new, plan)?;
        }
        let Some(first) = first else { return Ok(()) };
        self.progress.start("merging", 0);
        let key_fields = self.table.key_fields()?;
        let key_ids: Vec<i32> = key_fields.iter().map(|field| field.id).collect();
        let files = live_files_bounded_by(&self.base, &key_ids).await?;
        let handle = Handle::current();
        let live = LiveKeys {
            file_io: self.base.file_io.clone(),
            handle: handle.clone(),
            files,
            specs: self.base.metadata.partition_specs_iter().cloned().collect(),
            key_fields,
            deletes: DeleteCache::new(self.base.file_io.clone(), handle.clone(), self.memory_limit / CACHE_PART),
        };
        let table = plan.evolved.as_ref().unwrap_or(&self.table).clone();
        let images = Images {
            store: self.exports.clone(),
            files: export.files().to_vec(),
            limits: self.limits,
            superseded: Superseded::new(),
            shares: Shares::new(self.memory_limit / IMAGES_PART, self.threads, &table.schema),
        };
        let work = Work {
            engine: Engine::unbounded(self.threads),
            live: Arc::new(live),
            paths: Arc::new(DataPaths::new(&self.base.metadata)),
            options: WriteOptions::for_table(&self.base.metadata, &table.schema)
                .within(self.memory_limit / self.threads.max(1) / 4),
            base: self.base.clone(),
            arrow_schema: Arc::new(schema_to_arrow_schema(&table.schema)?),
            table,
            handle,
            chunk_bytes: self.memory_limit / CHUNK_PART,
            progress: self.progress.clone(),
        };
        work.run(first, newest, images, self.removal, plan).await
    }

    fn read(&self, export: &Export) -> Result<Newest> {
        let files = ChangeFiles {
            store: self.exports.clone(),
            files: export.files().to_vec(),
            table: self.table.clone(),
            arrow_schema: Arc::new(schema_to_arrow_schema(&self.table.schema)?),
            limits: self.limits,
            progress: self.progress.clone(),
        };
        files.newest(&Engine::new(self.threads, self.memory_limit / SORT_PART)?)
    }

    /// Makes room for what is new, if it may.
    fn evolve(&self, new: &NewFields, plan: &mut Plan) -> Result<()> {
        let taken = partition_names(self.base.metadata.partition_specs_iter());
        let evolved = || evolve(&self.table, new, self.base.metadata.last_column_id(), &self.limits, &taken);
        match self.new_attributes {
            NewAttributesPolicy::Rescue => return Ok(()),
            NewAttributesPolicy::Fail => {
                let mut evolved = evolved()?;
                evolved.added.extend(evolved.closed);
                // What is NULL or empty only makes no column.
                if evolved.added.is_empty() {
                    return Ok(());
                }
                return Err(Error::input(format!(
                    "the window has attributes or fields that the table lacks: {}",
                    evolved.added.join(", ")
                ))
                .of_attribute(evolved.added.first().cloned().unwrap_or_default())
                .advice(
                    "Take them in with --new-attributes add, or keep them in _ddb_rescued with --new-attributes rescue",
                ));
            }
            NewAttributesPolicy::Add => {}
        }
        let evolved = evolved()?;
        for name in evolved.closed {
            plan.warnings.push(format!("{name} has too many fields to take new ones; they go into _ddb_rescued"));
        }
        if !evolved.added.is_empty() {
            plan.columns_added = evolved.added;
            plan.evolved = Some(evolved.table);
        }
        Ok(())
    }
}
