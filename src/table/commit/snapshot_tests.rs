use std::collections::BTreeMap;

use iceberg::spec::{
    DataFileBuilder, DataFileFormat, Literal, Manifest, ManifestStatus, Struct, Summary, Transform,
    UnboundPartitionSpec,
};

use super::*;
use crate::table::commit::requirements::base_requirements;
use crate::table::fixture::Fixture;
use crate::table::manifest::read::read_entries;

fn summary(fixture: &Fixture) -> BTreeMap<String, String> {
    fixture.metadata.current_snapshot().unwrap().summary().additional_properties.clone().into_iter().collect()
}

fn check(fixture: &Fixture, expected: &[(&str, u64)]) {
    let summary = summary(fixture);
    for (key, value) in expected {
        assert_eq!(summary.get(*key), Some(&value.to_string()), "{key} in {summary:?}");
    }
}

/// Status, sequence number, path.
type Entry = (ManifestStatus, i64, String);

/// Every entry, by manifest.
fn entries(fixture: &Fixture) -> Vec<(ManifestFile, Vec<Entry>)> {
    let snapshot = fixture.metadata.current_snapshot().unwrap();
    fixture.runtime.block_on(async {
        let mut all = Vec::new();
        for manifest in read_manifest_list(&fixture.file_io, &fixture.metadata, snapshot).await.unwrap() {
            let (manifest, entries) = read_entries(fixture.file_io.clone(), manifest).await.unwrap();
            let described =
                entries.iter().map(|e| (e.status(), e.sequence_number().unwrap(), e.file_path().to_owned())).collect();
            all.push((manifest, described));
        }
        all
    })
}

#[test]
fn totals_follow_append_delete_overwrite_and_replace() {
    let mut fixture = Fixture::new();
    let first = fixture.append(&["a", "b", "c"]);
    let size = first.file_size_in_bytes();
    check(
        &fixture,
        &[("added-data-files", 1), ("added-records", 3), ("added-files-size", size), ("changed-partition-count", 1)],
    );
    check(
        &fixture,
        &[("total-data-files", 1), ("total-records", 3), ("total-files-size", size), ("total-delete-files", 0)],
    );
    check(&fixture, &[("total-position-deletes", 0), ("total-equality-deletes", 0)]);
    assert!(!summary(&fixture).contains_key("deleted-records"));
    assert_eq!(fixture.metadata.current_snapshot().unwrap().sequence_number(), 1);

    let update = fixture.write(&["b"]);
    let deletes = fixture.write_deletes(&[(&first, &[1])]);
    fixture.commit(Operation::Overwrite, |b| {
        b.add_data_file(0, update.clone()).add_delete_file(0, deletes[0].1.clone()).set("ddb-iceberg.x", "y");
    });
    let deletes_size = deletes[0].1.file_size_in_bytes();
    let total = size + update.file_size_in_bytes() + deletes_size;
    check(&fixture, &[("added-delete-files", 1), ("added-position-delete-files", 1), ("added-position-deletes", 1)]);
    check(
        &fixture,
        &[("total-data-files", 2), ("total-delete-files", 1), ("total-records", 4), ("total-position-deletes", 1)],
    );
    check(&fixture, &[("total-files-size", total), ("added-files-size", update.file_size_in_bytes() + deletes_size)]);
    assert_eq!(summary(&fixture)["ddb-iceberg.x"], "y");

    // Copy-on-write: the file and its deletes go, a rewritten one comes.
    let rewritten = fixture.write(&["a", "c"]);
    let live = fixture.live_of(&first);
    fixture.commit(Operation::Replace, |b| {
        b.remove_data_file(&live)
            .remove_delete_file(&live.deletes[0])
            .remove_data_file(&live)
            .add_data_file(0, rewritten.clone());
    });
    check(&fixture, &[("deleted-data-files", 1), ("deleted-records", 3), ("removed-files-size", size + deletes_size)]);
    check(
        &fixture,
        &[("removed-delete-files", 1), ("removed-position-delete-files", 1), ("removed-position-deletes", 1)],
    );
    check(
        &fixture,
        &[("total-data-files", 2), ("total-delete-files", 0), ("total-records", 3), ("total-position-deletes", 0)],
    );
    check(&fixture, &[("total-files-size", total + rewritten.file_size_in_bytes() - size - deletes_size)]);
    assert_eq!(fixture.all_keys(), ["a", "b", "c"]);

    let live = fixture.live_of(&update);
    fixture.commit(Operation::Delete, |b| {
        b.remove_data_file(&live);
    });
    check(&fixture, &[("total-data-files", 1), ("total-records", 2)]);
    assert_eq!(fixture.all_keys(), ["a", "c"]);
}

