use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, ManifestEntry,
    ManifestStatus, Operation, Snapshot, Struct, Transform, UnboundPartitionSpec,
};

use super::*;
use crate::table::deletes::write::{DeleteGroup, write_position_deletes};
use crate::table::fixture::Fixture;
use crate::table::manifest::read::manifests;
use crate::table::manifest::read::{check_whole, read_entries};
use crate::table::partition::key::PartitionKey;

fn delete(configure: impl FnOnce(&mut DataFileBuilder)) -> LiveDeleteFile {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .file_path("d.parquet".to_owned())
        .file_format(DataFileFormat::Parquet)
        .record_count(1)
        .file_size_in_bytes(1);
    configure(&mut builder);
    LiveDeleteFile { file: builder.build().unwrap(), spec_id: 0, sequence_number: 1, manifest: Arc::from("m") }
}

fn bounded(lower: &str, upper: &str) -> LiveDeleteFile {
    let id = RESERVED_FIELD_ID_DELETE_FILE_PATH;
    delete(|b| {
        b.lower_bounds(HashMap::from([(id, Datum::string(lower))]));
        b.upper_bounds(HashMap::from([(id, Datum::string(upper))]));
    })
}

#[test]
fn paths_are_matched_by_reference_or_bounds() {
    let referenced = delete(|b| {
        b.referenced_data_file(Some("s3://b/1".to_owned()));
    });
    assert_eq!(referenced.only_path().as_deref(), Some("s3://b/1"));
    assert!(referenced.may_reference("s3://b/1") && !referenced.may_reference("s3://b/2"));
    let exact = bounded("s3://b/1", "s3://b/1");
    assert_eq!(exact.only_path().as_deref(), Some("s3://b/1"));
    // Another writer cut these; they still are bounds.
    let cut = bounded("s3://b", "s3://c");
    assert_eq!(cut.only_path(), None);
    assert!(cut.may_reference("s3://b/1") && !cut.may_reference("s3://d/1") && !cut.may_reference("s3://a"));
    assert!(delete(|_| {}).may_reference("anything"));
}

#[test]
fn a_delete_does_not_apply_to_later_files() {
    let mut fixture = Fixture::new();
    let first = fixture.append(&["a", "b", "c"]);
    // Merge-on-read: the new image and the delete of the old one are of one snapshot.
    let update = fixture.write(&["b"]);
    let deletes = fixture.write_deletes(&[(&first, &[1])]);
    fixture.commit(Operation::Overwrite, |b| {
        b.add_data_file(0, update.clone()).add_delete_file(0, deletes[0].1.clone());
    });
    // A delete whose bounds would admit all files.
    let wide = fixture.write_deletes(&[(&first, &[2]), (&update, &[0])]);
    fixture.commit(Operation::Delete, |b| {
        b.add_delete_file(0, wide[0].1.clone());
    });
    let last = fixture.append(&["z", "b"]);

    let sequence = |file: &DataFile| fixture.live_of(file).sequence_number;
    assert_eq!((sequence(&first), sequence(&update), sequence(&last)), (1, 2, 4));
    let deletes =
        |file: &DataFile| -> Vec<i64> { fixture.live_of(file).deletes.iter().map(|d| d.sequence_number).collect() };
    assert_eq!((deletes(&first), deletes(&last)), (vec![2, 3], vec![]));
    assert_eq!(deletes(&update), [3]);
    assert_eq!(fixture.all_keys(), ["a", "b", "z"]);
}

/// Streaming writers replace a row that they have only just added: both are of one commit.
#[test]
fn a_delete_applies_to_files_of_its_own_commit() {
    for both in [false, true] {
        let mut fixture = Fixture::new();
        let first = fixture.append(&["a", "b"]);
        let second = fixture.write(&["c", "d", "c"]);
        // Of one data file, which the manifest names, or of two.
        let deletes = if both {
            fixture.write_deletes(&[(&first, &[1]), (&second, &[0])])
        } else {
            fixture.write_deletes(&[(&second, &[0])])
        };
        fixture.commit(Operation::Overwrite, |b| {
            b.add_data_file(0, second.clone()).add_delete_file(0, deletes[0].1.clone());
        });
        let live = fixture.live_of(&second);
        assert_eq!((live.sequence_number, live.deletes.len()), (2, 1));
        assert_eq!(live.deletes[0].sequence_number, 2);
        assert_eq!(fixture.all_keys(), if both { vec!["a", "c", "d"] } else { vec!["a", "b", "c", "d"] });
        let later = fixture.append(&["e"]);
        assert!(fixture.live_of(&later).deletes.is_empty());
    }
}

