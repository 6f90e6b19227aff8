//! Column chunks against what Parquet's own writer and reader make of the same rows.

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{NestedField, PrimitiveType, Schema as IcebergSchema, StructType, Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, PageType, ZstdLevel};
use parquet::column::page::Page;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::file::serialized_reader::SerializedPageReader;
use proptest::prelude::*;

use super::rle::tests::unpack;
use super::rle::width_of;
use super::*;
use crate::attribute::Parser;
use crate::columns::ItemBuilder;
use crate::schema::{Limits, SchemaFile, TableSchema};
use crate::table::parquet::min_max::Value;
use crate::table::write::metrics::{MetricsConfig, MetricsMode, RowMetrics};

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
}

/// A file of one row group: the rows at the given positions; and what is known of its values.
fn write(
    batch: &RecordBatch,
    positions: &[u32],
    properties: WriterPropertiesBuilder,
) -> (Bytes, ParquetMetaData, Vec<(i32, MinMax)>) {
    let file = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    let (mut file, _) = file.into_serialized_writer().unwrap();
    let columns = columns(batch.schema_ref().fields(), file.schema_descr().columns());
    let (positions, properties) = (Arc::new(positions.to_vec()), Arc::clone(file.properties()));
    let mut group = file.next_row_group().unwrap();
    let mut found = Vec::new();
    for (column, array) in columns.iter().zip(batch.columns()) {
        for chunk in
            column.encode(array, &Levels::rows(Arc::clone(&positions)), &properties, &WorkSharing::default()).unwrap()
        {
            found.extend(chunk.append(&mut group).unwrap());
        }
    }
    group.close().unwrap();
    let footer = file.finish().unwrap();
    (Bytes::from(std::mem::take(file.inner_mut())), footer, found)
}

fn read(file: &Bytes, schema: &Arc<Schema>) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    assert_eq!(reader.schema(), schema);
    let batches: Vec<RecordBatch> = reader.with_batch_size(100).build().unwrap().map(|b| b.unwrap()).collect();
    concat_batches(schema, &batches).unwrap()
}

fn check(batch: &RecordBatch, positions: &[u32]) {
    let expected = take_record_batch(batch, &UInt32Array::from(positions.to_vec())).unwrap();
    for properties in [
        properties(),
        properties().set_dictionary_enabled(false),
        properties().set_dictionary_enabled(false).set_data_page_row_count_limit(3),
        properties().set_data_page_row_count_limit(7).set_data_page_size_limit(50),
        properties().set_dictionary_page_size_limit(200),
    ] {
        assert_eq!(read(&write(batch, positions, properties).0, batch.schema_ref()), expected);
    }
}

