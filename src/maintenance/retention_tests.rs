use std::sync::Arc;

use iceberg::spec::{
    FormatVersion, NestedField, Operation, PartitionSpec, PrimitiveType, Schema, Snapshot, SortOrder, Summary,
    TableMetadataBuilder, Type,
};

use super::*;
use crate::table::watermark::{WINDOW_FROM, watermark, watermark_property};
use crate::time;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn now() -> Time {
    chrono::Utc::now()
}

/// A table whose snapshots 1, 2, … are so many days old. Those listed in `windows` have a watermark.
fn table(days: &[i64], windows: &[i64], properties: &[(&str, &str)]) -> TableMetadata {
    let schema = Schema::builder()
        .with_fields([Arc::new(NestedField::required(1, "pk", Type::Primitive(PrimitiveType::String)))])
        .build()
        .unwrap();
    let properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut builder = TableMetadataBuilder::new(
        schema,
        PartitionSpec::unpartition_spec(),
        SortOrder::unsorted_order(),
        "file:///t".to_owned(),
        FormatVersion::V2,
        properties,
    )
    .unwrap();
    let now = now().timestamp_millis();
    for (n, age) in (1..).zip(days) {
        let mut summary = HashMap::new();
        if windows.contains(&n) {
            summary.insert(WATERMARK.to_owned(), time::format(crate::time::parse("2026-01-14T10:00:00Z").unwrap()));
            summary.insert(WINDOW_FROM.to_owned(), String::new());
        }
        let snapshot = Snapshot::builder()
            .with_snapshot_id(n)
            .with_parent_snapshot_id((n > 1).then_some(n - 1))
            .with_sequence_number(n)
            .with_timestamp_ms(now - age * DAY)
            .with_manifest_list(format!("/{n}.avro"))
            .with_summary(Summary { operation: Operation::Append, additional_properties: summary })
            .with_schema_id(0)
            .build();
        builder = builder.set_branch_snapshot(snapshot, MAIN_BRANCH).unwrap();
    }
    builder.build().unwrap().metadata
}

fn with_ref(metadata: TableMetadata, name: &str, snapshot_id: i64, retention: SnapshotRetention) -> TableMetadata {
    let reference = SnapshotReference { snapshot_id, retention };
    metadata.into_builder(None).set_ref(name, reference).unwrap().build().unwrap().metadata
}

fn gone(metadata: &TableMetadata, wanted: Wanted) -> Vec<i64> {
    Retention::of(metadata, wanted, now()).unwrap().snapshots
}

const DEFAULT: Wanted = Wanted { older_than: None, retain_last: None };

#[test]
fn five_days_stay_and_always_the_newest() {
    assert_eq!(gone(&table(&[9, 7, 4, 1], &[4], &[]), DEFAULT), [1, 2]);
    assert_eq!(gone(&table(&[9, 8, 7], &[3], &[]), DEFAULT), [1, 2]);
    assert!(gone(&table(&[], &[], &[]), DEFAULT).is_empty());
}

#[test]
fn properties_and_options_say_how_many() {
    let days = [9, 8, 7, 6, 1];
    assert_eq!(gone(&table(&days, &[5], &[(MIN_SNAPSHOTS, "3")]), DEFAULT), [1, 2]);
    assert_eq!(gone(&table(&days, &[5], &[(MAX_AGE, &(DAY * 15 / 2).to_string())]), DEFAULT), [1, 2]);
    let metadata = table(&days, &[5], &[(MIN_SNAPSHOTS, "5")]);
    let older_than = Some(now() - chrono::TimeDelta::hours(1));
    assert!(gone(&metadata, Wanted { older_than, retain_last: None }).is_empty());
    assert_eq!(gone(&metadata, Wanted { older_than, retain_last: Some(2) }), [1, 2, 3]);
    for wrong in ["x", "-1", ""] {
        assert!(Retention::of(&table(&days, &[], &[(MAX_AGE, wrong)]), DEFAULT, now()).is_err(), "{wrong:?}");
    }
}

#[test]
fn branches_and_tags_keep_what_they_hold() {
    let days = [20, 19, 18, 17, 1];
    let metadata = with_ref(table(&days, &[5], &[]), "t", 2, SnapshotRetention::Tag { max_ref_age_ms: None });
    assert_eq!(gone(&metadata, DEFAULT), [1, 3, 4]);
    let metadata = with_ref(metadata, "b", 4, SnapshotRetention::branch(Some(2), None, None));
    assert_eq!(gone(&metadata, DEFAULT), [1]);
    // Too old themselves, by their own setting or by the table's.
    let metadata = with_ref(metadata, "b", 4, SnapshotRetention::branch(Some(2), None, Some(DAY)));
    let retention = Retention::of(&metadata, DEFAULT, now()).unwrap();
    assert_eq!((retention.snapshots, retention.references), (vec![1, 3, 4], vec!["b".to_owned()]));
    let metadata = with_ref(
        table(&days, &[5], &[(MAX_REF_AGE, &DAY.to_string())]),
        "t",
        2,
        SnapshotRetention::Tag { max_ref_age_ms: None },
    );
    assert_eq!(Retention::of(&metadata, DEFAULT, now()).unwrap().references, ["t"]);
}

