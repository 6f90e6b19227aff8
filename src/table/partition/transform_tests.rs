use arrow::array::{
    BinaryArray, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;

fn ints(transform: Transform, column: impl Array + 'static) -> Vec<Option<i32>> {
    apply(transform, &(Arc::new(column) as ArrayRef)).unwrap().as_primitive::<Int32Type>().iter().collect()
}

/// The buckets among so many that a bucket number says the whole hash, as the spec's appendix B gives it.
fn hashes(column: impl Array + 'static) -> Vec<Option<i32>> {
    ints(Transform::Bucket(i32::MAX.unsigned_abs()), column)
}

fn bucket_of(hash: i32) -> i32 {
    (hash & i32::MAX) % i32::MAX
}

/// Appendix B, "32-bit Hash Requirements": the values of its table.
#[test]
fn buckets_are_those_of_the_spec() {
    assert_eq!(hashes(Int64Array::from(vec![Some(34), None])), [Some(bucket_of(2_017_239_379)), None]);
    let decimals = Decimal128Array::from(vec![1420]).with_precision_and_scale(38, 2).unwrap();
    assert_eq!(hashes(decimals), [Some(bucket_of(-500_754_589))]);
    assert_eq!(hashes(StringArray::from(vec!["iceberg"])), [Some(bucket_of(1_210_000_089))]);
    let bytes: &[u8] = &[0, 1, 2, 3];
    assert_eq!(hashes(LargeBinaryArray::from(vec![Some(bytes), None])), [Some(bucket_of(-188_683_207)), None]);
    assert_eq!(hashes(BinaryArray::from(vec![bytes])), [Some(bucket_of(-188_683_207))]);
    // 2017-11-16, and 22:31:08 of that day, also with a time zone and in nanoseconds.
    assert_eq!(hashes(Date32Array::from(vec![17_486])), [Some(bucket_of(-653_330_422))]);
    let micros = 1_510_871_468_000_000;
    assert_eq!(hashes(TimestampMicrosecondArray::from(vec![micros])), [Some(bucket_of(-2_047_944_441))]);
    let zoned = TimestampMicrosecondArray::from(vec![micros]).with_timezone("+00:00");
    assert_eq!(hashes(zoned), [Some(bucket_of(-2_047_944_441))]);
    assert_eq!(hashes(TimestampMicrosecondArray::from(vec![micros + 1])), [Some(bucket_of(-1_207_196_810))]);
    assert_eq!(hashes(TimestampNanosecondArray::from(vec![micros * 1000 + 1])), [Some(bucket_of(-2_047_944_441))]);
}

#[test]
fn numbers_are_truncated_down() {
    let of = |values: Vec<i64>, width| {
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        apply(Transform::Truncate(width), &column).unwrap().as_primitive::<Int64Type>().values().to_vec()
    };
    assert_eq!(of(vec![0, 1, 9, 10, -1, -10, -11], 10), [0, 0, 0, 10, -10, -10, -20]);
    assert_eq!(of(vec![7, -7], 1), [7, -7]);
    // Java's arithmetic: below the least value it begins again at the greatest.
    assert_eq!(of(vec![i64::MIN, i64::MAX], 10), [i64::MIN.wrapping_sub(2), i64::MAX - 7]);
    let column: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![Some(9), Some(-1), None, Some(i32::MIN)]));
    let cut = apply(Transform::Truncate(10), &column).unwrap();
    let cut: Vec<Option<i32>> = cut.as_primitive::<Int32Type>().iter().collect();
    assert_eq!(cut, [Some(0), Some(-10), None, Some(i32::MIN.wrapping_sub(2))]);
    let column: ArrayRef =
        Arc::new(Decimal128Array::from(vec![1065, -1065, 49, -1]).with_precision_and_scale(38, 2).unwrap());
    let cut = apply(Transform::Truncate(50), &column).unwrap();
    assert_eq!(cut.as_primitive::<arrow::datatypes::Decimal128Type>().values(), &[1050, -1100, 0, -50]);
    assert_eq!(cut.data_type(), column.data_type());
}

