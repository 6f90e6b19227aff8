//! Locates keys: reads key columns and row positions of a data file.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::type_to_arrow_type;
use iceberg::io::FileIO;
use iceberg::spec::NestedFieldRef;
use tokio::runtime::Handle;

use super::key_filter::KeyFilter;
use crate::error::{Error, Result};
use crate::table::deletes::cache::DeleteCache;
use crate::table::deletes::positions::PositionCursor;
use crate::table::files::LiveFile;
use crate::table::parquet::batches::BatchSize;
use crate::table::parquet::reader::ParquetFile;

/// The name of the column of row positions that a key scan appends: Int64, counted from 0 in the data file.
pub const POSITION_COLUMN: &str = "_pos";
/// A batch of keys, at most: keys may have 3 KB.
const BATCH: BatchSize = BatchSize { rows: 64 * 1024, bytes: 4 << 20 };

/// Reads the key columns of a data file, and each row's position as [`POSITION_COLUMN`], without deleted rows.
/// Synchronous: for a blocking thread.
///
/// Columns are found by Parquet field id. They have the names and order of `key_fields` and the Arrow types of the
/// table's schema; narrower numbers of older files are widened. Files and row groups that cannot contain any of the
/// keys `sought` are skipped; the others are returned with all their rows.
///
/// Errors: a key column that is missing or whose type cannot be promoted; a null in a required key column.
pub fn scan_keys(
    file_io: &FileIO,
    handle: &Handle,
    live: &LiveFile,
    key_fields: &[NestedFieldRef],
    sought: Option<&KeyFilter>,
    deletes: &DeleteCache,
    on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    if sought.is_some_and(|sought| !sought.may_be_in(live)) {
        return Ok(());
    }
    let opened = KeyFile(ParquetFile::open(file_io, handle, &live.file)?);
    opened.scan(handle, live, key_fields, sought, deletes, on_batch)
}

/// A data file whose footer has been read, ready for a key scan.
pub struct KeyFile(ParquetFile);

impl KeyFile {
    /// Opens the file and reads its footer.
    pub async fn open(file_io: &FileIO, live: &LiveFile) -> Result<Self> {
        Ok(Self(ParquetFile::open_async(file_io, &live.file).await?))
    }

    /// Like [`scan_keys`], but does not skip the file as a whole.
    pub fn scan(
        &self,
        handle: &Handle,
        live: &LiveFile,
        key_fields: &[NestedFieldRef],
        sought: Option<&KeyFilter>,
        deletes: &DeleteCache,
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let Self(file) = self;
        let keys = KeyColumns::find(file, key_fields)?;
        let groups = row_groups(file, sought, key_fields)?;
        if groups.is_empty() {
            return Ok(());
        }
        let deleted = deletes.positions(live)?;
        let mut cursor = deleted.cursor();
        let mut rows = RowPositions::new(groups.iter().map(|group| (group.first_row, group.rows)).collect());
        let indices = groups.iter().map(|group| group.index).collect();
        file.read(handle, &keys.columns, indices, BATCH, &mut |batch| {
            let positions = rows.take(batch.num_rows()).map_err(|e| e.in_file(file.location()))?;
            let keys = keys.project(&batch, &positions).map_err(|e| e.in_file(file.location()))?;
            match live_rows(&positions, &mut cursor) {
                None => on_batch(keys),
                Some(mask) if mask.true_count() == 0 => Ok(()),
                Some(mask) => on_batch(filter_record_batch(&keys, &mask)?),
            }
        })
    }
}

/// `None` if no row is deleted.
pub(crate) fn live_rows(positions: &[i64], cursor: &mut PositionCursor<'_>) -> Option<BooleanArray> {
    let first = positions.first()?;
    cursor.skip_to(u64::try_from(*first).unwrap_or(0));
    let mut any = false;
    let mask: BooleanArray = positions
        .iter()
        .map(|position| {
            let deleted = u64::try_from(*position).is_ok_and(|position| cursor.contains(position));
            any |= deleted;
            Some(!deleted)
        })
        .collect();
    any.then_some(mask)
}

/// The key columns of a file, and their conversion.
struct KeyColumns {
    /// Index of the file's top-level column, by key field.
    columns: Vec<usize>,
    /// Index of the column in a batch, by key field.
    places: Vec<usize>,
    schema: ArrowSchemaRef,
}