#[test]
fn an_empty_append_is_the_parent_again() {
    let mut fixture = Fixture::new();
    fixture.commit(Operation::Append, |_| {});
    assert!(entries(&fixture).is_empty());
    check(&fixture, &[("total-records", 0), ("changed-partition-count", 0)]);
    fixture.append(&["a"]);
    let before = entries(&fixture);
    let built = fixture.commit(Operation::Append, |b| {
        b.set("ddb-iceberg.window-to", "t");
    });
    assert_eq!(built.files.len(), 1);
    assert_eq!(entries(&fixture), before);
    check(&fixture, &[("total-records", 1), ("changed-partition-count", 0)]);
    assert_eq!(built.snapshot.sequence_number(), 3);
}

#[test]
fn manifests_are_rewritten_only_where_files_go() {
    let mut fixture = Fixture::new();
    let (a, b) = (fixture.write(&["a"]), fixture.write(&["b"]));
    fixture.commit(Operation::Append, |builder| {
        builder.add_data_file(0, a.clone()).add_data_file(0, b.clone());
    });
    let c = fixture.append(&["c"]);
    let untouched = entries(&fixture).into_iter().find(|(_, e)| e[0].2 == c.file_path()).unwrap();
    let live = fixture.live_of(&a);
    let built = fixture.commit(Operation::Delete, |builder| {
        builder.remove_data_file(&live);
    });
    let now = entries(&fixture);
    assert_eq!(now.len(), 2);
    assert!(now.contains(&untouched));
    let (manifest, rewritten) = now.iter().find(|entry| **entry != untouched).unwrap();
    assert_eq!(
        rewritten[..],
        [
            (ManifestStatus::Deleted, 1, a.file_path().to_owned()),
            (ManifestStatus::Existing, 1, b.file_path().to_owned())
        ]
    );
    assert_eq!((manifest.sequence_number, manifest.min_sequence_number), (3, 1));
    assert_eq!((manifest.existing_files_count, manifest.deleted_files_count), (Some(1), Some(1)));
    assert!(built.files.iter().all(|file| fixture.runtime.block_on(fixture.file_io.exists(file)).unwrap()));

    // The last file of that manifest: it says so once, then it is gone.
    let live = fixture.live_of(&b);
    fixture.commit(Operation::Delete, |builder| {
        builder.remove_data_file(&live);
    });
    assert_eq!(entries(&fixture).len(), 2);
    fixture.commit(Operation::Append, |_| {});
    assert_eq!(entries(&fixture), [untouched]);
}

#[test]
fn delete_files_are_added_entries_that_inherit() {
    let mut fixture = Fixture::new();
    let data = fixture.append(&["a", "b"]);
    let deletes = fixture.write_deletes(&[(&data, &[0])]);
    fixture.commit(Operation::Delete, |b| {
        b.add_delete_file(0, deletes[0].1.clone());
    });
    let all = entries(&fixture);
    let (manifest, listed) = all.iter().find(|(m, _)| m.content == ManifestContentType::Deletes).unwrap();
    assert_eq!(listed[..], [(ManifestStatus::Added, 2, deletes[0].1.file_path().to_owned())]);
    assert_eq!((manifest.sequence_number, manifest.min_sequence_number, manifest.added_files_count), (2, 2, Some(1)));
    // Nothing explicit on disk: a retried commit would get another number.
    let bytes = std::fs::read(manifest.manifest_path.strip_prefix("file://").unwrap()).unwrap();
    let raw = Manifest::parse_avro(&bytes).unwrap();
    assert_eq!(raw.entries()[0].sequence_number(), None);
    assert_eq!(raw.entries()[0].data_file().referenced_data_file().as_deref(), Some(data.file_path()));
}

#[test]
fn totals_that_the_parent_lacks_stay_unknown() {
    let parent = Summary {
        operation: Operation::Append,
        additional_properties: HashMap::from([
            ("total-records".to_owned(), "10".to_owned()),
            ("total-data-files".to_owned(), "many".to_owned()),
        ]),
    };
    let fixture = Fixture::new();
    let mut counts = SummaryCounts::default();
    counts.add(0, &fixture.write(&["a"]));
    let summary = counts.finish(Operation::Append, Some(&parent), HashMap::new()).additional_properties;
    assert_eq!(summary["total-records"], "11");
    assert!(!summary.contains_key("total-data-files") && !summary.contains_key("total-files-size"));
}