#[test]
fn items_of_all_shapes_are_read_in_the_order_they_were_written_in() {
    let file = SchemaFile::parse(
        r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"long"},
        "m":{"type":{"struct":{"a":{"type":"long"},"b":{"type":{"list":"string"}}}}},
        "rows":{"type":{"list":{"struct":{"c":{"type":"decimal(10,2)"},"d":{"type":{"set":"long"}}}}}},
        "map":{"type":{"map":{"list":"binary"}}},"yes":{"type":"boolean"}}}"#,
    )
    .unwrap();
    let table = TableSchema::create(&file, &file.key).unwrap();
    let mut builder = ItemBuilder::new(&table, Limits::default()).unwrap();
    for n in 0..200 {
        let list = |k: usize, element: &str| format!(r#"{{"L":[{}]}}"#, vec![element; k].join(","));
        let row = format!(r#"{{"M":{{"c":{{"N":"{n}.5"}},"d":{{"NS":["{n}","-7.0"]}}}}}}"#);
        let optional = [
            (n % 3, format!(r#","m":{{"M":{{"a":{{"N":"{n}"}},"b":{}}}}}"#, list(n % 4, r#"{"S":"x"}"#))),
            (n % 5, format!(r#","rows":{}"#, list(n % 3, &row))),
            (n % 7, format!(r#","map":{{"M":{{"k{n}":{}}}}}"#, list(n % 3, r#"{"B":"aGk="}"#))),
            (n % 4, format!(r#","yes":{{"BOOL":{}}}"#, n % 9 < 4)),
        ];
        let there = optional.iter().filter(|(rest, _)| *rest > 0).map(|(_, text)| text.as_str());
        let item = format!(r#"{{"pk":{{"N":"{n}"}}{}}}"#, there.collect::<String>());
        builder.append(&mut Parser::new(item.as_bytes()).unwrap()).unwrap();
    }
    let batch = builder.finish().unwrap();
    let mixed: Vec<u32> = (0..200).map(|n| n * 77 % 200).collect();
    for positions in [&mixed, &mixed[..50], &[5], &[0, 0, 0], &[0]] {
        check(&batch, positions);
    }
    check(&batch.slice(40, 100), &mixed.iter().map(|n| n % 100).collect::<Vec<_>>());
}

/// A column for each type that can be written, with nulls, and some values twice.
fn all_types(rows: i64) -> (IcebergSchema, RecordBatch) {
    let some = |n: &i64| n % 5 > 0;
    let small = |n: i64| i32::try_from(n).unwrap();
    let integers = (0..rows).map(|n| some(&n).then_some(small(n * 37 % 50 - 20))).collect::<Int32Array>();
    let longs = || (0..rows).map(|n| some(&n).then_some((n * 37 % 50 - 20) * 1_000_003));
    let decimals = |precision, scale| {
        let array: Decimal128Array = longs().map(|n| n.map(i128::from)).collect();
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    let floats = (0..rows).map(|n| match n % 6 {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(0.0),
        _ => Some(f64::from(small(n % 90))),
    });
    let floats: ArrayRef = Arc::new(floats.collect::<Float64Array>());
    let text = |n: i64| some(&n).then(|| "ä€𝄞z".repeat(usize::try_from(n * 7 % 40).unwrap()));
    let binary = |n: i64| text(n).map(|text| [text.as_bytes(), &[255; 70]].concat());
    let fixed = (0..rows).map(|n| some(&n).then(|| i128::from(n * 7 % 50 - 9).to_be_bytes()));
    let fixed: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 16).unwrap());
    let (integers, longs): (ArrayRef, ArrayRef) = (Arc::new(integers), Arc::new(longs().collect::<Int64Array>()));
    let all = Arc::new((0..rows).collect::<Int64Array>()) as ArrayRef;
    let columns: Vec<(&str, PrimitiveType, ArrayRef)> = vec![
        (
            "boolean",
            PrimitiveType::Boolean,
            Arc::new((0..rows).map(|n| some(&n).then_some(n % 3 == 0)).collect::<BooleanArray>()),
        ),
        ("int", PrimitiveType::Int, Arc::clone(&integers)),
        ("date", PrimitiveType::Date, integers),
        ("long", PrimitiveType::Long, Arc::clone(&longs)),
        ("time", PrimitiveType::Time, Arc::clone(&longs)),
        ("micros", PrimitiveType::Timestamptz, Arc::clone(&longs)),
        ("nanos", PrimitiveType::TimestampNs, longs),
        ("float", PrimitiveType::Float, Arc::clone(&floats)),
        ("double", PrimitiveType::Double, floats),
        (
            "zeros",
            PrimitiveType::Double,
            Arc::new((0..rows).map(|n| (n % 6 < 3).then_some(-0.0)).collect::<Float64Array>()),
        ),
        ("decimal9", PrimitiveType::Decimal { precision: 9, scale: 2 }, decimals(9, 2)),
        ("decimal18", PrimitiveType::Decimal { precision: 18, scale: 0 }, decimals(18, 0)),
        ("decimal25", PrimitiveType::Decimal { precision: 25, scale: 9 }, decimals(25, 9)),
        ("decimal38", PrimitiveType::Decimal { precision: 38, scale: 9 }, decimals(38, 9)),
        ("text", PrimitiveType::String, Arc::new((0..rows).map(text).collect::<StringArray>())),
        ("binary", PrimitiveType::Binary, Arc::new((0..rows).map(binary).collect::<LargeBinaryArray>())),
        (
            "greatest",
            PrimitiveType::Binary,
            Arc::new((0..rows).map(|n| some(&n).then_some([255; 70])).collect::<LargeBinaryArray>()),
        ),
        ("uuid", PrimitiveType::Uuid, Arc::clone(&fixed)),
        ("fixed", PrimitiveType::Fixed(16), fixed),
        ("nothing", PrimitiveType::Long, Arc::new((0..rows).map(|_| None::<i64>).collect::<Int64Array>())),
        ("all", PrimitiveType::Long, all),
    ];
    let field = |(id, (name, ty, _)): (i32, &(&str, PrimitiveType, ArrayRef))| {
        let ty = Type::Primitive(ty.clone());
        let required = *name == "all";
        Arc::new(if required { NestedField::required(id, *name, ty) } else { NestedField::optional(id, *name, ty) })
    };
    // The same again in a struct, which is null in some rows.
    let inside = StructType::new((101..).zip(&columns).map(field).collect());
    let mut fields: Vec<_> = (1..).zip(&columns).map(field).collect();
    fields.push(Arc::new(NestedField::optional(100, "inside", Type::Struct(inside))));
    let schema = IcebergSchema::builder().with_fields(fields).build().unwrap();
    let arrow = Arc::new(schema_to_arrow_schema(&schema).unwrap());
    let mut arrays: Vec<ArrayRef> = columns
        .iter()
        .zip(arrow.fields())
        .map(|((_, _, array), field)| cast(array, field.data_type()).unwrap())
        .collect();
    let DataType::Struct(inside) = arrow.field(arrays.len()).data_type() else { panic!("{arrow}") };
    let nulls: NullBuffer = (0..rows).map(|n| n % 4 > 0).collect();
    arrays.push(Arc::new(StructArray::new(inside.clone(), arrays.clone(), Some(nulls))));
    (schema, RecordBatch::try_new(arrow, arrays).unwrap())
}

#[test]
fn all_types_are_read_again_and_described_as_parquets_writer_does() {
    let (schema, batch) = all_types(3000);
    let mixed: Vec<u32> = (0..3000).map(|n| n * 77 % 3000).filter(|n| n % 11 > 0).collect();
    check(&batch, &mixed);
    let positions = UInt32Array::from(mixed.clone());
    let ordered = take_record_batch(&batch, &positions).unwrap();
    for dictionary in [true, false] {
        let properties = || properties().set_dictionary_enabled(dictionary);
        let (_, footer, found) = write(&batch, &mixed, properties());
        let mut reference = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties().build())).unwrap();
        reference.write(&ordered).unwrap();
        let reference = reference.finish().unwrap();
        for (ours, theirs) in footer.row_group(0).columns().iter().zip(reference.row_group(0).columns()) {
            let name = ours.column_path();
            assert_eq!(ours.num_values(), theirs.num_values(), "{name}");
            let describe = |chunk: &ColumnChunkMetaData| {
                let mut encodings: Vec<Encoding> = chunk.encodings().collect();
                encodings.sort();
                (chunk.dictionary_page_offset().is_some(), encodings)
            };
            // One line a kind of page, however many there are.
            let stats = ours.page_encoding_stats().unwrap();
            assert!(stats.len() == 1 || stats[0].page_type != stats[1].page_type && stats.len() == 2, "{name}");
            let name = name.parts().last().unwrap().as_str();
            // Theirs has a dictionary of nothing where all is null.
            if name != "nothing" {
                assert_eq!(describe(ours), describe(theirs), "{name}");
            }
            let (ours, theirs) = (ours.statistics().unwrap(), theirs.statistics().unwrap());
            assert_eq!(ours.null_count_opt(), theirs.null_count_opt(), "{name}");
            let (min, max) = (ours.min_bytes_opt(), ours.max_bytes_opt());
            if ["text", "binary"].contains(&name) {
                // Cut by Iceberg's rule, not by Parquet's.
                let column = cast(&batch[name], &DataType::LargeBinary).unwrap();
                let values = || column.as_binary::<i64>().iter().flatten();
                assert!(min <= values().min() && max >= values().max(), "{name}");
                assert!(!ours.max_is_exact() && max.unwrap().len() <= 256, "{name}");
                continue;
            }
            assert_eq!((min, max), (theirs.min_bytes_opt(), theirs.max_bytes_opt()), "{name}");
        }

        let config = MetricsConfig::uniform(MetricsMode::Truncate(16));
        let (mut by_rows, mut by_chunks) = (RowMetrics::new(&schema, &config), RowMetrics::new(&schema, &config));
        by_rows.update(&ordered).unwrap();
        by_chunks.take_in(found).unwrap();
        let (by_rows, by_chunks) = (by_rows.finish().unwrap(), by_chunks.finish().unwrap());
        assert_eq!(by_chunks.nans, by_rows.nans);
        let doubles = ordered["double"].as_primitive::<Float64Type>();
        let nans = doubles.iter().flatten().filter(|value| value.is_nan()).count();
        assert!(nans > 400 && by_rows.nans[&schema.field_id_by_name("double").unwrap()] == nans as u64);
        assert_eq!((by_chunks.lower, by_chunks.upper), (by_rows.lower, by_rows.upper));
        assert!(RowMetrics::new(&schema, &config).take_in(Vec::new()).is_err());
    }
}

/// A text is cut between characters, bytes anywhere.
#[test]
fn bounds_of_text_are_text() {
    let bounds = |text: &[u8]| {
        let bounds = Some((Value::Bytes(text.to_vec()), Value::Bytes(text.to_vec())));
        let known = MinMax { bounds, nans: 0 };
        let schema = Schema::new(vec![Field::new("t", DataType::Utf8, true)]);
        let leaf = ArrowSchemaConverter::new().convert(&schema).unwrap().column(0);
        let statistics = statistics(&leaf, &known, 0, Some(3));
        [statistics.min_bytes_opt(), statistics.max_bytes_opt()].map(|bytes| bytes.unwrap().to_vec())
    };
    assert_eq!(bounds("äöüß".as_bytes()), ["äöü".as_bytes(), "äöý".as_bytes()]);
    assert_eq!(bounds(b"\xff\x01\x02\x03"), [&b"\xff\x01\x02"[..], b"\xff\x01\x03"]);
    assert_eq!(bounds(b"abc"), [b"abc"; 2]);
}

/// Leaves that wait for their turn hold the levels of what they are in, once for all of the same.
#[test]
fn levels_of_leaves_that_wait_are_counted_once() {
    let longs = || Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
    let fields: Vec<Field> = ["a", "b"].map(|name| Field::new(name, DataType::Int64, false)).into();
    let element = StructArray::new(fields.into(), vec![longs(), longs()], None);
    let of_element = Arc::new(Field::new("element", element.data_type().clone(), false));
    let nulls = NullBuffer::from(vec![true, true, false, true]);
    let list = ListArray::new(of_element, OffsetBuffer::from_lengths([2, 0, 0, 1]), Arc::new(element), Some(nulls));
    let field = Field::new("l", list.data_type().clone(), true);
    let mut found = Vec::new();
    let rows = Levels::rows(Arc::new((0..4).collect()));
    leaves(&field, &(Arc::new(list) as ArrayRef), &rows, 0, &mut |leaf| {
        found.push(leaf);
        Ok(())
    })
    .unwrap();
    // Five slots with two levels each, and where three values are, both ways.
    let bytes = 5 * 2 * size_of::<u16>() + 2 * 3 * size_of::<u32>();
    assert_eq!((found[0].parent_bytes(None), found[1].parent_bytes(Some(&found[0]))), (bytes, 0));
    let alone = Field::new("n", DataType::Int64, false);
    leaves(&alone, &longs(), &Levels::rows(Arc::new((0..3).collect())), 0, &mut |leaf| {
        found.push(leaf);
        Ok(())
    })
    .unwrap();
    assert_eq!(found[0].parent_bytes(found.get(2)), bytes);
}

#[test]
fn a_dictionary_is_as_large_as_the_table_says() {
    let limit = |properties: WriterPropertiesBuilder| dictionary_limit(&properties.build());
    assert_eq!(limit(properties()), DICTIONARY_SLACK * DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT);
    assert_eq!(limit(properties().set_dictionary_page_size_limit(200)), 200);
}

/// What is behind nulls, and before and after what is used of an array.
#[test]
fn what_no_row_has_is_not_written() {
    let element = Arc::new(Field::new("element", DataType::Int64, false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![2, 4, 6, 7, 7]));
    let nulls = NullBuffer::from(vec![true, false, true, true]);
    let values = Arc::new((0..9).collect::<Int64Array>());
    let lists: ArrayRef = Arc::new(ListArray::new(element, offsets, values, Some(nulls.clone())));
    let required = Field::new("required", DataType::Int64, false);
    let values = Arc::new(Int64Array::from(vec![Some(5), None, Some(6), Some(7)]));
    let structs: ArrayRef = Arc::new(StructArray::new(vec![required].into(), vec![values], Some(nulls)));
    let batch = RecordBatch::try_from_iter_with_nullable([("lists", lists, true), ("structs", structs, true)]).unwrap();
    check(&batch, &[3, 2, 1, 0]);
    check(&batch, &[1, 1]);
    check(&batch.slice(1, 2), &[1, 0]);
}

/// Pages begin with rows, are of the sizes that were asked for, and are counted.
#[test]
fn pages_end_with_rows() {
    let rows: Lists = (0..900).map(|n| Some(vec![Some((Some(n), Some(vec![Some(n.to_string()); 3]))); 5])).collect();
    let positions: Vec<u32> = (0..900).rev().collect();
    for (dictionary, most_rows, most_bytes) in
        [(true, 70, 1 << 20), (false, 100, 1 << 20), (true, 900, 600), (false, 900, 600)]
    {
        let properties = properties()
            .set_dictionary_enabled(dictionary)
            .set_data_page_row_count_limit(most_rows)
            .set_data_page_size_limit(most_bytes);
        let (file, footer, _) = write(&nested(&rows), &positions, properties);
        for (chunk, slots_of_a_row) in footer.row_group(0).columns().iter().zip([5, 15]) {
            let reader = SerializedPageReader::new(Arc::new(file.clone()), chunk, 900, None).unwrap();
            let (mut slots, mut pages, mut dictionaries) = (0, 0, 0);
            for page in reader {
                let Page::DataPage { buf, num_values, .. } = page.unwrap() else {
                    dictionaries += 1;
                    continue;
                };
                let (length, levels) = buf.split_at(4);
                let width = width_of(u32::try_from(chunk.column_descr().max_rep_level()).unwrap());
                let levels = &levels[..u32::from_le_bytes(length.try_into().unwrap()) as usize];
                assert_eq!(unpack(levels, width)[0], 0);
                assert_eq!(num_values % slots_of_a_row, 0);
                assert!(num_values as usize <= slots_of_a_row as usize * (most_rows + 200));
                assert!(buf.len() <= 2 * most_bytes + 20_000);
                slots += i64::from(num_values);
                pages += 1;
            }
            assert_eq!(slots, chunk.num_values());
            assert!(pages >= 3, "{pages} {dictionary} {most_rows} {most_bytes} {}", chunk.column_path());
            let counted: Vec<i32> = chunk.page_encoding_stats().unwrap().iter().map(|stats| stats.count).collect();
            assert_eq!(counted.iter().sum::<i32>(), pages + dictionaries);
            assert_eq!(dictionaries, i32::from(dictionary));
        }
    }
}

#[test]
fn nulls_of_a_required_column_are_refused() {
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let schema = Schema::new(vec![Field::new("required", DataType::Int64, false)]);
    let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
    let column = &columns(schema.fields(), parquet.columns())[0];
    let encode = |positions: Vec<u32>| {
        column.encode(
            &nulls,
            &Levels::rows(Arc::new(positions)),
            &Arc::new(properties().build()),
            &WorkSharing::default(),
        )
    };
    assert_eq!(encode(vec![2, 0]).unwrap().len(), 1);
    assert!(encode(vec![0, 1]).unwrap_err().to_string().contains("required"));
}

/// The rows, values and bytes of each data page of a column of longs, or of as many distinct longs in a dictionary.
fn pages_of_longs(rows: i64, distinct: i64, properties: WriterPropertiesBuilder) -> (Vec<u32>, ColumnChunkMetaData) {
    let longs: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|n| n % distinct)));
    let batch = RecordBatch::try_from_iter([("longs", longs)]).unwrap();
    let positions: Vec<u32> = (0..u32::try_from(rows).unwrap()).collect();
    let (file, footer, _) = write(&batch, &positions, properties);
    let chunk = footer.row_group(0).column(0).clone();
    let pages = SerializedPageReader::new(Arc::new(file), &chunk, batch.num_rows(), None).unwrap().map(|p| p.unwrap());
    let data = pages.filter(|page| matches!(page, Page::DataPage { .. }));
    (data.map(|page| page.num_values()).collect(), chunk)
}

#[test]
fn pages_end_at_their_limits() {
    let rows = |dictionary: bool, most_rows: usize, most_bytes: usize| {
        let properties = properties()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(dictionary)
            .set_data_page_row_count_limit(most_rows)
            .set_data_page_size_limit(most_bytes);
        let (pages, chunk) = pages_of_longs(500, 5, properties);
        assert_eq!(chunk.uncompressed_size(), chunk.compressed_size(), "headers and pages, all counted");
        let mut kinds: Vec<_> = chunk
            .page_encoding_stats()
            .unwrap()
            .iter()
            .map(|stats| (stats.page_type, stats.encoding, stats.count))
            .collect();
        let data = if dictionary { Encoding::RLE_DICTIONARY } else { Encoding::PLAIN };
        assert_eq!(kinds.pop(), Some((PageType::DATA_PAGE, data, i32::try_from(pages.len()).unwrap())));
        let dictionary_page = (PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1);
        assert_eq!(kinds, dictionary.then_some(dictionary_page).into_iter().collect::<Vec<_>>());
        pages
    };
    // A long counts for eight bytes and one, and as many as fit are looked at together.
    assert_eq!(rows(false, 1000, 900), [100; 5]);
    assert_eq!(rows(false, 1000, 950), [210, 210, 80]);
    assert_eq!(rows(false, 100, 1 << 20), [100; 5]);
    assert_eq!(rows(true, 100, 1 << 20), [100; 5]);
    // In a dictionary's page it counts for one byte.
    assert_eq!(rows(true, 1000, 120), [130, 130, 130, 110]);
}

#[test]
fn a_dictionary_has_a_limit() {
    assert_eq!(dictionary_limit(&properties().build()), 2 << 20);
    for limit in [5, 1 << 19] {
        assert_eq!(dictionary_limit(&properties().set_dictionary_page_size_limit(limit).build()), limit);
    }
    let longs: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 7, 9]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["length", "of six", "length", "bytes."]));
    for (array, bytes) in [(longs, 3 * 8), (texts, 3 * (6 + 4))] {
        let values = values_of(&array, PhysicalType::INT64, 0).unwrap();
        for (positions, limit, is_kept) in [
            (&[0, 1, 2, 3][..], bytes, true),
            (&[0, 1, 2, 3], bytes + 1, true),
            (&[0, 1, 2, 3], bytes - 1, false),
            (&[0, 1, 2, 3], 1, false),
            (&[0, 2, 0], bytes / 3, true),
        ] {
            let dictionary = values.dictionary(positions, limit);
            assert_eq!(dictionary.is_some(), is_kept, "{limit} of {bytes}");
        }
        let dictionary = values.dictionary(&[3, 0, 1, 2, 0], bytes).unwrap();
        assert_eq!((dictionary.positions, dictionary.indices), (vec![3, 0, 1], vec![0, 1, 2, 1, 1]));
    }
}

#[test]
fn texts_are_cut_by_characters_and_bytes_by_bytes() {
    let statistics = |column: ArrayRef| {
        let batch = RecordBatch::try_from_iter([("column", column)]).unwrap();
        let footer = write(&batch, &[0, 1], properties().set_statistics_truncate_length(Some(3))).1;
        let found = footer.row_group(0).column(0).statistics().unwrap().clone();
        let bytes = |bytes: Option<&[u8]>| bytes.unwrap().to_vec();
        (bytes(found.min_bytes_opt()), bytes(found.max_bytes_opt()), found.min_is_exact(), found.max_is_exact())
    };
    let texts = |a: &str, b: &str| statistics(Arc::new(StringArray::from(vec![a, b])));
    let of = |min: &str, max: &str, exact: (bool, bool)| (min.into(), max.into(), exact.0, exact.1);
    assert_eq!(texts("ééééé", "zzzé"), of("zzz", "ééê", (false, false)));
    assert_eq!(texts("äöü", "a"), of("a", "äöü", (true, true)));
    assert_eq!(texts("abcd", "abc"), of("abc", "abd", (true, false)));
    assert_eq!(texts("abcd", "b"), of("abc", "b", (false, true)));
    let bytes = |a: &[u8], b: &[u8]| statistics(Arc::new(LargeBinaryArray::from(vec![a, b])));
    assert_eq!(bytes(b"\xff\x01\x02\x03", b"\x80"), (b"\x80".to_vec(), b"\xff\x01\x03".to_vec(), true, false));
}

/// What waits for other threads is counted once, however many leaves share it.
#[test]
fn levels_of_siblings_count_once() {
    let rows: Lists = vec![Some(vec![Some((Some(1), Some(vec![]))), None, Some((None, None))]), None, Some(vec![])];
    let batch = nested(&rows);
    let mut found = Vec::new();
    let positions = Arc::new(vec![0, 1, 2, 0]);
    let schema = batch.schema();
    let flat = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
    let number = Field::new("flat", DataType::Int64, false);
    for (field, array) in [(schema.field(0), batch.column(0)), (&number, &flat), (&number, &flat)] {
        leaves(field, array, &Levels::rows(Arc::clone(&positions)), 0, &mut |leaf| {
            found.push(leaf);
            Ok(())
        })
        .unwrap();
    }
    let [number, texts, flat, again] = found.as_slice() else { panic!("four leaves") };
    // Eight slots of two levels each, two bytes a level, and the positions of four structs that are there, both ways.
    assert_eq!((number.parent_bytes(None), number.parent_bytes(Some(flat))), (8 * 4 + 4 * 8, 8 * 4 + 4 * 8));
    // Those of the lists of texts: as many slots, and no text.
    assert_eq!(texts.parent_bytes(Some(number)), 8 * 4);
    assert_eq!((flat.parent_bytes(Some(texts)), again.parent_bytes(Some(flat))), (4 * 8, 0));
}

type Lists = Vec<Option<Vec<Option<(Option<i64>, Option<Vec<Option<String>>>)>>>>;

fn nested(rows: &Lists) -> RecordBatch {
    let text = StringBuilder::new();
    let fields = vec![
        Field::new("n", DataType::Int64, true),
        Field::new("t", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
    ];
    let texts = ListBuilder::new(text).with_field(Field::new("element", DataType::Utf8, true));
    let structs = StructBuilder::new(fields, vec![Box::new(PrimitiveBuilder::<Int64Type>::new()), Box::new(texts)]);
    let mut lists = ListBuilder::new(structs);
    for row in rows {
        for element in row.iter().flatten() {
            let (number, texts) = element.clone().unwrap_or_default();
            lists.values().field_builder::<Int64Builder>(0).unwrap().append_option(number);
            let builder = lists.values().field_builder::<ListBuilder<StringBuilder>>(1).unwrap();
            match texts {
                Some(texts) => builder.append_value(texts),
                None => builder.append(false),
            }
            lists.values().append(element.is_some());
        }
        lists.append(row.is_some());
    }
    RecordBatch::try_from_iter_with_nullable([("lists", Arc::new(lists.finish()) as ArrayRef, true)]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn nested_values_are_read_as_they_were_written(
        rows in {
            let texts = prop::collection::vec(prop::option::weighted(0.8, "[a-c]{0,3}"), 0..4);
            let element = (prop::option::of(0..9_i64), prop::option::weighted(0.8, texts));
            let list = prop::collection::vec(prop::option::weighted(0.8, element), 0..12);
            prop::collection::vec(prop::option::weighted(0.8, list), 1..40)
        },
        positions in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let positions: Vec<u32> =
            positions.iter().map(|position| u32::try_from(position.index(rows.len())).unwrap()).collect();
        check(&nested(&rows), &positions);
    }
}

/// Columns and structs that few rows have, in pages of many rows; and fields of one list whose pages end in different places.
#[test]
fn sparse_columns_and_their_siblings_are_read_as_they_were_written() {
    let file = SchemaFile::parse(
        r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"long"},"rare":{"type":"long"},
        "m":{"type":{"struct":{"each":{"type":"long"},"half":{"type":"string"},"list":{"type":{"list":"long"}}}}},
        "events":{"type":{"list":{"struct":{"text":{"type":"string"},"rare":{"type":"long"},"none":{"type":{"list":"long"}}}}}}}}"#,
    )
    .unwrap();
    let table = TableSchema::create(&file, &file.key).unwrap();
    let mut builder = ItemBuilder::new(&table, Limits::default()).unwrap();
    let rows = 5_000_u32;
    for n in 0..rows {
        let only = |there: bool, text: String| if there { text } else { String::new() };
        let rare = only(n % 50 == 7, format!(r#","rare":{{"N":"{n}"}}"#));
        let half = only(n % 80 == 3, r#","half":{"S":"x"}"#.to_owned());
        let list = only(n % 200 == 3, r#","list":{"L":[{"N":"1"},{"N":"2"}]}"#.to_owned());
        let m = only(n % 40 == 3, format!(r#","m":{{"M":{{"each":{{"N":"{n}"}}{half}{list}}}}}"#));
        let event = |k: u32| {
            let rare = only((n + k).is_multiple_of(60), format!(r#","rare":{{"N":"{n}"}}"#));
            format!(r#"{{"M":{{"text":{{"S":"{}"}}{rare}}}}}"#, format!("{n}-{k}").repeat(5))
        };
        let events: Vec<String> = (0..=n % 4).map(event).collect();
        let item = format!(r#"{{"pk":{{"N":"{n}"}}{rare}{m},"events":{{"L":[{}]}}}}"#, events.join(","));
        builder.append(&mut Parser::new(item.as_bytes()).unwrap()).unwrap();
    }
    let batch = builder.finish().unwrap();
    let mixed: Vec<u32> = (0..rows).map(|n| n * 77 % rows).collect();
    let expected = take_record_batch(&batch, &UInt32Array::from(mixed.clone())).unwrap();
    for properties in [
        properties(),
        properties().set_dictionary_enabled(false).set_data_page_size_limit(20_000),
        properties().set_dictionary_enabled(false).set_data_page_row_count_limit(1_500),
    ] {
        assert_eq!(read(&write(&batch, &mixed, properties).0, batch.schema_ref()), expected);
    }
}
