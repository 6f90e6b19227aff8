//! Rewrites one group of data files into fewer files. Sorted files are merged by key, with a few rows of each in memory.

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
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, NestedFieldRef, SchemaRef, Struct};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::pick::Group;
use crate::engine::failure::convert;
use crate::engine::session::Engine;
use crate::engine::source::{BatchStream, streams};
use crate::error::{Error, Result};
use crate::runtime::cancel::Cancel;
use crate::runtime::memory::Memory;
use crate::runtime::progress::Progress;
use crate::runtime::resources::Resources;
use crate::runtime::task::Task;
use crate::table::write::spec::WriteSpec;
use crate::table::{
    DataFileWriter, DeleteCache, Footprint, LiveFile, WriteOptions, conform, file_serde, footprint, row_stream,
};

/// Number of batches per file in memory: as read, in the table's columns, and in the merge, with the encoded keys.
const BATCHES_A_FILE: usize = 4;
/// Minimum and maximum bytes per batch of a file that is merged with others.
const MERGED_BATCH_BYTES: (usize, usize) = (512 << 10, 4 << 20);
/// Rows that such a batch should have, since each batch costs something per column, as long as batches stay small against
/// what reading the file takes anyway.
const MERGED_BATCH_ROWS: usize = 512;
/// Bytes per batch of merged rows, and of a file that is read alone.
const BATCH_BYTES: usize = 4 << 20;
/// Maximum rows per batch of merged rows: in general, and if the size of a row is unknown.
const BATCH_ROWS: (usize, usize) = (4096, 256);

/// The sizes of batches in a merge.
#[derive(Debug, Clone, Copy)]
struct Batching {
    /// Rows of a merged batch.
    rows: usize,
    /// Bytes of a batch of each file.
    bytes: usize,
}

impl Batching {
    /// For a file of this footprint.
    fn of(print: &Footprint) -> Self {
        let most = if print.at_least { BATCH_ROWS.1 } else { BATCH_ROWS.0 };
        let (least, most_bytes) = MERGED_BATCH_BYTES;
        let affordable = (print.reading_bytes / BATCHES_A_FILE / 2).clamp(least, most_bytes);
        Self {
            rows: (BATCH_BYTES / print.row_bytes).clamp(1, most),
            bytes: print.row_bytes.saturating_mul(MERGED_BATCH_ROWS).clamp(least, affordable),
        }
    }

    /// For two files at once.
    fn and(self, other: Self) -> Self {
        Self { rows: self.rows.min(other.rows), bytes: self.bytes.min(other.bytes) }
    }
}

/// Files that are rewritten together, and the bytes that reading them takes.
struct Part {
    group: Group,
    batching: Batching,
    held: usize,
}

/// What all tasks of a compaction share.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rewriting {
    /// The table, with its current columns.
    pub write: WriteSpec,
    pub target_bytes: u64,
    /// Memory for reading the files of a group, in bytes.
    pub reading: usize,
    /// Bytes for all groups that are rewritten at a time.
    pub memory: usize,
}

/// Rewrites a group of data files.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RewriteGroup {
    /// The number of the group; part of the names of its files.
    pub number: u32,
    pub group: Group,
}

/// The files that replace a group.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rewritten {
    pub spec_id: i32,
    #[serde(with = "file_serde::list")]
    pub files: Vec<DataFile>,
}

impl Task for RewriteGroup {
    const NAME: &'static str = "rewrite-group";
    type Shared = Rewriting;
    type Env = Rewriter;
    type Output = Rewritten;

    fn run(self, env: &Rewriter, cancel: &Cancel) -> Result<Rewritten> {
        let Self { number, group } = self;
        let spec_id = group.files.first().map_or(0, |live| live.spec_id);
        Ok(Rewritten { spec_id, files: env.run(number, &group, cancel)? })
    }
}

/// What the tasks need of their process.
#[derive(Debug)]
pub(super) struct Rewriter {
    shared: Rewriting,
    options: WriteOptions,
    arrow_schema: ArrowSchemaRef,
    key_fields: Vec<NestedFieldRef>,
    /// The table's sort order by key, if that is its default order.
    sort_order: Option<i32>,
    file_io: FileIO,
    handle: Handle,
    engine: Engine,
    deletes: DeleteCache,
    memory: Memory,
    progress: Arc<Progress>,
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
    /// Opens what the tasks need; `deletes` is the cache that they share.
    pub fn open(shared: Rewriting, file_io: FileIO, deletes: DeleteCache, resources: &Resources) -> Result<Self> {
        let (table, memory) = (&shared.write.table, shared.memory);
        Ok(Self {
            options: shared.write.options(),
            arrow_schema: Arc::new(schema_to_arrow_schema(&table.schema)?),
            key_fields: if table.mapping.key.is_empty() { Vec::new() } else { table.key_fields()? },
            sort_order: shared.write.sort_order_id()?,
            shared,
            file_io,
            handle: Handle::current(),
            engine: Engine::new(resources.threads),
            deletes,
            memory: Memory::new(memory),
            progress: Arc::clone(&resources.progress),
        })
    }