#[test]
fn wrong_changes_are_refused_and_leave_nothing() {
    let mut fixture = Fixture::new();
    let data = fixture.append(&["a"]);
    let live = fixture.live_of(&data);
    let avro_files = fixture.count_files(".avro");
    let twice = fixture.write(&["b"]);
    let refused = fixture.build(Operation::Append, |b| {
        b.add_data_file(0, twice.clone()).add_data_file(0, twice.clone());
    });
    assert!(refused.is_err());
    let unknown_spec = fixture.build(Operation::Append, |b| {
        b.add_data_file(9, twice.clone());
    });
    assert!(unknown_spec.unwrap_err().message().contains("partition spec 9"));
    let lost = LiveFile { manifest: Arc::from("file:///elsewhere.avro"), ..live.clone() };
    let stale = fixture.build(Operation::Delete, |b| {
        b.add_data_file(0, twice.clone()).remove_data_file(&lost);
    });
    assert!(stale.is_err());
    let as_delete = fixture.build(Operation::Delete, |b| {
        b.add_delete_file(0, twice.clone());
    });
    assert!(as_delete.is_err());
    let partitioned = fixture.write_with(&["c"], Struct::from_iter([Some(Literal::long(1))]), &fixture.options());
    let misfit = fixture.build(Operation::Append, |b| {
        b.add_data_file(0, twice.clone()).add_data_file(0, partitioned.clone());
    });
    assert!(misfit.is_err());
    assert_eq!(fixture.count_files(".avro"), avro_files);
}

#[test]
fn partitions_are_counted() {
    let spec = UnboundPartitionSpec::builder().add_partition_field(2, "n_part", Transform::Identity).unwrap().build();
    let mut fixture = Fixture::with_spec(spec);
    let files: Vec<_> = [1, 2, 2]
        .map(|n| fixture.write_with(&["a"], Struct::from_iter([Some(Literal::long(n))]), &fixture.options()))
        .into();
    fixture.commit(Operation::Append, |b| {
        for file in &files {
            b.add_data_file(0, file.clone());
        }
    });
    check(&fixture, &[("changed-partition-count", 2), ("added-data-files", 3)]);
    let partitions = entries(&fixture)[0].0.partitions.clone().unwrap();
    assert_eq!(partitions[0].lower_bound.as_ref().unwrap()[..], 1_i64.to_le_bytes());
    assert_eq!(partitions[0].upper_bound.as_ref().unwrap()[..], 2_i64.to_le_bytes());
}

#[test]
fn names_times_and_requirements_are_the_base() {
    let mut fixture = Fixture::new();
    let first = fixture.commit(Operation::Append, |_| {});
    let second = fixture.commit(Operation::Append, |_| {});
    assert_ne!(first.snapshot.snapshot_id(), second.snapshot.snapshot_id());
    assert_eq!(second.snapshot.parent_snapshot_id(), Some(first.snapshot.snapshot_id()));
    assert!(second.snapshot.timestamp_ms() >= first.snapshot.timestamp_ms());
    let list = second.snapshot.manifest_list();
    let prefix = format!("{}/metadata/snap-{}-1-", fixture.metadata.location(), second.snapshot.snapshot_id());
    assert!(list.starts_with(&prefix), "{list}");
    let requirements = base_requirements(&fixture.metadata);
    assert_eq!(requirements.len(), 7);
    for requirement in &requirements {
        requirement.check(Some(&fixture.metadata)).unwrap();
    }
    let old = fixture.metadata.clone();
    fixture.commit(Operation::Append, |_| {});
    let stale = base_requirements(&old);
    assert_eq!(stale.iter().filter(|r| r.check(Some(&fixture.metadata)).is_err()).count(), 1);
}

#[test]
fn a_schema_change_keeps_older_manifests_readable() {
    let mut fixture = Fixture::new();
    let old = fixture.append(&["a", "b"]);
    // `tag` is dropped, `extra` is new.
    let fields = fixture.schema().as_struct().fields().iter().filter(|f| f.name != "tag").cloned().collect::<Vec<_>>();
    let extra = iceberg::spec::NestedField::optional(
        4,
        "extra",
        iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::String),
    );
    let schema = iceberg::spec::Schema::builder()
        .with_fields(fields.into_iter().chain([Arc::new(extra)]))
        .with_identifier_field_ids([1])
        .build()
        .unwrap();
    let builder = fixture.metadata.clone().into_builder(None).add_current_schema(schema).unwrap();
    fixture.metadata = builder.build().unwrap().metadata;
    let other = fixture.live_of(&old);
    let deletes = fixture.write_deletes(&[(&old, &[0])]);
    fixture.commit(Operation::Delete, |b| {
        b.add_delete_file(0, deletes[0].1.clone());
    });
    assert_eq!(fixture.metadata.current_snapshot().unwrap().schema_id(), Some(1));
    assert_eq!(fixture.all_keys(), ["b"]);
    fixture.commit(Operation::Delete, |b| {
        b.remove_data_file(&other);
    });
    assert!(fixture.live().is_empty());
}

