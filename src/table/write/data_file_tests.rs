use std::collections::HashMap;

use arrow::array::{ArrayRef, StringArray};
use iceberg::spec::{Datum, PrimitiveLiteral};

use super::*;
use crate::runtime::cancel::Cancel;
use crate::table::fixture::Fixture;
use crate::table::scan::key_filter::KeyFilter;

fn text(datum: &Datum) -> &str {
    match datum.literal() {
        PrimitiveLiteral::String(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_described_as_it_is() {
    let fixture = Fixture::new();
    let file = fixture.write(&["b", "a", "c", "d"]);
    assert_eq!(file.record_count(), 4);
    let on_disk = std::fs::metadata(file.file_path().strip_prefix("file://").unwrap()).unwrap().len();
    assert_eq!(file.file_size_in_bytes(), on_disk);
    assert_eq!(file.value_counts(), &HashMap::from([(1, 4), (2, 4), (3, 4)]));
    assert_eq!(file.null_value_counts(), &HashMap::from([(1, 0), (2, 0), (3, 2)]));
    assert_eq!(
        file.lower_bounds(),
        &HashMap::from([(1, Datum::string("a")), (2, Datum::long(0)), (3, Datum::string("tag 1"))])
    );
    assert_eq!(
        file.upper_bounds(),
        &HashMap::from([(1, Datum::string("d")), (2, Datum::long(3)), (3, Datum::string("tag 2"))])
    );
    assert!(file.column_sizes().values().all(|size| *size > 0) && file.column_sizes().len() == 3);
    assert_eq!(file.split_offsets(), Some(&[4_i64][..]));
    assert_eq!(file.sort_order_id(), None);
}

/// parquet-rs cuts column statistics at 64 bytes. A writer that takes a file's bounds from those of its row groups that are
/// exact gives bounds that miss the long keys; readers that prune then lose rows without a word.
#[test]
fn silent_row_loss_long_keys_in_some_row_groups_are_within_the_bounds() {
    let mut fixture = Fixture::new();
    let shared = "k".repeat(200);
    let mut keys: Vec<String> = (0..40).map(|i| format!("{shared}{i:0>1848}")).collect();
    assert!(keys.iter().all(|key| key.len() == 2048));
    // Row groups of 10: short keys only in some, long keys only in others.
    keys.splice(10..10, (0..10).map(|i| format!("b{i}")));
    keys.push("a".to_owned());
    let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
    let options = WriteOptions { row_group_rows: 10, ..fixture.options() };
    let file = fixture.write_with(&refs, Struct::empty(), &options);
    assert_eq!(file.split_offsets().unwrap().len(), 6);
    let (lower, upper) = (text(&file.lower_bounds()[&1]), text(&file.upper_bounds()[&1]));
    assert_eq!((lower, upper), ("a", "kkkkkkkkkkkkkkkl"));
    assert!(keys.iter().all(|key| lower <= key.as_str() && key.as_str() <= upper));

    fixture.commit(iceberg::spec::Operation::Append, |b| {
        b.add_data_file(0, file.clone());
    });
    let live = fixture.live_of(&file);
    for (position, key) in keys.iter().enumerate() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![key.as_str()]));
        let sought = KeyFilter::new(&fixture.key(), &RecordBatch::try_from_iter([("pk", column)]).unwrap());
        assert!(sought.may_be_in(&live));
        let found = fixture.keys(&live, Some(&sought));
        assert!(found.contains(&(key.clone(), i64::try_from(position).unwrap())), "{} of {}", position, keys.len());
    }
}

