//! DataFusion plans whose rows come from our threads or streams.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::failure::convert;
use crate::error::{Error, Result};
use crate::runtime::thread::spawn;

/// A source's partition calls this for every batch.
pub(crate) type OnBatch<'a> = dyn FnMut(RecordBatch) -> Result<()> + 'a;

/// Fills one partition of a source, by its index.
pub(crate) type Fill = dyn Fn(usize, &mut OnBatch<'_>) -> Result<()> + Send + Sync;

/// A plan whose partitions are filled by a function, in one call per partition on a dedicated thread: for few
/// partitions.
pub(crate) fn source(schema: &SchemaRef, partitions: usize, fill: &Arc<Fill>) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = (0..partitions.max(1)).map(|number| {
        Arc::new(Partition { schema: schema.clone(), number, fill: fill.clone() }) as Arc<dyn PartitionStream>
    });
    let exec = StreamingTableExec::try_new(schema.clone(), partitions.collect(), None, [], false, None);
    Ok(Arc::new(exec.map_err(convert)?))
}

/// A plan whose partitions are the given streams, which occupy no thread; each is read once.
pub(crate) fn streams(schema: &SchemaRef, streams: Vec<BatchStream>) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = streams.into_iter().map(|stream| {
        Arc::new(Stream { schema: schema.clone(), stream: Mutex::new(Some(stream)) }) as Arc<dyn PartitionStream>
    });
    let exec = StreamingTableExec::try_new(schema.clone(), partitions.collect(), None, [], false, None);
    Ok(Arc::new(exec.map_err(convert)?))
}

/// Batches of rows, or an error.
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
