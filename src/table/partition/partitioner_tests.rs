use arrow::array::{Int64Array, StringArray, StructArray};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{NestedField, PartitionSpecRef, UnboundPartitionField};

use super::*;

/// `pk`, `n`, `m: {x}`, and a list.
fn schema() -> Arc<Schema> {
    let string = || Type::Primitive(PrimitiveType::String);
    let inner = StructType::new(vec![NestedField::optional(5, "x", Type::Primitive(PrimitiveType::Long)).into()]);
    let fields: Vec<NestedFieldRef> = vec![
        NestedField::required(1, "pk", string()).into(),
        NestedField::optional(2, "n", Type::Primitive(PrimitiveType::Long)).into(),
        NestedField::optional(3, "m", Type::Struct(inner)).into(),
        NestedField::optional(
            4,
            "l",
            Type::List(iceberg::spec::ListType::new(NestedField::list_element(6, string(), false).into())),
        )
        .into(),
    ];
    Arc::new(Schema::builder().with_fields(fields).build().unwrap())
}

fn spec(fields: &[(i32, Transform)]) -> PartitionSpecRef {
    let mut builder = PartitionSpec::builder(schema()).with_spec_id(7);
    for (n, (source_id, transform)) in fields.iter().enumerate() {
        let field = UnboundPartitionField {
            source_id: *source_id,
            field_id: None,
            name: format!("p{n}"),
            transform: *transform,
        };
        builder = builder.add_unbound_field(field).unwrap();
    }
    Arc::new(builder.build().unwrap())
}

/// `n` is null in row 1, `m` in row 2, `m.x` in row 3.
fn batch() -> RecordBatch {
    let arrow = schema_to_arrow_schema(&schema()).unwrap();
    let n = Int64Array::from(vec![Some(1), None, Some(1), Some(-1)]);
    let arrow::datatypes::DataType::Struct(inner) = arrow.field(2).data_type().clone() else { panic!("a struct") };
    let x = Arc::new(Int64Array::from(vec![Some(5), Some(5), Some(5), None]));
    let m = StructArray::try_new(inner, vec![x], Some(vec![true, true, false, true].into())).unwrap();
    let l = arrow::array::new_null_array(arrow.field(3).data_type(), 4);
    let pk = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
    RecordBatch::try_new(Arc::new(arrow), vec![pk, Arc::new(n), Arc::new(m), l]).unwrap()
}

fn split(fields: &[(i32, Transform)], order: &[u32]) -> Vec<PartitionRows> {
    Partitioner::new(&spec(fields), &schema()).unwrap().split(&batch(), order).unwrap()
}

fn of(values: &[Option<i64>]) -> Struct {
    values.iter().map(|v| v.map(Literal::long)).collect()
}

#[test]
fn rows_go_to_their_partitions_in_the_given_order() {
    let order = [3, 2, 1, 0];
    assert_eq!(split(&[], &order), [(Struct::empty(), order.to_vec())]);
    let found = split(&[(2, Transform::Identity)], &order);
    let expected = vec![(of(&[None]), vec![1]), (of(&[Some(-1)]), vec![3]), (of(&[Some(1)]), vec![2, 0])];
    assert_eq!(found, expected);
    // Two fields, one of them void.
    let found = split(&[(1, Transform::Void), (2, Transform::Truncate(10))], &order);
    let expected =
        vec![(of(&[None, None]), vec![1]), (of(&[None, Some(-10)]), vec![3]), (of(&[None, Some(0)]), vec![2, 0])];
    assert_eq!(found, expected);
    assert_eq!(split(&[(2, Transform::Void)], &order), [(of(&[None]), order.to_vec())]);
}

#[test]
fn a_field_of_a_struct_is_null_where_the_struct_is() {
    let found = split(&[(5, Transform::Identity)], &[0, 1, 2, 3]);
    assert_eq!(found, [(of(&[None]), vec![2, 3]), (of(&[Some(5)]), vec![0, 1])]);
}

