//! Skips data files and row groups that cannot contain any of the keys, by bounds of their key columns.
//!
//! The minimum and maximum of all keys would exclude little: even a hundred keys are spread over the whole table. So
//! for each file the filter checks whether one of the keys is within its bounds. Truncated bounds remain valid.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, LargeBinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use iceberg::spec::{Datum, NestedField, NestedFieldRef, PrimitiveLiteral, PrimitiveType, Type};
use parquet::file::statistics::Statistics;

use crate::table::files::LiveFile;

/// Maximum number of keys per file whose other columns are compared one by one. A file with more keys within the bounds
/// of its first column nearly always contains one of them.
const MOST_COMPARED: usize = 16 * 1024;

/// The keys to search for.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    rows: usize,
    /// By key column, in the order of the key.
    columns: Vec<Column>,
    /// Whether the keys are sorted by the first column, and all of its values are known.
    sorted: bool,
}

#[derive(Debug, Clone)]
struct Column {
    field_id: i32,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    Text(StringArray),
    Binary(LargeBinaryArray),
    Long(Int64Array),
    Decimal(Decimal128Array, u32),
    /// A type for which nothing is skipped.
    Other,
}

/// A value with the same order as the values of its column: strings by bytes, which is the order of code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge<'a> {
    Bytes(&'a [u8]),
    Number(i128),
}

/// Bounds of a column's values, both inclusive. `None`: unknown.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds<'a> {
    lower: Option<Edge<'a>>,
    upper: Option<Edge<'a>>,
}

impl<'a> Bounds<'a> {
    /// Contradictory bounds count as unknown.
    fn new(lower: Option<Edge<'a>>, upper: Option<Edge<'a>>) -> Self {
        match (lower, upper) {
            (Some(low), Some(high)) if low > high => Self::default(),
            _ => Self { lower, upper },
        }
    }

    fn are_known(self) -> bool {
        self.lower.is_some() || self.upper.is_some()
    }

    fn contain(self, value: Edge<'_>) -> bool {
        self.lower.is_none_or(|lower| lower <= value) && self.upper.is_none_or(|upper| value <= upper)
    }
}

impl KeyFilter {
    /// A filter for `keys`, whose columns are those of `key_fields`, in the table's types. If the keys are not sorted,
    /// no file is skipped.
    pub fn new(key_fields: &[NestedFieldRef], keys: &RecordBatch) -> Self {
        let columns: Vec<Column> =
            key_fields.iter().zip(keys.columns()).map(|(field, values)| Column::new(field, values)).collect();
        let rows = keys.num_rows();
        let sorted = columns.first().is_some_and(|first| first.is_sorted(rows));
        Self { rows, columns, sorted }
    }

    /// Whether the file may contain one of the keys, by its bounds in the manifest; true without bounds.
    pub fn may_be_in(&self, live: &LiveFile) -> bool {
        let (lower, upper) = (live.file.lower_bounds(), live.file.upper_bounds());
        self.may_be_within(|column| {
            let (lower, upper) = (lower.get(&column.field_id), upper.get(&column.field_id));
            Bounds::new(lower.and_then(|b| column.of_datum(b)), upper.and_then(|b| column.of_datum(b)))
        })
    }

    /// Whether a row group may contain one of the keys, by its columns' statistics, which are looked up by field id.
    pub(crate) fn may_be_in_group<'s>(&self, statistics: impl Fn(i32) -> Option<&'s Statistics>) -> bool {
        self.may_be_within(|column| statistics(column.field_id).map(|known| column.bounds(known)).unwrap_or_default())
    }

    fn may_be_within<'b>(&self, bounds: impl Fn(&Column) -> Bounds<'b>) -> bool {
        let Some((first, rest)) = self.columns.split_first() else { return true };
        let mut near = 0..self.rows;
        let of_first = bounds(first);
        if self.sorted && of_first.are_known() {
            near = first.range(self.rows, of_first);
            if near.is_empty() {
                return false;
            }
        }
        let rest: Vec<(&Column, Bounds<'b>)> =
            rest.iter().map(|column| (column, bounds(column))).filter(|(_, bounds)| bounds.are_known()).collect();
        if rest.is_empty() || near.len() > MOST_COMPARED {
            return true;
        }
        let is_in = |row: usize| rest.iter().all(|(column, b)| column.value(row).is_none_or(|v| b.contain(v)));
        near.into_iter().any(is_in)
    }
}