/// One file more than a manifest takes: each is listed, once.
#[test]
fn more_files_than_a_manifest_takes() {
    let mut fixture = Fixture::new();
    let first = fixture.write(&["a"]);
    let path = |n: usize| format!("{}.{n}", first.file_path());
    let files = MANIFEST_ENTRIES + 1;
    fixture.commit(Operation::Append, |b| {
        for n in 0..files {
            let mut file = DataFileBuilder::default();
            file.content(DataContentType::Data)
                .file_path(path(n))
                .file_format(DataFileFormat::Parquet)
                .partition_spec_id(0)
                .record_count(1)
                .file_size_in_bytes(1);
            b.add_data_file(0, file.build().unwrap());
        }
    });
    let listed = entries(&fixture);
    let counts: Vec<usize> = listed.iter().map(|(_, entries)| entries.len()).collect();
    assert_eq!(counts, [MANIFEST_ENTRIES, 1]);
    let mut paths: Vec<String> = listed.into_iter().flat_map(|(_, entries)| entries).map(|(.., path)| path).collect();
    let mut expected: Vec<String> = (0..files).map(path).collect();
    paths.sort_unstable();
    expected.sort_unstable();
    assert!(paths == expected);
    check(&fixture, &[("added-data-files", files as u64), ("total-data-files", files as u64)]);
}

/// As Iceberg Java lists them: what is new first, data before deletes. Cleaning up after a failed commit goes by the names.
#[test]
fn manifests_are_listed_in_order_and_every_file_is_named() {
    let mut fixture = Fixture::new();
    let mut built = Vec::new();
    for key in ["a", "b"] {
        let data = fixture.write(&[key, "x"]);
        let deletes = fixture.write_deletes(&[(&data, &[1])]);
        let before = fixture.count_files(".avro");
        let last = fixture.commit(Operation::Overwrite, |b| {
            b.add_data_file(0, data.clone()).add_delete_file(0, deletes[0].1.clone());
        });
        assert_eq!(last.files.len(), fixture.count_files(".avro") - before);
        built.push(last);
    }
    let listed: Vec<_> = entries(&fixture).into_iter().map(|(m, _)| (m.content, m.sequence_number)).collect();
    let (data, deletes) = (ManifestContentType::Data, ManifestContentType::Deletes);
    assert_eq!(listed, [(data, 2), (data, 1), (deletes, 2), (deletes, 1)]);
    let mut named: Vec<String> = entries(&fixture).into_iter().map(|(m, _)| m.manifest_path).collect();
    named.extend(built.iter().map(|built| built.snapshot.manifest_list().to_owned()));
    let mut files: Vec<String> = built.into_iter().flat_map(|built| built.files).collect();
    named.sort_unstable();
    files.sort_unstable();
    assert_eq!(files, named);
    assert_eq!(fixture.all_keys(), ["a", "b"]);
}

/// Ids that lie close together, or of which many are alike, would soon meet.
#[test]
fn snapshot_ids_are_any_positive_numbers() {
    let fixture = Fixture::new();
    let ids: Vec<i64> = (0..256).map(|_| new_snapshot_id(Some(&fixture.metadata))).collect();
    assert!(ids.iter().all(|id| *id > 0));
    for bit in 0..63 {
        let set = ids.iter().filter(|id| **id & (1 << bit) != 0).count();
        assert!((64..192).contains(&set), "bit {bit} is set in {set} of 256 ids");
    }
}

