//! Where row groups end, and how their columns are encoded.

use arrow::array::{ArrayRef, StringArray};

use super::*;
use crate::table::fixture::Fixture;

fn footer(file: &DataFile) -> parquet::file::metadata::ParquetMetaData {
    let file = std::fs::File::open(file.file_path().strip_prefix("file://").unwrap()).unwrap();
    parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&file).unwrap()
}

fn rows_of_groups(file: &DataFile) -> Vec<i64> {
    footer(file).row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).collect()
}

#[test]
fn row_groups_end_by_bytes() {
    let fixture = Fixture::new();
    // Random-looking keys, which do not compress away.
    let keys: Vec<String> =
        (0_u64..2000).map(|i| format!("{:x}{:x}", i.wrapping_mul(0x9E37_79B9_7F4A_7C15), i * i)).collect();
    let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
    let options = WriteOptions { row_group_bytes: 8192, ..fixture.options() };
    let file = fixture.write_with(&refs, Struct::empty(), &options);
    let offsets = file.split_offsets().unwrap();
    assert!(offsets.len() > 3 && offsets.is_sorted(), "{offsets:?}");
}

#[test]
fn row_groups_are_bounded_by_bytes_rows_and_values() {
    use arrow::array::{BooleanArray, ListArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    let values = 6_000_000;
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true; values]));
    let element = Arc::new(Field::new("element", DataType::Boolean, true));
    let lists: ArrayRef =
        Arc::new(ListArray::new(element.clone(), OffsetBuffer::from_lengths([values / 3; 3]), flags.clone(), None));
    let within = Field::new("lists", lists.data_type().clone(), true);
    let structs: ArrayRef = Arc::new(StructArray::new(vec![within].into(), vec![lists.clone()], None));
    let batch = |column: ArrayRef| RecordBatch::try_from_iter([("column", column)]).unwrap();
    for lists in [lists, structs] {
        assert_eq!(rows_of_a_group(&batch(lists.clone()), 1 << 30, 100), 2);
        assert_eq!(rows_of_a_group(&batch(lists), 1 << 30, 1), 1);
    }
    let flat = batch(flags);
    assert_eq!(rows_of_a_group(&flat, 1 << 30, usize::MAX), ORDERED_VALUES / 2);
    assert_eq!(rows_of_a_group(&flat, 1 << 30, 1 << 20), 1 << 20);
    assert_eq!(rows_of_a_group(&flat, 1000, 1 << 20), 4000);
    assert_eq!(rows_of_a_group(&flat, 0, 1 << 20), 1);
}

#[test]
fn large_rows_end_a_row_group_soon_after_it_is_full() {
    let fixture = Fixture::new();
    let options = WriteOptions { row_group_bytes: LEAST_ROW_GROUP_BYTES, ..fixture.options() };
    let mut state = 1_u64;
    let mut key = || {
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + u8::try_from(state >> 58).unwrap())
        };
        std::iter::repeat_with(next).take(2000).collect::<String>()
    };
    let keys: Vec<String> = (0..100).map(|_| key()).collect();
    let file = fixture.write_with(&keys.iter().map(String::as_str).collect::<Vec<_>>(), Struct::empty(), &options);
    let rows = rows_of_groups(&file);
    assert_eq!(rows.iter().sum::<i64>(), 100);
    // A row takes some 2000 bytes, and a quarter of a row group is written at once.
    assert!(rows.iter().all(|rows| *rows <= 64), "{rows:?}");
    assert!(rows.len() < 6, "{rows:?}");
}

#[test]
fn rows_of_less_than_a_byte_are_written() {
    use arrow::array::BooleanArray;
    use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};

    let fixture = Fixture::new();
    let field = NestedField::optional(1, "flag", Type::Primitive(PrimitiveType::Boolean)).into();
    let schema: SchemaRef = Arc::new(Schema::builder().with_fields([field]).build().unwrap());
    let column: ArrayRef = Arc::new(BooleanArray::from(vec![true; 1000]));
    let batch = RecordBatch::try_new(Arc::new(schema_to_arrow_schema(&schema).unwrap()), vec![column]).unwrap();
    let (file_io, handle, location) = (&fixture.file_io, fixture.handle(), fixture.paths().data_file(0));
    let options = fixture.options();
    let mut writer =
        DataFileWriter::create(file_io, handle, location, &schema, 0, Struct::empty(), None, &options).unwrap();
    writer.write(&batch).unwrap();
    assert_eq!(writer.finish().unwrap().record_count(), 1000);
}

