use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::Int32Array;
use arrow::datatypes::{Field, Schema as ArrowSchema};
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Schema, Struct};
use proptest::prelude::*;

use super::*;
use crate::table::fixture::Fixture;
use crate::table::scan::keys::scan_keys;
use crate::table::write::data_file::DataFileWriter;
use crate::table::write::metrics::{MetricsConfig, MetricsMode};
use crate::table::write::options::WriteOptions;

/// Texts that share prefixes which are longer than bounds are, and some that have no bound above them when cut.
const TEXTS: [&str; 10] =
    ["", "a", "aa", "aab", "aac", "ab\u{D7FF}x", "b", "é😀é", "\u{10FFFF}\u{10FFFF}\u{10FFFF}", "zzzzzzzz"];
const BYTES: [&[u8]; 10] =
    [b"", b"\0", b"\0\0\x01", b"\x7f\xff\xff\xff", b"\x80", b"\x80\x80\x80", b"a", b"\xff", b"\xff\xff\xff", b"\xff\0"];
const NUMBERS: [i64; 10] = [-700_000_000, -65_537, -256, -255, -1, 0, 1, 127, 128, 700_000_000];

fn types() -> Vec<PrimitiveType> {
    let decimal = |precision| PrimitiveType::Decimal { precision, scale: 2 };
    vec![PrimitiveType::String, PrimitiveType::Binary, PrimitiveType::Long, decimal(9), decimal(18), decimal(38)]
}

/// The values at these places of the pool of the type.
fn column(ty: &PrimitiveType, places: &[usize]) -> ArrayRef {
    match ty {
        PrimitiveType::String => Arc::new(places.iter().map(|n| Some(TEXTS[*n])).collect::<StringArray>()),
        PrimitiveType::Binary => Arc::new(places.iter().map(|n| Some(BYTES[*n])).collect::<LargeBinaryArray>()),
        PrimitiveType::Long => Arc::new(places.iter().map(|n| NUMBERS[*n]).collect::<Int64Array>()),
        PrimitiveType::Decimal { precision, scale } => {
            let values: Decimal128Array = places.iter().map(|n| Some(i128::from(NUMBERS[*n]))).collect();
            let (precision, scale) = (u8::try_from(*precision).unwrap(), i8::try_from(*scale).unwrap());
            Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
        }
        other => panic!("{other}"),
    }
}

fn schema(types: &[PrimitiveType]) -> Schema {
    let fields = (1..)
        .zip(types)
        .map(|(id, ty)| Arc::new(NestedField::required(id, format!("k{id}"), Type::Primitive(ty.clone()))));
    Schema::builder().with_fields(fields).build().unwrap()
}

fn batch(schema: &Schema, keys: &[Vec<usize>]) -> RecordBatch {
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(schema).unwrap());
    let columns = schema.as_struct().fields().iter().enumerate().map(|(n, field)| {
        let places: Vec<usize> = keys.iter().map(|key| key[n]).collect();
        column(field.field_type.as_primitive_type().unwrap(), &places)
    });
    RecordBatch::try_new(arrow, columns.collect()).unwrap()
}

/// Where the value stands among all of its type; the pools of texts and bytes are not all in order.
fn rank(ty: &PrimitiveType, place: usize) -> usize {
    match ty {
        PrimitiveType::String => TEXTS.iter().filter(|other| **other < TEXTS[place]).count(),
        PrimitiveType::Binary => BYTES.iter().filter(|other| **other < BYTES[place]).count(),
        _ => place,
    }
}

