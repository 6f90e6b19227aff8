//! The newest change of each key of a window, in the order of keys: keys and what became of them, no images.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef as ArrowSchemaRef, UInt64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use futures::StreamExt;

use super::engine::{BATCH_ROWS, Engine, Fill, convert, source};
use super::images::Superseded;
use crate::columns::{ChangeBuilder, LINE, ORDER, WRITTEN};
use crate::error::{Error, Result};
use crate::export::{DataFileRef, LineFile, LineFiles};
use crate::progress::Progress;
use crate::schema::{Limits, NewFields, TableSchema};
use crate::storage::Store;

/// What happens to attributes that the table does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewAttributesPolicy {
    /// They become columns.
    Add,
    /// They are rescued.
    Rescue,
    /// The window is refused.
    Fail,
}

/// Bytes of rows after which a task hands on a batch; a batch of small rows ends at [`BATCH_ROWS`].
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Names of key columns while changes are sorted and joined; the n-th has its number behind.
const KEY: &str = "__key";

/// What the tasks found besides the changes.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub new: NewFields,
}

/// The changes of a window's files.
pub(super) struct ChangeFiles {
    pub store: Store,
    pub files: Vec<DataFileRef>,
    pub table: TableSchema,
    pub arrow_schema: ArrowSchemaRef,
    pub limits: Limits,
    pub progress: Arc<Progress>,
}

/// What is kept of a change.
struct Kept {
    schema: ArrowSchemaRef,
    columns: Vec<usize>,
}

impl Kept {
    fn of(&self, changes: &RecordBatch) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.schema.clone(), changes.project(&self.columns)?.columns().to_vec())?)
    }
}

/// A stream of batches, one change a key, ordered by key.
pub(super) struct Newest {
    stream: SendableRecordBatchStream,
    keys: Vec<usize>,
    converter: RowConverter,
    last: Option<OwnedRow>,
    superseded: Superseded,
    found: Arc<Mutex<Found>>,
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
        let files = Mutex::new(LineFiles::new(&self.store, &self.files, self.progress.clone())?);
        let partitions = engine.threads.min(self.files.len());
        let shared = found.clone();
        let kept = Kept { schema: schema.clone(), columns };
        let fill: Arc<Fill> = Arc::new(move |_: usize, send: &mut super::engine::Send<'_>| -> Result<()> {
            let mut mine = Found::default();
            // Whichever partition is free takes the next file.
            loop {
                let file = files.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(file) = file else { break };
                self.read(file, &kept, &mut mine, send)?;
            }
            let mut found = shared.lock().unwrap_or_else(PoisonError::into_inner);
            found.new.join(mine.new, &self.limits);
            Ok(())
        });
        let read = source(&schema, partitions, &fill)?;
        // One sort for all: of several, one that still reads would take the memory that another needs to merge what it spilled.
        let read: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(read));
        let sorted: Arc<dyn ExecutionPlan> = Arc::new(SortExec::new(order, read));
        Ok(Newest {
            stream: engine.execute(&sorted, 0)?,
            keys,
            converter,
            last: None,
            superseded: Superseded::new(),
            found,
        })
    }

    /// What is kept of a change: its key, its kind, its time and its place; and where these stand in a change.
    ///
    /// Keys get names of their own: an attribute may have any name, that of a change's columns too.
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

    fn read(
        &self,
        opening: LineFile,
        kept: &Kept,
        found: &mut Found,
        send: &mut super::engine::Send<'_>,
    ) -> Result<()> {
        let file = opening.file().clone();
        let mut builder = ChangeBuilder::new(&self.table, self.limits, u64::from(file.position))?;
        let mut lines = opening.open()?;
        while let Some(line) = lines.next_line()? {
            let number = line.number;
            builder.append(line.bytes, number).map_err(|e| e.in_file(file.name.as_str()).on_line(number))?;
            if builder.rows() >= BATCH_ROWS || builder.memory() >= BATCH_BYTES {
                send(kept.of(&builder.finish().map_err(|e| e.in_file(file.name.as_str()))?)?)?;
            }
        }
        if builder.rows() > 0 {
            send(kept.of(&builder.finish().map_err(|e| e.in_file(file.name.as_str()))?)?)?;
        }
        found.new.join(builder.take_new(), &self.limits);
        self.progress.file_done();
        Ok(())
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

    /// Remembers where the records lie that a newer one takes the place of.
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

    /// Where the records lie that a newer one takes the place of; complete after the last batch.
    pub fn into_superseded(self) -> Superseded {
        self.superseded
    }

    /// What was found besides the changes: complete once the first batch, or `None`, has come, since sorting reads
    /// everything before it gives anything.
    pub fn take_found(&self) -> Found {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