#[test]
fn text_is_truncated_by_characters_and_binary_by_bytes() {
    let column: ArrayRef =
        Arc::new(StringArray::from(vec![Some("iceberg"), Some("größe"), Some("😀😀😀x"), Some(""), None]));
    let cut = apply(Transform::Truncate(3), &column).unwrap();
    assert_eq!(
        cut.as_string::<i32>().iter().collect::<Vec<_>>(),
        [Some("ice"), Some("grö"), Some("😀😀😀"), Some(""), None]
    );
    let column: ArrayRef =
        Arc::new(LargeBinaryArray::from(vec![Some(&b"\xff\x00\x01\x02"[..]), Some(b"\xff"), Some(b""), None]));
    let cut = apply(Transform::Truncate(3), &column).unwrap();
    let cut: Vec<_> = cut.as_binary::<i64>().iter().collect();
    assert_eq!(cut, [Some(&b"\xff\x00\x01"[..]), Some(b"\xff"), Some(b""), None]);
}

#[test]
fn times_before_1970_count_down() {
    let micros = |transform, values: Vec<i64>| {
        let found = apply(transform, &(Arc::new(TimestampMicrosecondArray::from(values)) as ArrayRef)).unwrap();
        if transform == Transform::Day {
            found.as_primitive::<Date32Type>().values().to_vec()
        } else {
            found.as_primitive::<Int32Type>().values().to_vec()
        }
    };
    assert_eq!(
        micros(Transform::Day, vec![0, -1, -DAY, -DAY - 1, -DAY - 500_000, DAY - 1, DAY]),
        [0, -1, -1, -2, -2, 0, 1]
    );
    assert_eq!(micros(Transform::Hour, vec![0, -1, -HOUR, -HOUR - 1, -HOUR - 500_000, HOUR]), [0, -1, -1, -2, -2, 1]);
    assert_eq!(micros(Transform::Month, vec![0, -1, -31 * DAY, -31 * DAY - 1, 31 * DAY]), [0, -1, -1, -2, 1]);
    assert_eq!(micros(Transform::Year, vec![0, -1, -365 * DAY, -365 * DAY - 1, 365 * DAY]), [0, -1, -1, -2, 1]);
    assert_eq!(ints(Transform::Hour, TimestampNanosecondArray::from(vec![-1, 0])), [Some(-1), Some(0)]);
    assert_eq!(ints(Transform::Month, Date32Array::from(vec![Some(-1), None, Some(31)])), [Some(-1), None, Some(1)]);
}

#[test]
fn a_time_beyond_all_partitions_is_an_error() {
    for transform in [Transform::Year, Transform::Month, Transform::Hour] {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]));
        assert!(apply(transform, &column).is_err(), "{transform}");
    }
}

#[test]
fn void_is_null() {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    assert_eq!(apply(Transform::Void, &column).unwrap().null_count(), 1);
    assert!(apply(Transform::Unknown, &column).is_err());
    assert!(apply(Transform::Day, &column).is_err());
}

proptest! {
    #[test]
    fn times_are_the_calendars(micros in -5_000_000_000_000_000_i64..5_000_000_000_000_000) {
        let time = DateTime::from_timestamp_micros(micros).unwrap();
        let (year, month) = (time.year() - 1970, i32::try_from(time.month0()).unwrap());
        let day = time.date_naive().signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days();
        let column = || TimestampMicrosecondArray::from(vec![micros]);
        prop_assert_eq!(ints(Transform::Year, column()), [Some(year)]);
        prop_assert_eq!(ints(Transform::Month, column()), [Some(year * 12 + month)]);
        let days = apply(Transform::Day, &(Arc::new(column()) as ArrayRef)).unwrap();
        prop_assert_eq!(i64::from(days.as_primitive::<Date32Type>().value(0)), day);
        let hours = i32::try_from(day * 24).unwrap() + i32::try_from(chrono::Timelike::hour(&time)).unwrap();
        prop_assert_eq!(ints(Transform::Hour, column()), [Some(hours)]);
    }
}