#[test]
fn a_delete_applies_within_its_partition() {
    let spec = UnboundPartitionSpec::builder().add_partition_field(2, "n_bucket", Transform::Identity).unwrap().build();
    let mut fixture = Fixture::with_spec(spec);
    let partition = |n: i64| Struct::from_iter([Some(Literal::long(n))]);
    let files: Vec<DataFile> =
        (0..2).map(|n| fixture.write_with(&["a", "b"], partition(n), &fixture.options())).collect();
    fixture.commit(Operation::Append, |b| {
        for file in &files {
            b.add_data_file(0, file.clone());
        }
    });
    // Paths of both files, but of partition 0 only: not what a good writer does, and partition 1 must not see it.
    let group = DeleteGroup {
        spec_id: 0,
        partition: partition(0),
        files: files.iter().map(|file| (file.file_path().to_owned(), vec![0])).collect(),
    };
    let written = write_position_deletes(
        &fixture.file_io,
        fixture.handle(),
        &fixture.paths(),
        0,
        vec![group],
        &fixture.options(),
    )
    .unwrap();
    fixture.commit(Operation::Delete, |b| {
        b.add_delete_file(0, written[0].1.clone());
    });
    let live = fixture.live();
    let of = |n: i64| live.iter().find(|live| live.file.partition() == &partition(n)).unwrap();
    assert_eq!((of(0).deletes.len(), of(1).deletes.len()), (1, 0));
    assert_eq!(of(0).spec_id, 0);
}

#[test]
fn a_partition_is_the_same_after_its_type_was_widened() {
    let narrow = PartitionKey::from(&Struct::from_iter([Some(Literal::int(5)), None]));
    let wide = PartitionKey::from(&Struct::from_iter([Some(Literal::long(5)), None]));
    assert!(narrow == wide);
    assert!(narrow != PartitionKey::from(&Struct::from_iter([Some(Literal::long(6)), None])));
}

#[test]
fn what_is_not_supported_is_refused() {
    let equality = delete(|b| {
        b.content(DataContentType::EqualityDeletes);
    });
    let vector = delete(|b| {
        b.file_format(DataFileFormat::Puffin);
    });
    let avro = delete(|b| {
        b.content(DataContentType::Data).file_format(DataFileFormat::Avro);
    });
    for (file, word) in [(&equality, "equality deletes"), (&vector, "deletion vectors"), (&avro, "not Parquet")] {
        let error = check_entry(&file.file).unwrap_err();
        assert!(error.message().contains(word), "{error}");
    }
    check_entry(&delete(|_| {}).file).unwrap();
    let fixture = Fixture::new();
    check_supported(&fixture.metadata).unwrap();
    let v3 =
        fixture.metadata.clone().into_builder(None).upgrade_format_version(FormatVersion::V3).unwrap().build().unwrap();
    assert!(check_supported(&v3.metadata).unwrap_err().message().contains("version 3"));
}

#[test]
fn a_table_without_a_snapshot_has_no_files() {
    assert!(Fixture::new().live().is_empty());
}

/// Iceberg's rule: what a manifest adds is as old as the manifest, and so is everything in one of format version 1.
#[test]
fn who_says_no_sequence_number_inherits_it() {
    let mut fixture = Fixture::new();
    let file = fixture.append(&["a"]);
    let snapshot = fixture.metadata.current_snapshot().unwrap();
    let read = read_manifest_list(&fixture.file_io, &fixture.metadata, snapshot);
    let mut manifest = fixture.handle().block_on(read).unwrap().remove(0);
    let entry = |status: ManifestStatus, number: Option<i64>| {
        let entry = ManifestEntry::builder().status(status).snapshot_id(1).data_file(file.clone());
        match number {
            Some(number) => entry.sequence_number(number).build(),
            None => entry.build(),
        }
    };
    for (of_manifest, status, own, number) in [
        (7, ManifestStatus::Added, None, Some(7)),
        (7, ManifestStatus::Added, Some(3), Some(3)),
        (7, ManifestStatus::Existing, Some(3), Some(3)),
        (7, ManifestStatus::Existing, None, None),
        (0, ManifestStatus::Existing, None, Some(0)),
    ] {
        manifest.sequence_number = of_manifest;
        assert_eq!(sequence_number(&manifest, &entry(status, own)), number, "{of_manifest} {status:?} {own:?}");
    }
}

/// An Avro file that was cut off behind a block looks whole: the list's counts tell.
#[test]
fn a_manifest_with_fewer_entries_than_its_list_says_is_refused() {
    let mut fixture = Fixture::new();
    fixture.append(&["a"]);
    let snapshot = fixture.metadata.current_snapshot().unwrap();
    let read = read_manifest_list(&fixture.file_io, &fixture.metadata, snapshot);
    let manifest = fixture.handle().block_on(read).unwrap().remove(0);
    let (mut manifest, entries) = fixture.handle().block_on(read_entries(fixture.file_io.clone(), manifest)).unwrap();
    assert_eq!((manifest.added_files_count, entries.len()), (Some(1), 1));
    assert!(check_whole(&manifest, &entries).is_ok() && check_whole(&manifest, &[]).is_err());
    manifest.deleted_files_count = Some(1);
    assert!(check_whole(&manifest, &entries).unwrap_err().message().contains("fewer entries"));
    // A list that says no counts can't be asked.
    manifest.existing_files_count = None;
    assert!(check_whole(&manifest, &entries).is_ok());
}

