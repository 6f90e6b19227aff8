//! Which keys lie where: key columns and row positions of one data file.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::type_to_arrow_type;
use iceberg::io::FileIO;
use iceberg::spec::{Datum, NestedFieldRef, PrimitiveLiteral, PrimitiveType, Type};
use parquet::file::statistics::Statistics;
use tokio::runtime::Handle;

use super::delete_cache::DeleteCache;
use super::deletes::PositionCursor;
use super::live::LiveFile;
use super::parquet_file::ParquetFile;
use crate::error::{Error, Result};

/// The name of the column of row positions that a key scan adds, last: Int64, counted from 0 in the data file.
pub const POSITION_COLUMN: &str = "_pos";
/// Rows of a batch of keys.
const BATCH_ROWS: usize = 64 * 1024;

/// The least and the greatest value of the first key column that is looked for; both may occur.
#[derive(Debug, Clone)]
pub struct KeyRange {
    /// The key column.
    pub field_id: i32,
    /// The least value, of the column's type.
    pub min: Datum,
    /// The greatest value, of the column's type.
    pub max: Datum,
}

impl KeyRange {
    /// Whether nothing of the range lies between these bounds, for certain.
    fn is_outside(&self, lower: Option<&Datum>, upper: Option<&Datum>) -> bool {
        lower.and_then(|lower| compare(&self.max, lower)) == Some(Ordering::Less)
            || upper.and_then(|upper| compare(&self.min, upper)) == Some(Ordering::Greater)
    }
}

