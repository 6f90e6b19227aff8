//! Parquet's plain encoding of values, taken directly from Arrow arrays.

use std::hash::{BuildHasher, Hash};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use parquet::basic::Type as PhysicalType;
use parquet::errors::{ParquetError, Result};

use super::levels::index;
use super::rle::{pack, width_of};
use crate::table::parquet::min_max::{MinMax, Value};

/// The values of a leaf, accessed by their index in its array.
pub(crate) trait Values {
    /// Appends values to the data of a page.
    fn put(&self, positions: &[u32], data: &mut Vec<u8>);

    /// Completes the data of a page.
    fn end_page(&self, _data: &mut Vec<u8>) {}

    /// The distinct values among these. `None` if they exceed the limit, or if the type has no dictionary in data pages
    /// v1.
    fn dictionary(&self, positions: &[u32], limit: usize) -> Option<Dictionary>;

    /// Minimum, maximum and NaN count of these values.
    fn extremes(&self, positions: &[u32]) -> MinMax;

    /// Bytes of some values themselves, if they are of varying length.
    fn varying_bytes(&self, _positions: &[u32]) -> Option<usize> {
        None
    }
}

/// A dictionary of values.
#[derive(Debug)]
pub(crate) struct Dictionary {
    /// The index of the first occurrence of each distinct value.
    pub positions: Vec<u32>,
    /// For each value, its index in the dictionary.
    pub indices: Vec<u32>,
}

impl Dictionary {
    /// Appends the dictionary indexes of some values in the encoding of data pages.
    pub fn put_indices(&self, values: Range<usize>, page: &mut Vec<u8>) {
        let greatest = self.positions.len().saturating_sub(1);
        let width = width_of(u32::try_from(greatest).unwrap_or(u32::MAX));
        page.extend(width.to_le_bytes().first());
        pack(&self.indices[values], width, |number| number, page);
    }
}

/// Minimum, maximum and NaN count of the values of an array that are not null.
pub(crate) fn min_max_of(array: &ArrayRef) -> Result<MinMax> {
    let positions = (0..).zip(0..array.len()).filter(|(_, at)| array.is_valid(*at)).map(|(position, _)| position);
    Ok(values_of(array, PhysicalType::FIXED_LEN_BYTE_ARRAY, 16)?.extremes(&positions.collect::<Vec<u32>>()))
}

/// The values of an array; decimals in the given physical type.
pub(crate) fn values_of<'a>(array: &'a ArrayRef, decimal: PhysicalType, length: i32) -> Result<Box<dyn Values + 'a>> {
    macro_rules! numbers {
        ($arrow:ty, $value:path) => {
            Box::new(Numbers {
                values: array.as_primitive::<$arrow>().values(),
                plain: |value: <$arrow as ArrowPrimitiveType>::Native| value.to_le_bytes(),
                value: $value,
                has_dictionary: true,
            })
        };
    }
    macro_rules! decimals {
        ($plain:expr, $has_dictionary:expr) => {
            Box::new(Numbers {
                values: array.as_primitive::<Decimal128Type>().values(),
                plain: $plain,
                value: Value::Decimal,
                has_dictionary: $has_dictionary,
            })
        };
    }
    macro_rules! bytes {
        ($array:expr, $is_fixed:expr) => {{
            let array = $array;
            Box::new(Bytes { at: |at: u32| AsRef::<[u8]>::as_ref(array.value(index(at))), is_fixed: $is_fixed })
        }};
    }
    Ok(match array.data_type() {
        DataType::Boolean => Box::new(Booleans(array.as_boolean())),
        DataType::Int32 => numbers!(Int32Type, Value::Int),
        DataType::Date32 => numbers!(Date32Type, Value::Int),
        DataType::Int64 => numbers!(Int64Type, Value::Long),
        DataType::Time64(TimeUnit::Microsecond) => numbers!(Time64MicrosecondType, Value::Long),
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers!(TimestampMicrosecondType, Value::Long),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers!(TimestampNanosecondType, Value::Long),
        DataType::Float32 => numbers!(Float32Type, Value::Float),
        DataType::Float64 => numbers!(Float64Type, Value::Double),
        DataType::Decimal128(..) => match (decimal, usize::try_from(length)) {
            (PhysicalType::INT32, _) => decimals!(low::<4>, true),
            (PhysicalType::INT64, _) => decimals!(low::<8>, true),
            (_, Ok(16)) => decimals!(i128::to_be_bytes, false),
            (_, Ok(length @ 1..16)) => decimals!(move |value: i128| Tail(value.to_be_bytes(), 16 - length), false),
            _ => return Err(ParquetError::General(format!("a decimal of {length} bytes"))),
        },
        DataType::Utf8 => bytes!(array.as_string::<i32>(), false),
        DataType::LargeUtf8 => bytes!(array.as_string::<i64>(), false),
        DataType::Binary => bytes!(array.as_binary::<i32>(), false),
        DataType::LargeBinary => bytes!(array.as_binary::<i64>(), false),
        DataType::FixedSizeBinary(_) => bytes!(array.as_fixed_size_binary(), true),
        other => {
            return Err(ParquetError::General(format!(
                "a column of Arrow type {other} cannot be written to the table"
            )));
        }
    })
}

/// The low bytes of a number, little-endian.
fn low<const N: usize>(value: i128) -> [u8; N] {
    value.to_le_bytes().first_chunk().copied().unwrap_or([0; N])
}

/// The bytes from this offset on.
#[derive(PartialEq, Eq, Hash)]
struct Tail([u8; 16], usize);

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        &self.0[self.1..]
    }
}

