//! The time up to which a table is complete, and the properties and snapshot summaries that record it.
//!
//! The nearest ancestor of main whose summary has `ddb-iceberg.watermark` is authoritative, unless a full load without
//! a time is nearer: older watermarks say nothing about the rows of such a load. The table property of that name counts
//! only if the snapshot that it names has expired. If that snapshot exists but is no ancestor of main, someone rolled
//! the table back, and the changes of the rolled-back windows are missing.

use std::collections::HashMap;

use iceberg::spec::{SnapshotRef, Summary, TableMetadata};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::export::Source;
use crate::schema::TableSchema;
use crate::time::{self, Time};

/// Property: the major version of ddb-iceberg's conventions that the table follows.
pub const VERSION: &str = "ddb-iceberg.version";
/// The version of the conventions that this program supports.
pub const VERSION_KNOWN: u32 = 1;
/// Property: the DynamoDB table's ARN.
pub const TABLE_ARN: &str = "ddb-iceberg.table-arn";
/// Property: the DynamoDB table's id, which changes when a table is recreated.
pub const TABLE_ID: &str = "ddb-iceberg.table-id";
/// Property: the mapping from attributes to columns.
pub const SCHEMA: &str = "ddb-iceberg.schema";
/// Property and snapshot summary: the time up to which the table is complete.
pub const WATERMARK: &str = "ddb-iceberg.watermark";
/// Property: windows that were skipped because the user allowed it.
pub const GAPS: &str = "ddb-iceberg.gaps";
/// Property: what was found in each folder of exports. Only set if there are gaps.
pub const GAPS_SEEN: &str = "ddb-iceberg.gaps-seen";
/// Property: the export of the last full load, and the load's snapshot.
pub const LOAD: &str = "ddb-iceberg.load";
/// Snapshot summary: `full-load` for a snapshot whose rows come from one full load.
pub const COMMAND: &str = "ddb-iceberg.command";
/// The one value of [`COMMAND`].
pub const FULL_LOAD: &str = "full-load";
/// Snapshot summary: the export in the snapshot.
pub const EXPORT_ARN: &str = "ddb-iceberg.export-arn";
/// Snapshot summary: the window's start; absent for full loads.
pub const WINDOW_FROM: &str = "ddb-iceberg.window-from";
/// Snapshot summary: the window's end, or the full load's export time.
pub const WINDOW_TO: &str = "ddb-iceberg.window-to";

/// The time up to which a table is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The time.
    pub time: Time,
    /// Whether it comes from a full load, whose time has milliseconds.
    pub of_load: bool,
}

/// A time span whose changes were skipped: start inclusive, end exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Start, inclusive.
    pub from: String,
    /// End, exclusive.
    pub to: String,
}

impl Gap {
    /// The gap between two times.
    pub fn between(from: Time, to: Time) -> Self {
        Self { from: time::format(from), to: time::format(to) }
    }

    /// Whether a window overlaps the gap.
    pub fn touches(&self, from: Time, to: Time) -> bool {
        let (Some(start), Some(end)) = (time::parse(&self.from), time::parse(&self.to)) else { return true };
        from < end && start < to
    }
}

/// The watermark as in its property.
#[derive(Debug, Serialize, Deserialize)]
struct Property {
    time: String,
    #[serde(rename = "snapshot-id")]
    snapshot_id: String,
}

/// The property's value for a snapshot that is about to be committed.
pub fn watermark_property(time: Time, snapshot_id: i64) -> String {
    let property = Property { time: time::format(time), snapshot_id: snapshot_id.to_string() };
    serde_json::to_string(&property).unwrap_or_default()
}

/// The load as in its property.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LoadProperty {
    export_arn: String,
    snapshot_id: String,
}

/// The load property's value for a snapshot that is about to be committed.
pub fn load_property(export_arn: &str, snapshot_id: i64) -> String {
    let property = LoadProperty { export_arn: export_arn.to_owned(), snapshot_id: snapshot_id.to_string() };
    serde_json::to_string(&property).unwrap_or_default()
}

/// The export of a load that main comes from, if its snapshot is no longer reachable in main's history because
/// snapshots expired. A tag may have kept the load's snapshot.
///
/// If the snapshot is reachable, main's history decides. A table that was rolled back may come from another load.
pub fn expired_load(metadata: &TableMetadata) -> Option<String> {
    let property: LoadProperty = serde_json::from_str(metadata.properties().get(LOAD)?).ok()?;
    let id: i64 = property.snapshot_id.parse().ok()?;
    let reached = ancestors(metadata).any(|snapshot| snapshot.snapshot_id() == id);
    let first = ancestors(metadata).last().and_then(|snapshot| snapshot.parent_snapshot_id());
    let expired = metadata.snapshot_by_id(id).is_none() || first.is_some();
    let known = !reached && expired && watermark(metadata).is_ok_and(|mark| mark.is_some());
    known.then_some(property.export_arn)
}

