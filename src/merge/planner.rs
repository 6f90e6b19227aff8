//! Plans windows on one state of a table: reads changes, finds old rows, and writes files.

use std::sync::Arc;

use iceberg::arrow::schema_to_arrow_schema;
use tokio::runtime::Handle;

use super::apply::{Applied, apply};
use super::changes::{ChangeFiles, Newest};
use super::images::Images;
use super::locate::LiveKeys;
use super::plan::{Evolution, Plan};
use super::policy::{NewAttributes, WriteMode};
use super::superseded::Superseded;
use super::work::Work;
use crate::catalog::LoadedTable;
use crate::engine::session::Engine;
use crate::error::{Error, Result};
use crate::export::Export;
use crate::runtime::resources::Resources;
use crate::schema::{Limits, NewFields, TableSchema, evolve, partition_names};
use crate::storage::Store;
use crate::table::write::sorted_runs::Shares;
use crate::table::{DeleteCache, live_files_bounded_by};

// Fractions of the memory limit.
/// Sorting the changes of a window; more memory does not speed up large windows.
const SORT_PART: usize = 4;
/// Changed keys that are looked up at once; the join takes up to four times their size, including its hash table.
const CHUNK_PART: usize = 16;
/// Cached positions of delete files.
const CACHE_PART: usize = 16;
/// Rows, and files being written; the sort and the join have finished by then.
const IMAGES_PART: usize = 2;

/// Eighths of the limit for files that are rewritten.
const REWRITING_EIGHTHS: usize = 7;

/// Plans windows on one state of a table.
#[derive(Debug)]
pub struct Planner {
    /// Storage of the exports.
    pub exports: Store,
    /// The table on which the plan is based.
    pub base: LoadedTable,
    /// Its columns and key.
    pub table: TableSchema,
    /// How new attributes are handled.
    pub new_attributes: NewAttributes,
    /// How old rows are removed.
    pub write_mode: WriteMode,
    /// Limits of collected information.
    pub limits: Limits,
    /// Resources of the plan.
    pub resources: Resources,
}

impl Planner {
    /// Reads a window's changes, writes their new images, finds their old rows, and writes the files that remove them.
    ///
    /// On error, the commit's staging, to which the base's `FileIO` belongs, deletes what was written.
    pub async fn plan(&self, export: &Export) -> Result<Plan> {
        let files = u64::try_from(export.files().len()).unwrap_or(u64::MAX);
        self.resources.progress.start("reading changes", files);
        let mut newest = self.read(export).await?;
        let first = newest.next().await?;
        let new = newest.take_found().new;
        let evolution = if new.is_empty() { Evolution::default() } else { self.evolve(&new)? };
        let Some(first) = first else { return Ok(Plan { evolution, ..Plan::default() }) };
        self.resources.progress.start("merging", 0);
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
            deletes: DeleteCache::new(
                self.base.file_io.clone(),
                handle.clone(),
                self.resources.memory_limit / CACHE_PART,
            ),
        };
        let table = evolution.table.as_ref().unwrap_or(&self.table).clone();
        let images = Images {
            store: self.exports.clone(),
            files: export.files().to_vec(),
            limits: self.limits,
            superseded: Superseded::default(),
            shares: Shares::new(self.resources.memory_limit / IMAGES_PART, self.resources.threads, &table.schema),
        };
        let work = Work {
            engine: Engine::new(self.resources.threads),
            live: Arc::new(live),
            base: self.base.clone(),
            table,
            handle,
            chunk_bytes: self.resources.memory_limit / CHUNK_PART,
            writer_bytes: self.resources.memory_limit / self.resources.threads.max(1) / 4,
            rewriting_bytes: self.resources.memory_limit / 8 * REWRITING_EIGHTHS,
            progress: self.resources.progress.clone(),
            runner: self.resources.runner.clone(),
        };
        let Applied { counts, images, removed } = apply(&work, first, newest, images, self.write_mode).await?;
        Ok(Plan { evolution, rescued: images.rescued, images: images.files, removed, counts })
    }

    async fn read(&self, export: &Export) -> Result<Newest> {
        let files = ChangeFiles {
            store: self.exports.clone(),
            files: export.files().to_vec(),
            table: self.table.clone(),
            arrow_schema: Arc::new(schema_to_arrow_schema(&self.table.schema)?),
            limits: self.limits,
            progress: self.resources.progress.clone(),
        };
        files.newest(self.resources.threads, self.resources.memory_limit / SORT_PART).await
    }

    /// Adds columns for new attributes, as `new_attributes` allows.
    fn evolve(&self, new: &NewFields) -> Result<Evolution> {
        let taken = partition_names(self.base.metadata.partition_specs_iter());
        let evolved = || evolve(&self.table, new, self.base.metadata.last_column_id(), &self.limits, &taken);
        match self.new_attributes {
            NewAttributes::Rescue => return Ok(Evolution::default()),
            NewAttributes::Fail => {
                let mut evolved = evolved()?;
                evolved.added.extend(evolved.closed);
                // Attributes that are only NULL or empty add no column.
                if evolved.added.is_empty() {
                    return Ok(Evolution::default());
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
            NewAttributes::Add => {}
        }
        let evolved = evolved()?;
        let full = |name| format!("{name} has too many fields to take new ones; they go into _ddb_rescued");
        Ok(Evolution {
            table: (!evolved.added.is_empty()).then_some(evolved.table),
            added: evolved.added,
            warnings: evolved.closed.into_iter().map(full).collect(),
        })
    }
}
