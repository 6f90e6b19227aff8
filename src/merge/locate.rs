//! Locates the old rows of changed keys: DataFusion joins the keys with the key columns of the live data files.
//!
//! The changed keys are the join's build side, which does not spill: the caller passes them in chunks that fit into
//! memory. Files and row groups are skipped if none of the keys is within their bounds, and files if none of the keys
//! can be in their partition.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt32Type};
use datafusion::common::{JoinType, NullEquality};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use futures::StreamExt;
use iceberg::io::FileIO;
use iceberg::spec::{NestedFieldRef, PartitionSpecRef};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::engine::failure::convert;
use crate::engine::session::{BATCH_ROWS, Engine};
use crate::engine::source::{Fill, source};
use crate::error::{Error, Result};
use crate::table::{DeleteCache, KeyFile, KeyFilter, LiveFile, POSITION_COLUMN, PartitionFilter};

const CHANGE: &str = "__change";
const FILE: &str = "__file";
/// Number of data files that are opened ahead; the footer of each is in memory.
const OPEN_AHEAD: usize = 16;

/// The live data files of the table on which a change is planned.
#[derive(Debug)]
pub(super) struct LiveKeys {
    pub file_io: FileIO,
    pub handle: Handle,
    pub files: Vec<LiveFile>,
    /// All partition specs of the table.
    pub specs: Vec<PartitionSpecRef>,
    pub key_fields: Vec<NestedFieldRef>,
    pub deletes: DeleteCache,
}

/// The result for a chunk of changed keys.
#[derive(Debug)]
pub(super) struct Located {
    /// Index of the data file in [`LiveKeys::files`], and position of the row in it.
    pub rows: Vec<(u32, u64)>,
    /// For each row of the chunk, whether the table has its key.
    pub found: arrow::buffer::BooleanBuffer,
}

/// Opens data files ahead of their turn, since storage with high latency can answer many requests at a time.
struct OpenAhead {
    live: Arc<LiveKeys>,
    /// The next file to consider.
    next: usize,
    opening: VecDeque<(usize, JoinHandle<Result<KeyFile>>)>,
}

impl OpenAhead {
    /// The next file that may contain a key, with its index, as it is being opened; `None` after the last.
    fn take(&mut self, may_hold: &dyn Fn(&LiveFile) -> bool) -> Option<(usize, JoinHandle<Result<KeyFile>>)> {
        while self.opening.len() < OPEN_AHEAD
            && let Some(file) = self.live.files.get(self.next)
        {
            let (live, n) = (self.live.clone(), self.next);
            self.next += 1;
            if may_hold(file) {
                let open = async move {
                    let file = live.files.get(n).ok_or_else(|| Error::failed("a data file is not in the list"))?;
                    KeyFile::open(&live.file_io, file).await
                };
                self.opening.push_back((n, self.live.handle.spawn(open)));
            }
        }
        self.opening.pop_front()
    }
}

impl Drop for OpenAhead {
    fn drop(&mut self) {
        self.opening.iter().for_each(|(_, opening)| opening.abort());
    }
}

