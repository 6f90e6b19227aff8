//! Reuse of schemas and sort orders that a table already has, when its rows are replaced.
//!
//! A known schema or sort order is set by its id, never added again. REST servers built on Iceberg's Java classes
//! ignore such an addition, so "the last one added" is undefined for them and they refuse the commit.

use std::collections::BTreeSet;

use iceberg::spec::{Schema, SortOrder, TableMetadata, TableMetadataBuilder};

use crate::error::Result;

/// Makes this the current schema.
pub(crate) fn set_schema(
    metadata: &TableMetadata,
    builder: TableMetadataBuilder,
    schema: &Schema,
) -> Result<TableMetadataBuilder> {
    // As sets: they come in any order.
    let keys = |schema: &Schema| schema.identifier_field_ids().collect::<BTreeSet<_>>();
    let same = |known: &Schema| known.as_struct() == schema.as_struct() && keys(known) == keys(schema);
    if same(metadata.current_schema()) {
        return Ok(builder);
    }
    Ok(match metadata.schemas_iter().find(|known| same(known)) {
        Some(known) => builder.set_current_schema(known.schema_id())?,
        None => builder.add_current_schema(schema.clone())?,
    })
}

/// Makes this the default sort order; its own id is ignored.
pub(crate) fn set_sort_order(
    metadata: &TableMetadata,
    builder: TableMetadataBuilder,
    order: SortOrder,
) -> Result<TableMetadataBuilder> {
    if metadata.default_sort_order().fields == order.fields {
        return Ok(builder);
    }
    if let Some(known) = metadata.sort_orders_iter().find(|known| known.fields == order.fields) {
        return Ok(builder.set_default_sort_order(known.order_id)?);
    }
    let next = metadata.sort_orders_iter().map(|known| known.order_id).max().unwrap_or(0) + 1;
    Ok(builder.add_sort_order(order.with_order_id(next))?.set_default_sort_order(-1)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use iceberg::TableUpdate;
    use iceberg::spec::{
        FormatVersion, NestedField, NullOrder, PartitionSpec, PrimitiveType, SortDirection, SortField, Transform, Type,
    };

    use super::*;

    fn schema(columns: i32, keys: &[i32]) -> Schema {
        let string = || Type::Primitive(PrimitiveType::String);
        let field = |id: i32| Arc::new(NestedField::new(id, format!("c{id}"), string(), keys.contains(&id)));
        let fields = (1..=columns).map(field);
        Schema::builder().with_fields(fields).with_identifier_field_ids(keys.to_vec()).build().unwrap()
    }

    fn order(column: i32) -> SortOrder {
        let (direction, null_order) = (SortDirection::Ascending, NullOrder::First);
        let field = SortField { source_id: column, transform: Transform::Identity, direction, null_order };
        SortOrder { order_id: 1, fields: vec![field] }
    }

    fn table(schema: Schema) -> TableMetadata {
        let (spec, none) = (PartitionSpec::unpartition_spec(), HashMap::new());
        let builder =
            TableMetadataBuilder::new(schema, spec, order(1), "s3://b/t".into(), FormatVersion::V2, none).unwrap();
        builder.build().unwrap().metadata
    }

    fn changed(
        metadata: &TableMetadata,
        change: impl FnOnce(TableMetadataBuilder) -> Result<TableMetadataBuilder>,
    ) -> (TableMetadata, Vec<TableUpdate>) {
        let made = change(metadata.clone().into_builder(None)).unwrap().build().unwrap();
        (made.metadata, made.changes)
    }

    #[test]
    fn a_schema_that_is_current_is_left_alone() {
        // The ids of the key come in an order of their own in each schema.
        for _ in 0..32 {
            let base = table(schema(5, &[1, 2, 3]));
            let (_, changes) = changed(&base, |builder| set_schema(&base, builder, &schema(5, &[3, 2, 1])));
            assert_eq!(changes, []);
        }
    }

    #[test]
    fn a_schema_that_was_current_once_is_set_by_its_id() {
        for _ in 0..32 {
            let old = schema(3, &[1, 2, 3]);
            let base = table(old.clone());
            let (wider, changes) = changed(&base, |builder| set_schema(&base, builder, &schema(4, &[1, 2, 3])));
            assert_eq!((wider.current_schema_id(), changes.len()), (1, 2));
            let (back, changes) = changed(&wider, |builder| set_schema(&wider, builder, &old));
            assert_eq!(changes, [TableUpdate::SetCurrentSchema { schema_id: 0 }]);
            assert_eq!(back.schemas_iter().len(), 2);
        }
    }

    #[test]
    fn a_sort_order_that_was_the_default_once_is_set_by_its_id() {
        let base = table(schema(3, &[1]));
        let (other, changes) = changed(&base, |builder| set_sort_order(&base, builder, order(2)));
        assert_eq!((other.default_sort_order_id(), changes.len()), (2, 2));
        assert_eq!(changed(&other, |builder| set_sort_order(&other, builder, order(2))).1, []);
        let (_, changes) = changed(&other, |builder| set_sort_order(&other, builder, order(1)));
        assert_eq!(changes, [TableUpdate::SetDefaultSortOrder { sort_order_id: 1 }]);
    }
}
