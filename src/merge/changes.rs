//! The newest change of each key of a window, in key order: keys and kinds of change, without images.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{SortOptions, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef as ArrowSchemaRef, UInt64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use futures::StreamExt;

use crate::columns::{ChangeBuilder, LINE, ORDER, WRITTEN};
use crate::engine::failure::convert;
use crate::engine::session::{BATCH_ROWS, Engine};
use crate::engine::source::{Fill, source};
use crate::error::{Error, Result};
use crate::export::read::sharing::SharedLines;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::runtime::progress::Progress;
use crate::schema::{Limits, NewFields, TableSchema};
use crate::storage::Store;

/// Bytes of rows after which a task passes on a batch; a batch of small rows ends at [`BATCH_ROWS`].
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Prefix of the names of key columns while changes are sorted and joined; the column's number follows.
const KEY: &str = "__key";

/// What the tasks found in addition to the changes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub new: NewFields,
}

/// The changes of a window's files.
pub(crate) struct ChangeFiles {
    pub store: Store,
    pub files: Vec<DataFileRef>,
    pub table: TableSchema,
    pub arrow_schema: ArrowSchemaRef,
    pub limits: Limits,
    pub progress: Arc<Progress>,
}

/// The columns kept of a change.
struct Kept {
    schema: ArrowSchemaRef,
    columns: Vec<usize>,
}

impl Kept {
    fn of(&self, changes: &RecordBatch) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.schema.clone(), changes.project(&self.columns)?.columns().to_vec())?)
    }
}

/// A stream of batches with one change per key, ordered by key.
pub(crate) struct Newest {
    stream: SendableRecordBatchStream,
    keys: Vec<usize>,
    converter: RowConverter,
    last: Option<OwnedRow>,
    superseded: Superseded,
    found: Arc<Mutex<Found>>,
    spread: Arc<SharedLines>,
}

/// Builds batches of records for the sort, each from one file.
struct Batches<'a> {
    builder: ChangeBuilder,
    kept: &'a Kept,
    send: &'a mut crate::engine::source::OnBatch<'a>,
    /// The file of the builder's records.
    file: Option<DataFileRef>,
}

impl Batches<'_> {
    fn take(&mut self, file: &DataFileRef, line: Line<'_>) -> Result<()> {
        if self.file.as_ref().is_none_or(|last| last.position != file.position) {
            self.flush()?;
            self.file = Some(file.clone());
        }
        let taken = self.builder.append(line.bytes, line.number);
        taken.map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
        if self.builder.rows() >= BATCH_ROWS || self.builder.memory() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.builder.rows() > 0) else { return Ok(()) };
        let changes = self.builder.finish(u64::from(file.position)).map_err(|e| e.in_file(file.name.as_str()))?;
        (self.send)(self.kept.of(&changes)?)
    }
}