impl KeyColumns {
    fn find(file: &ParquetFile, key_fields: &[NestedFieldRef]) -> Result<Self> {
        let mut columns = Vec::with_capacity(key_fields.len());
        let mut fields = Vec::with_capacity(key_fields.len() + 1);
        for field in key_fields {
            let column = file.column(field.id).ok_or_else(|| {
                Error::failed(format!("the data file has no column of field id {}", field.id))
                    .of_attribute(&field.name)
                    .in_file(file.location())
                    .advice("Rewrite the file with an engine that writes Iceberg field ids and every key column")
            })?;
            columns.push(column);
            fields.push(Field::new(&field.name, type_to_arrow_type(&field.field_type)?, !field.required));
        }
        fields.push(Field::new(POSITION_COLUMN, DataType::Int64, false));
        // The reader returns columns in the file's order, each once.
        let mut sorted = columns.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let places = columns.iter().map(|column| sorted.partition_point(|c| c < column)).collect();
        Ok(Self { columns, places, schema: Arc::new(ArrowSchema::new(fields)) })
    }

    fn project(&self, batch: &RecordBatch, positions: &[i64]) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.places.len() + 1);
        for (place, field) in self.places.iter().zip(self.schema.fields()) {
            let array = batch.columns().get(*place).ok_or_else(|| Error::failed("a key column was not read"))?;
            let array = promote(array, field.data_type()).map_err(|e| e.of_attribute(field.name()))?;
            if !field.is_nullable() && array.null_count() > 0 {
                return Err(Error::failed("the data file has a row without a key").of_attribute(field.name()));
            }
            columns.push(array);
        }
        columns.push(Arc::new(Int64Array::from(positions.to_vec())));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Converts the column to the table's type, by the promotions that Iceberg allows and between Arrow's representations
/// of a type.
pub(crate) fn promote(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    use DataType as D;
    let source = array.data_type();
    if source == target {
        return Ok(Arc::clone(array));
    }
    let allowed = match (source, target) {
        (D::Decimal128(p, s), D::Decimal128(to_p, to_s)) => s == to_s && p <= to_p,
        (D::Timestamp(unit, _), D::Timestamp(to_unit, _)) => unit == to_unit,
        // Parquet binaries without the string annotation are read as binary; casting validates UTF-8.
        (D::Int32, D::Int64)
        | (D::Float32, D::Float64)
        | (
            D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Binary | D::LargeBinary | D::BinaryView,
            D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary,
        ) => true,
        _ => false,
    };
    if !allowed {
        return Err(Error::failed(format!("the data file has a column of type {source}, the table's is {target}")));
    }
    Ok(cast_with_options(array, target, &CastOptions { safe: false, ..CastOptions::default() })?)
}

struct RowGroup {
    index: usize,
    first_row: i64,
    rows: i64,
}

/// The row groups that may contain one of the keys, each with the position of its first row in the file.
fn row_groups(file: &ParquetFile, sought: Option<&KeyFilter>, key_fields: &[NestedFieldRef]) -> Result<Vec<RowGroup>> {
    let leaf = |field: &NestedFieldRef| Some((field.id, file.leaf(file.column(field.id)?)?));
    let leaves: Vec<(i32, usize)> = key_fields.iter().filter_map(leaf).collect();
    let mut kept = Vec::new();
    let mut first_row = 0_i64;
    for (index, group) in file.metadata().row_groups().iter().enumerate() {
        let rows = group.num_rows();
        let statistics = |field_id: i32| {
            let (_, leaf) = leaves.iter().find(|(id, _)| *id == field_id)?;
            group.columns().get(*leaf)?.statistics()
        };
        if rows > 0 && sought.is_none_or(|sought| sought.may_be_in_group(statistics)) {
            kept.push(RowGroup { index, first_row, rows });
        }
        first_row = first_row
            .checked_add(rows)
            .filter(|_| rows >= 0)
            .ok_or_else(|| Error::failed("the data file has an impossible number of rows").in_file(file.location()))?;
    }
    Ok(kept)
}

/// Positions in the file of the rows in some of its row groups.
struct RowPositions {
    /// First row and row count, last group first.
    groups: Vec<(i64, i64)>,
}

impl RowPositions {
    fn new(mut groups: Vec<(i64, i64)>) -> Self {
        groups.reverse();
        Self { groups }
    }

    /// The positions of the next `count` rows.
    fn take(&mut self, count: usize) -> Result<Vec<i64>> {
        let mut positions = Vec::with_capacity(count);
        while positions.len() < count {
            let Some((first, rows)) = self.groups.last_mut() else {
                return Err(Error::failed("the data file has more rows than its footer says"));
            };
            let wanted = i64::try_from(count - positions.len()).unwrap_or(i64::MAX).min(*rows);
            positions.extend(*first..*first + wanted);
            *first += wanted;
            *rows -= wanted;
            if *rows == 0 {
                self.groups.pop();
            }
        }
        Ok(positions)
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