#[test]
fn a_manifest_or_list_cut_off_is_refused() {
    let mut fixture = Fixture::new();
    let empty = fixture.commit(Operation::Append, |_| {});
    let files = [fixture.write(&["a"]), fixture.write(&["b"])];
    fixture.commit(Operation::Append, |b| {
        b.add_data_file(0, files[0].clone()).add_data_file(0, files[1].clone());
    });
    let manifest = fixture.runtime.block_on(manifests(&fixture.loaded())).unwrap().remove(0);
    let (manifest, entries) = fixture.runtime.block_on(read_entries(fixture.file_io.clone(), manifest)).unwrap();
    assert_eq!(entries.len(), 2);
    for (added, existing, deleted, is_whole) in [
        (Some(2), Some(0), Some(0), true),
        (Some(0), Some(1), Some(1), true),
        // More than it says is not what a cut leaves.
        (Some(1), Some(0), Some(0), true),
        (Some(3), None, Some(0), true),
        (Some(3), Some(0), Some(0), false),
        (Some(1), Some(1), Some(1), false),
        (Some(0), Some(0), Some(3), false),
    ] {
        let manifest = ManifestFile {
            added_files_count: added,
            existing_files_count: existing,
            deleted_files_count: deleted,
            ..manifest.clone()
        };
        let checked = check_whole(&manifest, &entries);
        assert_eq!(checked.is_ok(), is_whole, "{added:?} {existing:?} {deleted:?}");
        if let Err(error) = checked {
            assert!(error.to_string().contains(&manifest.manifest_path), "{error}");
            assert!(error.message().contains("fewer entries than its list says"), "{error}");
        }
    }
    for (total, is_whole) in
        [(None, true), (Some("0"), true), (Some("many"), true), (Some("1"), false), (Some("9"), false)]
    {
        let mut summary = empty.snapshot.summary().clone();
        summary.additional_properties.remove("total-data-files");
        summary.additional_properties.extend(total.map(|total| ("total-data-files".to_owned(), total.to_owned())));
        let snapshot = Snapshot::builder()
            .with_snapshot_id(9)
            .with_sequence_number(1)
            .with_timestamp_ms(1)
            .with_manifest_list(empty.snapshot.manifest_list().to_owned())
            .with_summary(summary)
            .build();
        let read = fixture.runtime.block_on(read_manifest_list(&fixture.file_io, &fixture.metadata, &snapshot));
        assert_eq!(read.as_ref().is_ok_and(Vec::is_empty), is_whole, "{total:?}");
        if let Err(error) = read {
            assert!(error.message().contains("the manifest list is empty"), "{error}");
        }
    }
}

/// Only new files, and all of a table that had format version 1, inherit their number.
#[test]
fn sequence_numbers_are_inherited_by_new_entries_only() {
    let mut fixture = Fixture::new();
    let file = fixture.append(&["a"]);
    let manifest = fixture.runtime.block_on(manifests(&fixture.loaded())).unwrap().remove(0);
    for (status, own, of_manifest, expected) in [
        (ManifestStatus::Added, None, 5, Some(5)),
        (ManifestStatus::Added, None, 0, Some(0)),
        (ManifestStatus::Added, Some(3), 5, Some(3)),
        (ManifestStatus::Existing, Some(3), 5, Some(3)),
        (ManifestStatus::Existing, None, 0, Some(0)),
        (ManifestStatus::Existing, None, 5, None),
    ] {
        let manifest = ManifestFile { sequence_number: of_manifest, ..manifest.clone() };
        let entry = ManifestEntry::builder().status(status).sequence_number_opt(own).data_file(file.clone()).build();
        assert_eq!(sequence_number(&manifest, &entry), expected, "{status:?} {own:?} in {of_manifest}");
    }
}

#[test]
fn delete_files_that_apply_to_nothing_are_still_there() {
    let mut fixture = Fixture::new();
    let (first, second) = (fixture.append(&["a", "b"]), fixture.append(&["c"]));
    let written = [fixture.write_deletes(&[(&first, &[0])]), fixture.write_deletes(&[(&first, &[1]), (&second, &[0])])];
    fixture.commit(Operation::Delete, |b| {
        for delete in written.iter().flatten() {
            b.add_delete_file(0, delete.1.clone());
        }
    });
    let gone = fixture.live();
    fixture.commit(Operation::Delete, |b| {
        for live in &gone {
            b.remove_data_file(live);
        }
    });
    let table = fixture.runtime.block_on(live_table(&fixture.loaded())).unwrap();
    let mut left: Vec<&str> = table.deletes.iter().map(|delete| delete.file.file_path()).collect();
    let mut expected: Vec<&str> = written.iter().flatten().map(|(_, file)| file.file_path()).collect();
    left.sort_unstable();
    expected.sort_unstable();
    assert!(table.files.is_empty());
    assert_eq!(left, expected);
}
