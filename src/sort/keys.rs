//! The key columns of a batch, in Arrow's row format.

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::Result;
use crate::schema::TableSchema;

/// The keys of a run, and the rows' positions in key order.
#[derive(Debug)]
pub struct KeyOrder {
    /// The key columns, in the run's order.
    pub keys: RecordBatch,
    /// The same, comparable as bytes.
    pub rows: Rows,
    /// Positions in the run, in key order.
    pub order: Vec<u32>,
}

/// The key columns of a batch in the table's columns.
pub(crate) fn key_batch(table: &TableSchema, batch: &RecordBatch) -> Result<RecordBatch> {
    let fields = table.schema.as_struct().fields();
    let slots = table
        .key_fields()?
        .iter()
        .filter_map(|key| fields.iter().position(|field| field.id == key.id))
        .collect::<Vec<_>>();
    Ok(batch.project(&slots)?)
}

/// Converts keys to bytes that compare in the table's sort order.
pub(crate) fn key_converter(keys: &RecordBatch) -> Result<RowConverter> {
    let fields = keys.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?)
}