/// Main's current snapshot and its ancestors, newest first, as far as they have not expired.
pub fn ancestors(metadata: &TableMetadata) -> impl Iterator<Item = &SnapshotRef> {
    let mut next = metadata.current_snapshot();
    // A chain longer than the list of snapshots would be a cycle.
    let mut left = metadata.snapshots().len();
    std::iter::from_fn(move || {
        let snapshot = next.filter(|_| left > 0)?;
        left -= 1;
        next = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
        Some(snapshot)
    })
}

/// Whether a snapshot is a full load: nothing about its ancestors applies to its rows.
pub fn is_load(summary: &Summary) -> bool {
    let summary = &summary.additional_properties;
    // Loads by earlier versions have no COMMAND.
    let is_ours = summary.contains_key(WATERMARK) || summary.contains_key(EXPORT_ARN);
    summary.get(COMMAND).is_some_and(|command| command == FULL_LOAD) || (is_ours && !summary.contains_key(WINDOW_FROM))
}

/// Main's history back to its last full load, newest first: the origin of the table's rows.
///
/// Earlier versions did not mark a load without a time, but removed the watermark property: without that property,
/// watermarks of snapshots are ignored.
pub fn since_load(metadata: &TableMetadata) -> impl Iterator<Item = &SnapshotRef> {
    let known = metadata.properties().contains_key(WATERMARK);
    let mut ended = false;
    ancestors(metadata).take_while(move |snapshot| {
        let stale = !known && snapshot.summary().additional_properties.contains_key(WATERMARK);
        let taken = !ended && !stale;
        ended = ended || is_load(snapshot.summary());
        taken
    })
}

/// The table's columns and the attributes they come from.
pub fn columns(metadata: &TableMetadata) -> Result<TableSchema> {
    let property = metadata.properties().get(SCHEMA).map(String::as_str);
    TableSchema::of_table(metadata.current_schema().clone(), property)
}

/// The DynamoDB table from which the table is loaded, as far as its properties record it.
pub fn source(metadata: &TableMetadata) -> Source {
    let property = |name: &str| metadata.properties().get(name).cloned();
    Source { arn: property(TABLE_ARN), id: property(TABLE_ID) }
}

