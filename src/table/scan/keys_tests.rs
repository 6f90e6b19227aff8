use arrow::array::{AsArray, Int32Array, StringArray};
use arrow::datatypes::Int64Type;
use iceberg::spec::{NestedField, Operation, PrimitiveType, Schema, Struct, Type};
use proptest::prelude::*;

use super::*;
use crate::table::fixture::Fixture;
use crate::table::write::data_file::DataFileWriter;
use crate::table::write::options::WriteOptions;

fn sought(fixture: &Fixture, keys: &[&str]) -> KeyFilter {
    let column: ArrayRef = Arc::new(StringArray::from(keys.to_vec()));
    KeyFilter::new(&fixture.key(), &RecordBatch::try_from_iter([("pk", column)]).unwrap())
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
    let found = |keys: &[&str]| fixture.keys(&live, Some(&sought(&fixture, keys)));
    // Only the third and the fourth row group can hold these.
    assert_eq!(found(&["k025", "k031"]), expected(20, 40));
    assert_eq!(found(&["k044", "zzz"]), expected(40, 45));
    // What lies between two keys is not read.
    assert_eq!(found(&["a", "k005", "k032"]), [expected(0, 10), expected(30, 40)].concat());
    assert_eq!(found(&["l", "m"]), []);
    assert_eq!(found(&["a", "b", "k0095", "l"]), []);
}

