//! Canonical bytes of a column's value: equal if and only if the values have the same meaning.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use iceberg::spec::{NestedField, Type};

use super::framing::{count, place, sized};
use super::json;
use crate::attribute::Number;
use crate::error::{Error, Result};
use crate::schema::{ColumnType, TableSchema};

/// How the values of a column are compared.
#[derive(Debug)]
pub(crate) enum Form {
    /// Unchanged.
    Plain,
    /// Strings that hold numbers, by value.
    Number,
    /// JSON text.
    Json,
    List(Box<Form>),
    /// Elements in any order.
    Set(Box<Form>),
    /// Entries in any order.
    Map(Box<Form>),
    /// Fields by index.
    Struct(Vec<(usize, Form)>),
    /// Another program's column: items never have a value for it.
    Foreign,
}

impl Form {
    /// The form of a column, or of a nested one.
    pub fn of(field: &NestedField, table: &TableSchema) -> Result<Self> {
        let Some((_, ty)) = table.source(field)? else { return Ok(Self::Foreign) };
        Ok(match (&*field.field_type, ty) {
            (_, ColumnType::NumberString) => Self::Number,
            (_, ColumnType::Json) => Self::Json,
            (Type::List(list), ColumnType::Set(_)) => Self::Set(Box::new(Self::of(&list.element_field, table)?)),
            (Type::List(list), _) => Self::List(Box::new(Self::of(&list.element_field, table)?)),
            (Type::Map(map), _) => Self::Map(Box::new(Self::of(&map.value_field, table)?)),
            (Type::Struct(fields), _) => {
                let fields = fields.fields().iter().enumerate();
                Self::Struct(fields.map(|(slot, f)| Ok((slot, Self::of(f, table)?))).collect::<Result<_>>()?)
            }
            _ => Self::Plain,
        })
    }

    /// Appends the value in a row; its end can be determined from the bytes.
    pub fn write(&self, array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if matches!(self, Self::Foreign) {
            return Ok(());
        }
        if array.is_null(row) {
            out.push(0);
            return Ok(());
        }
        out.push(1);
        match self {
            Self::Foreign => {}
            Self::Plain => plain(array, row, out)?,
            Self::Number => {
                let text = text(array, row)?;
                match Number::parse(text) {
                    Some(number) => sized(number.to_string().as_bytes(), out),
                    None => sized(text.as_bytes(), out),
                }
            }
            Self::Json => sized(&json::canonical(text(array, row)?), out),
            Self::List(element) => {
                let list = array.as_list_opt::<i32>().ok_or_else(|| unexpected(array))?;
                let range = range(list.value_offsets(), row);
                count(range.len(), out);
                for n in range {
                    element.write(list.values(), n, out)?;
                }
            }
            Self::Set(element) => {
                let list = array.as_list_opt::<i32>().ok_or_else(|| unexpected(array))?;
                let elements = range(list.value_offsets(), row).map(|n| {
                    let mut bytes = Vec::new();
                    element.write(list.values(), n, &mut bytes).map(|()| bytes)
                });
                unordered(elements.collect::<Result<_>>()?, out);
            }
            Self::Map(value) => {
                let map = array.as_map_opt().ok_or_else(|| unexpected(array))?;
                let entries = range(map.value_offsets(), row).map(|n| {
                    let mut bytes = Vec::new();
                    plain(map.keys(), n, &mut bytes)?;
                    value.write(map.values(), n, &mut bytes).map(|()| bytes)
                });
                unordered(entries.collect::<Result<_>>()?, out);
            }
            Self::Struct(fields) => {
                let array = array.as_struct_opt().ok_or_else(|| unexpected(array))?;
                for (slot, form) in fields.iter().filter(|(_, form)| !matches!(form, Self::Foreign)) {
                    let column = array.columns().get(*slot).ok_or_else(|| unexpected(array))?;
                    if column.is_valid(row) {
                        place(Some(*slot), out);
                        form.write(column, row, out)?;
                    }
                }
                place(None, out);
            }
        }
        Ok(())
    }
}

fn unordered(mut elements: Vec<Vec<u8>>, out: &mut Vec<u8>) {
    elements.sort_unstable();
    count(elements.len(), out);
    for element in elements {
        sized(&element, out);
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |n: usize| offsets.get(n).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    at(row)..at(row + 1)
}

fn text(array: &dyn Array, row: usize) -> Result<&str> {
    array.as_string_opt::<i32>().map(|texts| texts.value(row)).ok_or_else(|| unexpected(array))
}

fn plain(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    match array.data_type() {
        DataType::Utf8 => sized(array.as_string::<i32>().value(row).as_bytes(), out),
        DataType::LargeBinary => sized(array.as_binary::<i64>().value(row), out),
        DataType::Binary => sized(array.as_binary::<i32>().value(row), out),
        DataType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        DataType::Int64 => out.extend(array.as_primitive::<Int64Type>().value(row).to_le_bytes()),
        DataType::Decimal128(..) => out.extend(array.as_primitive::<Decimal128Type>().value(row).to_le_bytes()),
        // Adding zero turns -0 into 0.
        DataType::Float64 => out.extend((array.as_primitive::<Float64Type>().value(row) + 0.0).to_bits().to_le_bytes()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            out.extend(array.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes());
        }
        _ => return Err(unexpected(array)),
    }
    Ok(())
}

fn unexpected(array: &dyn Array) -> Error {
    Error::failed(format!("values of type {} can't be compared; please report this as a bug", array.data_type()))
}