#[test]
fn sources_that_cannot_be_read_are_refused() {
    let field = |source_id, transform| {
        let json = serde_json::json!({"spec-id": 1, "fields": [
            {"source-id": source_id, "field-id": 1000, "name": "p", "transform": transform}]});
        serde_json::from_value::<PartitionSpec>(json).unwrap()
    };
    for (source, transform) in [(6, "identity"), (99, "identity"), (1, "unknown"), (1, "bucket[0]"), (3, "identity")] {
        assert!(Partitioner::new(&field(source, transform), &schema()).is_err(), "{source} {transform}");
    }
    assert!(Partitioner::new(&field(99, "void"), &schema()).is_ok());
}

#[test]
fn an_old_partition_gets_the_types_of_now() {
    let metadata = crate::table::fixture::metadata_with(
        "/t",
        iceberg::spec::UnboundPartitionSpec::builder()
            .add_partition_field(2, "n_p", Transform::Identity)
            .unwrap()
            .build(),
        std::collections::HashMap::new(),
    );
    let old = Struct::from_iter([Some(Literal::int(5))]);
    assert_eq!(conform(&metadata, metadata.current_schema(), 0, &old), of(&[Some(5)]));
    assert_eq!(conform(&metadata, metadata.current_schema(), 0, &of(&[None])), of(&[None]));
}

#[test]
fn specs_that_would_be_written_wrongly_are_refused() {
    let decimal = || Type::Primitive(PrimitiveType::Decimal { precision: 38, scale: 9 });
    let schema = Schema::builder()
        .with_fields([
            NestedField::optional(1, "a", decimal()).into(),
            NestedField::optional(2, "b", decimal()).into(),
            NestedField::optional(3, "order-id", Type::Primitive(PrimitiveType::Long)).into(),
        ])
        .build()
        .unwrap();
    let check = |fields: &[(i32, &str, Transform)]| {
        let fields = fields.iter().map(|(source_id, name, transform)| UnboundPartitionField {
            source_id: *source_id,
            field_id: None,
            name: (*name).to_owned(),
            transform: *transform,
        });
        let spec = iceberg::spec::UnboundPartitionSpec::builder().add_partition_fields(fields).unwrap().build();
        let metadata = iceberg::spec::TableMetadataBuilder::new(
            schema.clone(),
            spec,
            iceberg::spec::SortOrder::unsorted_order(),
            "/t".to_owned(),
            iceberg::spec::FormatVersion::V2,
            std::collections::HashMap::new(),
        );
        check_specs(&metadata.unwrap().build().unwrap().metadata)
    };
    check(&[(1, "a", Transform::Identity), (2, "b_bucket", Transform::Bucket(3))]).unwrap();
    for (wrong, said) in [
        (&[(1, "a", Transform::Identity), (2, "b_trunc", Transform::Truncate(3))][..], "second of type decimal(38, 9)"),
        (&[(3, "order-id", Transform::Identity)], "no plain identifier"),
        (&[(3, "1st", Transform::Bucket(2))], "no plain identifier"),
        (&[(3, "n_bucket", Transform::Bucket(0))], "impossible transform bucket[0]"),
        (&[(3, "n_bucket", Transform::Bucket(u32::MAX))], "impossible transform"),
    ] {
        let error = check(wrong).unwrap_err();
        assert!(error.message().contains(said), "{error}");
    }
}

#[test]
fn a_partitioner_tells_its_spec_and_widths_have_a_limit() {
    let partitioner = Partitioner::new(&spec(&[(2, Transform::Identity)]), &schema()).unwrap();
    assert_eq!(partitioner.spec_id(), 7);
    let field = |transform| PartitionField { source_id: 1, field_id: 1000, name: "p".to_owned(), transform };
    for transform in [Transform::Bucket, Transform::Truncate] {
        for width in [1, MAX_WIDTH] {
            check_field(&field(transform(width))).unwrap();
        }
        for width in [0, MAX_WIDTH + 1] {
            let error = check_field(&field(transform(width))).unwrap_err();
            assert!(error.message().contains("has the impossible transform"), "{error}");
        }
    }
}