#[test]
fn the_watermark_stays_known() {
    // After snapshot 2 others wrote, long ago: the way back to it stays.
    let metadata = table(&[20, 19, 18, 17], &[1, 2], &[]);
    assert_eq!(gone(&metadata, DEFAULT), [1]);
    // Rolled back from 4 to 2: as long as 4 is there, that is known.
    let metadata = table(&[20, 19, 18, 17], &[1, 2, 3, 4], &[]);
    let property = HashMap::from([(WATERMARK.to_owned(), watermark_property(now(), 4))]);
    let metadata = metadata.into_builder(None).set_properties(property).unwrap().build().unwrap().metadata;
    let main = SnapshotRetention::branch(None, None, None);
    let metadata = with_ref(metadata, MAIN_BRANCH, 2, main);
    assert!(watermark(&metadata).is_err(), "rolled back");
    assert_eq!(gone(&metadata, DEFAULT), [1, 3]);
    let left = metadata.into_builder(None).remove_snapshots(&[1, 3]).build().unwrap().metadata;
    assert!(watermark(&left).is_err(), "rolled back, still");
}

#[test]
fn shared_files_are_not_collected() {
    assert!(check_gc(&table(&[1], &[], &[(GC, "FALSE")])).is_err());
    assert!(check_gc(&table(&[1], &[], &[(GC, "true")])).is_ok());
    assert!(check_gc(&table(&[1], &[], &[])).is_ok());
}

/// What is exactly as old as is allowed stays; a millisecond more, and it goes.
#[test]
fn ages_end_where_they_say() {
    let metadata = table(&[20, 10, 0], &[3], &[]);
    let time = |id: i64| metadata.snapshot_by_id(id).unwrap().timestamp_ms();
    let at = |milliseconds: i64| Time::from_timestamp_millis(milliseconds).unwrap();
    let of = |metadata: &TableMetadata, now: i64| Retention::of(metadata, DEFAULT, at(now)).unwrap();
    assert_eq!(of(&metadata, time(2) + 5 * DAY).snapshots, [1]);
    assert_eq!(of(&metadata, time(2) + 5 * DAY + 1).snapshots, [1, 2]);
    let tag = with_ref(metadata.clone(), "t", 2, SnapshotRetention::Tag { max_ref_age_ms: Some(7 * DAY) });
    assert!(of(&tag, time(2) + 7 * DAY).references.is_empty());
    assert_eq!(of(&tag, time(2) + 7 * DAY + 1).references, ["t"]);
    // The main branch never goes, however old it is.
    let main = SnapshotRetention::branch(None, None, Some(1));
    assert!(of(&with_ref(metadata.clone(), MAIN_BRANCH, 3, main), time(3) + 99 * DAY).references.is_empty());
}

/// The table with a snapshot changed as another program could.
fn changed(metadata: &TableMetadata, id: i64, change: impl FnOnce(&mut serde_json::Value)) -> TableMetadata {
    let mut json = serde_json::to_value(metadata).unwrap();
    let snapshots = json["snapshots"].as_array_mut().unwrap();
    change(snapshots.iter_mut().find(|snapshot| snapshot["snapshot-id"] == id).unwrap());
    serde_json::from_value(json).unwrap()
}

/// Ancestors that come round again end.
#[test]
fn a_circle_of_snapshots_ends() {
    let metadata = changed(&table(&[9, 8, 7], &[], &[]), 1, |snapshot| snapshot["parent-snapshot-id"] = 3.into());
    assert_eq!(ancestors(&metadata).map(|snapshot| snapshot.snapshot_id()).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(line(&metadata, 2), [2, 1, 3]);
}

/// What the property says holds where the snapshot it names was expired, unless a later load has no time.
#[test]
fn the_property_holds_when_its_snapshot_is_gone() {
    for (text, of_load) in [("2026-01-14T10:00:00Z", false), ("2026-01-14T10:00:00.250Z", true)] {
        let time = time::parse(text).unwrap();
        let metadata = table(&[3, 2], &[], &[(WATERMARK, &watermark_property(time, 99))]);
        let known = watermark(&metadata).unwrap().unwrap();
        assert_eq!((known.time, known.of_load), (time, of_load));
        let loaded = changed(&metadata, 1, |snapshot| snapshot["summary"]["ddb-iceberg.command"] = "full-load".into());
        assert_eq!(watermark(&loaded).unwrap(), None);
    }
}

#[test]
fn a_load_is_known_by_its_command_or_by_what_earlier_versions_wrote() {
    const ARN: &str = "ddb-iceberg.export-arn";
    const COMMAND: &str = "ddb-iceberg.command";
    let is = |entries: &[(&str, &str)]| {
        let additional_properties = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        is_load(&Summary { operation: Operation::Append, additional_properties })
    };
    assert!(is(&[(WATERMARK, "")]) && is(&[(ARN, "")]) && is(&[(COMMAND, "full-load")]));
    assert!(is(&[(COMMAND, "full-load"), (WINDOW_FROM, "")]));
    assert!(!is(&[]) && !is(&[(WATERMARK, ""), (WINDOW_FROM, "")]) && !is(&[(ARN, ""), (WINDOW_FROM, "")]));
    assert!(!is(&[(COMMAND, "incremental")]) && !is(&[(WINDOW_FROM, "")]));
}