/// Whether the value is within the file's bounds of the column, told without any of the code that is tested.
fn is_within(file: &DataFile, field_id: i32, ty: &PrimitiveType, place: usize) -> bool {
    let (lower, upper) = (file.lower_bounds().get(&field_id), file.upper_bounds().get(&field_id));
    let at_most = |a: &PrimitiveLiteral, b: &PrimitiveLiteral| match (a, b) {
        (PrimitiveLiteral::String(a), PrimitiveLiteral::String(b)) => a <= b,
        (PrimitiveLiteral::Binary(a), PrimitiveLiteral::Binary(b)) => a <= b,
        (PrimitiveLiteral::Long(a), PrimitiveLiteral::Long(b)) => a <= b,
        (PrimitiveLiteral::Int128(a), PrimitiveLiteral::Int128(b)) => a <= b,
        other => panic!("{other:?}"),
    };
    let value = match ty {
        PrimitiveType::String => PrimitiveLiteral::String(TEXTS[place].to_owned()),
        PrimitiveType::Binary => PrimitiveLiteral::Binary(BYTES[place].to_vec()),
        PrimitiveType::Long => PrimitiveLiteral::Long(NUMBERS[place]),
        _ => PrimitiveLiteral::Int128(i128::from(NUMBERS[place])),
    };
    lower.is_none_or(|lower| at_most(lower.literal(), &value))
        && upper.is_none_or(|upper| at_most(&value, upper.literal()))
}

/// Each key once, in the order of their values.
fn in_order(types: &[PrimitiveType], keys: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    let rank = |key: &Vec<usize>| key.iter().zip(types).map(|(place, ty)| rank(ty, *place)).collect::<Vec<_>>();
    let mut keys: Vec<Vec<usize>> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    keys.sort_by_key(rank);
    keys
}

fn keys(most: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0_usize..10, 2), 1..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Composite and single keys of all types, bounds cut short, row groups of three rows: a file is skipped exactly if no
    /// key is within its bounds, and no row of a key is ever missed.
    #[test]
    fn nothing_that_is_sought_is_skipped(
        first in prop::sample::select(types()),
        second in prop::sample::select(types()),
        is_composite in any::<bool>(),
        rows in keys(12),
        sought in keys(6),
        cut in prop::option::of(1_usize..4),
    ) {
        let width = if is_composite { 2 } else { 1 };
        let types = &[first, second][..width];
        let narrow = |keys: Vec<Vec<usize>>| keys.into_iter().map(|key| key[..width].to_vec()).collect::<Vec<_>>();
        let (rows, sought) = (in_order(types, narrow(rows)), in_order(types, narrow(sought)));
        let schema = Arc::new(schema(types));
        let fixture = Fixture::new();
        let metrics = MetricsConfig::uniform(cut.map_or(MetricsMode::None, MetricsMode::Truncate));
        let options = WriteOptions { row_group_rows: 3, metrics, ..fixture.options() };
        let (file_io, handle, location) = (&fixture.file_io, fixture.handle(), fixture.paths().data_file(0));
        let mut writer =
            DataFileWriter::create(file_io, handle, location, &schema, 0, Struct::empty(), None, &options).unwrap();
        writer.write(&batch(&schema, &rows)).unwrap();
        let live = LiveFile::unlisted(writer.finish().unwrap());

        let fields = schema.as_struct().fields();
        let keys = KeyFilter::new(fields, &batch(&schema, &sought));
        let within = |key: &Vec<usize>| (1..).zip(types).zip(key).all(|((id, ty), place)| is_within(&live.file, id, ty, *place));
        prop_assert_eq!(keys.may_be_in(&live), sought.iter().any(within));

        let mut found = BTreeSet::new();
        scan_keys(file_io, handle, &live, fields, Some(&keys), &fixture.cache(), &mut |batch| {
            let positions = batch.column(width).as_primitive::<Int64Type>();
            found.extend(positions.values().iter().map(|p| rows[usize::try_from(*p).unwrap()].clone()));
            Ok(())
        }).unwrap();
        for key in &sought {
            prop_assert_eq!(rows.contains(key), found.contains(key) && rows.contains(key));
        }
    }

    /// Bounds that a manifest may have: any, none, of a number that was narrower, the wrong way round.
    #[test]
    fn bounds_of_numbers_are_those_of_a_plain_filter(
        mut sought in prop::collection::vec(-20_i64..20, 1..8),
        lower in prop::option::of(-20_i32..20),
        upper in prop::option::of(-20_i32..20),
        is_narrow in any::<bool>(),
    ) {
        sought.sort_unstable();
        let datum = |n: i32| if is_narrow { Datum::int(n) } else { Datum::long(n) };
        let live = bounded(lower.map(datum), upper.map(datum));
        let keys = numbers(&sought);
        let is_turned = lower.zip(upper).is_some_and(|(lower, upper)| lower > upper);
        let within = |n: &i64| lower.is_none_or(|l| i64::from(l) <= *n) && upper.is_none_or(|u| *n <= i64::from(u));
        prop_assert_eq!(keys.may_be_in(&live), is_turned || sought.iter().any(within));
    }
}

