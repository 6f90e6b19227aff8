use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, Manifest, ManifestEntryRef, Operation,
    PartitionSpec, Struct, Transform,
};
use proptest::prelude::*;

use super::*;
use crate::table::fixture::Fixture;
use crate::table::manifest::avro::{MAGIC, MOST_OF_A_HEAD};
use crate::table::manifest::read::manifests;
use crate::table::scan::plan::live_files_bounded_by;

/// A data file that is nowhere, with all that an entry may say.
fn file(n: usize) -> DataFile {
    let count = u64::try_from(n).unwrap() + 1;
    let counts: HashMap<i32, u64> = (1..=3).map(|id| (id, count)).collect();
    let bounds = |text: &str| {
        HashMap::from([(1, Datum::string(format!("{text}{n}"))), (2, Datum::long(-1)), (3, Datum::string(text))])
    };
    let mut file = DataFileBuilder::default();
    file.content(DataContentType::Data).file_path(format!("data/{n}.parquet")).file_format(DataFileFormat::Parquet);
    file.partition(Struct::from_iter([
        Some(Literal::string(format!("p{n}"))),
        n.is_multiple_of(2).then(|| Literal::int(7)),
    ]));
    file.partition_spec_id(0).record_count(count).file_size_in_bytes(count * 100);
    file.column_sizes(counts.clone())
        .value_counts(counts.clone())
        .null_value_counts(counts.clone())
        .nan_value_counts(counts);
    if !n.is_multiple_of(5) {
        file.lower_bounds(bounds("a")).upper_bounds(bounds("é😀"));
    }
    file.key_metadata(n.is_multiple_of(3).then(|| vec![1, 2, 3]))
        .split_offsets(n.is_multiple_of(4).then(|| vec![4, 1 << 40]));
    if n.is_multiple_of(2) {
        file.sort_order_id(1);
    }
    file.build().unwrap()
}

/// A table with a manifest of so many entries, and that manifest.
fn table(files: usize) -> (Fixture, Vec<u8>) {
    let schema = crate::table::fixture::schema();
    let spec = PartitionSpec::builder(schema)
        .add_partition_field("tag", "tag", Transform::Identity)
        .and_then(|spec| spec.add_partition_field("pk", "pk_bucket", Transform::Bucket(16)))
        .and_then(iceberg::spec::PartitionSpecBuilder::build)
        .unwrap();
    let mut fixture = Fixture::with_spec(spec);
    fixture.commit(Operation::Append, |snapshot| {
        for n in 0..files {
            snapshot.add_data_file(0, file(n));
        }
    });
    let manifests = fixture.runtime.block_on(manifests(&fixture.loaded())).unwrap();
    let path = manifests[0].manifest_path.strip_prefix("file://").unwrap();
    let bytes = std::fs::read(path).unwrap();
    (fixture, bytes)
}

fn entries(parts: &[Vec<u8>]) -> Vec<ManifestEntryRef> {
    parts.iter().flat_map(|part| Manifest::parse_avro(part).unwrap().into_parts().0).collect()
}

/// The file with bounds of these columns and no other metrics.
fn without(file: &DataFile, columns: &HashSet<i32>) -> DataFile {
    let bounds = |bounds: &HashMap<i32, Datum>| -> HashMap<i32, Datum> {
        bounds.iter().filter(|(id, _)| columns.contains(id)).map(|(id, bound)| (*id, bound.clone())).collect()
    };
    let mut kept = DataFileBuilder::default();
    kept.content(file.content_type()).file_path(file.file_path().to_owned()).file_format(file.file_format());
    kept.partition(file.partition().clone()).partition_spec_id(0).record_count(file.record_count());
    kept.file_size_in_bytes(file.file_size_in_bytes());
    kept.lower_bounds(bounds(file.lower_bounds())).upper_bounds(bounds(file.upper_bounds()));
    kept.key_metadata(file.key_metadata().map(<[u8]>::to_vec)).split_offsets(file.split_offsets().map(<[i64]>::to_vec));
    file.sort_order_id().map(|id| kept.sort_order_id(id));
    kept.build().unwrap()
}

/// The same Avro file with its blocks deflated, as Iceberg Java writes them.
fn deflated(avro: &[u8]) -> Vec<u8> {
    let mut input = Input { rest: avro };
    let header = Header::read(&mut input).unwrap();
    let null: &[u8] = b"\x14avro.codec\x08null";
    let at = header.written.windows(null.len()).position(|bytes| bytes == null).unwrap();
    let mut output = header.written[..at].to_vec();
    output.extend_from_slice(b"\x14avro.codec\x0edeflate");
    output.extend_from_slice(&header.written[at + null.len()..]);
    while !input.rest.is_empty() {
        put_number(&mut output, input.number().unwrap());
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(input.sized().unwrap()).unwrap();
        put_sized(&mut output, &encoder.finish().unwrap()).unwrap();
        output.extend_from_slice(input.take(SYNC).unwrap());
    }
    output
}