#[test]
fn two_manifests_are_merged_and_one_stays_as_it_is() {
    use crate::table::manifest::merge::{MIN_COUNT, TARGET_BYTES};

    let merged = |target: Option<i64>| {
        let mut fixture = Fixture::new();
        fixture.append(&["a"]);
        fixture.append(&["b"]);
        let before: Vec<ManifestFile> = entries(&fixture).into_iter().map(|(manifest, _)| manifest).collect();
        let mut properties = HashMap::from([(MIN_COUNT.to_owned(), "2".to_owned())]);
        properties.extend(target.map(|extra| {
            let longest = before.iter().map(|m| m.manifest_length).max().unwrap();
            (TARGET_BYTES.to_owned(), (longest + extra).to_string())
        }));
        let builder = fixture.metadata.clone().into_builder(None).set_properties(properties).unwrap();
        fixture.metadata = builder.build().unwrap().metadata;
        fixture.commit(Operation::Append, |b| {
            b.merge_manifests();
        });
        assert_eq!(fixture.all_keys(), ["a", "b"]);
        let after = entries(&fixture);
        let kept = after.iter().filter(|(manifest, _)| before.contains(manifest)).count();
        (after.iter().map(|(_, entries)| entries.clone()).collect::<Vec<_>>(), kept)
    };
    let (listed, kept) = merged(None);
    assert_eq!((listed.len(), kept), (1, 0));
    let mut numbers: Vec<_> = listed[0].iter().map(|(status, number, _)| (*status, *number)).collect();
    numbers.sort_unstable_by_key(|(_, number)| *number);
    assert_eq!(numbers, [(ManifestStatus::Existing, 1), (ManifestStatus::Existing, 2)]);
    // Two do not fit into one, and one as large as the target is no small one.
    for extra in [1, 0] {
        let (listed, kept) = merged(Some(extra));
        assert_eq!((listed.len(), kept), (2, 2), "{extra}");
    }
}

/// As other writers' rewrites leave them: data that is older than its file, so that deletes in between still apply.
#[test]
fn entries_keep_both_of_their_numbers() {
    use crate::table::manifest::merge::{ManifestLimits, merge};

    type Numbers = (String, Option<i64>, Option<i64>, Option<i64>);
    let fixture = Fixture::new();
    let files: Vec<DataFile> = ["a", "b", "c", "d"].iter().map(|key| fixture.write(&[*key])).collect();
    let output = |snapshot_id| Output {
        file_io: fixture.file_io.clone(),
        folder: metadata_folder(&fixture.metadata),
        operation: Uuid::new_v4(),
        snapshot_id,
        written: Mutex::default(),
    };
    let renamed = iceberg::spec::Schema::builder()
        .with_fields(fixture.schema().as_struct().fields().iter().filter(|field| field.name != "tag").cloned())
        .build()
        .unwrap();
    let written = |files: &[&DataFile], schema: &SchemaRef, number: i64| {
        let spec = fixture.metadata.default_partition_spec().as_ref().clone();
        let mut writer = output(9).manifest(ManifestContentType::Data, Arc::clone(schema), spec).unwrap();
        for file in files {
            writer.add_existing_file((*file).clone(), 100 + number, number, Some(number + 5)).unwrap();
        }
        let manifest = fixture.runtime.block_on(writer.write_manifest_file()).unwrap();
        ManifestFile { sequence_number: 8, ..manifest }
    };
    let numbers = |manifest: &ManifestFile| -> Vec<Numbers> {
        let (_, entries) = fixture.runtime.block_on(read_entries(fixture.file_io.clone(), manifest.clone())).unwrap();
        let numbers = entries.iter().filter(|entry| entry.is_alive()).map(|entry| {
            (entry.file_path().to_owned(), entry.snapshot_id(), entry.sequence_number(), entry.file_sequence_number)
        });
        numbers.collect()
    };
    let of = |file: &DataFile, number: i64| {
        (file.file_path().to_owned(), Some(100 + number), Some(number), Some(number + 5))
    };

    let schema = fixture.schema();
    let (first, second) = (written(&[&files[0], &files[1]], &schema, 1), written(&[&files[2]], &schema, 2));
    let other = written(&[&files[3]], &Arc::new(renamed), 3);
    let all = vec![first.clone(), other.clone(), second];
    let limits = ManifestLimits { min_count: 2, target_bytes: 1 << 20 };
    let merged = fixture.runtime.block_on(merge(&output(10), all, limits)).unwrap();
    assert_eq!(merged.len(), 2, "of two schemas");
    assert_eq!(merged[1], other);
    assert_eq!(numbers(&merged[0]), [of(&files[0], 1), of(&files[1], 1), of(&files[2], 2)]);

    let builder = SnapshotBuilder::new(None, &fixture.metadata, Operation::Delete);
    let removed = HashSet::from([files[0].file_path().to_owned()]);
    let left = fixture.runtime.block_on(builder.rewrite_one(&output(11), first, &removed)).unwrap();
    assert_eq!(numbers(&left), [of(&files[1], 1)]);
}