#[test]
fn an_abandoned_file_is_deleted() {
    let fixture = Fixture::new();
    let start = || {
        let (schema, options) = (fixture.schema(), fixture.options());
        let location = fixture.paths().data_file(3);
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
        writer.write(&fixture.batch(&["a"])).unwrap();
        writer
    };
    let writer = start();
    assert_eq!(fixture.count_files(".parquet"), 1);
    writer.abort().unwrap();
    assert_eq!(fixture.count_files(".parquet"), 0);
    drop(start());
    for _ in 0..200 {
        if fixture.count_files(".parquet") == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the dropped writer left its file behind");
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let fixture = Fixture::new();
    let (schema, options) = (fixture.schema(), fixture.options());
    let location = fixture.paths().data_file(0);
    let mut writer = DataFileWriter::create(
        &fixture.file_io,
        fixture.handle(),
        location,
        &schema,
        0,
        Struct::empty(),
        Some(1),
        &options,
    )
    .unwrap();
    let batch = fixture.batch(&["a"]);
    assert!(writer.write(&batch.project(&[0, 2, 1]).unwrap()).is_err());
    writer.write(&batch).unwrap();
    assert_eq!(writer.rows(), 1);
    assert_eq!(writer.finish().unwrap().sort_order_id(), Some(1));
}

#[test]
fn ordered_rows_make_the_file_that_rows_in_order_make() {
    use arrow::array::UInt32Array;
    use arrow::compute::take_record_batch;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let fixture = Fixture::new();
    let (schema, plain) = (fixture.schema(), fixture.options());
    let keys: Vec<String> = (0..70_000).map(|n| format!("key {n:05}")).collect();
    let batch = fixture.batch(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    // Not all there are: neither the first key nor the greatest number.
    let order: Vec<u32> = (1..69_999).rev().collect();
    let small = WriteOptions { row_group_bytes: 200_000, ..plain.clone() };
    let few = WriteOptions { row_group_rows: 30_000, ..plain.clone() };
    let expected = take_record_batch(&batch, &UInt32Array::from(order.clone())).unwrap();
    for (options, groups) in [(plain, 1..=1), (small, 2..=6), (few, 3..=3)] {
        let write = |fill: &dyn Fn(&mut DataFileWriter)| {
            let mut writer = DataFileWriter::create(
                &fixture.file_io,
                fixture.handle(),
                fixture.paths().data_file(0),
                &schema,
                0,
                Struct::empty(),
                None,
                &options,
            )
            .unwrap();
            fill(&mut writer);
            writer.finish().unwrap()
        };
        let ordered = write(&|writer| {
            writer.write_ordered(&batch, &[], &Arc::default()).unwrap();
            writer.write_ordered(&batch, &order, &Arc::default()).unwrap();
            assert_eq!(writer.rows(), 69_998);
        });
        let reference = write(&|writer| writer.write(&expected).unwrap());
        assert_eq!(ordered.record_count(), reference.record_count());
        assert_eq!(ordered.value_counts(), reference.value_counts());
        assert_eq!(ordered.null_value_counts(), reference.null_value_counts());
        assert_eq!(ordered.lower_bounds(), reference.lower_bounds());
        assert_eq!(ordered.upper_bounds(), reference.upper_bounds());
        let open = |file: &DataFile| {
            let file = std::fs::File::open(file.file_path().strip_prefix("file://").unwrap()).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap()
        };
        let (left, right) = (open(&ordered), open(&reference));
        assert_eq!(left.schema(), right.schema());
        assert_eq!(left.metadata().file_metadata().schema(), right.metadata().file_metadata().schema());
        assert_eq!(
            left.metadata().file_metadata().key_value_metadata(),
            right.metadata().file_metadata().key_value_metadata()
        );
        assert!(groups.contains(&left.metadata().num_row_groups()), "{}", left.metadata().num_row_groups());
        let read: Vec<RecordBatch> = left.build().unwrap().map(std::result::Result::unwrap).collect();
        let read = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
        assert_eq!(read.columns(), expected.columns());
    }
}

#[test]
fn ordered_rows_follow_rows_that_came_before() {
    let mut fixture = Fixture::new();
    let mut writer = DataFileWriter::create(
        &fixture.file_io,
        fixture.handle(),
        fixture.paths().data_file(0),
        &fixture.schema(),
        0,
        Struct::empty(),
        None,
        &fixture.options(),
    )
    .unwrap();
    writer.write(&fixture.batch(&["a", "b"])).unwrap();
    writer.write_ordered(&fixture.batch(&["d", "c"]), &[1, 0], &Arc::default()).unwrap();
    writer.write(&fixture.batch(&["e"])).unwrap();
    let file = writer.finish().unwrap();
    assert_eq!((file.record_count(), text(&file.upper_bounds()[&1])), (5, "e"));
    fixture.commit(iceberg::spec::Operation::Append, |b| {
        b.add_data_file(0, file.clone());
    });
    let keys: Vec<String> = fixture.keys(&fixture.live_of(&file), None).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e"]);
}

#[test]
fn what_is_inside_of_lists_and_maps_has_no_statistics() {
    use crate::attribute::Parser;
    use crate::columns::ItemBuilder;
    use crate::schema::{Limits, SchemaFile, TableSchema};
    use parquet::file::metadata::ParquetMetaDataReader;

    let file = SchemaFile::parse(
        r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"long"},"tags":{"type":{"set":"string"}},
        "map":{"type":{"map":"long"}},"m":{"type":{"struct":{"a":{"type":"long"},"rows":{"type":{"list":"string"}}}}}}}"#,
    )
    .unwrap();
    let table = TableSchema::create(&file, &file.key).unwrap();
    let mut builder = ItemBuilder::new(&table, Limits::default()).unwrap();
    for item in [
        r#"{"pk":{"N":"1"},"tags":{"SS":["x","y"]},"m":{"M":{"a":{"N":"5"},"rows":{"L":[{"S":"z"},{"NULL":true}]}}}}"#,
        r#"{"pk":{"N":"2"},"map":{"M":{"k":{"N":"7"}}}}"#,
    ] {
        builder.append(&mut Parser::new(item.as_bytes()).unwrap()).unwrap();
    }
    let fixture = Fixture::new();
    let mut writer = DataFileWriter::create(
        &fixture.file_io,
        fixture.handle(),
        fixture.paths().data_file(0),
        &table.schema,
        0,
        Struct::empty(),
        None,
        &fixture.options(),
    )
    .unwrap();
    writer.write(&builder.finish().unwrap()).unwrap();
    let file = writer.finish().unwrap();
    let footer = std::fs::File::open(file.file_path().strip_prefix("file://").unwrap()).unwrap();
    let footer = ParquetMetaDataReader::new().parse_and_finish(&footer).unwrap();
    let bare: Vec<String> = footer
        .row_group(0)
        .columns()
        .iter()
        .filter(|column| column.statistics().is_none())
        .map(|column| column.column_path().string())
        .collect();
    let repeated = ["m.rows.list.element", "map.key_value.key", "map.key_value.value", "tags.list.element"];
    assert_eq!(bare, repeated);
    let of = |counts: &HashMap<i32, u64>| {
        let name = |id: &i32| table.schema.name_by_field_id(*id).unwrap().to_owned();
        counts.iter().map(|(id, count)| (name(id), *count)).collect::<HashMap<String, u64>>()
    };
    let counts = |nulls: [u64; 3]| {
        HashMap::from([("pk", nulls[0]), ("m.a", nulls[1]), ("_ddb_rescued", nulls[2])].map(|(k, v)| (k.to_owned(), v)))
    };
    assert_eq!(of(file.value_counts()), counts([2, 2, 2]));
    assert_eq!(of(file.null_value_counts()), counts([0, 1, 2]));
    assert_eq!(file.column_sizes().len(), 7);
}