impl Column {
    fn new(field: &NestedField, values: &ArrayRef) -> Self {
        let ty = match &*field.field_type {
            Type::Primitive(ty) if values.null_count() == 0 => Some(ty),
            _ => None,
        };
        let values = match (ty, values.data_type()) {
            (Some(PrimitiveType::String), DataType::Utf8) => Values::Text(values.as_string::<i32>().clone()),
            (Some(PrimitiveType::Binary), DataType::LargeBinary) => Values::Binary(values.as_binary::<i64>().clone()),
            (Some(PrimitiveType::Long), DataType::Int64) => Values::Long(values.as_primitive::<Int64Type>().clone()),
            (Some(PrimitiveType::Decimal { scale, .. }), DataType::Decimal128(_, of_values))
                if i64::from(*scale) == i64::from(*of_values) =>
            {
                Values::Decimal(values.as_primitive::<Decimal128Type>().clone(), *scale)
            }
            _ => Values::Other,
        };
        Self { field_id: field.id, values }
    }

    /// The value of a row; `None` if the type has no order here.
    fn value(&self, row: usize) -> Option<Edge<'_>> {
        match &self.values {
            Values::Text(values) => Some(Edge::Bytes(values.value(row).as_bytes())),
            Values::Binary(values) => Some(Edge::Bytes(values.value(row))),
            Values::Long(values) => Some(Edge::Number(i128::from(values.value(row)))),
            Values::Decimal(values, _) => Some(Edge::Number(values.value(row))),
            Values::Other => None,
        }
    }

    fn is_sorted(&self, rows: usize) -> bool {
        !matches!(self.values, Values::Other) && (1..rows).all(|row| self.value(row - 1) <= self.value(row))
    }

    /// Among rows in order, those with values within the bounds.
    fn range(&self, rows: usize, bounds: Bounds<'_>) -> Range<usize> {
        let first = |from: usize, is_before: &dyn Fn(Edge<'_>) -> bool| {
            let (mut low, mut high) = (from, rows);
            while low < high {
                let middle = low + (high - low) / 2;
                if self.value(middle).is_some_and(is_before) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            low
        };
        let from = bounds.lower.map_or(0, |lower| first(0, &|value| value < lower));
        let to = bounds.upper.map_or(rows, |upper| first(from, &|value| value <= upper));
        from..to
    }

    /// A bound in a manifest; `None` if it has another type. Numbers may be narrower than the table's.
    fn of_datum<'d>(&self, bound: &'d Datum) -> Option<Edge<'d>> {
        use PrimitiveLiteral as L;
        use PrimitiveType as T;
        match (&self.values, bound.data_type(), bound.literal()) {
            (Values::Text(_), T::String, L::String(text)) => Some(Edge::Bytes(text.as_bytes())),
            (Values::Binary(_), T::Binary, L::Binary(bytes)) => Some(Edge::Bytes(bytes)),
            (Values::Long(_), T::Int, L::Int(number)) => Some(Edge::Number(i128::from(*number))),
            (Values::Long(_), T::Long, L::Long(number)) => Some(Edge::Number(i128::from(*number))),
            (Values::Decimal(_, scale), T::Decimal { scale: of_bound, .. }, L::Int128(number)) if scale == of_bound => {
                Some(Edge::Number(*number))
            }
            _ => None,
        }
    }

    /// Bounds from Parquet's statistics. A truncated string need not be UTF-8.
    ///
    /// Parquet's deprecated fields are ignored, since their order is undefined for strings.
    fn bounds<'s>(&self, statistics: &'s Statistics) -> Bounds<'s> {
        if statistics.is_min_max_deprecated() {
            return Bounds::default();
        }
        let edge = |bytes: Option<&'s [u8]>| bytes.and_then(|bytes| self.of_statistic(statistics, bytes));
        Bounds::new(edge(statistics.min_bytes_opt()), edge(statistics.max_bytes_opt()))
    }

    fn of_statistic<'s>(&self, statistics: &Statistics, bytes: &'s [u8]) -> Option<Edge<'s>> {
        match (&self.values, statistics) {
            (Values::Text(_) | Values::Binary(_), Statistics::ByteArray(_)) => Some(Edge::Bytes(bytes)),
            (Values::Long(_) | Values::Decimal(..), Statistics::Int32(_)) => {
                Some(Edge::Number(i128::from(i32::from_le_bytes(bytes.try_into().ok()?))))
            }
            (Values::Long(_) | Values::Decimal(..), Statistics::Int64(_)) => {
                Some(Edge::Number(i128::from(i64::from_le_bytes(bytes.try_into().ok()?))))
            }
            // Big-endian, and with no more bytes than the precision needs.
            (Values::Decimal(..), Statistics::FixedLenByteArray(_)) => {
                let sign = if *bytes.first()? >= 0x80 { 0xff } else { 0 };
                let mut wide = [sign; 16];
                wide.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
                Some(Edge::Number(i128::from_be_bytes(wide)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "key_filter_tests.rs"]
mod tests;