fn bounded(lower: Option<Datum>, upper: Option<Datum>) -> LiveFile {
    let mut file = DataFileBuilder::default();
    file.content(DataContentType::Data).file_path("f".to_owned()).file_format(DataFileFormat::Parquet);
    file.partition(Struct::empty()).partition_spec_id(0).record_count(1).file_size_in_bytes(1);
    file.lower_bounds(lower.into_iter().map(|bound| (1, bound)).collect());
    file.upper_bounds(upper.into_iter().map(|bound| (1, bound)).collect());
    LiveFile::unlisted(file.build().unwrap())
}

fn numbers(sought: &[i64]) -> KeyFilter {
    let schema = schema(&[PrimitiveType::Long]);
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&schema).unwrap());
    let keys = RecordBatch::try_new(arrow, vec![Arc::new(Int64Array::from(sought.to_vec()))]).unwrap();
    KeyFilter::new(schema.as_struct().fields(), &keys)
}

#[test]
fn bounds_of_other_types_skip_nothing() {
    let decimal =
        |scale| Datum::try_from_bytes(&7_i128.to_be_bytes(), PrimitiveType::Decimal { precision: 38, scale }).unwrap();
    for bound in [Datum::string("1"), Datum::double(1.0), decimal(0), Datum::timestamp_micros(1), Datum::bool(true)] {
        assert!(numbers(&[5]).may_be_in(&bounded(Some(bound.clone()), Some(bound))));
    }
    let schema = schema(&[PrimitiveType::Decimal { precision: 9, scale: 2 }]);
    let keys = KeyFilter::new(schema.as_struct().fields(), &batch(&schema, &[vec![5]]));
    assert!(keys.may_be_in(&bounded(Some(decimal(1)), None)), "another scale");
    assert!(!keys.may_be_in(&bounded(Some(decimal(2)), None)));
}

#[test]
fn keys_that_are_out_of_order_or_of_no_known_type_skip_nothing() {
    let (far, near) = (bounded(Some(Datum::long(50)), None), bounded(Some(Datum::long(2)), Some(Datum::long(3))));
    assert!(numbers(&[9, 1]).may_be_in(&far));
    assert!(!numbers(&[1, 9]).may_be_in(&far) && !numbers(&[1, 9]).may_be_in(&near));

    let field = NestedField::required(1, "k", Type::Primitive(PrimitiveType::Int));
    let ty = type_to_arrow_type(&field.field_type).unwrap();
    let arrow = Arc::new(ArrowSchema::new(vec![Field::new("k", ty, false)]));
    let keys = RecordBatch::try_new(arrow, vec![Arc::new(Int32Array::from(vec![1]))]).unwrap();
    assert!(KeyFilter::new(&[Arc::new(field)], &keys).may_be_in(&far));
}

/// A row group that holds none of the keys is not read, in whichever of Parquet's types its numbers are.
#[test]
fn numbers_of_row_groups_are_compared_in_all_their_types() {
    let statistics = |kind: &str, min: i64, max: i64| match kind {
        "int32" => {
            let narrow = |n| Some(i32::try_from(n).unwrap());
            Statistics::int32(narrow(min), narrow(max), None, None, false)
        }
        "int64" => Statistics::int64(Some(min), Some(max), None, None, false),
        _ => {
            let bytes = |n: i64| Some(n.to_be_bytes()[3..].to_vec().into());
            Statistics::fixed_len_byte_array(bytes(min), bytes(max), None, None, false)
        }
    };
    let decimal = PrimitiveType::Decimal { precision: 10, scale: 2 };
    for (ty, kinds) in [(PrimitiveType::Long, &["int32", "int64"][..]), (decimal, &["int32", "int64", "fixed"])] {
        let schema = schema(std::slice::from_ref(&ty));
        let fields = schema.as_struct().fields();
        let values: ArrayRef = match ty {
            PrimitiveType::Long => Arc::new(Int64Array::from(vec![-300, 300])),
            _ => Arc::new(Decimal128Array::from(vec![-300, 300]).with_precision_and_scale(10, 2).unwrap()),
        };
        let sought = KeyFilter::new(fields, &RecordBatch::try_from_iter([("k", values)]).unwrap());
        for kind in kinds {
            for (min, max, found) in [
                (-300, -300, true),
                (-400, -301, false),
                (-299, 299, false),
                (-299, 300, true),
                (-1000, -1, true),
                (301, 1000, false),
            ] {
                let known = statistics(kind, min, max);
                assert_eq!(sought.may_be_in_group(|_| Some(&known)), found, "{ty} as {kind}: {min} to {max}");
            }
        }
    }
}

