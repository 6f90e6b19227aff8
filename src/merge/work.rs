//! The newest changes come in, their old rows are found, and files are written.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::concat_batches;
use iceberg::spec::{SortDirection, Transform};
use tokio::runtime::Handle;

use super::changes::Newest;
use super::engine::Engine;
use super::images::Images;
use super::locate::{LiveKeys, locate};
use super::plan::{Plan, Removal};
use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::pool::spawn;
use crate::progress::Progress;
use crate::schema::TableSchema;
use crate::table::{DataFileWriter, DataPaths, WriteOptions};

/// Everything that one window's merge needs.
#[derive(Clone)]
pub(super) struct Work {
    /// Runs the joins.
    pub engine: Engine,
    pub live: Arc<LiveKeys>,
    pub paths: Arc<DataPaths>,
    pub options: WriteOptions,
    pub base: LoadedTable,
    pub table: TableSchema,
    pub arrow_schema: arrow::datatypes::SchemaRef,
    pub handle: Handle,
    pub chunk_bytes: usize,
    pub progress: Arc<Progress>,
}

impl Work {
    /// Takes in all changes; what was written is in the plan even if it fails.
    pub async fn run(
        &self,
        first: RecordBatch,
        mut newest: Newest,
        mut images: Images,
        removal: Removal,
        plan: &mut Plan,
    ) -> Result<()> {
        let mut chunk: Vec<RecordBatch> = Vec::new();
        let mut chunk_bytes = 0;
        let mut positions: Vec<Vec<u64>> = vec![Vec::new(); self.live.files.len()];
        let wanted: Vec<usize> = (0..=self.live.key_fields.len()).collect();
        let mut next = Some(first);
        while let Some(batch) = next {
            let [.., deleted, _, _, _] = batch.columns() else {
                return Err(Error::failed("changes without their kind"));
            };
            let kept = batch.num_rows() - deleted.as_boolean().true_count();
            plan.inserted += u64::try_from(kept).unwrap_or(u64::MAX);
            // The join's table takes about what the columns do that are not kept.
            chunk_bytes += batch.get_array_memory_size();
            chunk.push(batch.project(&wanted)?);
            if chunk_bytes >= self.chunk_bytes {
                self.locate(std::mem::take(&mut chunk), &mut positions, plan).await?;
                chunk_bytes = 0;
            }
            next = newest.next().await?;
        }
        if !chunk.is_empty() {
            self.locate(chunk, &mut positions, plan).await?;
        }
        images.superseded = newest.into_superseded()?;
        if plan.inserted > 0 {
            self.write_images(images, plan).await?;
        }
        // Every image was counted as an insert so far.
        plan.inserted = plan.inserted.saturating_sub(plan.updated);
        match removal {
            Removal::MergeOnRead => {
                let work = self.clone();
                let deletes = spawn(move || work.write_deletes(positions))?.await??;
                plan.delete_files = deletes.written;
                plan.deletes_removed = deletes.replaced;
                Ok(())
            }
            Removal::CopyOnWrite => self.rewrite_files(positions, plan).await,
        }
    }

    /// The table's sort order, if files sorted by key follow it.
    pub(super) fn sort_order_id(&self) -> Result<Option<i32>> {
        let order = self.base.metadata.default_sort_order();
        let keys = self.table.key_fields()?;
        let by_key = order.fields.len() == keys.len()
            && order.fields.iter().zip(&keys).all(|(field, key)| {
                field.source_id == key.id
                    && field.transform == Transform::Identity
                    && field.direction == SortDirection::Ascending
            });
        Ok(if by_key { i32::try_from(order.order_id).ok() } else { None })
    }

    /// Finds the old rows of a chunk of changed keys, each with its kind behind it. Updates are counted here, and taken off the inserts.
    async fn locate(&self, chunk: Vec<RecordBatch>, positions: &mut [Vec<u64>], plan: &mut Plan) -> Result<()> {
        let Some(first) = chunk.first() else { return Ok(()) };
        if self.live.files.is_empty() {
            return Ok(());
        }
        let mut keys = concat_batches(&first.schema(), &chunk)?;
        drop(chunk);
        let kinds: BooleanArray = keys.remove_column(self.live.key_fields.len()).as_boolean().clone();
        let located = locate(&self.engine, &self.live, &keys).await?;
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