/// Finds the live rows of the keys; `keys` has only the key columns, sorted, each key once.
pub(super) async fn locate(engine: &Engine, live: &Arc<LiveKeys>, keys: &RecordBatch) -> Result<Located> {
    let count = u32::try_from(keys.num_rows()).map_err(|_| Error::failed("more than 2^32 keys in one chunk"))?;
    let width = keys.num_columns();
    let build = with_column(keys, CHANGE, Arc::new(UInt32Array::from_iter_values(0..count)))?;
    let build = MemorySourceConfig::try_new_exec(&[batches(&build)?], build.schema(), None).map_err(convert)?;

    let sought = KeyFilter::new(&live.key_fields, keys);
    let partitions = PartitionFilter::new(&live.specs, &live.key_fields, keys);
    let mut fields: Vec<_> = keys.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(POSITION_COLUMN, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(FILE, DataType::UInt32, false)));
    let probe_schema = Arc::new(Schema::new(fields));
    let ahead = Mutex::new(OpenAhead { live: live.clone(), next: 0, opening: VecDeque::new() });
    let scanned = live.clone();
    let schema = probe_schema.clone();
    let fill: Arc<Fill> = Arc::new(move |_: usize, send: &mut crate::engine::source::OnBatch<'_>| -> Result<()> {
        let LiveKeys { handle, files, key_fields, deletes, .. } = &*scanned;
        let may_hold = |file: &LiveFile| partitions.may_contain(file) && sought.may_be_in(file);
        loop {
            let opening = ahead.lock().unwrap_or_else(PoisonError::into_inner).take(&may_hold);
            let Some((n, opening)) = opening else { return Ok(()) };
            let Some(file) = files.get(n) else { return Ok(()) };
            let number = u32::try_from(n).map_err(|_| Error::failed("more than 2^32 data files"))?;
            let opened = handle.block_on(opening);
            let opened = opened.map_err(|e| Error::failed("opening a data file was interrupted").caused_by(e))??;
            opened.scan(handle, file, key_fields, Some(&sought), deletes, &mut |batch| {
                let mut columns = batch.columns().to_vec();
                columns.push(Arc::new(UInt32Array::from_value(number, batch.num_rows())));
                send(RecordBatch::try_new(schema.clone(), columns)?)
            })?;
        }
    });
    let probe = source(&probe_schema, engine.threads.min(live.files.len()), &fill)?;

    let on = (0..width).map(|n| {
        let name = |schema: &Schema| schema.field(n).name().clone();
        let left: PhysicalExprRef = Arc::new(Column::new(&name(&build.schema()), n));
        let right: PhysicalExprRef = Arc::new(Column::new(&name(&probe_schema), n));
        (left, right)
    });
    // Only three columns are needed: the change, the position, the file.
    let projection = vec![width, 2 * width + 1, 2 * width + 2];
    let join: Arc<dyn ExecutionPlan> = Arc::new(
        HashJoinExec::try_new(
            build.clone(),
            probe,
            on.collect(),
            None,
            &JoinType::Inner,
            Some(projection),
            PartitionMode::CollectLeft,
            NullEquality::NullEqualsNothing,
            false,
        )
        .map_err(convert)?,
    );
    let streams = join.properties().output_partitioning().partition_count();
    let mut running = JoinSet::new();
    for partition in 0..streams {
        let mut stream = engine.execute(&join, partition)?;
        running.spawn(async move {
            let mut batches = Vec::new();
            while let Some(batch) = stream.next().await {
                batches.push(batch.map_err(convert)?);
            }
            Ok::<_, Error>(batches)
        });
    }
    let mut rows = Vec::new();
    let mut found = BooleanBufferBuilder::new(keys.num_rows());
    found.append_n(keys.num_rows(), false);
    while let Some(joined) = running.join_next().await {
        for batch in
            joined.map_err(|e| Error::failed("a merge task broke down; please report this as a bug").caused_by(e))??
        {
            let [changes, positions, files] = batch.columns() else {
                return Err(Error::failed("the join gave unexpected columns"));
            };
            for change in changes.as_primitive::<UInt32Type>().values() {
                found.set_bit(*change as usize, true);
            }
            let positions = positions.as_primitive::<Int64Type>().values();
            for (file, position) in files.as_primitive::<UInt32Type>().values().iter().zip(positions) {
                rows.push((*file, u64::try_from(*position).map_err(|_| Error::failed("a negative row position"))?));
            }
        }
    }
    Ok(Located { rows, found: found.finish() })
}

/// The rows as batches with their own buffers: the join counts the memory of each batch, and would count shared buffers
/// once per slice.
fn batches(rows: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let starts = (0..rows.num_rows()).step_by(BATCH_ROWS);
    let copy = |start: usize| {
        let length = BATCH_ROWS.min(rows.num_rows() - start);
        let count = u32::try_from(length).map_err(|_| Error::failed("a batch of more than 2^32 rows"))?;
        Ok(take_record_batch(&rows.slice(start, length), &UInt32Array::from_iter_values(0..count))?)
    };
    starts.map(copy).collect()
}

fn with_column(batch: &RecordBatch, name: &str, column: arrow::array::ArrayRef) -> Result<RecordBatch> {
    let mut fields: Vec<_> = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(name, column.data_type().clone(), false)));
    let mut columns = batch.columns().to_vec();
    columns.push(column);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
