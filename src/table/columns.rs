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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use iceberg::spec::{
        FormatVersion, NestedField, NullOrder, PartitionSpec, PrimitiveType, Schema, SortField, SortOrder,
        TableMetadataBuilder, Type,
    };

    use super::*;

    /// Whoever reads a file that declares an order takes its rows to be in it.
    #[test]
    fn files_declare_the_tables_order_only_where_it_is_the_key_ascending() {
        const KEY: [(i32, Transform, SortDirection); 2] =
            [(1, Transform::Identity, SortDirection::Ascending), (2, Transform::Identity, SortDirection::Ascending)];
        let order_of = |fields: &[(i32, Transform, SortDirection)], has_key: bool| {
            let field = |id, ty| Arc::new(NestedField::required(id, format!("c{id}"), Type::Primitive(ty)));
            let schema = Schema::builder()
                .with_fields([
                    field(1, PrimitiveType::String),
                    field(2, PrimitiveType::Long),
                    field(3, PrimitiveType::String),
                ])
                .with_identifier_field_ids([1, 2])
                .build()
                .unwrap();
            let fields = fields.iter().map(|(source_id, transform, direction)| SortField {
                source_id: *source_id,
                transform: *transform,
                direction: *direction,
                null_order: NullOrder::First,
            });
            let fields: Vec<SortField> = fields.collect();
            let order_id = i64::from(!fields.is_empty());
            let metadata = TableMetadataBuilder::new(
                schema,
                PartitionSpec::unpartition_spec(),
                SortOrder { order_id, fields },
                "s3://b/t".to_owned(),
                FormatVersion::V2,
                HashMap::new(),
            );
            let metadata = metadata.unwrap().build().unwrap().metadata;
            let mut columns = watermark::columns(&metadata).unwrap();
            if !has_key {
                columns.mapping.key.clear();
            }
            sort_order_by_key(&metadata, &columns).unwrap()
        };
        assert_eq!(order_of(&KEY, true), Some(1));
        assert_eq!(order_of(&KEY, false), None);
        let [first, second] = KEY;
        let bucket = Transform::Bucket(4);
        for fields in [
            &[][..],
            &[first],
            &[second, first],
            &[first, second, (3, first.1, first.2)],
            &[(1, first.1, SortDirection::Descending), second],
            &[first, (2, first.1, SortDirection::Descending)],
            &[(1, bucket, first.2), second],
        ] {
            assert_eq!(order_of(fields, true), None, "{fields:?}");
            assert_eq!(order_of(fields, false), None, "{fields:?}");
        }
    }
}
