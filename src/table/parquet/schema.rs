//! Converts a table's columns to Parquet's schema, as in Iceberg's specification ("Parquet", data type mappings).

use std::sync::Arc;

use arrow::datatypes::Schema as ArrowSchema;
use iceberg::spec::{PrimitiveType, Schema, Type as TableType};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::LogicalType;
use parquet::errors::Result;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

/// The columns of a file with this schema. Arrow has no UUID type, so the annotation is set here.
pub(crate) fn parquet_schema(schema: &Schema, arrow: &ArrowSchema) -> Result<SchemaDescriptor> {
    let converted = ArrowSchemaConverter::new().convert(arrow)?;
    Ok(SchemaDescriptor::new(annotated(&converted.root_schema_ptr(), schema)?))
}

fn annotated(node: &TypePtr, schema: &Schema) -> Result<TypePtr> {
    let info = node.get_basic_info();
    let id = info.has_id().then(|| info.id());
    let repetition = info.has_repetition().then(|| info.repetition());
    if let Type::PrimitiveType { physical_type, type_length, .. } = node.as_ref() {
        let field = id.and_then(|id| schema.field_by_id(id));
        if !field.is_some_and(|field| matches!(*field.field_type, TableType::Primitive(PrimitiveType::Uuid))) {
            return Ok(Arc::clone(node));
        }
        let mut builder = Type::primitive_type_builder(info.name(), *physical_type)
            .with_length(*type_length)
            .with_logical_type(Some(LogicalType::Uuid))
            .with_id(id);
        if let Some(repetition) = repetition {
            builder = builder.with_repetition(repetition);
        }
        return builder.build().map(Arc::new);
    }
    let fields = node.get_fields().iter().map(|field| annotated(field, schema)).collect::<Result<Vec<_>>>()?;
    let mut builder = Type::group_type_builder(info.name())
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_fields(fields)
        .with_id(id);
    if let Some(repetition) = repetition {
        builder = builder.with_repetition(repetition);
    }
    builder.build().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use iceberg::arrow::schema_to_arrow_schema;
    use iceberg::spec::{ListType, MapType, NestedField, StructType};
    use parquet::basic::{TimeUnit, Type as PhysicalType};

    use super::*;

    fn primitive(ty: PrimitiveType) -> TableType {
        TableType::Primitive(ty)
    }

    #[test]
    fn every_type_says_in_parquet_what_it_is() {
        let uuid = || primitive(PrimitiveType::Uuid);
        let decimal = |precision| primitive(PrimitiveType::Decimal { precision, scale: 2 });
        let inside = StructType::new(vec![NestedField::optional(31, "inner", uuid()).into()]);
        let list = ListType::new(NestedField::list_element(32, uuid(), false).into());
        let map = MapType::new(
            NestedField::map_key_element(33, uuid()).into(),
            NestedField::map_value_element(34, primitive(PrimitiveType::Timestamptz), false).into(),
        );
        let types = [
            uuid(),
            primitive(PrimitiveType::Fixed(16)),
            decimal(9),
            decimal(18),
            decimal(38),
            primitive(PrimitiveType::Time),
            primitive(PrimitiveType::Timestamp),
            primitive(PrimitiveType::Timestamptz),
            primitive(PrimitiveType::Date),
            primitive(PrimitiveType::Float),
            TableType::Struct(inside),
            TableType::List(list),
            TableType::Map(map),
        ];
        let fields = types.into_iter().zip(1..).map(|(ty, id)| NestedField::optional(id, format!("c{id}"), ty).into());
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let parquet = parquet_schema(&schema, &schema_to_arrow_schema(&schema).unwrap()).unwrap();
        let found: Vec<_> = parquet
            .columns()
            .iter()
            .map(|leaf| {
                let info = leaf.self_type().get_basic_info();
                (info.id(), leaf.physical_type(), info.logical_type_ref().cloned())
            })
            .collect();
        let fixed = PhysicalType::FIXED_LEN_BYTE_ARRAY;
        let decimal = |precision| Some(LogicalType::Decimal { scale: 2, precision });
        let timestamp = |utc| Some(LogicalType::Timestamp { is_adjusted_to_u_t_c: utc, unit: TimeUnit::MICROS });
        let time = Some(LogicalType::Time { is_adjusted_to_u_t_c: false, unit: TimeUnit::MICROS });
        let expected = vec![
            (1, fixed, Some(LogicalType::Uuid)),
            (2, fixed, None),
            (3, PhysicalType::INT32, decimal(9)),
            (4, PhysicalType::INT64, decimal(18)),
            (5, fixed, decimal(38)),
            (6, PhysicalType::INT64, time),
            (7, PhysicalType::INT64, timestamp(false)),
            (8, PhysicalType::INT64, timestamp(true)),
            (9, PhysicalType::INT32, Some(LogicalType::Date)),
            (10, PhysicalType::FLOAT, None),
            (31, fixed, Some(LogicalType::Uuid)),
            (32, fixed, Some(LogicalType::Uuid)),
            (33, fixed, Some(LogicalType::Uuid)),
            (34, PhysicalType::INT64, timestamp(true)),
        ];
        assert_eq!(found, expected);
    }
}