#[test]
fn a_file_that_holds_no_key_is_not_opened() {
    let (fixture, live, _) = sorted_file(5, &[]);
    std::fs::remove_file(live.file.file_path().strip_prefix("file://").unwrap()).unwrap();
    for keys in [&["l", "m"][..], &["a", "z"]] {
        assert_eq!(fixture.keys(&live, Some(&sought(&fixture, keys))), []);
    }
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
    for number in [8, 7] {
        let keys: [(_, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from(vec![number, 1 << 40]))),
            ("tag", Arc::new(StringArray::from(vec!["x", "y"]))),
        ];
        let sought = KeyFilter::new(&fields, &RecordBatch::try_from_iter(keys).unwrap());
        scan_keys(&fixture.file_io, fixture.handle(), &live, &fields, Some(&sought), &fixture.cache(), &mut |batch| {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_scan_agrees_with_a_plain_filter(
        rows in 1_usize..60,
        deleted in prop::collection::vec(0_u64..60, 0..40),
        from in 0_usize..60,
        length in 0_usize..60,
        step in 1_usize..20,
    ) {
        let (fixture, live, keys) = sorted_file(rows, &deleted);
        let wanted: Vec<String> = (from..=from + length).step_by(step).map(|n| format!("k{n:03}")).collect();
        let found = fixture.keys(&live, Some(&sought(&fixture, &wanted.iter().map(String::as_str).collect::<Vec<_>>())));
        for (key, position) in &found {
            prop_assert_eq!(key, &keys[usize::try_from(*position).unwrap()]);
        }
        for (position, key) in keys.iter().enumerate() {
            let gone = deleted.contains(&u64::try_from(position).unwrap());
            let seen = found.iter().any(|(k, _)| k == key);
            prop_assert!(!(seen && gone));
            if !gone && wanted.contains(key) {
                prop_assert!(seen);
            }
        }
    }
}

#[test]
fn a_data_file_is_named_by_its_place() {
    let (fixture, live, _) = sorted_file(5, &[]);
    let KeyFile(file) = fixture.handle().block_on(KeyFile::open(&fixture.file_io, &live)).unwrap();
    assert_eq!(file.location(), live.file.file_path());
}

#[test]
fn positions_follow_row_groups_and_batches() {
    let mut rows = RowPositions::new(vec![(10, 5), (100, 3), (200, 1)]);
    for (count, expected) in
        [(2, vec![10, 11]), (0, vec![]), (1, vec![12]), (4, vec![13, 14, 100, 101]), (2, vec![102, 200])]
    {
        assert_eq!(rows.take(count).unwrap(), expected);
    }
    assert!(rows.take(1).unwrap_err().message().contains("more rows than its footer says"));
}

#[test]
fn a_batch_that_is_all_deleted_is_not_given() {
    let (fixture, live, _) = sorted_file(4, &[0, 1, 2, 3]);
    let mut batches = 0;
    scan_keys(&fixture.file_io, fixture.handle(), &live, &fixture.key(), None, &fixture.cache(), &mut |_| {
        batches += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(batches, 0);
}

#[test]
fn a_required_key_that_is_null_is_refused() {
    let mut fixture = Fixture::new();
    let file = fixture.append(&["a", "b"]);
    let live = fixture.live_of(&file);
    // `tag` is null in the first row.
    let read = |required: bool| {
        let tag = NestedField::new(3, "tag", Type::Primitive(PrimitiveType::String), required);
        let mut nulls = Vec::new();
        let (file_io, handle, cache) = (&fixture.file_io, fixture.handle(), fixture.cache());
        scan_keys(file_io, handle, &live, &[Arc::new(tag)], None, &cache, &mut |batch| {
            assert_eq!(batch.schema().field(0).is_nullable(), !required);
            nulls.push(batch.column(0).null_count());
            Ok(())
        })
        .map(|()| nulls)
    };
    assert_eq!(read(false).unwrap(), [1]);
    let error = read(true).unwrap_err();
    assert!(error.message().contains("a row without a key") && error.attribute() == Some("tag"), "{error}");
    assert!(error.to_string().contains(file.file_path()), "{error}");
}

#[test]
fn types_are_promoted_as_iceberg_allows() {
    use DataType as D;
    use arrow::array::BinaryArray;
    use arrow::datatypes::TimeUnit;

    let micros = |zone: Option<&str>| D::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    for (source, target, allowed) in [
        (D::Decimal128(9, 2), D::Decimal128(9, 2), true),
        (D::Decimal128(9, 2), D::Decimal128(18, 2), true),
        (D::Decimal128(18, 2), D::Decimal128(9, 2), false),
        (D::Decimal128(9, 2), D::Decimal128(18, 3), false),
        (D::Decimal128(9, 3), D::Decimal128(18, 2), false),
        (D::Decimal128(9, 3), D::Decimal128(8, 2), false),
        (micros(None), micros(Some("UTC")), true),
        (D::Timestamp(TimeUnit::Nanosecond, None), micros(None), false),
        (D::Int32, D::Int64, true),
        (D::Int64, D::Int32, false),
        (D::Float32, D::Float64, true),
        (D::Int32, D::Float64, false),
        (D::Binary, D::Utf8, true),
        (D::Utf8View, D::Utf8, true),
        (D::Utf8, D::Int64, false),
    ] {
        let array = arrow::array::new_null_array(&source, 2);
        match promote(&array, &target) {
            Ok(promoted) => assert!(allowed && promoted.data_type() == &target, "{source} to {target}"),
            Err(error) => {
                assert!(!allowed, "{source} to {target}: {error}");
                let said = format!("has a column of type {source}, the table's is {target}");
                assert!(error.message().contains(&said), "{error}");
            }
        }
    }
    let text = |bytes: &[u8]| promote(&(Arc::new(BinaryArray::from(vec![bytes])) as ArrayRef), &D::Utf8);
    assert_eq!(text(b"ok").unwrap().as_string::<i32>().value(0), "ok");
    assert!(text(b"\xff").is_err(), "no text, and no null");
    let narrow = arrow::array::Decimal128Array::from(vec![105]).with_precision_and_scale(9, 2).unwrap();
    let wide = promote(&(Arc::new(narrow) as ArrayRef), &D::Decimal128(18, 2)).unwrap();
    assert_eq!(wide.as_primitive::<arrow::datatypes::Decimal128Type>().value(0), 105);
}
