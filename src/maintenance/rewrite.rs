//! Rewrites the rows of one group of data files into fewer: sorted files are merged by key, with a few rows of each in
//! memory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, NestedFieldRef, SchemaRef, Struct, TableMetadataRef};
use tokio::runtime::Handle;

use super::pick::Group;
use crate::engine::failure::convert;
use crate::engine::session::Engine;
use crate::engine::source::{BatchStream, streams};
use crate::error::{Error, Result};
use crate::runtime::cancel::Cancel;
use crate::runtime::progress::Progress;
use crate::table::{DataFileWriter, DataPaths, DeleteCache, LiveFile, WriteOptions, conform, row_bytes, row_stream};

/// Number of batches of one file in memory: being read, in transit, and being merged.
const BATCHES_A_FILE: usize = 6;
/// Minimum and maximum bytes of a batch.
const BATCH_BYTES: (usize, usize) = (16 * 1024, 4 * 1024 * 1024);

/// Shared state of rewriting all groups.
#[derive(Debug)]
pub(super) struct Rewriter {
    pub metadata: TableMetadataRef,
    pub file_io: FileIO,
    pub handle: Handle,
    pub engine: Engine,
    pub deletes: Arc<DeleteCache>,
    /// The table's current columns.
    pub schema: SchemaRef,
    pub arrow_schema: ArrowSchemaRef,
    pub key_fields: Vec<NestedFieldRef>,
    /// The table's sort order by key, if that is its default order.
    pub sort_order: Option<i32>,
    pub paths: DataPaths,
    pub options: WriteOptions,
    pub target_bytes: u64,
    /// Bytes of rows that one group may hold in memory.
    pub batch_memory: usize,
    pub progress: Arc<Progress>,
}

/// The files written from a group so far.
struct Written {
    done: Vec<DataFile>,
    open: Option<DataFileWriter>,
    /// Target bytes of each file.
    goal: u64,
    /// Number of files to write; the last one takes the remaining rows.
    wanted: u64,
    /// Number of rows read that are not deleted.
    read: Arc<AtomicU64>,
}

impl Written {
    /// Fails if the new files lack a row or duplicate one.
    fn check(&self) -> Result<()> {
        let (read, rows) = (self.read.load(Relaxed), self.done.iter().map(DataFile::record_count).sum::<u64>());
        if read == rows {
            return Ok(());
        }
        Err(Error::failed(format!("{read} rows were read and {rows} written; please report this as a bug")))
    }
}

impl Rewriter {
    /// Rewrites a group. Runs on a blocking thread.
    pub(super) fn run(self: &Arc<Self>, number: u32, group: &Group, stop: &Cancel) -> Result<Vec<DataFile>> {
        let wanted = ((group.bytes + self.target_bytes / 2) / self.target_bytes.max(1)).max(1);
        let mut written =
            Written { done: Vec::new(), open: None, goal: group.bytes / wanted, wanted, read: Arc::default() };
        let result = self.write(number, group, stop, &mut written);
        let result = match (result, written.open.take()) {
            (Ok(()), Some(open)) => open.finish().and_then(|file| {
                written.done.push(file);
                written.check()
            }),
            (Ok(()), None) => written.check(),
            (Err(error), open) => {
                if let Some(open) = open {
                    open.abandon();
                }
                Err(error)
            }
        };
        result?;
        let bytes = written.done.iter().map(DataFile::file_size_in_bytes).sum();
        self.progress.add_bytes_written(bytes);
        Ok(written.done)
    }

    fn write(self: &Arc<Self>, number: u32, group: &Group, stop: &Cancel, written: &mut Written) -> Result<()> {
        let Some(first) = group.files.first() else { return Ok(()) };
        let partition = conform(&self.metadata, &self.schema, first.spec_id, first.file.partition());
        let target = (first.spec_id, &partition);
        if !group.sorted || group.files.len() < 2 {
            for live in &group.files {
                let mut rows = self.stream(live, BATCH_BYTES.1, &written.read)?;
                while let Some(batch) = self.handle.block_on(rows.next()) {
                    stop.check()?;
                    self.append(number, group.sorted, target, &batch?, written)?;
                }
            }
            return Ok(());
        }
        let batch_bytes = (self.batch_memory / BATCHES_A_FILE / group.files.len()).clamp(BATCH_BYTES.0, BATCH_BYTES.1);
        let mut widest = 1;
        for live in &group.files {
            widest = widest.max(row_bytes(&self.file_io, &self.handle, live)?);
        }
        // Streams, not threads: a thread per file would wait for the merge, which may wait for a file that has no
        // thread.
        let sources = group.files.iter().map(|live| self.stream(live, batch_bytes, &written.read));
        let sources = streams(&self.arrow_schema, sources.collect::<Result<_>>()?)?;
        let merged: Arc<dyn ExecutionPlan> = Arc::new(SortPreservingMergeExec::new(self.order()?, sources));
        let engine = self.engine.with_batch_rows((BATCH_BYTES.1 / widest).clamp(1, 8192));
        let mut stream = self.handle.block_on(async { engine.execute(&merged, 0) })?;
        while let Some(batch) = self.handle.block_on(stream.next()) {
            stop.check()?;
            self.append(number, true, target, &batch.map_err(convert)?, written)?;
        }
        Ok(())
    }

    /// The rows of a file that are not deleted; counts them in `read`.
    fn stream(&self, live: &LiveFile, batch_bytes: usize, read: &Arc<AtomicU64>) -> Result<BatchStream> {
        let without = self.deletes.positions(live)?;
        let (read, progress) = (Arc::clone(read), Arc::clone(&self.progress));
        let rows = row_stream(self.file_io.clone(), live.clone(), self.arrow_schema.clone(), without, batch_bytes);
        let rows = rows.inspect_ok(move |batch| {
            read.fetch_add(u64::try_from(batch.num_rows()).unwrap_or(u64::MAX), Relaxed);
        });
        let done = futures::stream::poll_fn(move |_| {
            progress.file_done();
            Poll::Ready(None)
        });
        Ok(rows.chain(done).boxed())
    }

    /// By key, ascending: the sort order of every run.
    fn order(&self) -> Result<LexOrdering> {
        let fields = self.schema.as_struct().fields();
        let mut order = Vec::with_capacity(self.key_fields.len());
        for key in &self.key_fields {
            let slot = fields.iter().position(|field| field.id == key.id);
            let slot = slot.ok_or_else(|| Error::failed("a key column is missing"))?;
            let column = Arc::new(Column::new(self.arrow_schema.field(slot).name(), slot));
            order.push(PhysicalSortExpr::new(column, SortOptions { descending: false, nulls_first: true }));
        }
        LexOrdering::new(order).ok_or_else(|| Error::failed("the table has no key"))
    }

    fn append(
        &self,
        number: u32,
        sorted: bool,
        (spec_id, partition): (i32, &Struct),
        batch: &RecordBatch,
        written: &mut Written,
    ) -> Result<()> {
        let finished = u64::try_from(written.done.len()).unwrap_or(u64::MAX);
        if finished.saturating_add(1) < written.wanted
            && let Some(full) = written.open.take_if(|writer| writer.size() >= written.goal)
        {
            written.done.push(full.finish()?);
        }
        if written.open.is_none() {
            written.open = Some(DataFileWriter::create(
                &self.file_io,
                &self.handle,
                self.paths.data_file(number),
                &self.schema,
                spec_id,
                partition.clone(),
                self.sort_order.filter(|_| sorted),
                &self.options,
            )?);
        }
        written.open.as_mut().map_or(Ok(()), |writer| writer.write(batch))
    }
}