/// Columns of all shapes, encoded by three threads, and by one.
#[test]
fn several_threads_make_the_file_that_one_makes() {
    use arrow::array::{Int64Array, Int64Builder, ListBuilder, MapArray, MapBuilder, StringBuilder, StructArray};
    use iceberg::spec::{ListType, MapType, NestedField, PrimitiveType, Schema, StructType, Type};

    const ROWS: i64 = 20_000;
    let fixture = Fixture::new();
    let field = |id, name: &str, ty| Arc::new(NestedField::optional(id, name, ty));
    let (text, long) = (Type::Primitive(PrimitiveType::String), Type::Primitive(PrimitiveType::Long));
    let inside = StructType::new(vec![field(5, "a", long.clone()), field(6, "b", text.clone())]);
    let list = ListType::new(NestedField::list_element(7, long.clone(), false).into());
    let map = MapType::new(
        NestedField::map_key_element(8, text.clone()).into(),
        NestedField::map_value_element(9, long.clone(), false).into(),
    );
    let schema = Schema::builder()
        .with_fields([
            field(1, "pk", text),
            field(2, "s", Type::Struct(inside)),
            field(3, "l", Type::List(list)),
            field(4, "m", Type::Map(map)),
        ])
        .build()
        .unwrap();
    let arrow = Arc::new(schema_to_arrow_schema(&schema).unwrap());
    let (DataType::Struct(inside), DataType::List(element), DataType::Map(entries, _)) =
        (arrow.field(1).data_type(), arrow.field(2).data_type(), arrow.field(3).data_type())
    else {
        panic!("{arrow}");
    };
    let DataType::Struct(pair) = entries.data_type() else { panic!("{arrow}") };

    let longs = (0..ROWS).map(|n| (n % 7 > 0).then_some(n)).collect::<Int64Array>();
    let texts = (0..ROWS).map(|n| Some(format!("text {}", n * 31 % 977))).collect::<StringArray>();
    let structs = StructArray::new(inside.clone(), vec![Arc::new(longs), Arc::new(texts.clone())], None);
    let mut lists = ListBuilder::new(Int64Builder::new()).with_field(element.clone());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new())
        .with_keys_field(pair[0].clone())
        .with_values_field(pair[1].clone());
    for n in 0..ROWS {
        for k in 0..n % 4 {
            lists.values().append_value(n + k);
            maps.keys().append_value(format!("k{k}"));
            maps.values().append_value(n * k);
        }
        lists.append(n % 5 > 0);
        maps.append(n % 6 > 0).unwrap();
    }
    let maps = maps.finish();
    let pairs = StructArray::new(pair.clone(), vec![maps.keys().clone(), maps.values().clone()], None);
    let maps = MapArray::new(entries.clone(), maps.offsets().clone(), pairs, maps.nulls().cloned(), false);
    let columns: Vec<ArrayRef> = vec![Arc::new(texts), Arc::new(structs), Arc::new(lists.finish()), Arc::new(maps)];
    let batch = RecordBatch::try_new(arrow, columns).unwrap();
    let order: Vec<u32> = (0..u32::try_from(ROWS).unwrap()).rev().collect();

    let schema = Arc::new(schema);
    let options = WriteOptions { row_group_rows: 7000, ..fixture.options() };
    let (file_io, location) = (fixture.file_io.clone(), fixture.paths().data_file(0));
    let handle = fixture.handle().clone();
    let write = move |helpers: &Arc<WorkSharing>| {
        let mut writer =
            DataFileWriter::create(&file_io, &handle, location.clone(), &schema, 0, Struct::empty(), None, &options)?;
        writer.write_ordered(&batch, &order, helpers)?;
        let file = writer.finish()?;
        let bytes = std::fs::read(file.file_path().strip_prefix("file://").unwrap()).unwrap();
        std::fs::remove_file(file.file_path().strip_prefix("file://").unwrap()).unwrap();
        Ok((file, bytes))
    };
    let alone = write(&Arc::default()).unwrap();
    let helpers: Arc<WorkSharing> = Arc::default();
    let shared = Arc::clone(&helpers);
    let work = move |(): (), _: &Cancel| write(&shared);
    for _ in 0..5 {
        let work = work.clone();
        let together = crate::runtime::pool::run_with_helpers(&helpers, 3, vec![()], work);
        assert!(fixture.runtime.block_on(together).unwrap() == [alone.clone()], "the files differ");
    }
}