#[test]
fn what_is_left_is_as_it_was() {
    let (_fixture, avro) = table(2500);
    for avro in [avro.clone(), deflated(&avro)] {
        let whole = entries(std::slice::from_ref(&avro));
        for columns in [HashSet::new(), HashSet::from([1]), HashSet::from([2, 3, 99])] {
            let parts = trim(&avro, &columns).unwrap();
            assert!(parts.len() > 1, "threads share the work");
            let trimmed = entries(&parts);
            assert_eq!(trimmed.len(), 2500);
            for (trimmed, whole) in trimmed.iter().zip(&whole) {
                assert_eq!(trimmed.data_file, without(&whole.data_file, &columns));
                assert_eq!((trimmed.status, trimmed.snapshot_id), (whole.status, whole.snapshot_id));
                assert_eq!(trimmed.sequence_number, whole.sequence_number);
                assert_eq!(trimmed.file_sequence_number, whole.file_sequence_number);
            }
        }
    }
}

#[test]
fn live_files_are_the_same_with_fewer_metrics() {
    let (mut fixture, _) = table(30);
    let gone = fixture.live().remove(7);
    // Entries of the second manifest inherit nothing, those of the third do.
    fixture.commit(Operation::Overwrite, |snapshot| {
        snapshot.remove_data_file(&gone).add_data_file(0, file(30));
    });
    let all = fixture.live();
    let some = fixture.runtime.block_on(live_files_bounded_by(&fixture.loaded(), &[1])).unwrap();
    assert_eq!(all.len(), 30);
    assert_eq!(some.len(), all.len());
    for (some, all) in some.iter().zip(&all) {
        assert_eq!(some.file, without(&all.file, &HashSet::from([1])));
        assert_eq!(
            (some.spec_id, some.sequence_number, &some.manifest),
            (all.spec_id, all.sequence_number, &all.manifest)
        );
    }
    assert_eq!(some.iter().map(|live| live.sequence_number).collect::<HashSet<_>>(), HashSet::from([1, 2]));
}

#[test]
fn an_empty_manifest_stays_one() {
    let (_fixture, avro) = table(1);
    let mut input = Input { rest: &avro };
    let header = Header::read(&mut input).unwrap();
    let head = &avro[..avro.len() - input.rest.len()];
    assert_eq!(entries(&trim(head, &HashSet::new()).unwrap()), []);
    assert_eq!(trim(&avro[..header.written.len() / 2], &HashSet::new()), None);
}

/// Arrays may come in blocks, some of which say their bytes.
#[test]
fn bounds_in_several_blocks_become_one() {
    let pair = Shape::Record(vec![Shape::Number, Shape::Sized]);
    let shape = Shape::Bounds(vec![Shape::Null, Shape::Array(Box::new(pair))]);
    let mut avro = Vec::new();
    put_number(&mut avro, 1);
    for (count, size, ids) in [(-2, vec![8], vec![1, 2]), (1, vec![], vec![3]), (-1, vec![4], vec![4])] {
        put_number(&mut avro, count);
        for size in size {
            put_number(&mut avro, size);
        }
        for id in ids {
            put_number(&mut avro, id);
            put_sized(&mut avro, &[u8::try_from(id).unwrap(); 2]).unwrap();
        }
    }
    put_number(&mut avro, 0);
    let copied = |columns: &[i32]| {
        let (columns, mut input, mut kept) = (columns.iter().copied().collect(), Input { rest: &avro }, Vec::new());
        Walk { columns: &columns }.copy(&shape, &mut input, &mut kept).unwrap();
        assert!(input.rest.is_empty());
        kept
    };
    assert_eq!(copied(&[]), [2, 0]);
    assert_eq!(copied(&[2, 4]), [2, 4, 4, 4, 2, 2, 8, 4, 4, 4, 0]);
}

