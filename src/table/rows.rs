//! All rows of a data file in the table's current columns, whatever the table looked like when the file was written.
//!
//! Columns, struct fields, list elements and map values are found by Parquet field id, also inside of each other. What an
//! older file lacks is null; narrower numbers are widened as Iceberg's schema evolution allows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef as ArrowSchemaRef};
use iceberg::io::FileIO;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use tokio::runtime::Handle;

use super::deletes::Positions;
use super::keys::{live_rows, promote};
use super::live::LiveFile;
use super::parquet_file::ParquetFile;
use crate::error::{Error, Result};

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 8192;
/// Bytes of a batch, as far as the footer tells how large rows are.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Reads the rows of a data file but for those at the given positions, in the file's order, as batches of `schema` (the
/// table's current Arrow schema, with field ids). Synchronous: for a blocking thread.
///
/// Errors: a required column that the file does not have, or a type that cannot be promoted.
pub fn scan_rows(
    file_io: &FileIO,
    handle: &Handle,
    live: &LiveFile,
    schema: &ArrowSchemaRef,
    without: &Positions,
    on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    scan_rows_within(file_io, handle, live, schema, without, BATCH_BYTES, on_batch)
}

/// As [`scan_rows`], in batches of about `batch_bytes`.
pub fn scan_rows_within(
    file_io: &FileIO,
    handle: &Handle,
    live: &LiveFile,
    schema: &ArrowSchemaRef,
    without: &Positions,
    batch_bytes: usize,
    on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let file = ParquetFile::open(file_io, handle, &live.file)?;
    let batch_rows = (batch_bytes / widest_row(file.metadata())).clamp(1, BATCH_ROWS);
    let wanted: Vec<usize> = schema.fields().iter().filter_map(|f| file.column(field_id(f)?)).collect();
    if wanted.is_empty() {
        return Err(Error::failed("the data file has none of the table's columns").in_file(file.location()));
    }
    let groups = (0..file.metadata().num_row_groups()).collect();
    let mut cursor = without.cursor();
    let mut next: i64 = 0;
    file.read(handle, &wanted, groups, batch_rows, &mut |batch| {
        let rows = batch.num_rows();
        let count = i64::try_from(rows).map_err(|_| Error::failed("a batch of too many rows"))?;
        let positions: Vec<i64> = (next..next + count).collect();
        next += count;
        let kept = match live_rows(&positions, &mut cursor) {
            None => batch,
            Some(mask) if mask.true_count() == 0 => return Ok(()),
            Some(mask) => filter_record_batch(&batch, &mask)?,
        };
        let columns = fields(schema.fields(), kept.schema().fields(), kept.columns(), kept.num_rows());
        let columns = columns.map_err(|e| e.in_file(file.location()))?;
        on_batch(RecordBatch::try_new(schema.clone(), columns)?)
    })
}

/// About how many bytes a row of the file takes in memory, by its footer; at least 1.
pub fn row_bytes(file_io: &FileIO, handle: &Handle, live: &LiveFile) -> Result<usize> {
    Ok(widest_row(ParquetFile::open(file_io, handle, &live.file)?.metadata()))
}

/// The mean row of the row group where it is largest. Text that a dictionary holds once counts as often as it occurs, where
/// the writer noted that.
fn widest_row(metadata: &ParquetMetaData) -> usize {
    let of_group = |group: &RowGroupMetaData| {
        let bytes: i64 = group
            .columns()
            .iter()
            .map(|column| column.uncompressed_size().max(column.unencoded_byte_array_data_bytes().unwrap_or(0)))
            .fold(0, i64::saturating_add);
        usize::try_from(bytes / group.num_rows().max(1)).unwrap_or(1)
    };
    metadata.row_groups().iter().map(of_group).max().unwrap_or(1).max(1)
}

/// Columns for the wanted fields out of those that are there.
fn fields(wanted: &[FieldRef], there: &[FieldRef], arrays: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
    let by_id: HashMap<i32, &ArrayRef> =
        there.iter().zip(arrays).filter_map(|(field, array)| Some((field_id(field)?, array))).collect();
    wanted
        .iter()
        .map(|field| match field_id(field).and_then(|id| by_id.get(&id)) {
            Some(array) => column(array, field),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
            None => Err(Error::failed("the data file lacks a required column").of_attribute(field.name().as_str())),
        })
        .collect()
}

/// One column, or one level inside of a column, as the wanted field.
fn column(array: &ArrayRef, wanted: &Field) -> Result<ArrayRef> {
    let mismatch = || {
        Error::failed(format!("the data file has {}, the table's column is {}", array.data_type(), wanted.data_type()))
            .of_attribute(wanted.name().as_str())
    };
    Ok(match (array.data_type(), wanted.data_type()) {
        (DataType::Struct(there), DataType::Struct(inner)) => {
            let array = array.as_struct();
            let columns = fields(inner, there, array.columns(), array.len())?;
            Arc::new(StructArray::try_new(inner.clone(), columns, array.nulls().cloned())?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let array = array.as_list::<i32>();
            let values = column(array.values(), element)?;
            Arc::new(ListArray::try_new(element.clone(), array.offsets().clone(), values, array.nulls().cloned())?)
        }
        (DataType::Map(..), DataType::Map(entries, ordered)) => {
            let array = array.as_map();
            let DataType::Struct(pair) = entries.data_type() else { return Err(mismatch()) };
            let [key, value] = pair.as_ref() else { return Err(mismatch()) };
            let columns = vec![column(array.keys(), key)?, column(array.values(), value)?];
            let pairs = StructArray::try_new(pair.clone(), columns, None)?;
            let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
            Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *ordered)?)
        }
        (_, DataType::Struct(_) | DataType::List(_) | DataType::Map(..)) => return Err(mismatch()),
        _ => promote(array, wanted.data_type()).map_err(|e| e.of_attribute(wanted.name().as_str()))?,
    })
}

fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok())
}
