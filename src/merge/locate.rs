//! Where the old rows of changed keys lie: DataFusion joins the keys with the key columns of the live data files.
//!
//! The changed keys are the join's build side, which does not spill: the caller hands them over in chunks that fit. Files and
//! row groups within whose bounds none of the keys lies are not read, nor are files of partitions that none of the keys can
//! be in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
use tokio::task::JoinSet;

use super::engine::{BATCH_ROWS, Engine, Fill, convert, source};
use crate::error::{Error, Result};
use crate::table::{DeleteCache, KeyPartitions, LiveFile, POSITION_COLUMN, SoughtKeys, scan_keys};

const CHANGE: &str = "__change";
const FILE: &str = "__file";

/// The live data files of the table that a change is planned on.
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

/// What a chunk of changed keys met.
#[derive(Debug)]
pub(super) struct Located {
    /// A data file's place in [`LiveKeys::files`], and a row's position in it.
    pub rows: Vec<(u32, u64)>,
    /// By row of the chunk: whether the key was in the table.
    pub found: arrow::buffer::BooleanBuffer,
}

/// Finds the live rows of the keys; `keys` has the key columns only, sorted, each key once.
pub(super) async fn locate(engine: &Engine, live: &Arc<LiveKeys>, keys: &RecordBatch) -> Result<Located> {
    let count = u32::try_from(keys.num_rows()).map_err(|_| Error::failed("more than 2^32 keys in one chunk"))?;
    let width = keys.num_columns();
    let build = with_column(keys, CHANGE, Arc::new(UInt32Array::from_iter_values(0..count)))?;
    let build = MemorySourceConfig::try_new_exec(&[batches(&build)?], build.schema(), None).map_err(convert)?;

    let sought = SoughtKeys::new(&live.key_fields, keys);
    let partitions = KeyPartitions::new(&live.specs, &live.key_fields, keys);
    let mut fields: Vec<_> = keys.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(POSITION_COLUMN, DataType::Int64, false)));
    fields.push(Arc::new(Field::new(FILE, DataType::UInt32, false)));
    let probe_schema = Arc::new(Schema::new(fields));
    let next = AtomicUsize::new(0);
    let scanned = live.clone();
    let schema = probe_schema.clone();
    let fill: Arc<Fill> = Arc::new(move |_: usize, send: &mut super::engine::Send<'_>| -> Result<()> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = scanned.files.get(n) else { return Ok(()) };
            if !partitions.may_contain(file) {
                continue;
            }
            let number = u32::try_from(n).map_err(|_| Error::failed("more than 2^32 data files"))?;
            scan_keys(
                &scanned.file_io,
                &scanned.handle,
                file,
                &scanned.key_fields,
                Some(&sought),
                &scanned.deletes,
                &mut |batch| {
                    let mut columns = batch.columns().to_vec();
                    columns.push(Arc::new(UInt32Array::from_value(number, batch.num_rows())));
                    send(RecordBatch::try_new(schema.clone(), columns)?)
                },
            )?;
        }
    });
    let probe = source(&probe_schema, engine.threads.min(live.files.len()), &fill)?;

    let on = (0..width).map(|n| {
        let name = |schema: &Schema| schema.field(n).name().clone();
        let left: PhysicalExprRef = Arc::new(Column::new(&name(&build.schema()), n));
        let right: PhysicalExprRef = Arc::new(Column::new(&name(&probe_schema), n));
        (left, right)
    });
    // Of all columns only three are wanted: the change, the position, the file.
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

/// The rows in batches with buffers of their own: the join counts the memory of each batch that it takes in, and would count
/// what slices share once for every slice.
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