/// Whether a row group with these statistics may hold the key.
fn in_group(ty: PrimitiveType, key: i64, statistics: &Statistics) -> bool {
    let values: ArrayRef = match &ty {
        PrimitiveType::Decimal { precision, scale } => {
            let (precision, scale) = (u8::try_from(*precision).unwrap(), i8::try_from(*scale).unwrap());
            let value = Decimal128Array::from(vec![i128::from(key)]);
            Arc::new(value.with_precision_and_scale(precision, scale).unwrap())
        }
        _ => Arc::new(Int64Array::from(vec![key])),
    };
    let field = NestedField::required(1, "k", Type::Primitive(ty));
    let keys = RecordBatch::try_from_iter([("k", values)]).unwrap();
    KeyFilter::new(&[Arc::new(field)], &keys).may_be_in_group(|id| (id == 1).then_some(statistics))
}

/// Longs may be older than the column's widening, and decimals are kept in the bytes that they need.
#[test]
fn statistics_of_all_physical_types_are_bounds() {
    use parquet::data_type::FixedLenByteArray;

    let fixed = |n: i64, length: usize| {
        let bytes = i128::from(n).to_be_bytes();
        Some(FixedLenByteArray::from(bytes[16 - length..].to_vec()))
    };
    let (min, max) = (-300, 200);
    let deprecated = Statistics::int64(Some(min), Some(max), None, None, true);
    let text = Statistics::byte_array(Some(b"a".to_vec().into()), Some(b"b".to_vec().into()), None, None, false);
    let decimal = |precision| PrimitiveType::Decimal { precision, scale: 2 };
    for ty in [PrimitiveType::Long, decimal(9), decimal(18), decimal(38)] {
        let mut known = vec![
            Statistics::int32(Some(-300), Some(200), None, None, false),
            Statistics::int64(Some(min), Some(max), None, None, false),
        ];
        if ty != PrimitiveType::Long {
            known.extend(
                [2, 5, 16].map(|n| Statistics::fixed_len_byte_array(fixed(min, n), fixed(max, n), None, None, false)),
            );
        }
        for statistics in known {
            for (key, within) in [(-301, false), (-300, true), (-1, true), (0, true), (200, true), (201, false)] {
                assert_eq!(in_group(ty.clone(), key, &statistics), within, "{key} as {ty} in {statistics}");
            }
        }
        for statistics in [&deprecated, &text] {
            assert!(in_group(ty.clone(), 201, statistics), "nothing is known of {ty} by {statistics}");
        }
    }
}

/// Of a file that holds one of so many keys nearly surely, the other columns are not asked.
#[test]
fn many_keys_are_not_compared_one_by_one() {
    let schema = schema(&[PrimitiveType::Long, PrimitiveType::Long]);
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&schema).unwrap());
    let may_hold = |rows: usize| {
        let column = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n; rows])) };
        let keys = RecordBatch::try_new(Arc::clone(&arrow), vec![column(1), column(2)]).unwrap();
        let statistics = |min, max| Statistics::int64(Some(min), Some(max), None, None, false);
        let (first, second) = (statistics(0, 5), statistics(3, 4));
        let keys = KeyFilter::new(schema.as_struct().fields(), &keys);
        (
            keys.may_be_in_group(|id| Some(if id == 1 { &first } else { &second })),
            keys.may_be_in_group(|_| Some(&first)),
        )
    };
    assert_eq!(may_hold(1), (false, true));
    assert_eq!(may_hold(MOST_COMPARED), (false, true));
    assert_eq!(may_hold(MOST_COMPARED + 1), (true, true));
}
