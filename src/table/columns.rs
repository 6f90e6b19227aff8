//! A table's columns, its key, and its sort order by key.

use iceberg::spec::{SortDirection, TableMetadata, Transform};

use super::watermark;
use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::schema::{TableSchema, no_such_key};

/// The table's columns and key. `key` comes from the command line, for tables without identifier fields.
///
/// Errors of kind `Usage`: the key is unknown, or differs from the one on the command line.
pub fn columns_with_key(table: &LoadedTable, key: &[String]) -> Result<TableSchema> {
    let mut columns = watermark::columns(&table.metadata)?;
    match (columns.mapping.key.as_slice(), key) {
        ([], []) => {
            return Err(Error::usage("the table has no identifier fields, so its key is not known")
                .advice("Name the partition key, then the sort key if there is one: --key pk --key sk"));
        }
        ([], typed) => columns.mapping.key = typed.to_vec(),
        (known, typed) if typed.is_empty() || known == typed => {}
        (known, typed) => {
            return Err(Error::usage(format!(
                "--key says {}, the table's key is {}",
                typed.join(", "),
                known.join(", ")
            )));
        }
    }
    let known: Vec<&str> = columns.mapping.fields.values().filter_map(|field| field.name.as_deref()).collect();
    let unknown = |e: Error| match e.attribute() {
        Some(name) => no_such_key(name, "the table has no column for this key attribute", known.iter().copied()),
        None => e,
    };
    for field in columns.key_fields().map_err(unknown)? {
        if !columns.source(&field)?.is_some_and(|(_, ty)| ty.is_key()) {
            return Err(Error::usage(format!("the column {:?} is of a type that no key can have", field.name)));
        }
    }
    Ok(columns)
}

/// The id of the table's default sort order, if that is the key, ascending: files sorted by key may then declare it.
pub fn sort_order_by_key(metadata: &TableMetadata, columns: &TableSchema) -> Result<Option<i32>> {
    if columns.mapping.key.is_empty() {
        return Ok(None);
    }
    let order = metadata.default_sort_order();
    let keys = columns.key_fields()?;
    let by_key = order.fields.len() == keys.len()
        && order.fields.iter().zip(&keys).all(|(field, key)| {
            field.source_id == key.id
                && field.transform == Transform::Identity
                && field.direction == SortDirection::Ascending
        });
    Ok(if by_key { i32::try_from(order.order_id).ok() } else { None })
}
