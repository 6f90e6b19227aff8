use arrow::array::{AsArray, Int32Array, StringArray};
use arrow::datatypes::Int64Type;
use iceberg::spec::{NestedField, Operation, Schema, Struct};
use proptest::prelude::*;

use super::*;
use crate::table::fixture::Fixture;
use crate::table::{DataFileWriter, WriteOptions};

fn range(min: &str, max: &str) -> KeyRange {
    KeyRange { field_id: 1, min: Datum::string(min), max: Datum::string(max) }
}

/// A table of one file of sorted keys in row groups of 10, with these positions deleted.
fn sorted_file(rows: usize, deleted: &[u64]) -> (Fixture, LiveFile, Vec<String>) {
    let mut fixture = Fixture::new();
    let keys: Vec<String> = (0..rows).map(|i| format!("k{i:03}")).collect();
    let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
    let options = WriteOptions { row_group_rows: 10, ..fixture.options() };
    let file = fixture.write_with(&refs, Struct::empty(), &options);
    fixture.commit(Operation::Append, |b| {
        b.add_data_file(0, file.clone());
    });
    let deletes = fixture.write_deletes(&[(&file, deleted)]);
    fixture.commit(Operation::Delete, |b| {
        for (spec, delete) in deletes {
            b.add_delete_file(spec, delete);
        }
    });
    let live = fixture.live_of(&file);
    (fixture, live, keys)
}

#[test]
fn deletes_apply_across_row_groups_that_are_skipped() {
    let deleted = [0, 9, 10, 25, 29, 30, 44];
    let (fixture, live, keys) = sorted_file(45, &deleted);
    let expected = |from: usize, to: usize| -> Vec<(String, i64)> {
        let rows = (from..to).filter(|i| !deleted.contains(&u64::try_from(*i).unwrap()));
        rows.map(|i| (keys[i].clone(), i64::try_from(i).unwrap())).collect()
    };
    assert_eq!(fixture.keys(&live, None), expected(0, 45));
    // Only the third and the fourth row group can hold these.
    assert_eq!(fixture.keys(&live, Some(&range("k025", "k031"))), expected(20, 40));
    assert_eq!(fixture.keys(&live, Some(&range("k044", "zzz"))), expected(40, 45));
    assert_eq!(fixture.keys(&live, Some(&range("l", "m"))), []);
    assert_eq!(fixture.keys(&live, Some(&range("a", "b"))), []);
}

#[test]
fn a_file_outside_of_the_range_is_not_opened() {
    let (fixture, live, _) = sorted_file(5, &[]);
    std::fs::remove_file(live.file.file_path().strip_prefix("file://").unwrap()).unwrap();
    assert!(!may_contain(&live, &range("l", "m")));
    assert_eq!(fixture.keys(&live, Some(&range("l", "m"))), []);
    let open =
        scan_keys(&fixture.file_io, fixture.handle(), &live, &fixture.key(), None, &fixture.cache(), &mut |_| Ok(()));
    assert!(open.is_err());
}

