use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use iceberg::spec::{Operation, Struct};
use parquet::arrow::ArrowWriter;

use super::*;
use crate::table::deletes::positions::Positions;
use crate::table::files::LiveFile;
use crate::table::fixture::Fixture;
use crate::table::parquet::reader::ParquetFile;
use crate::table::scan::keys::scan_keys;
use crate::table::scan::rows::scan_rows;
use crate::table::write::data_file::DataFileWriter;

/// A file of keys by our encoder, which notes nothing of the size of values that a dictionary holds.
fn file_of_keys(fixture: &mut Fixture, keys: &[&str]) -> LiveFile {
    let path = fixture.paths().data_file(0);
    let (schema, options) = (fixture.schema(), fixture.options());
    let mut writer =
        DataFileWriter::create(&fixture.file_io, fixture.handle(), path, &schema, 0, Struct::empty(), None, &options)
            .unwrap();
    let order: Vec<u32> = (0..u32::try_from(keys.len()).unwrap()).collect();
    assert_eq!(writer.write_ordered(&fixture.batch(keys), &order, &Arc::default()).unwrap(), keys.len());
    let file = writer.finish().unwrap();
    fixture.commit(Operation::Append, |b| {
        b.add_data_file(0, file.clone());
    });
    fixture.live_of(&file)
}

#[test]
fn batches_of_what_a_dictionary_holds_are_bounded_by_bytes() {
    let mut fixture = Fixture::new();
    let texts: Vec<String> = (0..8).map(|n| n.to_string().repeat(8_000)).collect();
    let keys: Vec<&str> = (0..5_000).map(|n| texts[n % 8].as_str()).collect();
    let live = file_of_keys(&mut fixture, &keys);
    assert!(live.file.file_size_in_bytes() < 1 << 20, "a dictionary");
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&fixture.schema()).unwrap());
    let (mut most, mut count, mut found) = (0, 0, Vec::new());
    let mut take = |batch: RecordBatch| {
        most = most.max(memory_of(&batch));
        count += 1;
        found.extend(batch.column(0).as_string::<i32>().iter().map(|key| key.unwrap()[..1].parse::<usize>().unwrap()));
        Ok(())
    };
    let (io, handle) = (&fixture.file_io, fixture.handle());
    scan_rows(io, handle, &live, &arrow, &Positions::new(Vec::new()), &mut take).unwrap();
    scan_keys(io, handle, &live, &fixture.key(), None, &fixture.cache(), &mut take).unwrap();
    assert!(found.iter().enumerate().all(|(n, key)| *key == n % 5_000 % 8) && found.len() == 10_000);
    assert!(most <= 10 << 20 && count < 40, "{most} bytes in one of {count} batches");
}

/// Rows of all sizes, some of them in lists, with runs of large ones among small ones.
fn rows(count: usize) -> RecordBatch {
    let large = |n: usize| (n / 100).is_multiple_of(4);
    let texts = (0..count).map(|n| (n % 3 != 1).then(|| "x".repeat(if large(n) { 2_000 + n } else { n % 20 })));
    let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
    let lengths: Vec<usize> = (0..count).map(|n| if large(n + 50) { 40 } else { n % 3 }).collect();
    let total: usize = lengths.iter().sum();
    let fields: Fields = (0..20).map(|k| Field::new(format!("f{k}"), DataType::Int64, true)).collect();
    let column =
        |k: usize| (0..total).map(|n| (n % 20 == k).then(|| i64::try_from(n).unwrap())).collect::<Int64Array>();
    let columns = (0..20).map(|k| Arc::new(column(k)) as ArrayRef).collect();
    let elements = StructArray::new(fields.clone(), columns, None);
    let element = Arc::new(Field::new("element", DataType::Struct(fields), true));
    let lists = ListArray::new(element.clone(), OffsetBuffer::from_lengths(lengths), Arc::new(elements), None);
    let schema =
        Schema::new(vec![Field::new("text", DataType::Utf8, true), Field::new("list", DataType::List(element), false)]);
    RecordBatch::try_new(Arc::new(schema), vec![texts, Arc::new(lists)]).unwrap()
}

#[test]
fn rows_of_all_sizes_come_as_they_are_in_batches_that_are_bounded() {
    let fixture = Fixture::new();
    let expected = rows(3_000);
    let mut bytes = Vec::new();
    for rows in [1_000, 3_000] {
        let properties = parquet::file::properties::WriterProperties::builder()
            .set_max_row_group_row_count(Some(rows))
            .set_data_page_row_count_limit(300)
            .set_write_batch_size(100)
            .build();
        bytes.clear();
        let mut writer = ArrowWriter::try_new(&mut bytes, expected.schema(), Some(properties)).unwrap();
        writer.write(&expected).unwrap();
        writer.close().unwrap();
        let path = fixture.dir.path().join(format!("{rows}.parquet"));
        std::fs::write(&path, &bytes).unwrap();
        let mut builder = iceberg::spec::DataFileBuilder::default();
        builder.content(iceberg::spec::DataContentType::Data).file_format(iceberg::spec::DataFileFormat::Parquet);
        builder.file_path(format!("file://{}", path.display())).file_size_in_bytes(u64::try_from(bytes.len()).unwrap());
        builder.partition(Struct::empty()).partition_spec_id(0).record_count(3_000);
        let file = ParquetFile::open(&fixture.file_io, fixture.handle(), &builder.build().unwrap()).unwrap();
        let (mean, known) = row_bytes(file.metadata());
        assert!(known && mean > memory_of(&expected) / 3_000 / 2, "{mean}");
        for (most_rows, most_bytes) in [(1, 1), (7, 1 << 20), (4_096, 20_000), (4_096, 200_000), (4_096, 100 << 20)] {
            let mut found = Vec::new();
            let size = BatchSize { rows: most_rows, bytes: most_bytes };
            let groups = (0..file.metadata().num_row_groups()).collect();
            file.read(fixture.handle(), &[0, 1], groups, size, &mut |batch| {
                // Where rows become larger than they were it is seen one batch later.
                let bytes = memory_of(&batch);
                assert!(bytes <= most_bytes * 8 || batch.num_rows() == 1, "{bytes} of {most_bytes}");
                assert!(batch.num_rows() <= most_rows);
                found.push(batch);
                Ok(())
            })
            .unwrap();
            let found = concat_batches(&found[0].schema(), &found).unwrap();
            assert!(found.column(0) == expected.column(0), "{rows}, {most_rows}, {most_bytes}");
            assert!(
                found.column(1).as_list::<i32>().value(777).len()
                    == expected.column(1).as_list::<i32>().value(777).len()
            );
            assert_eq!(
                found.column(1).to_data().get_slice_memory_size().ok(),
                expected.column(1).to_data().get_slice_memory_size().ok()
            );
        }
    }
}