/// A number with an order, except for NaN.
trait Ranked: Copy {
    fn less(self, other: Self) -> bool;
    fn is_nan(self) -> bool;
}

macro_rules! ranked {
    ($($integer:ty),*; $($float:ty),*) => {
        $(impl Ranked for $integer {
            fn less(self, other: Self) -> bool {
                self < other
            }

            fn is_nan(self) -> bool {
                false
            }
        })*
        $(impl Ranked for $float {
            fn less(self, other: Self) -> bool {
                self.total_cmp(&other).is_lt()
            }

            fn is_nan(self) -> bool {
                <$float>::is_nan(self)
            }
        })*
    };
}

ranked!(i32, i64, i128; f32, f64);

struct Numbers<'a, T, P, V> {
    values: &'a [T],
    /// Converts a number to its plain encoding.
    plain: P,
    value: V,
    has_dictionary: bool,
}

impl<T: Ranked, B: AsRef<[u8]> + Hash + Eq, P: Fn(T) -> B, V: Fn(T) -> Value> Values for Numbers<'_, T, P, V> {
    fn put(&self, positions: &[u32], data: &mut Vec<u8>) {
        data.reserve(positions.len() * size_of::<B>());
        for at in positions {
            data.extend_from_slice((self.plain)(self.values[index(*at)]).as_ref());
        }
    }

    fn dictionary(&self, positions: &[u32], limit: usize) -> Option<Dictionary> {
        let plain = |at: u32| (self.plain)(self.values[index(at)]);
        if self.has_dictionary { dictionary(positions, plain, |value| value.as_ref().len(), limit) } else { None }
    }

    fn extremes(&self, positions: &[u32]) -> MinMax {
        let mut values = positions.iter().map(|at| self.values[index(*at)]);
        let mut nans = 0;
        let Some(first) = values.by_ref().find(|value| {
            nans += u64::from(value.is_nan());
            !value.is_nan()
        }) else {
            return MinMax { bounds: None, nans };
        };
        let (mut min, mut max) = (first, first);
        for value in values {
            if value.is_nan() {
                nans += 1;
                continue;
            }
            min = if value.less(min) { value } else { min };
            max = if max.less(value) { value } else { max };
        }
        MinMax { bounds: Some(((self.value)(min), (self.value)(max))), nans }
    }
}

struct Bytes<F> {
    at: F,
    /// All values have the same length, which is not written.
    is_fixed: bool,
}

impl<'a, F: Fn(u32) -> &'a [u8]> Values for Bytes<F> {
    fn put(&self, positions: &[u32], data: &mut Vec<u8>) {
        for at in positions {
            let value = (self.at)(*at);
            if !self.is_fixed {
                // A page of more than 2^31 bytes is refused.
                data.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            }
            data.extend_from_slice(value);
        }
    }

    fn dictionary(&self, positions: &[u32], limit: usize) -> Option<Dictionary> {
        let size = |value: &&[u8]| value.len() + size_of::<u32>();
        if self.is_fixed { None } else { dictionary(positions, &self.at, size, limit) }
    }

    fn varying_bytes(&self, positions: &[u32]) -> Option<usize> {
        (!self.is_fixed).then(|| positions.iter().map(|at| (self.at)(*at).len()).sum())
    }

    fn extremes(&self, positions: &[u32]) -> MinMax {
        let mut values = positions.iter().map(|at| (self.at)(*at));
        let Some(first) = values.next() else { return MinMax::default() };
        let (mut min, mut max) = (first, first);
        for value in values {
            if value < min {
                min = value;
            } else if value > max {
                max = value;
            }
        }
        MinMax { bounds: Some((Value::Bytes(min.to_vec()), Value::Bytes(max.to_vec()))), nans: 0 }
    }
}

struct Booleans<'a>(&'a BooleanArray);

impl Values for Booleans<'_> {
    /// Values are collected as one byte each; a page can only be packed as a whole.
    fn put(&self, positions: &[u32], data: &mut Vec<u8>) {
        data.extend(positions.iter().map(|at| u8::from(self.0.value(index(*at)))));
    }

    fn end_page(&self, data: &mut Vec<u8>) {
        *data = data.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect();
    }

    fn dictionary(&self, _: &[u32], _: usize) -> Option<Dictionary> {
        None
    }

    fn extremes(&self, positions: &[u32]) -> MinMax {
        let value = |at: &u32| self.0.value(index(*at));
        let bounds = (!positions.is_empty())
            .then(|| (Value::Boolean(positions.iter().all(value)), Value::Boolean(positions.iter().any(value))));
        MinMax { bounds, nans: 0 }
    }
}

fn dictionary<T: Hash + Eq>(
    positions: &[u32],
    value: impl Fn(u32) -> T,
    size: impl Fn(&T) -> usize,
    limit: usize,
) -> Option<Dictionary> {
    let hasher = DefaultHashBuilder::default();
    let mut table: HashTable<u32> = HashTable::new();
    let mut dictionary = Dictionary { positions: Vec::new(), indices: Vec::with_capacity(positions.len()) };
    let (mut known, mut bytes) = (Vec::new(), 0);
    for at in positions {
        let found = value(*at);
        let entry = table.entry(
            hasher.hash_one(&found),
            |number| known[index(*number)] == found,
            |number| hasher.hash_one(&known[index(*number)]),
        );
        let number = match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                bytes += size(&found);
                if bytes > limit {
                    return None;
                }
                let number = u32::try_from(dictionary.positions.len()).ok()?;
                entry.insert(number);
                known.push(found);
                dictionary.positions.push(*at);
                number
            }
        };
        dictionary.indices.push(number);
    }
    Some(dictionary)
}
