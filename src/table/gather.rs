//! Rows at given positions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

/// As Arrow's `take`, which copies lists one by one, and for each of them all that is nested inside.
pub(super) fn values_at(array: &ArrayRef, positions: &UInt32Array) -> Result<ArrayRef> {
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
    use arrow::array::RecordBatch;
    use arrow::compute::take_record_batch;

    use super::*;
    use crate::attribute::Parser;
    use crate::columns::ItemBuilder;
    use crate::schema::{Limits, SchemaFile, TableSchema};

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
            let positions = UInt32Array::from(positions);
            let expected = take_record_batch(&batch, &positions).unwrap();
            let taken = batch.columns().iter().map(|column| values_at(column, &positions).unwrap()).collect();
            assert_eq!(RecordBatch::try_new(batch.schema(), taken).unwrap(), expected);
        }
    }
}