impl ChangeFiles {
    /// Starts reading, sorting and deduplicating.
    pub fn newest(self, engine: &Engine) -> Result<Newest> {
        let (schema, columns) = self.columns()?;
        let keys: Vec<usize> = (0..self.table.mapping.key.len()).collect();
        let ascending = |slot: usize| {
            PhysicalSortExpr::new(
                Arc::new(Column::new(schema.field(slot).name(), slot)),
                SortOptions { descending: false, nulls_first: true },
            )
        };
        let newest_first = |name: &str| -> Result<PhysicalSortExpr> {
            let column = Column::new_with_schema(name, &schema).map_err(convert)?;
            Ok(PhysicalSortExpr::new(Arc::new(column), SortOptions { descending: true, nulls_first: false }))
        };
        let mut order: Vec<PhysicalSortExpr> = keys.iter().map(|slot| ascending(*slot)).collect();
        for name in [WRITTEN, ORDER, LINE] {
            order.push(newest_first(name)?);
        }
        let order = LexOrdering::new(order).ok_or_else(|| Error::failed("the table has no key"))?;
        let converter = RowConverter::new(
            keys.iter().map(|slot| SortField::new(schema.field(*slot).data_type().clone())).collect(),
        )?;

        let found = Arc::new(Mutex::new(Found::default()));
        let (spread, tasks) = SharedLines::for_readers(&self.files, engine.threads);
        let partitions = engine.threads.min(tasks.len());
        let tasks = Mutex::new(VecDeque::from(tasks));
        let spread = Arc::new(spread);
        let shared = (Arc::clone(&spread), Arc::clone(&found));
        let kept = Kept { schema: schema.clone(), columns };
        let fill: Arc<Fill> = Arc::new(move |_: usize, send: &mut crate::engine::source::OnBatch<'_>| -> Result<()> {
            let (spread, found) = &shared;
            let builder = ChangeBuilder::new(&self.table, self.limits)?;
            let mut batches = Batches { builder, kept: &kept, send, file: None };
            // A free partition takes the next task; the lock is released before the task runs.
            let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(task) = next() {
                let mut on_line = |file: &DataFileRef, line: Line<'_>| batches.take(file, line);
                // A failure ends the stream, and the other tasks the next time they send.
                spread.run(&task, &self.store, &self.progress, &Cancel::default(), &mut on_line)?;
            }
            batches.flush()?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.new.join(batches.builder.take_new(), &self.limits);
            Ok(())
        });
        let read = source(&schema, partitions, &fill)?;
        // One sort for all partitions: with several, one that still reads would take the memory that another needs to
        // merge its spilled runs.
        let read: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(read));
        let sorted: Arc<dyn ExecutionPlan> = Arc::new(SortExec::new(order, read));
        Ok(Newest {
            stream: engine.execute(&sorted, 0)?,
            keys,
            converter,
            last: None,
            superseded: Superseded::new(),
            found,
            spread,
        })
    }

    /// The columns kept of a change (key, kind, time and place), and their indexes in a change.
    ///
    /// Keys get generated names, since an attribute may have any name, including that of a change's column.
    fn columns(&self) -> Result<(ArrowSchemaRef, Vec<usize>)> {
        let wide = ChangeBuilder::schema(&self.arrow_schema);
        let fields = self.table.schema.as_struct().fields();
        let mut columns = Vec::new();
        for key in self.table.key_fields()? {
            let slot = fields.iter().position(|field| field.id == key.id);
            columns.push(slot.ok_or_else(|| Error::failed("a key column is missing"))?);
        }
        let width = columns.len();
        columns.extend(fields.len()..wide.fields().len());
        let kept = wide.project(&columns)?;
        let named = kept.fields().iter().enumerate().map(|(n, field)| match field.as_ref() {
            key if n < width => key.clone().with_name(format!("{KEY}{n}")),
            other => other.clone(),
        });
        Ok((Arc::new(Schema::new(named.collect::<Vec<_>>())), columns))
    }
}

impl Newest {
    /// The next batch, never empty; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batch) = self.stream.next().await {
            let batch = batch.map_err(convert)?;
            let keys = batch.project(&self.keys)?;
            let rows = self.converter.convert_columns(keys.columns())?;
            let mut first = Vec::with_capacity(rows.num_rows());
            let mut previous = self.last.as_ref().map(OwnedRow::row);
            for row in &rows {
                first.push(previous != Some(row));
                previous = Some(row);
            }
            let last = previous.map(|row| row.owned());
            self.last = last;
            let mask = BooleanArray::from(first);
            self.note_superseded(&batch, &mask)?;
            let newest = if mask.true_count() == mask.len() { batch } else { filter_record_batch(&batch, &mask)? };
            if newest.num_rows() > 0 {
                return Ok(Some(newest));
            }
        }
        Ok(None)
    }

    /// Records the places of records that a newer one supersedes.
    fn note_superseded(&mut self, batch: &RecordBatch, newest: &BooleanArray) -> Result<()> {
        if newest.true_count() == newest.len() {
            return Ok(());
        }
        let column = |name: &str| {
            Ok::<_, Error>(batch.column(batch.schema().index_of(name)?).as_primitive::<UInt64Type>().clone())
        };
        let (orders, lines) = (column(ORDER)?, column(LINE)?);
        for (newest, (order, line)) in newest.values().iter().zip(orders.values().iter().zip(lines.values())) {
            if !newest {
                self.superseded.entry(*order).or_default().insert(*line);
            }
        }
        Ok(())
    }

    /// The places of records that a newer one supersedes; valid after the last batch.
    pub fn into_superseded(self) -> Result<Superseded> {
        self.spread.finish()?;
        Ok(self.superseded)
    }

    /// What was found in addition to the changes. It is complete once the first batch, or `None`, was returned, since
    /// sorting reads all of its input first.
    pub fn take_found(&self) -> Found {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records that a newer one of the same key supersedes: lines, by the ordinal of their file.
pub(crate) type Superseded = BTreeMap<u64, BTreeSet<u64>>;
