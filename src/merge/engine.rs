//! DataFusion as we need it: a memory pool, a place to spill, and sources that are fed from threads or are streams.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionConfig;
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::pool::spawn;

/// Rows of a batch between operators.
pub(super) const BATCH_ROWS: usize = 8192;

/// Runs DataFusion's operators within a memory budget.
#[derive(Debug, Clone)]
pub struct Engine {
    task: Arc<TaskContext>,
    /// Partitions that run at once.
    pub threads: usize,
}

impl Engine {
    /// An engine whose operators hold at most `memory` bytes and spill to the temporary folder past it.
    pub fn new(threads: usize, memory: usize) -> Result<Self> {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory))).build_arc();
        let config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_target_partitions(threads)
            // What a sort needs to merge its spilled runs; the default of 10 MiB a partition is too much of a small budget.
            .with_sort_spill_reservation_bytes((memory / threads.max(1) / 8).min(10 * 1024 * 1024));
        let task = TaskContext::default().with_session_config(config).with_runtime(runtime.map_err(convert)?);
        Ok(Self { task: Arc::new(task), threads })
    }

    /// An engine whose operators hold what they are given: for joins, whose callers bound it.
    pub fn unbounded(threads: usize) -> Self {
        let config = SessionConfig::new().with_batch_size(BATCH_ROWS).with_target_partitions(threads);
        Self { task: Arc::new(TaskContext::default().with_session_config(config)), threads }
    }

    /// The same memory, with batches of at most so many rows.
    #[must_use]
    pub(crate) fn with_batch_rows(&self, rows: usize) -> Self {
        let config = self.task.session_config().clone().with_batch_size(rows.max(1));
        let task = TaskContext::default().with_session_config(config).with_runtime(self.task.runtime_env());
        Self { task: Arc::new(task), ..self.clone() }
    }

    /// Starts a partition of a plan.
    pub(crate) fn execute(&self, plan: &Arc<dyn ExecutionPlan>, partition: usize) -> Result<SendableRecordBatchStream> {
        plan.execute(partition, self.task.clone()).map_err(convert)
    }
}

/// What a source's partition calls for every batch it makes.
pub(crate) type Send<'a> = dyn FnMut(RecordBatch) -> Result<()> + 'a;

/// Fills one partition of a source, by its number.
pub(crate) type Fill = dyn Fn(usize, &mut Send<'_>) -> Result<()> + std::marker::Send + Sync;

/// A plan whose partitions are filled by a function that runs on threads of their own, one call a partition: for few.
pub(crate) fn source(schema: &SchemaRef, partitions: usize, fill: &Arc<Fill>) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = (0..partitions.max(1)).map(|number| {
        Arc::new(Partition { schema: schema.clone(), number, fill: fill.clone() }) as Arc<dyn PartitionStream>
    });
    let exec = StreamingTableExec::try_new(schema.clone(), partitions.collect(), None, [], false, None);
    Ok(Arc::new(exec.map_err(convert)?))
}

/// A plan whose partitions are the given streams, which need no thread; each is read once.
pub(crate) fn streams(schema: &SchemaRef, streams: Vec<BatchStream>) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = streams.into_iter().map(|stream| {
        Arc::new(Stream { schema: schema.clone(), stream: Mutex::new(Some(stream)) }) as Arc<dyn PartitionStream>
    });
    let exec = StreamingTableExec::try_new(schema.clone(), partitions.collect(), None, [], false, None);
    Ok(Arc::new(exec.map_err(convert)?))
}

/// Batches of rows, or what went wrong.
pub(crate) type BatchStream = BoxStream<'static, Result<RecordBatch>>;

struct Stream {
    schema: SchemaRef,
    stream: Mutex<Option<BatchStream>>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl PartitionStream for Stream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let twice = || futures::stream::once(ready(Err(Error::failed("a source was read twice")))).boxed();
        let stream = stream.unwrap_or_else(twice).map_err(|e| DataFusionError::External(Box::new(e)));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}

struct Partition {
    schema: SchemaRef,
    number: usize,
    fill: Arc<Fill>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({})", self.number)
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        // One batch ahead: a source that runs faster than its reader must not fill the memory.
        let mut stream = RecordBatchReceiverStream::builder(self.schema.clone(), 1);
        let sender = stream.tx();
        let (fill, number) = (self.fill.clone(), self.number);
        stream.spawn(async move {
            let filled = spawn(move || {
                let mut send = |batch: RecordBatch| {
                    sender.blocking_send(Ok(batch)).map_err(|_| Error::failed("the reader of a source went away"))
                };
                fill(number, &mut send)
            });
            let filled = async { filled?.await? };
            filled.await.map_err(|e| DataFusionError::External(Box::new(e)))
        });
        stream.build()
    }
}

/// DataFusion's errors; one of ours that passed through comes back as it was.
pub(crate) fn convert(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::failed("the merge failed").caused_by(other),
        },
        DataFusionError::Context(_, inner) => convert(*inner),
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => convert(inner),
            Err(inner) => match inner.find_root() {
                DataFusionError::ResourcesExhausted(what) => exhausted(what),
                root => Error::failed("the merge failed").caused_by(root.to_string()),
            },
        },
        DataFusionError::ResourcesExhausted(what) => exhausted(&what),
        other => Error::failed("the merge failed").caused_by(other),
    }
}

fn exhausted(what: &str) -> Error {
    Error::failed(format!("the merge ran out of memory: {what}")).advice("Raise --memory-limit")
}