/// Orders values of one kind; `None` where this crate does not prune by them (floats, or types that do not match).
fn compare(a: &Datum, b: &Datum) -> Option<Ordering> {
    use PrimitiveLiteral as P;
    use PrimitiveType as T;
    match (a.data_type(), b.data_type()) {
        (T::Decimal { scale: x, .. }, T::Decimal { scale: y, .. }) if x == y => {}
        (T::Int | T::Long, T::Int | T::Long) => {}
        (x, y) if x == y => {}
        _ => return None,
    }
    match (a.literal(), b.literal()) {
        (P::Int(a), P::Int(b)) => Some(a.cmp(b)),
        (P::Long(a), P::Long(b)) => Some(a.cmp(b)),
        (P::Int(a), P::Long(b)) => Some(i64::from(*a).cmp(b)),
        (P::Long(a), P::Int(b)) => Some(a.cmp(&i64::from(*b))),
        (P::Int128(a), P::Int128(b)) => Some(a.cmp(b)),
        (P::String(a), P::String(b)) => Some(a.cmp(b)),
        (P::Binary(a), P::Binary(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether the file may hold a key of the range, by its manifest bounds. Bounds that were cut short still hold;
/// without any the answer is yes.
pub fn may_contain(live: &LiveFile, range: &KeyRange) -> bool {
    !range.is_outside(live.file.lower_bounds().get(&range.field_id), live.file.upper_bounds().get(&range.field_id))
}

/// Reads the key columns of a data file, and each row's position in it as [`POSITION_COLUMN`]; rows already deleted are left
/// out. Synchronous: for a blocking thread.
///
/// Columns are found by Parquet field id, have the names of `key_fields`, in that order, and the Arrow types of the table's
/// schema: an older file's narrower numbers are widened. The file, or row groups of it, that surely hold no key of `range`
/// are skipped; of what is left, rows outside of the range come too.
///
/// Errors: a key column that the file does not have or whose type cannot be promoted, a null in a required key column.
pub fn scan_keys(
    file_io: &FileIO,
    handle: &Handle,
    live: &LiveFile,
    key_fields: &[NestedFieldRef],
    range: Option<&KeyRange>,
    deletes: &DeleteCache,
    on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    if range.is_some_and(|range| !may_contain(live, range)) {
        return Ok(());
    }
    let file = ParquetFile::open(file_io, handle, &live.file)?;
    let keys = KeyColumns::find(&file, key_fields)?;
    let groups = row_groups(&file, range, key_fields)?;
    if groups.is_empty() {
        return Ok(());
    }
    let deleted = deletes.positions(live)?;
    let mut cursor = deleted.cursor();
    let mut rows = RowPositions::new(groups.iter().map(|group| (group.first_row, group.rows)).collect());
    let indices = groups.iter().map(|group| group.index).collect();
    file.read(handle, &keys.columns, indices, BATCH_ROWS, &mut |batch| {
        let positions = rows.take(batch.num_rows()).map_err(|e| e.in_file(file.location()))?;
        let keys = keys.project(&batch, &positions).map_err(|e| e.in_file(file.location()))?;
        match live_rows(&positions, &mut cursor) {
            None => on_batch(keys),
            Some(mask) if mask.true_count() == 0 => Ok(()),
            Some(mask) => on_batch(filter_record_batch(&keys, &mask)?),
        }
    })
}

/// `None` if no row is deleted.
pub(super) fn live_rows(positions: &[i64], cursor: &mut PositionCursor<'_>) -> Option<BooleanArray> {
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

/// Where the key columns are and what becomes of them.
struct KeyColumns {
    /// Top-level column of the file, by key field.
    columns: Vec<usize>,
    /// Column of a batch read, by key field.
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
        // The reader gives columns in the file's order, each once.
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

/// The column as the table's type, by the promotions that Iceberg allows and between Arrow's forms of one type.
pub(super) fn promote(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    use DataType as D;
    let source = array.data_type();
    if source == target {
        return Ok(Arc::clone(array));
    }
    let allowed = match (source, target) {
        (D::Decimal128(p, s), D::Decimal128(to_p, to_s)) => s == to_s && p <= to_p,
        (D::Timestamp(unit, _), D::Timestamp(to_unit, _)) => unit == to_unit,
        // Parquet binaries without the text annotation are read as such; casting checks UTF-8.
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

/// The row groups that may hold a key of the range, with the position of their first row in the file.
fn row_groups(file: &ParquetFile, range: Option<&KeyRange>, key_fields: &[NestedFieldRef]) -> Result<Vec<RowGroup>> {
    let field = range.and_then(|range| key_fields.iter().find(|field| field.id == range.field_id));
    let leaf = field.and_then(|field| file.column(field.id)).and_then(|column| file.leaf(column));
    let mut kept = Vec::new();
    let mut first_row = 0_i64;
    for (index, group) in file.metadata().row_groups().iter().enumerate() {
        let rows = group.num_rows();
        let excluded = range.zip(field).is_some_and(|(range, field)| {
            let statistics = leaf.and_then(|leaf| group.columns().get(leaf)?.statistics());
            statistics.is_some_and(|statistics| excludes(statistics, &field.field_type, range))
        });
        if !excluded && rows > 0 {
            kept.push(RowGroup { index, first_row, rows });
        }
        first_row = first_row
            .checked_add(rows)
            .filter(|_| rows >= 0)
            .ok_or_else(|| Error::failed("the data file has an impossible number of rows").in_file(file.location()))?;
    }
    Ok(kept)
}

/// Whether a row group's statistics say for certain that no value of the range is in it.
///
/// Cut statistics are still bounds. Not used: those in Parquet's deprecated fields, whose order is not defined for text, and
/// types that this crate does not order.
fn excludes(statistics: &Statistics, field_type: &Type, range: &KeyRange) -> bool {
    let Type::Primitive(primitive) = field_type else { return false };
    if statistics.is_min_max_deprecated() {
        return false;
    }
    let bound = |bytes: Option<&[u8]>| bytes.and_then(|bytes| literal_bytes(statistics, bytes, primitive));
    let (lower, upper) = (bound(statistics.min_bytes_opt()), bound(statistics.max_bytes_opt()));
    if *primitive == PrimitiveType::String {
        // A cut text need not be UTF-8: compared as bytes, which is the same order.
        let (PrimitiveLiteral::String(min), PrimitiveLiteral::String(max)) = (range.min.literal(), range.max.literal())
        else {
            return false;
        };
        return lower.is_some_and(|lower| max.as_bytes() < lower.as_slice())
            || upper.is_some_and(|upper| min.as_bytes() > upper.as_slice());
    }
    let datum = |bytes: Vec<u8>| Datum::try_from_bytes(&bytes, primitive.clone()).ok();
    range.is_outside(lower.and_then(datum).as_ref(), upper.and_then(datum).as_ref())
}

/// A statistic in Iceberg's single-value serialization; `None` where the physical type is not one that is pruned by.
fn literal_bytes(statistics: &Statistics, bytes: &[u8], primitive: &PrimitiveType) -> Option<Vec<u8>> {
    match (primitive, statistics) {
        (PrimitiveType::Int | PrimitiveType::Long, Statistics::Int32(_))
        | (PrimitiveType::Long, Statistics::Int64(_))
        | (PrimitiveType::String | PrimitiveType::Binary, Statistics::ByteArray(_))
        | (PrimitiveType::Decimal { .. }, Statistics::FixedLenByteArray(_)) => Some(bytes.to_vec()),
        (PrimitiveType::Decimal { .. }, Statistics::Int32(_) | Statistics::Int64(_)) => {
            // Parquet keeps these little-endian, Iceberg big-endian.
            Some(bytes.iter().rev().copied().collect())
        }
        _ => None,
    }
}

/// Positions in the file of the rows that come out of some of its row groups.
struct RowPositions {
    /// First row and number of rows, last group first.
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