/// A file that is as large as it is to be takes one row group more at least, or the load would not go on.
#[test]
fn ordered_rows_end_at_the_target_but_after_one_row_group() {
    let fixture = Fixture::new();
    let batch = fixture.batch(&[&["k"; 25][..]].concat());
    let order: Vec<u32> = (0..25).collect();
    for (target, written) in [(Some(1), 9), (Some(1 << 30), 25), (None, 25)] {
        let options = WriteOptions { row_group_rows: 10, target_bytes: target, ..fixture.options() };
        let (file_io, handle, location) = (&fixture.file_io, fixture.handle(), fixture.paths().data_file(0));
        let (schema, partition) = (fixture.schema(), Struct::empty());
        let mut writer =
            DataFileWriter::create(file_io, handle, location, &schema, 0, partition, None, &options).unwrap();
        assert_eq!(writer.write_ordered(&batch, &order, &Arc::default()).unwrap(), written, "{target:?}");
        assert_eq!(writer.rows(), u64::try_from(written).unwrap());
        let groups = rows_of_groups(&writer.finish().unwrap());
        assert_eq!(groups, [9, 9, 7][..written.div_ceil(9)]);
    }
}

#[test]
fn values_in_maps_bound_a_row_group() {
    use arrow::array::{BooleanArray, MapArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    let entries = 3_000_000;
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true; entries]));
    let pair = |name: &str, nullable| Field::new(name, DataType::Boolean, nullable);
    let fields = vec![pair("key", false), pair("value", true)].into();
    let pairs = StructArray::new(fields, vec![flags.clone(), flags], None);
    let entry = Arc::new(Field::new("key_value", pairs.data_type().clone(), false));
    let maps = MapArray::new(entry, OffsetBuffer::from_lengths([entries / 3; 3]), pairs, None, false);
    let batch = RecordBatch::try_from_iter([("maps", Arc::new(maps) as ArrayRef)]).unwrap();
    assert_eq!(rows_of_a_group(&batch, 1 << 30, 100), ORDERED_VALUES / 1_000_001);
}

#[test]
fn delete_files_are_encoded_by_their_own_properties() {
    use parquet::basic::Compression;

    let fixture = Fixture::new();
    let gzip = Compression::GZIP(parquet::basic::GzipLevel::default());
    let positions: Vec<u64> = (0..40_000).map(|n| n * 7919 % 1_000_003).collect();
    let write = |data: usize, deletes: usize| {
        let mut options = fixture.options();
        options.encoding.compression = Compression::SNAPPY;
        options.row_group_bytes = data;
        options.deletes.compression = gzip;
        options.deletes.row_group_bytes = deletes;
        let group = crate::table::deletes::write::DeleteGroup {
            spec_id: 0,
            partition: Struct::empty(),
            files: vec![("file:///a".to_owned(), positions.clone())],
        };
        let (file_io, handle, paths) = (&fixture.file_io, fixture.handle(), fixture.paths());
        crate::table::deletes::write::write_position_deletes(file_io, handle, &paths, 0, vec![group], &options)
            .unwrap()
            .remove(0)
            .1
    };
    let small = write(DEFAULT_ROW_GROUP_BYTES, LEAST_ROW_GROUP_BYTES);
    assert_eq!(footer(&small).row_group(0).column(0).compression(), gzip);
    assert!(rows_of_groups(&small).len() > 2, "{:?}", rows_of_groups(&small));
    assert_eq!(rows_of_groups(&write(LEAST_ROW_GROUP_BYTES, DEFAULT_ROW_GROUP_BYTES)), [40_000]);
    // No smaller ones, whatever is asked for.
    assert_eq!(rows_of_groups(&write(DEFAULT_ROW_GROUP_BYTES, 1)), rows_of_groups(&small));
}

#[test]
fn columns_have_dictionaries_in_files_that_are_not_wide() {
    use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};

    let fixture = Fixture::new();
    let file = fixture.write(&["a", "a", "a"]);
    assert!(footer(&file).row_group(0).column(0).dictionary_page_offset().is_some());

    let text = |id| NestedField::optional(id, format!("c{id}"), Type::Primitive(PrimitiveType::String)).into();
    let schema: SchemaRef = Arc::new(Schema::builder().with_fields((1..=1025).map(text)).build().unwrap());
    let arrow = Arc::new(schema_to_arrow_schema(&schema).unwrap());
    let column: ArrayRef = Arc::new(StringArray::from(vec!["a", "a", "a"]));
    let batch = RecordBatch::try_new(arrow, vec![column; 1025]).unwrap();
    let (file_io, handle, location) = (&fixture.file_io, fixture.handle(), fixture.paths().data_file(0));
    let options = WriteOptions { row_group_rows: 6, ..fixture.options() };
    let mut writer =
        DataFileWriter::create(file_io, handle, location, &schema, 0, Struct::empty(), None, &options).unwrap();
    let empty = writer.size();
    writer.write(&batch).unwrap();
    // Not encoded yet, but there: a load ends a file by its size.
    let once = writer.size() - empty;
    assert!(once > 0);
    writer.write(&batch.slice(0, 2)).unwrap();
    assert!(writer.size() - empty > once, "each batch counts");
    writer.write(&batch).unwrap();
    let file = writer.finish().unwrap();
    assert_eq!((rows_of_groups(&file), file.column_sizes().len()), (vec![8], 1025));
    assert!(footer(&file).row_group(0).columns().iter().all(|column| column.dictionary_page_offset().is_none()));
}
