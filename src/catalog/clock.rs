//! Changes to tables whose last change is in the future: a writer's clock was ahead, or this machine's is behind.
//!
//! A table's times never decrease. We choose a snapshot's time; for all other changes `iceberg` uses the machine's
//! time, and, like Java, refuses it if it is more than a minute before the last change.

use iceberg::TableUpdate;
use iceberg::spec::{MetadataLog, TableMetadata, TableMetadataBuilder};
use serde_json::Value;

use crate::error::{Error, Result};

const LAST: &str = "last-updated-ms";
const TIME: &str = "timestamp-ms";
const LOGS: [&str; 2] = ["snapshot-log", "metadata-log"];

/// A builder for trial changes, or for changes that another program makes: it builds whatever the clocks say. Its times
/// are meaningless.
pub fn draft(metadata: &TableMetadata) -> Result<TableMetadataBuilder> {
    Ok(shifted(metadata.clone(), -ahead(metadata))?.into_builder(None))
}

/// The metadata after these updates, and the entries removed from its log of metadata files. `location` is that of the
/// base's.
pub fn updated(
    base: &TableMetadata,
    location: &str,
    updates: Vec<TableUpdate>,
) -> Result<(TableMetadata, Vec<MetadataLog>)> {
    // A new snapshot has its own time.
    let is_timed = updates.iter().any(|update| matches!(update, TableUpdate::AddSnapshot { .. }));
    let ahead = if is_timed { 0 } else { ahead(base) };
    let mut builder = shifted(base.clone(), -ahead)?.into_builder(Some(location.to_owned()));
    for update in updates {
        builder = update.apply(builder)?;
    }
    let built = builder.build()?;
    Ok((shifted(built.metadata, ahead)?, built.expired_metadata_logs))
}

/// Milliseconds by which the table's last change is ahead of this machine's clock.
fn ahead(metadata: &TableMetadata) -> i64 {
    metadata.last_updated_ms().saturating_sub(chrono::Utc::now().timestamp_millis()).max(0)
}

/// The same table with shifted times in its logs.
fn shifted(metadata: TableMetadata, milliseconds: i64) -> Result<TableMetadata> {
    if milliseconds == 0 {
        return Ok(metadata);
    }
    let failed = |error| Error::failed("the table's metadata could not be written").caused_by(error);
    let mut json = serde_json::to_value(metadata).map_err(failed)?;
    let shift = |time: Option<&mut Value>| {
        if let Some(time) = time
            && let Some(old) = time.as_i64()
        {
            *time = old.saturating_add(milliseconds).into();
        }
    };
    shift(json.get_mut(LAST));
    for log in LOGS {
        for entry in json.get_mut(log).and_then(Value::as_array_mut).into_iter().flatten() {
            shift(entry.get_mut(TIME));
        }
    }
    serde_json::from_value(json).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iceberg::TableCreation;
    use iceberg::spec::{MAIN_BRANCH, Operation, Schema, Snapshot, Summary};

    use super::*;

    /// A table with one snapshot, created this many milliseconds from now.
    fn table(from_now: i64) -> TableMetadata {
        let schema = Schema::builder().build().unwrap();
        let creation = TableCreation::builder().name("t".to_owned()).location("s3://b/t".to_owned()).schema(schema);
        let summary = Summary { operation: Operation::Append, additional_properties: HashMap::new() };
        let snapshot = Snapshot::builder()
            .with_snapshot_id(1)
            .with_sequence_number(1)
            .with_timestamp_ms(chrono::Utc::now().timestamp_millis() + from_now)
            .with_manifest_list("s3://b/t/metadata/1.avro")
            .with_summary(summary)
            .with_schema_id(0)
            .build();
        let builder = TableMetadataBuilder::from_table_creation(creation.build()).unwrap();
        builder.set_branch_snapshot(snapshot, MAIN_BRANCH).unwrap().build().unwrap().metadata
    }

    fn property(value: &str) -> Vec<TableUpdate> {
        vec![TableUpdate::SetProperties { updates: HashMap::from([("a".to_owned(), value.to_owned())]) }]
    }

    #[test]
    fn times_of_a_clock_that_was_ahead_stay() {
        let base = table(3_600_000);
        let refused = property("x").remove(0).apply(base.clone().into_builder(None)).unwrap().build();
        assert!(refused.is_err(), "or this module is not needed any more");
        assert!(draft(&base).unwrap().build().is_ok());
        let (first, _) = updated(&base, "s3://b/t/metadata/0.json", property("1")).unwrap();
        let (second, _) = updated(&first, "s3://b/t/metadata/1.json", property("2")).unwrap();
        assert_eq!(second.properties()["a"], "2");
        assert_eq!(second.history(), base.history());
        let times: Vec<i64> = second.metadata_log().iter().map(|log| log.timestamp_ms).collect();
        assert_eq!(times, [base.last_updated_ms(), first.last_updated_ms()]);
        assert!(
            second.last_updated_ms() >= first.last_updated_ms() && first.last_updated_ms() >= base.last_updated_ms()
        );
        assert_eq!(second.snapshots().collect::<Vec<_>>(), base.snapshots().collect::<Vec<_>>());
    }

    #[test]
    fn otherwise_the_time_is_now() {
        let base = table(-3_600_000);
        let (made, _) = updated(&base, "s3://b/t/metadata/0.json", property("1")).unwrap();
        assert!((chrono::Utc::now().timestamp_millis() - made.last_updated_ms()) < 60_000);
        assert_eq!(made.history(), base.history());
        assert_eq!(made.metadata_log()[0].timestamp_ms, base.last_updated_ms());
    }
}
