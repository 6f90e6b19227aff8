//! What one window writes and deletes, planned on one state of the table. A plan is made of files that nobody sees yet.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, not};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, Struct};
use tokio::runtime::Handle;

use super::changes::{ChangeFiles, NewAttributesPolicy, Newest, key_slots};
use super::engine::Engine;
use super::locate::{LiveKeys, locate};
use crate::catalog::LoadedTable;
use crate::columns::{DELETED, Rescued};
use crate::error::{Error, Result};
use crate::export::Export;
use crate::progress::Progress;
use crate::schema::{Limits, NewFields, TableSchema, evolve};
use crate::storage::Store;
use crate::table::{
    DataFileWriter, DataPaths, DeleteCache, DeleteGroup, WriteOptions, live_files, write_position_deletes,
};

/// Encoded bytes after which a data file ends.
const FILE_BYTES: u64 = 256 * 1024 * 1024;

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
    /// Bounds of what is remembered.
    pub limits: Limits,
    /// Runs sorts and joins.
    pub engine: Engine,
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
    /// New data files.
    pub data_files: Vec<DataFile>,
    /// New position delete files, with the spec of what they delete from.
    pub delete_files: Vec<(i32, DataFile)>,
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
        let files = self.data_files.iter().chain(self.delete_files.iter().map(|(_, file)| file));
        for file in files {
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
        let mut newest = self.read(export, &self.table)?;
        let mut first = newest.next().await?;
        let mut found = newest.take_found();
        if !found.new.is_empty() && self.evolve(&found.new, plan)? {
            // The images are read again, now that every attribute has a column.
            let evolved = plan.evolved.as_ref().unwrap_or(&self.table);
            self.progress.start("reading changes again, with new columns", files);
            newest = self.read(export, evolved)?;
            first = newest.next().await?;
            found = newest.take_found();
        }
        plan.rescued = found.rescued;
        let Some(first) = first else { return Ok(()) };
        self.progress.start("merging", 0);
        let files = live_files(&self.base).await?;
        let handle = Handle::current();
        let memory = self.engine.memory;
        let live = LiveKeys {
            file_io: self.base.file_io.clone(),
            handle: handle.clone(),
            files,
            key_fields: self.table.key_fields()?,
            deletes: DeleteCache::new(self.base.file_io.clone(), handle.clone(), memory / 8),
        };
        let table = plan.evolved.as_ref().unwrap_or(&self.table).clone();
        let work = Work {
            engine: self.engine.clone(),
            live: Arc::new(live),
            paths: DataPaths::new(&self.base.metadata),
            options: WriteOptions::for_table(&self.base.metadata, &table.schema),
            base: self.base.clone(),
            key_slots: key_slots(&table)?,
            arrow_schema: Arc::new(schema_to_arrow_schema(&table.schema)?),
            table,
            handle,
            chunk_bytes: memory / 8,
            progress: self.progress.clone(),
        };
        let (done, result) = tokio::task::spawn_blocking(move || {
            let mut done = Plan::default();
            let result = work.run(first, newest, &mut done);
            (done, result)
        })
        .await
        .map_err(|e| Error::failed("the merge broke down; please report this as a bug").caused_by(e))?;
        plan.data_files = done.data_files;
        plan.delete_files = done.delete_files;
        (plan.inserted, plan.updated, plan.deleted) = (done.inserted, done.updated, done.deleted);
        result
    }

    fn read(&self, export: &Export, table: &TableSchema) -> Result<Newest> {
        let files = ChangeFiles {
            store: self.exports.clone(),
            files: export.files().to_vec(),
            table: table.clone(),
            arrow_schema: Arc::new(schema_to_arrow_schema(&table.schema)?),
            limits: self.limits,
            progress: self.progress.clone(),
        };
        files.newest(&self.engine)
    }

    /// Makes room for what is new, if it may; whether there is more room now.
    fn evolve(&self, new: &NewFields, plan: &mut Plan) -> Result<bool> {
        match self.new_attributes {
            NewAttributesPolicy::Rescue => return Ok(false),
            NewAttributesPolicy::Fail => {
                let mut evolved = evolve(&self.table, new, self.base.metadata.last_column_id(), &self.limits)?;
                evolved.added.extend(evolved.closed);
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
        let evolved = evolve(&self.table, new, self.base.metadata.last_column_id(), &self.limits)?;
        for name in evolved.closed {
            plan.warnings.push(format!("{name} has too many fields to take new ones; they go into _ddb_rescued"));
        }
        if evolved.added.is_empty() {
            return Ok(false);
        }
        plan.columns_added = evolved.added;
        plan.evolved = Some(evolved.table);
        Ok(true)
    }
}

/// The part that runs on a blocking thread: the newest changes come in, files come out.
struct Work {
    engine: Engine,
    live: Arc<LiveKeys>,
    paths: DataPaths,
    options: WriteOptions,
    base: LoadedTable,
    table: TableSchema,
    key_slots: Vec<usize>,
    arrow_schema: arrow::datatypes::SchemaRef,
    handle: Handle,
    chunk_bytes: usize,
    progress: Arc<Progress>,
}

impl Work {
    fn run(&self, first: RecordBatch, mut newest: Newest, plan: &mut Plan) -> Result<()> {
        let mut writer: Option<DataFileWriter> = None;
        let mut chunk: Vec<RecordBatch> = Vec::new();
        let mut chunk_bytes = 0;
        let mut positions: Vec<Vec<u64>> = vec![Vec::new(); self.live.files.len()];
        let mut next = Some(first);
        while let Some(batch) = next {
            self.progress.add_items(u64::try_from(batch.num_rows()).unwrap_or(0));
            self.write_images(&batch, &mut writer, plan)?;
            let mut slots = self.key_slots.clone();
            slots.push(batch.schema().index_of(DELETED)?);
            // A projection shares the whole batch's memory only by column, so the images are free after this.
            let keys = batch.project(&slots)?;
            chunk_bytes += keys.get_array_memory_size();
            chunk.push(keys);
            if chunk_bytes >= self.chunk_bytes {
                self.locate(&std::mem::take(&mut chunk), &mut positions, plan)?;
                chunk_bytes = 0;
            }
            next = self.handle.block_on(newest.next())?;
        }
        if !chunk.is_empty() {
            self.locate(&chunk, &mut positions, plan)?;
        }
        if let Some(writer) = writer {
            self.finish(writer, plan)?;
        }
        self.write_deletes(positions, plan)
    }

    /// Appends the new images to the data file under way.
    fn write_images(&self, batch: &RecordBatch, writer: &mut Option<DataFileWriter>, plan: &mut Plan) -> Result<()> {
        let deleted = batch.column_by_name(DELETED).ok_or_else(|| Error::failed("changes without their kind"))?;
        let images = filter_record_batch(batch, &not(deleted.as_boolean())?)?;
        if images.num_rows() == 0 {
            return Ok(());
        }
        let columns = self.table.schema.as_struct().fields().len();
        let images = images.project(&(0..columns).collect::<Vec<_>>())?;
        let images = RecordBatch::try_new(self.arrow_schema.clone(), images.columns().to_vec())?;
        if writer.is_none() {
            *writer = Some(DataFileWriter::create(
                &self.base.file_io,
                &self.handle,
                self.paths.data_file(0),
                &self.table.schema,
                self.base.metadata.default_partition_spec_id(),
                Struct::empty(),
                sort_order_id(&self.base, &self.table)?,
                &self.options,
            )?);
        }
        if let Some(open) = writer {
            open.write(&images)?;
            if open.size() >= FILE_BYTES
                && let Some(full) = writer.take()
            {
                self.finish(full, plan)?;
            }
        }
        Ok(())
    }

    fn finish(&self, writer: DataFileWriter, plan: &mut Plan) -> Result<()> {
        let file = writer.finish()?;
        self.progress.add_bytes_written(file.file_size_in_bytes());
        plan.inserted += file.record_count();
        plan.data_files.push(file);
        Ok(())
    }

    /// Finds the old rows of a chunk of changed keys. Updates are counted here, and taken off the inserts.
    fn locate(&self, chunk: &[RecordBatch], positions: &mut [Vec<u64>], plan: &mut Plan) -> Result<()> {
        let Some(first) = chunk.first() else { return Ok(()) };
        if self.live.files.is_empty() {
            return Ok(());
        }
        let keys = concat_batches(&first.schema(), chunk)?;
        let kinds: BooleanArray = keys.column(self.key_slots.len()).as_boolean().clone();
        let keys = keys.project(&(0..self.key_slots.len()).collect::<Vec<_>>())?;
        let located = self.handle.block_on(locate(&self.engine, &self.live, &keys))?;
        for (found, deleted) in located.found.iter().zip(kinds.values()) {
            match (found, deleted) {
                (true, true) => plan.deleted += 1,
                (true, false) => plan.updated += 1,
                (false, _) => {}
            }
        }
        for (file, position) in located.rows {
            let list = positions.get_mut(file as usize).ok_or_else(|| Error::failed("a row of no data file"))?;
            list.push(position);
        }
        Ok(())
    }

    fn write_deletes(&self, positions: Vec<Vec<u64>>, plan: &mut Plan) -> Result<()> {
        // Every image was counted as an insert when its file was finished.
        plan.inserted = plan.inserted.saturating_sub(plan.updated);
        let mut groups: Vec<DeleteGroup> = Vec::new();
        for (live, positions) in self.live.files.iter().zip(positions) {
            if positions.is_empty() {
                continue;
            }
            let entry = (live.file.file_path().to_owned(), positions);
            let same = |g: &&mut DeleteGroup| g.spec_id == live.spec_id && g.partition == *live.file.partition();
            match groups.iter_mut().find(same) {
                Some(group) => group.files.push(entry),
                None => groups.push(DeleteGroup {
                    spec_id: live.spec_id,
                    partition: live.file.partition().clone(),
                    files: vec![entry],
                }),
            }
        }
        plan.delete_files =
            write_position_deletes(&self.base.file_io, &self.handle, &self.paths, 0, groups, &self.options)?;
        let bytes = plan.delete_files.iter().map(|(_, file)| file.file_size_in_bytes()).sum();
        self.progress.add_bytes_written(bytes);
        Ok(())
    }
}

/// The table's sort order, if files sorted by key follow it.
fn sort_order_id(base: &LoadedTable, table: &TableSchema) -> Result<Option<i32>> {
    let order = base.metadata.default_sort_order();
    let keys = table.key_fields()?;
    let by_key = order.fields.len() == keys.len()
        && order.fields.iter().zip(&keys).all(|(field, key)| {
            field.source_id == key.id
                && field.transform == iceberg::spec::Transform::Identity
                && field.direction == iceberg::spec::SortDirection::Ascending
        });
    Ok(if by_key { i32::try_from(order.order_id).ok() } else { None })
}
