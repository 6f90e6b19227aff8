//! Rows in the order of their keys.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::row::Rows;

use crate::error::{Error, Result};

/// The rows' positions in the order of their bytes.
///
/// Keys tend to begin alike. Eight bytes after what all of them share decide nearly every comparison, without a look at the
/// keys themselves, which lie scattered in memory.
pub(super) fn order_of(rows: &Rows) -> Result<Vec<u32>> {
    let count = u32::try_from(rows.num_rows()).map_err(|_| Error::failed("more than 2^32 rows in one run"))?;
    let first = rows.iter().next().map_or(&[][..], |row| row.data());
    let shared = rows
        .iter()
        .fold(first.len(), |shared, row| first.iter().zip(row.data()).take(shared).take_while(|(a, b)| a == b).count());
    let mut order: Vec<(u64, u32)> = rows.iter().map(|row| prefix(row.data(), shared)).zip(0..count).collect();
    let rest = |n: u32| rows.row(n as usize);
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| rest(a.1).data().cmp(rest(b.1).data())));
    Ok(order.into_iter().map(|(_, n)| n).collect())
}

/// Eight bytes from `start` on as a number that compares like them; missing ones count as zero.
fn prefix(bytes: &[u8], start: usize) -> u64 {
    let mut eight = [0; 8];
    for (to, from) in eight.iter_mut().zip(bytes.iter().skip(start)) {
        *to = *from;
    }
    u64::from_be_bytes(eight)
}

/// The rows at the given positions.
pub(super) fn rows_at(batch: &RecordBatch, positions: &[u32]) -> Result<RecordBatch> {
    let positions = UInt32Array::from(positions.to_vec());
    let columns = batch.columns().iter().map(|column| values_at(column, &positions)).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// As Arrow's `take`, which copies lists one by one, and for each of them all that is nested inside.
fn values_at(array: &ArrayRef, positions: &UInt32Array) -> Result<ArrayRef> {
    let nulls = |nulls: Option<&NullBuffer>| {
        nulls.map(|nulls| {
            let is_valid = |at: usize| nulls.is_valid(positions.value(at) as usize);
            NullBuffer::new(BooleanBuffer::collect_bool(positions.len(), is_valid))
        })
    };
    Ok(match array.data_type() {
        DataType::Struct(fields) if !fields.is_empty() => {
            let rows = array.as_struct();
            let columns = rows.columns().iter().map(|column| values_at(column, positions)).collect::<Result<_>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, nulls(rows.nulls()))?)
        }
        DataType::List(field) => {
            let lists = array.as_list::<i32>();
            let (offsets, inside) = inside(lists.offsets(), lists.nulls(), positions)?;
            let values = values_at(lists.values(), &inside)?;
            Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls(lists.nulls()))?)
        }
        DataType::Map(field, ordered) => {
            let maps = array.as_map();
            let (offsets, inside) = inside(maps.offsets(), maps.nulls(), positions)?;
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            let entries = values_at(&entries, &inside)?.as_struct().clone();
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls(maps.nulls()), *ordered)?)
        }
        _ => take(array, positions, None)?,
    })
}

/// The offsets of lists at the given positions, and the positions of what is in them.
fn inside(
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
    positions: &UInt32Array,
) -> Result<(OffsetBuffer<i32>, UInt32Array)> {
    let mut ends = Vec::with_capacity(positions.len() + 1);
    ends.push(0);
    let mut inside: Vec<u32> = Vec::new();
    let outside = || Error::failed("a row to be written is not there");
    for position in positions.values() {
        let at = *position as usize;
        if nulls.is_none_or(|nulls| nulls.is_valid(at)) {
            let [from, to] = offsets.get(at..at + 2).and_then(|pair| pair.try_into().ok()).ok_or_else(outside)?;
            inside.extend(u32::try_from(from).map_err(|_| outside())?..u32::try_from(to).map_err(|_| outside())?);
        }
        ends.push(i32::try_from(inside.len()).map_err(|_| Error::failed("more than 2^31 elements in one batch"))?);
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(ends)), UInt32Array::from(inside)))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::compute::take_record_batch;
    use arrow::row::{RowConverter, SortField};

    use super::*;
    use crate::attribute::Parser;
    use crate::columns::ItemBuilder;
    use crate::schema::{Limits, SchemaFile, TableSchema};

    #[test]
    fn rows_are_in_the_order_of_their_keys() {
        // Alike at first, of all lengths, some of them the beginning of others, some with zeros.
        let random = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        for alike in ["", "customer#"] {
            let keys: Vec<String> = (0..3000u64)
                .map(|n| {
                    format!(
                        "{alike}{}{}",
                        &"\0\0ab12345678"[..usize::try_from(random(n) % 12).unwrap()],
                        random(n + 7) % 50
                    )
                })
                .collect();
            let column: ArrayRef = Arc::new(StringArray::from(keys.clone()));
            let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).unwrap();
            let rows = converter.convert_columns(&[column]).unwrap();
            let order = order_of(&rows).unwrap();
            let sorted: Vec<&String> = order.iter().map(|n| &keys[*n as usize]).collect();
            let mut expected: Vec<&String> = keys.iter().collect();
            expected.sort();
            assert_eq!(sorted, expected);
            assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
        }
        let none = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
        assert!(order_of(&none.empty_rows(0, 0)).unwrap().is_empty());
    }

    #[test]
    fn rows_are_taken_as_arrow_takes_them() {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"long"},
            "m":{"type":{"struct":{"a":{"type":"long"},"b":{"type":{"list":"string"}}}}},
            "rows":{"type":{"list":{"struct":{"c":{"type":"decimal(10,2)"},"d":{"type":{"set":"long"}}}}}},
            "map":{"type":{"map":{"list":"binary"}}}}}"#,
        )
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        let mut builder = ItemBuilder::new(&table, Limits::default()).unwrap();
        for n in 0..200 {
            let list = |k: usize, element: &str| format!(r#"{{"L":[{}]}}"#, vec![element; k].join(","));
            let row = format!(r#"{{"M":{{"c":{{"N":"{n}.5"}},"d":{{"NS":["{n}","-7.0"]}}}}}}"#);
            let optional = [
                (n % 3, format!(r#","m":{{"M":{{"a":{{"N":"{n}"}},"b":{}}}}}"#, list(n % 4, r#"{"S":"x"}"#))),
                (n % 5, format!(r#","rows":{}"#, list(n % 3, &row))),
                (n % 7, format!(r#","map":{{"M":{{"k{n}":{}}}}}"#, list(n % 2, r#"{"B":"aGk="}"#))),
            ];
            let there = optional.iter().filter(|(rest, _)| *rest > 0).map(|(_, text)| text.as_str());
            let item = format!(r#"{{"pk":{{"N":"{n}"}}{}}}"#, there.collect::<String>());
            builder.append(&mut Parser::new(item.as_bytes()).unwrap()).unwrap();
        }
        let batch = builder.finish().unwrap();
        for positions in [(0..200).map(|n| n * 77 % 200).collect::<Vec<u32>>(), vec![], vec![5], vec![0, 0, 0]] {
            let expected = take_record_batch(&batch, &UInt32Array::from(positions.clone())).unwrap();
            assert_eq!(rows_at(&batch, &positions).unwrap(), expected);
        }
    }
}