    /// The table's current columns.
    fn schema(&self) -> &SchemaRef {
        &self.shared.write.table.schema
    }

    /// Rewrites a group, on a blocking thread. Files that are merged by key are all open at once; if they would exceed the
    /// memory, the group is split into parts that are merged one after the other.
    fn run(&self, number: u32, group: &Group, stop: &Cancel) -> Result<Vec<DataFile>> {
        let parts = if group.is_merged() { self.parts(group)? } else { vec![self.one_by_one(group)?] };
        let mut files = Vec::new();
        for Part { group, batching, held } in parts {
            stop.check()?;
            let _reserved = self.memory.reserve(held.saturating_add(self.options.memory_bytes), stop)?;
            files.extend(self.run_part(number, &group, batching, stop)?);
        }
        Ok(files)
    }

    /// The whole group, whose files are read one after the other.
    fn one_by_one(&self, group: &Group) -> Result<Part> {
        let mut held = 0;
        for live in &group.files {
            held = footprint(&self.file_io, &self.handle, live)?.reading_bytes.max(held);
        }
        let batching = Batching { rows: BATCH_ROWS.0, bytes: BATCH_BYTES };
        Ok(Part { group: group.clone(), batching, held: held.saturating_add(BATCHES_A_FILE * BATCH_BYTES) })
    }

    /// Splits a sorted group into parts that fit into memory, of at least two files each.
    fn parts(&self, group: &Group) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        let size = |live: &LiveFile| live.file.file_size_in_bytes();
        let all = group.files.iter().map(size).fold(0, u64::saturating_add).max(1);
        for (n, live) in group.files.iter().enumerate() {
            let print = footprint(&self.file_io, &self.handle, live)?;
            let rows = usize::try_from(live.file.record_count()).unwrap_or(usize::MAX);
            let batching = Batching::of(&print);
            let batches = batching.bytes.min(rows.saturating_mul(print.row_bytes)).saturating_mul(BATCHES_A_FILE);
            let bytes = print.reading_bytes.saturating_add(batches);
            let left = u64::try_from(u128::from(group.bytes) * u128::from(size(live)) / u128::from(all)).unwrap_or(0);
            // The last file joins the last part, since a part of one file would be pointless.
            let is_last = n + 1 == group.files.len();
            let takes = |part: &Part| {
                is_last || part.group.files.len() < 2 || part.held.saturating_add(bytes) <= self.shared.reading
            };
            if let Some(part) = parts.last_mut().filter(|part| takes(part)) {
                part.group.files.push(live.clone());
                part.group.bytes = part.group.bytes.saturating_add(left);
                part.batching = part.batching.and(batching);
                part.held = part.held.saturating_add(bytes);
            } else {
                let group = Group { files: vec![live.clone()], sorted: true, bytes: left };
                parts.push(Part { group, batching, held: bytes });
            }
        }
        Ok(parts)
    }

    fn run_part(&self, number: u32, group: &Group, batching: Batching, stop: &Cancel) -> Result<Vec<DataFile>> {
        let wanted = ((group.bytes + self.shared.target_bytes / 2) / self.shared.target_bytes.max(1)).max(1);
        let mut written =
            Written { done: Vec::new(), open: None, goal: group.bytes / wanted, wanted, read: Arc::default() };
        let result = self.write(number, group, batching, stop, &mut written);
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

    fn write(
        &self,
        number: u32,
        group: &Group,
        batching: Batching,
        stop: &Cancel,
        written: &mut Written,
    ) -> Result<()> {
        let Some(first) = group.files.first() else { return Ok(()) };
        let partition = conform(&self.shared.write.metadata, self.schema(), first.spec_id, first.file.partition());
        let target = (first.spec_id, &partition);
        if !group.is_merged() {
            for live in &group.files {
                let mut rows = self.stream(live, batching.bytes, &written.read)?;
                while let Some(batch) = self.handle.block_on(rows.next()) {
                    stop.check()?;
                    self.append(number, group.sorted, target, &batch?, written)?;
                }
            }
            return Ok(());
        }
        // Streams, not threads: with a thread per file, the merge could wait for a file whose thread has not started.
        let sources = group.files.iter().map(|live| self.stream(live, batching.bytes, &written.read));
        let sources = streams(&self.arrow_schema, sources.collect::<Result<_>>()?)?;
        let merged: Arc<dyn ExecutionPlan> = Arc::new(SortPreservingMergeExec::new(self.order()?, sources));
        let engine = self.engine.with_batch_rows(batching.rows);
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

    /// The sort order of all sorted files: by key, ascending.
    fn order(&self) -> Result<LexOrdering> {
        let fields = self.schema().as_struct().fields();
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
                self.shared.write.paths.data_file(number),
                self.schema(),
                spec_id,
                partition.clone(),
                self.sort_order.filter(|_| sorted),
                &self.options,
            )?);
        }
        written.open.as_mut().map_or(Ok(()), |writer| writer.write(batch))
    }
}
