//! The part of a plan that runs on a blocking thread: the newest changes come in, data files of new images go out, and the
//! places of old rows are collected.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, not};
use iceberg::spec::Struct;
use serde::de::IgnoredAny;
use tokio::runtime::Handle;

use super::changes::Newest;
use super::engine::Engine;
use super::locate::{LiveKeys, locate};
use super::plan::{Plan, Removal};
use crate::catalog::LoadedTable;
use crate::columns::{DELETED, Rescued};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::schema::TableSchema;
use crate::table::{DataFileWriter, DataPaths, WriteOptions};

/// Encoded bytes after which a data file ends.
const FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Everything that one window's merge needs.
#[derive(Clone)]
pub(super) struct Work {
    pub engine: Engine,
    pub live: Arc<LiveKeys>,
    pub paths: Arc<DataPaths>,
    pub options: WriteOptions,
    pub base: LoadedTable,
    pub table: TableSchema,
    pub key_slots: Vec<usize>,
    pub arrow_schema: arrow::datatypes::SchemaRef,
    pub handle: Handle,
    pub chunk_bytes: usize,
    pub progress: Arc<Progress>,
}

impl Work {
    /// Takes in all changes; what was written is in the plan even if it fails.
    pub fn run(&self, first: RecordBatch, newest: Newest, removal: Removal, plan: &mut Plan) -> Result<()> {
        let mut writer: Option<DataFileWriter> = None;
        let result = self.merge(first, newest, removal, &mut writer, plan);
        give_up(writer);
        result
    }

    fn merge(
        &self,
        first: RecordBatch,
        mut newest: Newest,
        removal: Removal,
        writer: &mut Option<DataFileWriter>,
        plan: &mut Plan,
    ) -> Result<()> {
        let mut chunk: Vec<RecordBatch> = Vec::new();
        let mut chunk_bytes = 0;
        let mut positions: Vec<Vec<u64>> = vec![Vec::new(); self.live.files.len()];
        let mut next = Some(first);
        while let Some(batch) = next {
            self.progress.add_items(u64::try_from(batch.num_rows()).unwrap_or(0));
            self.write_images(&batch, writer, plan)?;
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
        if let Some(writer) = writer.take() {
            self.finish(writer, plan)?;
        }
        // Every image was counted as an insert when its file was finished.
        plan.inserted = plan.inserted.saturating_sub(plan.updated);
        match removal {
            Removal::MergeOnRead => self.write_deletes(positions, plan),
            Removal::CopyOnWrite => self.rewrite_files(positions, plan),
        }
    }

    /// Counts what the images keep in `_ddb_rescued`: of a key that a window holds twice, only the newest record counts.
    fn count_rescued(&self, images: &RecordBatch, counts: &mut Rescued) -> Result<()> {
        let Some(id) = self.table.rescued_field().map(|field| field.id) else { return Ok(()) };
        let fields = self.table.schema.as_struct().fields();
        let Some(slot) = fields.iter().position(|field| field.id == id) else { return Ok(()) };
        for text in images.column(slot).as_string::<i32>().iter().flatten() {
            let kept: BTreeMap<String, IgnoredAny> = serde_json::from_str(text)
                .map_err(|e| Error::failed("what was rescued is no JSON; please report this as a bug").caused_by(e))?;
            for name in kept.into_keys() {
                *counts.entry(name).or_default() += 1;
            }
        }
        Ok(())
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
        self.count_rescued(&images, &mut plan.rescued)?;
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
        plan.data_files.push((self.base.metadata.default_partition_spec_id(), file));
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
}

/// Deletes the file of a writer that is still open, as far as possible. Dropped, it would be deleted some time later, which
/// the program may not live to see.
pub(super) fn give_up(writer: Option<DataFileWriter>) {
    if let Some(Err(error)) = writer.map(DataFileWriter::abort) {
        tracing::warn!("an unfinished file was left behind: {error}");
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
