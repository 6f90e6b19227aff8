//! Iceberg's partition transforms, on Arrow columns (spec, "Partition Transforms").
//!
//! Most come from the `iceberg` crate. Implemented here are the time transforms, which in the crate are a day or an
//! hour off within a second of a boundary before 1970; `truncate` of numbers, which overflows there near the minimum,
//! where Iceberg's Java classes wrap around; and `truncate` of binary, which the crate lacks.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int32Array, LargeBinaryArray, PrimitiveArray, new_null_array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use chrono::{DateTime, Datelike};
use iceberg::spec::Transform;
use iceberg::transform::create_transform_function;

use crate::error::{Error, Result};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// The partition values of a column; null stays null.
///
/// Errors: a type that the transform does not support; a time whose partition value exceeds 32 bits.
pub(crate) fn apply(transform: Transform, column: &ArrayRef) -> Result<ArrayRef> {
    match (transform, column.data_type()) {
        (Transform::Identity, _) => Ok(Arc::clone(column)),
        (Transform::Void, ty) => Ok(new_null_array(ty, column.len())),
        (Transform::Truncate(width), DataType::Int64) => {
            let width = i64::from(width.max(1));
            let values = column.as_primitive::<Int64Type>();
            Ok(Arc::new(values.unary::<_, Int64Type>(|v| v.wrapping_sub(v.rem_euclid(width)))))
        }
        (Transform::Truncate(width), DataType::Int32) => {
            let width = i32::try_from(width).unwrap_or(i32::MAX).max(1);
            let values = column.as_primitive::<Int32Type>();
            Ok(Arc::new(values.unary::<_, Int32Type>(|v| v.wrapping_sub(v.rem_euclid(width)))))
        }
        (Transform::Truncate(width), DataType::LargeBinary) => {
            let width = usize::try_from(width).unwrap_or(usize::MAX);
            let values = column.as_binary::<i64>().iter();
            Ok(Arc::new(values.map(|v| v.map(|v| v.get(..width).unwrap_or(v))).collect::<LargeBinaryArray>()))
        }
        (Transform::Year | Transform::Month | Transform::Day | Transform::Hour, ty) => match ty {
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                times(transform, column.as_primitive::<TimestampMicrosecondType>(), |v| v)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                times(transform, column.as_primitive::<TimestampNanosecondType>(), |v| v.div_euclid(1000))
            }
            DataType::Date32 => times(transform, column.as_primitive::<Date32Type>(), |v| i64::from(v) * DAY),
            other => Err(Error::failed(format!("{transform} is no transform of {other}"))),
        },
        _ => Ok(create_transform_function(&transform)?.transform(Arc::clone(column))?),
    }
}

fn times<T: ArrowPrimitiveType>(
    transform: Transform,
    values: &PrimitiveArray<T>,
    micros: impl Fn(T::Native) -> i64,
) -> Result<ArrayRef> {
    let unit = |micros: i64| match transform {
        Transform::Hour => i32::try_from(micros.div_euclid(HOUR)).ok(),
        Transform::Day => i32::try_from(micros.div_euclid(DAY)).ok(),
        _ => {
            let date = DateTime::from_timestamp(micros.div_euclid(1_000_000), 0)?;
            let years = date.year() - 1970;
            let months = i32::try_from(date.month0()).ok()?;
            Some(if transform == Transform::Year { years } else { years * 12 + months })
        }
    };
    let outside = || Error::input(format!("a time has no {transform} that a partition can have"));
    let found: Int32Array = values.try_unary(|v| unit(micros(v)).ok_or_else(outside))?;
    Ok(if transform == Transform::Day {
        Arc::new(Date32Array::new(found.values().clone(), found.nulls().cloned()))
    } else {
        Arc::new(found)
    })
}

#[cfg(test)]
#[path = "transform_tests.rs"]
mod tests;
