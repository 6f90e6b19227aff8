use std::sync::Arc;

use arrow::array::{
    BooleanArray, Decimal128Array, Float64Array, Int64Array, Int64Builder, LargeBinaryArray, ListBuilder, StringArray,
};
use arrow::datatypes::DataType;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{ListType, NestedField, PrimitiveLiteral};
use proptest::prelude::*;

use super::*;

fn field(id: i32, name: &str, field_type: Type) -> NestedFieldRef {
    Arc::new(NestedField::optional(id, name, field_type))
}

fn primitive(p: PrimitiveType) -> Type {
    Type::Primitive(p)
}

fn schema(fields: Vec<NestedFieldRef>) -> Schema {
    Schema::builder().with_fields(fields).build().unwrap()
}

fn bounds_of(schema: &Schema, columns: Vec<ArrayRef>, config: &MetricsConfig) -> RowBounds {
    let batch = RecordBatch::try_new(Arc::new(schema_to_arrow_schema(schema).unwrap()), columns).unwrap();
    let mut metrics = RowMetrics::new(schema, config);
    // In two parts, so that bounds are joined over batches.
    let half = batch.num_rows() / 2;
    metrics.update(&batch.slice(0, half)).unwrap();
    metrics.update(&batch.slice(half, batch.num_rows() - half)).unwrap();
    metrics.finish().unwrap()
}

fn text(datum: &Datum) -> &str {
    match datum.literal() {
        PrimitiveLiteral::String(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn modes_are_read_as_java_writes_them() {
    assert_eq!(MetricsMode::parse("None"), Some(MetricsMode::None));
    assert_eq!(MetricsMode::parse("counts"), Some(MetricsMode::Counts));
    assert_eq!(MetricsMode::parse("truncate(32)"), Some(MetricsMode::Truncate(32)));
    assert_eq!(MetricsMode::parse("FULL"), Some(MetricsMode::Full));
    assert_eq!(MetricsMode::parse("truncate(0)"), None);
    assert_eq!(MetricsMode::parse("some"), None);
}

#[test]
fn properties_choose_modes() {
    let inner = StructType::new(vec![field(4, "x", primitive(PrimitiveType::Long))]);
    let schema = schema(vec![
        field(1, "a", primitive(PrimitiveType::String)),
        field(2, "s", Type::Struct(inner)),
        field(3, "b", primitive(PrimitiveType::String)),
    ]);
    let modes = |pairs: &[(&str, &str)]| {
        let properties = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let config = MetricsConfig::from_properties(&properties, &schema, None);
        [1, 4, 3].map(|id| config.mode(id))
    };
    let cut = MetricsMode::Truncate(16);
    assert_eq!(modes(&[]), [cut; 3]);
    assert_eq!(
        modes(&[(DEFAULT_MODE, "full"), ("write.metadata.metrics.column.s.x", "none")]),
        [MetricsMode::Full, MetricsMode::None, MetricsMode::Full]
    );
    // The struct's field comes after all top-level ones.
    assert_eq!(modes(&[(INFERRED_COLUMNS, "2")]), [cut, MetricsMode::None, cut]);
    assert_eq!(modes(&[(INFERRED_COLUMNS, "2"), (DEFAULT_MODE, "counts")]), [MetricsMode::Counts; 3]);
    assert_eq!(modes(&[(DEFAULT_MODE, "nonsense")]), [cut; 3]);
}

#[test]
fn every_type_has_true_bounds() {
    let decimal = PrimitiveType::Decimal { precision: 38, scale: 9 };
    let schema = schema(vec![
        field(1, "d", primitive(decimal.clone())),
        field(2, "f", primitive(PrimitiveType::Double)),
        field(3, "b", primitive(PrimitiveType::Boolean)),
        field(4, "bin", primitive(PrimitiveType::Binary)),
        field(5, "none", primitive(PrimitiveType::Long)),
    ]);
    let big = 10_i128.pow(38) - 1;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            Decimal128Array::from(vec![Some(5), Some(-big), None, Some(big)]).with_precision_and_scale(38, 9).unwrap(),
        ),
        Arc::new(Float64Array::from(vec![f64::NAN, 1.5, -0.25, f64::NAN])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(true), None])),
        Arc::new(LargeBinaryArray::from_iter_values([vec![0xff; 20], vec![0xfe; 20], vec![7], vec![8]])),
        Arc::new(Int64Array::from(vec![None::<i64>; 4])),
    ];
    let found = bounds_of(&schema, columns, &MetricsConfig::uniform(MetricsMode::Truncate(16)));
    assert_eq!(found.lower[&1], Datum::try_from_bytes(&(-big).to_be_bytes(), decimal.clone()).unwrap());
    assert_eq!(found.upper[&1], Datum::try_from_bytes(&big.to_be_bytes(), decimal).unwrap());
    assert_eq!((&found.lower[&2], &found.upper[&2]), (&Datum::double(-0.25), &Datum::double(1.5)));
    assert_eq!(found.nans, HashMap::from([(2, 2)]));
    assert_eq!((&found.lower[&3], &found.upper[&3]), (&Datum::bool(true), &Datum::bool(true)));
    assert_eq!(found.lower[&4], Datum::binary(vec![7]));
    // Sixteen bytes of 0xff cannot be rounded up.
    assert!(!found.upper.contains_key(&4));
    assert!(!found.lower.contains_key(&5) && !found.upper.contains_key(&5));
}

