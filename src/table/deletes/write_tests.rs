use iceberg::metadata_columns::{RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS};
use iceberg::spec::{DataContentType, Datum, Operation};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::table::deletes::positions::read_positions;
use crate::table::fixture::Fixture;

const PATH: i32 = RESERVED_FIELD_ID_DELETE_FILE_PATH;
const POS: i32 = RESERVED_FIELD_ID_DELETE_FILE_POS;

#[test]
fn a_delete_file_is_as_the_specification_says() {
    let fixture = Fixture::new();
    let (long_a, long_b) =
        (format!("file:///{}/a.parquet", "x".repeat(300)), format!("file:///{}/b.parquet", "x".repeat(300)));
    let group = DeleteGroup {
        spec_id: 0,
        partition: Struct::empty(),
        files: vec![(long_b.clone(), vec![9, 2]), (long_a.clone(), vec![5, 5, 1]), ("file:///none".to_owned(), vec![])],
    };
    let empty = DeleteGroup { files: vec![], ..group.clone() };
    let written = write_position_deletes(
        &fixture.file_io,
        fixture.handle(),
        &fixture.paths(),
        7,
        vec![group, empty],
        &fixture.options(),
    );
    let [(0, file)] = &written.unwrap()[..] else { panic!("one file of spec 0") };

    assert_eq!(file.content_type(), DataContentType::PositionDeletes);
    assert_eq!((file.record_count(), file.sort_order_id(), file.referenced_data_file()), (4, None, None));
    assert_eq!(
        (&file.lower_bounds()[&PATH], &file.upper_bounds()[&PATH]),
        (&Datum::string(&long_a), &Datum::string(&long_b))
    );
    assert_eq!((&file.lower_bounds()[&POS], &file.upper_bounds()[&POS]), (&Datum::long(1), &Datum::long(9)));
    assert_eq!((file.value_counts()[&PATH], file.null_value_counts()[&POS]), (4, 0));
    assert_eq!(file.split_offsets().unwrap().len(), 1);

    let local = std::fs::File::open(file.file_path().strip_prefix("file://").unwrap()).unwrap();
    let reader = SerializedFileReader::new(local).unwrap();
    let columns = reader.metadata().file_metadata().schema_descr().columns().to_vec();
    let described: Vec<_> =
        columns.iter().map(|c| (c.name(), c.self_type().get_basic_info().id(), c.max_def_level())).collect();
    assert_eq!(described, [("file_path", PATH, 0), ("pos", POS, 0)]);
    let statistics = reader.metadata().row_group(0).column(0).statistics().unwrap();
    assert_eq!(statistics.max_bytes_opt(), Some(long_b.as_bytes()));
    assert!(statistics.max_is_exact());
    let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    let expected = [(&long_a, 1), (&long_a, 5), (&long_b, 2), (&long_b, 9)];
    assert_eq!(rows, expected.map(|(path, pos)| format!("{{file_path: \"{path}\", pos: {pos}}}")));
}

#[test]
fn one_path_is_named() {
    let fixture = Fixture::new();
    let data = fixture.write(&["a", "b"]);
    let written = fixture.write_deletes(&[(&data, &[1])]);
    assert_eq!(written[0].1.referenced_data_file().as_deref(), Some(data.file_path()));
}

#[test]
fn positions_are_read_alone_and_through_the_cache() {
    let mut fixture = Fixture::new();
    let keys: Vec<String> = (0..50).map(|i| format!("k{i:02}")).collect();
    let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (a, b) = (fixture.append(&refs), fixture.append(&refs));
    for (in_a, in_b) in [(vec![3_u64, 4], vec![1_u64]), (vec![4, 40], vec![0, 49])] {
        let deletes = fixture.write_deletes(&[(&a, &in_a), (&b, &in_b)]);
        fixture.commit(Operation::Delete, |builder| {
            for (spec, file) in deletes {
                builder.add_delete_file(spec, file);
            }
        });
    }
    let cache = fixture.cache();
    // One that can keep nothing must be right too.
    let tiny = crate::table::deletes::cache::DeleteCache::new(fixture.file_io.clone(), fixture.handle().clone(), 1);
    for (file, expected) in [(&a, vec![3, 4, 40]), (&b, vec![0, 1, 49])] {
        let live = fixture.live_of(file);
        assert_eq!(live.deletes.len(), 2);
        let read = read_positions(&fixture.file_io, fixture.handle(), &live.deletes, file.file_path()).unwrap();
        assert_eq!(read.as_slice(), expected);
        assert_eq!(cache.positions(&live).unwrap(), read);
        assert_eq!(tiny.positions(&live).unwrap(), read);
    }
}

#[test]
fn the_cache_reads_a_shared_file_once() {
    let mut fixture = Fixture::new();
    let (a, b) = (fixture.append(&["a", "b"]), fixture.append(&["c", "d"]));
    let deletes = fixture.write_deletes(&[(&a, &[0]), (&b, &[1])]);
    let on_disk = deletes[0].1.file_path().strip_prefix("file://").unwrap().to_owned();
    fixture.commit(Operation::Delete, |builder| {
        builder.add_delete_file(0, deletes[0].1.clone());
    });
    let (live_a, live_b) = (fixture.live_of(&a), fixture.live_of(&b));
    let cache = fixture.cache();
    assert_eq!(cache.positions(&live_a).unwrap().as_slice(), [0]);
    std::fs::remove_file(on_disk).unwrap();
    assert_eq!(cache.positions(&live_b).unwrap().as_slice(), [1]);
    assert!(fixture.cache().positions(&live_b).is_err());
}