/// What a file would have is known while it is written.
#[test]
fn a_file_tells_its_size_while_it_grows() {
    let fixture = Fixture::new();
    let location = fixture.paths().data_file(0);
    let options = WriteOptions { row_group_rows: 4, ..fixture.options() };
    let mut writer = DataFileWriter::create(
        &fixture.file_io,
        fixture.handle(),
        location.clone(),
        &fixture.schema(),
        0,
        Struct::empty(),
        None,
        &options,
    )
    .unwrap();
    let mut sizes = vec![writer.size()];
    for _ in 0..4 {
        writer.write(&fixture.batch(&["a", "b", "c"])).unwrap();
        sizes.push(writer.size());
    }
    assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
    let file = writer.finish().unwrap();
    assert!(file.file_size_in_bytes() > sizes[4] / 2 && sizes[4] > 100, "{sizes:?}");
}

/// A writer whose handle runs no tasks: what is left to the runtime never happens.
fn writer_at_the_end(fixture: &Fixture, runtime: &tokio::runtime::Runtime) -> DataFileWriter {
    let (schema, options, location) = (fixture.schema(), fixture.options(), fixture.paths().data_file(0));
    let (file_io, partition) = (&fixture.file_io, Struct::empty());
    let mut writer =
        DataFileWriter::create(file_io, runtime.handle(), location, &schema, 0, partition, None, &options).unwrap();
    writer.write(&fixture.batch(&["a"])).unwrap();
    writer
}

#[test]
fn a_file_given_up_is_gone_before_the_program_can_end() {
    let fixture = Fixture::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let writer = writer_at_the_end(&fixture, &runtime);
    assert!(fixture.count_files(".parquet") == 1 && writer.guard.location.starts_with(fixture.metadata.location()));
    writer.abort().unwrap();
    assert_eq!(fixture.count_files(".parquet"), 0);

    let mut writer = writer_at_the_end(&fixture, &runtime);
    let location = writer.guard.location.clone();
    assert_eq!(fixture.count_files(".parquet"), 1);
    let error = writer.failure(parquet::errors::ParquetError::General("no more".to_owned()));
    assert!(error.to_string().contains("no more") && error.to_string().contains(&location), "{error}");
    assert_eq!(fixture.count_files(".parquet"), 0);
    assert!(writer.write(&fixture.batch(&["b"])).unwrap_err().message().contains("already finished"));
}
