//! Statistics of a column chunk (`Statistics` in Parquet's `parquet.thrift`).

use parquet::basic::Type as PhysicalType;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescriptor;

use crate::table::parquet::min_max::{MinMax, Value};
use crate::table::parquet::truncate;

/// The statistics of a leaf. Bounds of strings and binaries are truncated to the given number of code points or bytes;
/// other bounds are exact.
pub(crate) fn statistics(
    leaf: &ColumnDescriptor,
    extremes: &MinMax,
    nulls: usize,
    truncate: Option<usize>,
) -> Statistics {
    let nulls = u64::try_from(nulls).ok();
    let bounds = extremes.bounds.as_ref();
    // Both bounds in the column's physical type.
    macro_rules! of {
        ($make:path, $value:expr) => {{
            let value = $value;
            let (min, max) = bounds.and_then(|(min, max)| value(min).zip(value(max))).unzip();
            $make(min, max, None, nulls, false)
        }};
    }
    match leaf.physical_type() {
        PhysicalType::BOOLEAN => of!(Statistics::boolean, |value: &Value| match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }),
        PhysicalType::INT32 => of!(Statistics::int32, |value: &Value| match value {
            Value::Int(value) => Some(*value),
            Value::Decimal(value) => i32::try_from(*value).ok(),
            _ => None,
        }),
        PhysicalType::INT64 => of!(Statistics::int64, |value: &Value| match value {
            Value::Long(value) => Some(*value),
            Value::Decimal(value) => i64::try_from(*value).ok(),
            _ => None,
        }),
        // Zero has two signs, and readers may search for either.
        PhysicalType::FLOAT => match bounds {
            Some((Value::Float(min), Value::Float(max))) => {
                let (min, max) = (if *min == 0.0 { -0.0 } else { *min }, if *max == 0.0 { 0.0 } else { *max });
                Statistics::float(Some(min), Some(max), None, nulls, false)
            }
            _ => Statistics::float(None, None, None, nulls, false),
        },
        PhysicalType::DOUBLE => match bounds {
            Some((Value::Double(min), Value::Double(max))) => {
                let (min, max) = (if *min == 0.0 { -0.0 } else { *min }, if *max == 0.0 { 0.0 } else { *max });
                Statistics::double(Some(min), Some(max), None, nulls, false)
            }
            _ => Statistics::double(None, None, None, nulls, false),
        },
        PhysicalType::BYTE_ARRAY => texts(bounds, nulls, truncate),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => of!(Statistics::fixed_len_byte_array, |value: &Value| match value {
            Value::Decimal(value) => {
                let begin = 16 - usize::try_from(leaf.type_length()).ok()?.min(16);
                Some(FixedLenByteArray::from(value.to_be_bytes()[begin..].to_vec()))
            }
            Value::Bytes(value) => Some(FixedLenByteArray::from(value.clone())),
            _ => None,
        }),
        PhysicalType::INT96 => Statistics::int96(None, None, None, nulls, false),
    }
}

fn texts(bounds: Option<&(Value, Value)>, nulls: Option<u64>, truncate: Option<usize>) -> Statistics {
    let Some((Value::Bytes(min), Value::Bytes(max))) = bounds else {
        return Statistics::byte_array(None, None, None, nulls, false);
    };
    let length = truncate.unwrap_or(usize::MAX);
    let (low, high) = match (std::str::from_utf8(min), std::str::from_utf8(max)) {
        (Ok(min), Ok(max)) => {
            (truncate::lower_text(min, length).as_bytes(), truncate::upper_text(max, length).map(String::into_bytes))
        }
        _ => (truncate::lower_bytes(min, length), truncate::upper_bytes(max, length)),
    };
    // A bound that cannot be truncated stays whole.
    let high = high.unwrap_or_else(|| max.clone());
    let exact = (low == min, high == *max);
    let (low, high) = (ByteArray::from(low.to_vec()), ByteArray::from(high));
    let bounds = ValueStatistics::new(Some(low), Some(high), None, nulls, false);
    Statistics::ByteArray(bounds.with_min_is_exact(exact.0).with_max_is_exact(exact.1))
}
