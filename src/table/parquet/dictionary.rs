//! Decides which columns of a data file should not have a dictionary.
//!
//! Parquet's writer starts a dictionary for every other column and abandons it at its limit: for keys, times and
//! strings with many values, it would hash and copy tens of thousands of values for nothing.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use hashbrown::{DefaultHashBuilder, HashSet};
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::ColumnPath;

use super::encoder::has_dictionaries;
use crate::error::Result;

/// Number of values sampled per column. In a sample of this size, 50,000 distinct values repeat some 170 times.
const SAMPLE: usize = 4096;
/// Bytes at which Parquet's writer abandons a dictionary.
const DICTIONARY_BYTES: usize = 1 << 20;
/// Maximum precision of decimals that may have a dictionary. Wider ones are fixed-length bytes, which have none in data
/// pages v1.
const NARROW_DECIMAL: u8 = 18;

/// The Parquet paths of columns whose dictionary would hold most of the values, or would not fit its limit.
pub fn plain_columns(batch: &RecordBatch) -> Result<Vec<ColumnPath>> {
    // These have none at all.
    if !has_dictionaries(&batch.schema()) {
        return Ok(Vec::new());
    }
    let schema = ArrowSchemaConverter::new().convert(&batch.schema())?;
    let mut leaves = Vec::new();
    for column in batch.columns() {
        add_leaves(column, &mut leaves);
    }
    let paths = schema.columns().iter().map(|column| column.path());
    Ok(paths.zip(leaves).filter(|(_, leaf)| is_plain(leaf)).map(|(path, _)| path.clone()).collect())
}

/// Leaf columns, in the order of Parquet's.
fn add_leaves(array: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|column| add_leaves(column, leaves)),
        DataType::List(_) => add_leaves(array.as_list::<i32>().values(), leaves),
        DataType::Map(..) => {
            let map = array.as_map();
            add_leaves(map.keys(), leaves);
            add_leaves(map.values(), leaves);
        }
        _ => leaves.push(array.clone()),
    }
}

/// The bytes of a value; `None` for types whose dictionary never pays off.
fn value<'a>(leaf: &'a ArrayRef, data: &'a ArrayData, n: usize) -> Option<&'a [u8]> {
    match leaf.data_type() {
        DataType::Utf8 => Some(leaf.as_string::<i32>().value(n).as_bytes()),
        DataType::LargeBinary => Some(leaf.as_binary::<i64>().value(n)),
        DataType::Decimal128(precision, _) if *precision > NARROW_DECIMAL => None,
        fixed => {
            let (width, at) = (fixed.primitive_width()?, data.offset() + n);
            data.buffers().first()?.get(at * width..(at + 1) * width)
        }
    }
}