#[test]
fn a_null_struct_hides_its_fields_and_lists_have_no_bounds() {
    let inner = StructType::new(vec![field(2, "x", primitive(PrimitiveType::Long))]);
    let list = ListType::new(Arc::new(NestedField::list_element(4, primitive(PrimitiveType::Long), false)));
    let schema = schema(vec![field(1, "s", Type::Struct(inner)), field(3, "l", Type::List(list))]);
    let arrow = schema_to_arrow_schema(&schema).unwrap();
    let DataType::Struct(fields) = arrow.field(0).data_type().clone() else { panic!() };
    let DataType::List(element) = arrow.field(1).data_type().clone() else { panic!() };
    // The value 1000 lies below a null struct: it is not there.
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), Some(1000), None, Some(5)]));
    let nulls = NullBuffer::from(vec![true, false, true, true]);
    let structs = StructArray::new(fields, vec![values], Some(nulls));
    let mut lists = ListBuilder::new(Int64Builder::new()).with_field(element);
    for i in 0..4 {
        lists.append_value([Some(i)]);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(structs), Arc::new(lists.finish())];
    let found = bounds_of(&schema, columns, &MetricsConfig::uniform(MetricsMode::Full));
    assert_eq!(found.lower, HashMap::from([(2, Datum::long(3))]));
    assert_eq!(found.upper, HashMap::from([(2, Datum::long(5))]));
}

proptest! {
    #[test]
    fn text_bounds_contain_every_value(
        values in prop::collection::vec(prop::option::of("[ab\u{D7FF}\u{10FFFF}😀é]{0,6}"), 1..20),
        length in 1_usize..5,
    ) {
        let schema = schema(vec![field(1, "s", primitive(PrimitiveType::String))]);
        let array: ArrayRef = Arc::new(StringArray::from(values.clone()));
        let found = bounds_of(&schema, vec![array], &MetricsConfig::uniform(MetricsMode::Truncate(length)));
        let present: Vec<&String> = values.iter().flatten().collect();
        prop_assert_eq!(found.lower.contains_key(&1), !present.is_empty());
        for value in present {
            prop_assert!(text(&found.lower[&1]) <= value.as_str());
            if let Some(upper) = found.upper.get(&1) {
                prop_assert!(text(upper) >= value.as_str());
            }
        }
    }
}

/// Lower bounds are cut down, upper ones up.
#[test]
fn bounds_of_bytes_are_cut_to_the_right_side() {
    let schema = schema(vec![field(1, "b", primitive(PrimitiveType::Binary))]);
    let values: ArrayRef = Arc::new(LargeBinaryArray::from(vec![Some(&[5, 6, 7][..]), Some(&[5, 6, 8])]));
    let bounds = bounds_of(&schema, vec![values], &MetricsConfig::uniform(MetricsMode::Truncate(2)));
    let bytes = |bound: &Datum| bound.to_bytes().unwrap().to_vec();
    assert_eq!((bytes(&bounds.lower[&1]), bytes(&bounds.upper[&1])), (vec![5, 6], vec![5, 7]));
}

#[test]
fn modes_say_what_is_kept_of_a_column() {
    let schema = schema(vec![
        field(1, "text", primitive(PrimitiveType::String)),
        field(2, "bytes", primitive(PrimitiveType::Binary)),
        field(3, "number", primitive(PrimitiveType::Double)),
    ]);
    let found = |mode| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["abcdef"; 2])),
            Arc::new(LargeBinaryArray::from(vec![&b"\x01\x02\x03\x04\x05"[..]; 2])),
            Arc::new(Float64Array::from(vec![f64::NAN, 0.5])),
        ];
        bounds_of(&schema, columns, &MetricsConfig::uniform(mode))
    };
    let number = (3, Datum::double(0.5));
    let bounds = |text: &str, bytes: &[u8]| {
        HashMap::from([(1, Datum::string(text)), (2, Datum::binary(bytes.to_vec())), number.clone()])
    };
    let (none, nans) = (HashMap::new(), HashMap::from([(3, 1)]));
    let whole = bounds("abcdef", &[1, 2, 3, 4, 5]);
    for (mode, lower, upper, nans) in [
        (MetricsMode::None, none.clone(), none.clone(), HashMap::new()),
        (MetricsMode::Counts, none.clone(), none, nans.clone()),
        (MetricsMode::Truncate(2), bounds("ab", &[1, 2]), bounds("ac", &[1, 3]), nans.clone()),
        (MetricsMode::Truncate(5), bounds("abcde", &[1, 2, 3, 4, 5]), bounds("abcdf", &[1, 2, 3, 4, 5]), nans.clone()),
        (MetricsMode::Full, whole.clone(), whole, nans),
    ] {
        let found = found(mode);
        assert_eq!((found.lower, found.upper, found.nans), (lower, upper, nans), "{mode:?}");
    }
}