#[test]
fn schemas_that_might_not_end_are_not_understood() {
    let entry = |ty: &str| {
        let text = format!(r#"{{"type":"record","name":"e","fields":[{{"name":"x","type":{ty}}}]}}"#);
        Shape::of_entry(&serde_json::from_str(&text).unwrap()).is_some()
    };
    assert!(entry(r#"{"type":"array","items":"long"}"#) && entry(r#"{"type":"map","values":"null"}"#));
    assert!(!entry(r#""e""#) && !entry(r#"{"type":"array","items":"null"}"#));
    assert!(!entry(r#"{"type":"array","items":{"type":"fixed","name":"f","size":0}}"#));
    assert!(!entry(r#"{"type":"array","items":{"type":"record","name":"r","fields":[]}}"#));
}

proptest! {
    #[test]
    fn numbers_are_read_as_written(number in any::<i64>()) {
        let mut written = Vec::new();
        put_number(&mut written, number);
        let mut input = Input { rest: &written };
        prop_assert_eq!(input.number(), Some(number));
        prop_assert!(input.rest.is_empty());
    }

    /// A damaged manifest is as good as the crate finds it, but no reason to break down.
    #[test]
    fn damage_does_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        thread_local!(static AVRO: Vec<u8> = deflated(&table(9).1));
        AVRO.with(|avro| {
            let mut damaged = avro.clone();
            for (at, byte) in changes {
                let at = at.index(damaged.len());
                damaged[at] = byte;
            }
            let _ = trim(&damaged, &HashSet::from([1]));
            damaged.truncate(cut.index(avro.len()));
            let _ = trim(&damaged, &HashSet::from([1]));
        });
    }
}

#[test]
fn parts_are_of_whole_blocks_and_none_is_empty() {
    let (_fixture, avro) = table(2500);
    let mut input = Input { rest: &avro };
    Header::read(&mut input).unwrap();
    let (mut blocks, mut total) = (Vec::new(), 0);
    while !input.rest.is_empty() {
        total += u64::try_from(input.number().unwrap()).unwrap();
        input.sized().unwrap();
        input.take(SYNC).unwrap();
        blocks.push((total, avro.len() - input.rest.len()));
    }
    assert!(blocks.len() > 10);
    let parts = trim(&avro, &HashSet::new()).unwrap();
    let counts: Vec<usize> = parts.iter().map(|part| entries(std::slice::from_ref(part)).len()).collect();
    let (last, full) = counts.split_last().unwrap();
    assert!(full.iter().all(|count| (1024..2048).contains(count)) && (1..1024).contains(last), "{counts:?}");
    // A file that ends where a part is full.
    let (count, end) = *blocks.iter().find(|(total, _)| *total >= PART_ENTRIES).unwrap();
    let parts = trim(&avro[..end], &HashSet::new()).unwrap();
    assert_eq!((parts.len(), u64::try_from(entries(&parts).len()).unwrap()), (1, count));
}

#[test]
fn a_head_has_a_limit() {
    let read = |length: usize| {
        let mut avro = MAGIC.to_vec();
        put_number(&mut avro, 2);
        for (key, value) in [(&b"avro.schema"[..], &b"\"long\""[..]), (b"more", &vec![b'x'; length])] {
            put_sized(&mut avro, key).unwrap();
            put_sized(&mut avro, value).unwrap();
        }
        put_number(&mut avro, 0);
        avro.extend_from_slice(&[7; SYNC]);
        Header::read(&mut Input { rest: &avro }).is_some()
    };
    assert_eq!([0, MOST_OF_A_HEAD, MOST_OF_A_HEAD + 1, MOST_OF_A_HEAD + 2].map(read), [true, true, false, false]);
}

#[test]
fn all_that_is_no_metric_stays() {
    let map = |key: &str, value: &str| {
        format!(
            r#"["null",{{"type":"array","items":{{"type":"record","name":"r","fields":[{{"name":"key","type":"{key}"}},{{"name":"value","type":"{value}"}}]}}}}]"#
        )
    };
    let fields = [
        (999, map("int", "bytes")),
        (125, map("int", "bytes")),
        (108, map("int", "long")),
        (103, r#""long""#.to_owned()),
    ];
    let fields = fields.map(|(id, ty)| format!(r#"{{"name":"f{id}","field-id":{id},"type":{ty}}}"#)).join(",");
    let schema = serde_json::from_str(&format!(r#"{{"type":"record","name":"d","fields":[{fields}]}}"#)).unwrap();
    let Some(Shape::Record(shapes)) = Shape::of_data_file(&schema) else { panic!("a record") };
    assert!(
        matches!(shapes.as_slice(), [Shape::Union(_), Shape::Bounds(_), Shape::LeftOut(_, 0), Shape::Number]),
        "a later version's map of bytes is no bounds"
    );
}

#[test]
fn values_of_every_type_are_walked_over() {
    for (ty, length) in [
        (r#""null""#, 0),
        (r#""boolean""#, 1),
        (r#""int""#, 2),
        (r#""long""#, 2),
        (r#""float""#, 4),
        (r#""double""#, 8),
        (r#""bytes""#, 66),
        (r#""string""#, 66),
        (r#"{"type":"float"}"#, 4),
        (r#"{"type":"fixed","name":"f","size":5}"#, 5),
        (r#"{"type":"enum","name":"e","symbols":[]}"#, 2),
    ] {
        let shape = Shape::of(&serde_json::from_str(ty).unwrap()).unwrap();
        // As a number 64, of two bytes, and as bytes those and 64 more.
        let mut bytes = vec![0x80, 0x01];
        bytes.resize(100, 0);
        let mut input = Input { rest: &bytes };
        input.skip(&shape).unwrap();
        assert_eq!(bytes.len() - input.rest.len(), length, "{ty}");
    }
}

#[test]
fn a_number_of_more_than_64_bits_is_none() {
    let read = |last: u8| {
        let bytes = [&[0xff; 9][..], &[last]].concat();
        Input { rest: &bytes }.number()
    };
    assert_eq!((read(0), read(1)), (Some(-(1 << 62)), Some(i64::MIN)));
    assert_eq!([2, 3, 0x7f, 0x81].map(read), [None; 4]);
    assert_eq!(Input { rest: &[0x80; 9] }.number(), None);
}