/// Files written before a column was widened, or by other field names.
#[test]
fn older_files_are_read_by_field_id_and_widened() {
    let mut fixture = Fixture::new();
    let old = Arc::new(
        Schema::builder()
            .with_fields([
                Arc::new(NestedField::optional(3, "tag", Type::Primitive(PrimitiveType::String))),
                Arc::new(NestedField::optional(2, "renamed", Type::Primitive(PrimitiveType::Int))),
            ])
            .build()
            .unwrap(),
    );
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&old).unwrap());
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["x", "y"])), Arc::new(Int32Array::from(vec![7, -8]))];
    let location = fixture.paths().data_file(0);
    let mut writer = DataFileWriter::create(
        &fixture.file_io,
        fixture.handle(),
        location,
        &old,
        0,
        Struct::empty(),
        None,
        &fixture.options(),
    )
    .unwrap();
    writer.write(&RecordBatch::try_new(arrow, columns).unwrap()).unwrap();
    let file = writer.finish().unwrap();
    fixture.commit(Operation::Append, |b| {
        b.add_data_file(0, file.clone());
    });
    let live = fixture.live_of(&file);
    let fields: Vec<NestedFieldRef> =
        ["n", "tag"].iter().map(|name| fixture.schema().field_by_name(name).unwrap().clone()).collect();
    let mut seen = Vec::new();
    let outside = KeyRange { field_id: 2, min: Datum::long(8), max: Datum::long(1_i64 << 40) };
    let inside = KeyRange { field_id: 2, min: Datum::long(7), max: Datum::long(1_i64 << 40) };
    for range in [&outside, &inside] {
        scan_keys(&fixture.file_io, fixture.handle(), &live, &fields, Some(range), &fixture.cache(), &mut |batch| {
            assert_eq!(batch.schema().field(0).name(), "n");
            seen.extend(batch.column(0).as_primitive::<Int64Type>().values().to_vec());
            assert_eq!(batch.column(1).as_string::<i32>().value(1), "y");
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(seen, [7, -8]);
    let error =
        scan_keys(&fixture.file_io, fixture.handle(), &live, &fixture.key(), None, &fixture.cache(), &mut |_| Ok(()))
            .unwrap_err();
    assert_eq!(error.attribute(), Some("pk"));
}

#[test]
fn bounds_of_other_types_prune_nothing() {
    assert_eq!(compare(&Datum::long(1), &Datum::string("1")), None);
    assert_eq!(compare(&Datum::double(1.0), &Datum::double(2.0)), None);
    assert_eq!(compare(&Datum::int(1), &Datum::long(2)), Some(Ordering::Less));
    let decimal = |v: i128, scale| {
        Datum::try_from_bytes(&v.to_be_bytes(), PrimitiveType::Decimal { precision: 38, scale }).unwrap()
    };
    assert_eq!(compare(&decimal(-1, 2), &decimal(0, 2)), Some(Ordering::Less));
    assert_eq!(compare(&decimal(1, 1), &decimal(1, 2)), None);
}

/// One decimal key column in row groups of 3, of each physical width.
#[test]
fn decimal_row_groups_are_skipped_rightly() {
    for precision in [9_u8, 18, 38] {
        let fixture = Fixture::new();
        let primitive = PrimitiveType::Decimal { precision: u32::from(precision), scale: 2 };
        let schema = Arc::new(
            Schema::builder()
                .with_fields([Arc::new(NestedField::required(1, "d", Type::Primitive(primitive.clone())))])
                .build()
                .unwrap(),
        );
        let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&schema).unwrap());
        let values = vec![-900_i128, -5, -1, 0, 1, 2, 250, 300, 70_000];
        let array = arrow::array::Decimal128Array::from(values.clone()).with_precision_and_scale(precision, 2).unwrap();
        let options = WriteOptions { row_group_rows: 3, ..fixture.options() };
        let location = fixture.paths().data_file(0);
        let mut writer = DataFileWriter::create(
            &fixture.file_io,
            fixture.handle(),
            location,
            &schema,
            0,
            Struct::empty(),
            None,
            &options,
        )
        .unwrap();
        writer.write(&RecordBatch::try_new(arrow, vec![Arc::new(array)]).unwrap()).unwrap();
        let live = LiveFile {
            file: writer.finish().unwrap(),
            spec_id: 0,
            sequence_number: 1,
            deletes: Vec::new(),
            manifest: Arc::from("m"),
        };
        let datum = |v: i128| Datum::try_from_bytes(&v.to_be_bytes(), primitive.clone()).unwrap();
        for (min, max, expected) in [(-1, 0, 0..6), (-4, -2, 0..3), (3, 3, 0..0), (251, 80_000, 6..9)] {
            let range = KeyRange { field_id: 1, min: datum(min), max: datum(max) };
            let mut rows = Vec::new();
            let fields = schema.as_struct().fields().to_vec();
            scan_keys(
                &fixture.file_io,
                fixture.handle(),
                &live,
                &fields,
                Some(&range),
                &fixture.cache(),
                &mut |batch| {
                    rows.extend(batch.column(1).as_primitive::<Int64Type>().values().to_vec());
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(rows, expected.collect::<Vec<i64>>(), "{precision} {min}..{max}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_scan_agrees_with_a_plain_filter(
        rows in 1_usize..60,
        deleted in prop::collection::vec(0_u64..60, 0..40),
        from in 0_usize..60,
        length in 0_usize..60,
    ) {
        let (fixture, live, keys) = sorted_file(rows, &deleted);
        let range = range(&format!("k{from:03}"), &format!("k{:03}", from + length));
        let found = fixture.keys(&live, Some(&range));
        for (key, position) in &found {
            prop_assert_eq!(key, &keys[usize::try_from(*position).unwrap()]);
        }
        for (position, key) in keys.iter().enumerate() {
            let gone = deleted.contains(&u64::try_from(position).unwrap());
            let seen = found.iter().any(|(k, _)| k == key);
            prop_assert!(!(seen && gone));
            if !gone && (from..=from + length).contains(&position) {
                prop_assert!(seen);
            }
        }
    }
}