/// The properties that name the DynamoDB table.
pub fn source_properties(source: Source) -> HashMap<String, String> {
    let facts = [(TABLE_ARN, source.arn), (TABLE_ID, source.id)];
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The snapshot that the property names, whether it exists or not.
pub fn named_snapshot(metadata: &TableMetadata) -> Option<i64> {
    let property: Property = serde_json::from_str(metadata.properties().get(WATERMARK)?).ok()?;
    property.snapshot_id.parse().ok()
}

/// The table's watermark; `None` if it never had one. A rolled-back table is an error of kind `Window`.
pub fn watermark(metadata: &TableMetadata) -> Result<Option<Watermark>> {
    let property: Option<Property> = match metadata.properties().get(WATERMARK) {
        Some(text) => Some(
            serde_json::from_str(text)
                .map_err(|e| Error::failed(format!("the table property {WATERMARK} cannot be read")).caused_by(e))?,
        ),
        None => None,
    };
    let unreadable = || Error::failed(format!("a watermark of the table cannot be read as a time ({WATERMARK})"));
    if let Some(property) = &property {
        let id: i64 = property.snapshot_id.parse().map_err(|_| unreadable())?;
        let kept = metadata.snapshot_by_id(id).is_some();
        if kept && !ancestors(metadata).any(|snapshot| snapshot.snapshot_id() == id) {
            return Err(Error::window(format!(
                "the table was rolled back: it was complete up to {}, and its current snapshot is older",
                property.time
            ))
            .advice(
                "Roll it forward to the snapshot it was rolled back from, or load it anew with full-load from a newer full export",
            ));
        }
    }
    let mut reached_load = false;
    for snapshot in since_load(metadata) {
        let summary = snapshot.summary();
        if let Some(text) = summary.additional_properties.get(WATERMARK) {
            let time = time::parse(text).ok_or_else(unreadable)?;
            return Ok(Some(Watermark { time, of_load: is_load(summary) }));
        }
        reached_load |= is_load(summary);
    }
    match property {
        Some(property) if !reached_load => {
            Ok(Some({
                let time = time::parse(&property.time).ok_or_else(unreadable)?;
                // Windows end at whole seconds.
                Watermark { time, of_load: time.timestamp_subsec_nanos() != 0 }
            }))
        }
        _ => Ok(None),
    }
}

/// The gaps recorded in the table.
pub fn gaps(metadata: &TableMetadata) -> Result<Vec<Gap>> {
    match metadata.properties().get(GAPS) {
        Some(text) => serde_json::from_str(text)
            .map_err(|e| Error::failed(format!("the table property {GAPS} cannot be read")).caused_by(e)),
        None => Ok(Vec::new()),
    }
}

/// Refuses a table that follows conventions of a newer program.
pub fn check_version(metadata: &TableMetadata) -> Result<()> {
    let Some(text) = metadata.properties().get(VERSION) else { return Ok(()) };
    let major = text.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major <= VERSION_KNOWN => Ok(()),
        _ => Err(Error::failed(format!("the table was written by a newer ddb-iceberg ({VERSION} = {text})"))
            .advice("Update this program")),
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::Operation;

    use super::*;
    use crate::table::fixture::Fixture;

    const TIMES: [&str; 3] = ["2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"];

    fn summary(names: &[&str]) -> Summary {
        let value = |name: &str| if name == COMMAND { FULL_LOAD } else { "x" }.to_owned();
        let additional_properties = names.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        Summary { operation: Operation::Append, additional_properties }
    }

    #[test]
    fn loads_are_told_from_windows_and_from_others_snapshots() {
        for (names, expected) in [
            (&[COMMAND][..], true),
            (&[COMMAND, WATERMARK, EXPORT_ARN, WINDOW_TO], true),
            (&[COMMAND, WINDOW_FROM], true),
            // As earlier versions wrote them.
            (&[WATERMARK], true),
            (&[EXPORT_ARN], true),
            (&[WATERMARK, EXPORT_ARN, WINDOW_FROM, WINDOW_TO], false),
            (&[WATERMARK, WINDOW_FROM], false),
            (&[EXPORT_ARN, WINDOW_FROM], false),
            // Another program's, or a compaction.
            (&[], false),
            (&["spark.app.id"], false),
            (&[WINDOW_TO], false),
        ] {
            assert_eq!(is_load(&summary(names)), expected, "{names:?}");
        }
        let mut other = summary(&[]);
        other.additional_properties.insert(COMMAND.to_owned(), "incremental".to_owned());
        assert!(!is_load(&other));
    }

    /// A load, a window, and a snapshot of somebody else; the property names the given snapshot.
    fn history(named: impl FnOnce(&[i64]) -> i64) -> (TableMetadata, Vec<i64>) {
        let mut fixture = Fixture::new();
        let mut ids = Vec::new();
        for (n, names) in [&[WATERMARK, COMMAND][..], &[WATERMARK, WINDOW_FROM], &[]].into_iter().enumerate() {
            let built = fixture.commit(Operation::Append, |b| {
                for name in names {
                    b.set(*name, if *name == COMMAND { FULL_LOAD } else { TIMES[n] });
                }
            });
            ids.push(built.snapshot.snapshot_id());
        }
        let property = watermark_property(time::parse(TIMES[2]).unwrap(), named(&ids));
        let properties = HashMap::from([(WATERMARK.to_owned(), property)]);
        let builder = fixture.metadata.into_builder(None).set_properties(properties).unwrap();
        (builder.build().unwrap().metadata, ids)
    }

    fn ids<'a>(snapshots: impl Iterator<Item = &'a SnapshotRef>) -> Vec<i64> {
        snapshots.map(|snapshot| snapshot.snapshot_id()).collect()
    }

    #[test]
    fn the_nearest_snapshot_that_bears_a_watermark_counts() {
        let (metadata, all) = history(|ids| ids[1]);
        let newest: Vec<i64> = all.iter().rev().copied().collect();
        assert_eq!(ids(ancestors(&metadata)), newest);
        assert_eq!(ids(since_load(&metadata)), newest);
        let found = watermark(&metadata).unwrap().unwrap();
        assert_eq!(found, Watermark { time: time::parse(TIMES[1]).unwrap(), of_load: false });
        assert_eq!(named_snapshot(&metadata), Some(all[1]));
        // The property went away with an earlier version's load without a time.
        let builder = metadata.into_builder(None).remove_properties(&[WATERMARK.to_owned()]).unwrap();
        let metadata = builder.build().unwrap().metadata;
        assert_eq!(ids(since_load(&metadata)), newest[..1]);
        assert_eq!(watermark(&metadata).unwrap(), None);
    }

    #[test]
    fn a_property_that_names_an_expired_snapshot_is_no_rollback() {
        let (metadata, _) = history(|_| 1);
        assert_eq!(watermark(&metadata).unwrap().unwrap().time, time::parse(TIMES[1]).unwrap());
    }

    #[test]
    fn a_table_rolled_back_is_told_by_the_time_it_had() {
        let (metadata, all) = history(|ids| ids[2]);
        let reference = iceberg::spec::SnapshotReference::new(
            all[0],
            iceberg::spec::SnapshotRetention::Branch {
                min_snapshots_to_keep: None,
                max_snapshot_age_ms: None,
                max_ref_age_ms: None,
            },
        );
        let builder = metadata.into_builder(None).set_ref("main", reference).unwrap();
        let error = watermark(&builder.build().unwrap().metadata).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Window);
        assert!(error.message().contains("2026-01-01T00:30:00"), "{error}");
    }

    /// Not what a catalog should give, but no reason never to end.
    #[test]
    fn parents_in_a_circle_are_followed_once() {
        let (metadata, all) = history(|ids| ids[1]);
        let mut json = serde_json::to_value(&metadata).unwrap();
        for snapshot in json["snapshots"].as_array_mut().unwrap() {
            if snapshot["snapshot-id"] == all[0] {
                snapshot["parent-snapshot-id"] = all[2].into();
            }
        }
        let metadata: TableMetadata = serde_json::from_value(json).unwrap();
        assert_eq!(ids(ancestors(&metadata).take(10)).len(), 3);
    }
}