fn is_plain(leaf: &ArrayRef) -> bool {
    let data = leaf.to_data();
    let hasher = DefaultHashBuilder::default();
    let (mut seen, mut length, mut distinct) = (0_usize, 0_usize, HashSet::new());
    let step = |count: usize| count / SAMPLE + 1;
    let nulls = leaf.nulls().filter(|nulls| nulls.null_count() > 0);
    let sample: Box<dyn Iterator<Item = usize>> = match nulls {
        // At the cost of its values: there may be thousands of columns with next to none.
        Some(nulls) => Box::new(nulls.valid_indices().step_by(step(leaf.len() - nulls.null_count()))),
        None => Box::new((0..leaf.len()).step_by(step(leaf.len()))),
    };
    for n in sample {
        let Some(value) = value(leaf, &data, n) else { return false };
        seen += 1;
        length += value.len();
        distinct.insert(hasher.hash_one(value));
    }
    let Some(width) = length.checked_div(seen) else { return false };
    // A dictionary stores strings and binaries with their length.
    let prefix = if leaf.data_type().primitive_width().is_some() { 0 } else { size_of::<u32>() };
    let rows = (leaf.len() - leaf.null_count()).max(seen);
    // Estimated number of distinct values, from the number of repetitions in the sample. A third of the sample
    // compensates for values seen more than twice.
    let Some(values) = (seen * seen).checked_div(2 * (seen - distinct.len())) else { return true };
    let values = values.saturating_sub(seen / 3).max(distinct.len());
    values > rows / 2 || values * (width + prefix) > DICTIONARY_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, LargeBinaryArray, ListArray, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields, Int64Type};

    use super::*;

    fn random(n: i64, of: i64) -> i64 {
        let mixed = n.wrapping_add(1).wrapping_mul(0x5DEE_CE66_D1CE_4E5B);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x3F58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 32)).rem_euclid(of)
    }

    #[test]
    fn columns_of_many_values_are_plain() {
        let rows = 50_000i64;
        let texts =
            |f: &dyn Fn(i64) -> String| Arc::new((0..rows).map(|n| Some(f(n))).collect::<StringArray>()) as ArrayRef;
        let longs = |f: &dyn Fn(i64) -> Option<i64>| Arc::new((0..rows).map(f).collect::<Int64Array>()) as ArrayRef;
        let fields: Fields = ["few", "many"].map(|name| Field::new(name, DataType::Utf8, true)).into_iter().collect();
        let inside = StructArray::new(
            fields,
            vec![texts(&|n| format!("city {}", random(n, 500))), texts(&|n| format!("street {n}"))],
            None,
        );
        let list =
            ListArray::from_iter_primitive::<Int64Type, _, _>((0..rows).map(|n| Some([Some(n), Some(n + rows)])));
        let columns: [(&str, ArrayRef); 10] = [
            ("key", texts(&|n| format!("key {n}"))),
            ("status", texts(&|n| format!("status {}", random(n, 5)))),
            ("word", texts(&|n| format!("a word of {:05}", random(n, 5000)))),
            ("text", texts(&|n| format!("{:0>80}", random(n, 15_000)))),
            ("article", texts(&|n| format!("{:04}", random(n, 30_000)))),
            ("inside", Arc::new(inside)),
            ("list", Arc::new(list)),
            ("time", longs(&|n| Some(1_700_000_000_000 + n * 37))),
            ("rare", longs(&|n| (n % 1000 == 0).then_some(n))),
            ("none", longs(&|_| None)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let plain: Vec<String> = plain_columns(&batch).unwrap().iter().map(ColumnPath::string).collect();
        assert_eq!(plain, ["key", "text", "article", "inside.many", "list.list.item", "time", "rare"]);
        let sliced = plain_columns(&batch.slice(1000, 20_000)).unwrap();
        assert_eq!(sliced.len(), 7);
        // Few rows, all of them sampled: with 5 and 300 distinct values, and all distinct.
        let few: [(&str, ArrayRef); 3] =
            [5, 300, 1 << 40].map(|of| ("few", longs(&|n| Some(random(n, of))).slice(0, 1000)));
        let few = few.map(|(name, column)| RecordBatch::try_from_iter([(name, column)]).unwrap());
        assert_eq!(few.map(|batch| plain_columns(&batch).unwrap().len()), [0, 0, 1]);
        let one: ArrayRef = Arc::new(LargeBinaryArray::from(vec![Some(b"x".as_slice())]));
        let one = RecordBatch::try_from_iter([("one", one)]).unwrap();
        assert_eq!(plain_columns(&one).unwrap().len(), 1);
    }

    #[test]
    fn a_dictionary_that_would_not_fit_is_not_begun() {
        let rows = 600_000_i64;
        let plain = |of: i64| {
            let column: ArrayRef = Arc::new((0..rows).map(|n| random(n, of)).collect::<Int64Array>());
            is_plain(&column)
        };
        // Both are of fewer values than half the rows: 1.6 and 0.4 MB.
        assert_eq!((plain(200_000), plain(50_000)), (true, false));
    }

    #[test]
    fn wide_decimals_have_no_dictionary_anyway() {
        let plain = |precision: u8| {
            let decimals = (0..1000_i128).map(Some).collect::<arrow::array::Decimal128Array>();
            let column: ArrayRef = Arc::new(decimals.with_precision_and_scale(precision, 0).unwrap());
            is_plain(&column)
        };
        assert_eq!([9, NARROW_DECIMAL, NARROW_DECIMAL + 1, 38].map(plain), [true, true, false, false]);
    }

    #[test]
    fn the_borders_are_half_of_the_rows_and_a_dictionarys_bytes() {
        let longs = |rows: i64, nulls: i64, of: i64| -> ArrayRef {
            let values = (0..rows).map(|n| Some(n % of)).chain((0..nulls).map(|_| None));
            Arc::new(values.collect::<Int64Array>())
        };
        // 1200 among 3000 are met again as often as 1500 among very many would be.
        assert_eq!([1200, 1201].map(|of| is_plain(&longs(3000, 0, of))), [false, true]);
        assert_eq!([1200, 1201].map(|of| is_plain(&longs(3000, 1000, of))), [false, true]);
        // So are 768 among 3072, as 1024 would be.
        let texts = |width: usize| -> ArrayRef {
            Arc::new((0..3072).map(|n| Some(format!("{:0width$}", n % 768))).collect::<StringArray>())
        };
        assert_eq!([1020, 1021].map(|width| is_plain(&texts(width))), [false, true]);
    }
}
