//! When the scheduled `incremental` runs compaction and expiry.
//!
//! The metadata is checked first, so that most windows cost nothing.

use iceberg::spec::{Operation, TableMetadata};
use serde::{Deserialize, Serialize};

use super::retention::{Retention, Wanted, check_gc};
use crate::error::Result;
use crate::table::watermark::{WINDOW_FROM, ancestors, is_load};
use crate::time::Time;

/// Number of windows after a load or a compaction before the next compaction is considered: the number of small files
/// that one merges.
const WINDOWS: usize = 16;
/// The same while further windows are waiting.
const WINDOWS_IN_BETWEEN: usize = 64;
/// Minimum number of snapshots to expire: each expiry costs a commit and a pass over all remaining snapshots.
const SNAPSHOTS: usize = 32;

/// Table property: the number of consecutive failed compactions, and when to try again.
pub const COMPACTION_FAILED: &str = "ddb-iceberg.compaction-failed";
/// Maximum number of windows between two attempts: about ten days of windows of 15 minutes.
const LONGEST_PAUSE: i64 = 1024;

/// The content of [`COMPACTION_FAILED`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CompactionFailed {
    /// Number of consecutive failures.
    pub times: u32,
    /// The sequence number at which the next compaction is tried.
    pub retry_at: i64,
}

impl CompactionFailed {
    /// What the table has recorded; `None` if it is invalid.
    fn of(metadata: &TableMetadata) -> Option<Self> {
        serde_json::from_str(metadata.properties().get(COMPACTION_FAILED)?).ok()
    }

    /// The record after another failure on this state of the table. The next attempt follows after 1, then 2, 4, 8, …
    /// windows, so that a compaction that keeps failing delays few of them.
    pub fn again(metadata: &TableMetadata) -> Self {
        let times = Self::of(metadata).map_or(0, |failed| failed.times).saturating_add(1);
        let failed = Self { times, retry_at: 0 };
        Self { retry_at: metadata.last_sequence_number().saturating_add(failed.pause()), ..failed }
    }

    /// Number of windows until the next attempt.
    pub fn pause(&self) -> i64 {
        1_i64
            .checked_shl(self.times.saturating_sub(1))
            .filter(|pause| (1..LONGEST_PAUSE).contains(pause))
            .unwrap_or(LONGEST_PAUSE)
    }
}

/// Whether a compaction may pay off, and no pause after a failure is in effect. `last`: no other window is waiting.
pub fn may_compact(metadata: &TableMetadata, last: bool) -> bool {
    let sequence = metadata.last_sequence_number();
    // A longer pause than this is invalid, whatever the property says.
    let waits = |failed: CompactionFailed| {
        (sequence..=sequence.saturating_add(LONGEST_PAUSE)).contains(&failed.retry_at.saturating_sub(1))
    };
    if CompactionFailed::of(metadata).is_some_and(waits) {
        return false;
    }
    let enough = if last { WINDOWS } else { WINDOWS_IN_BETWEEN };
    let mut windows = 0_usize;
    for snapshot in ancestors(metadata) {
        let summary = snapshot.summary();
        let is_window = summary.additional_properties.contains_key(WINDOW_FROM);
        if summary.operation == Operation::Replace || is_load(summary) {
            return windows > enough;
        }
        windows += usize::from(is_window);
        // Earlier snapshots have expired, so the number of windows is unknown, but at most the number of commits.
        if last && snapshot.parent_snapshot_id().is_some_and(|id| metadata.snapshot_by_id(id).is_none()) {
            return usize::try_from(metadata.last_sequence_number()).is_ok_and(|commits| commits > WINDOWS);
        }
    }
    windows > enough
}

/// The snapshots to expire now, if there are enough and the table allows deleting files.
pub fn to_expire(metadata: &TableMetadata, now: Time) -> Result<Option<Retention>> {
    if metadata.snapshots().len() <= SNAPSHOTS || check_gc(metadata).is_err() {
        return Ok(None);
    }
    let retention = Retention::of(metadata, Wanted::default(), now)?;
    Ok((retention.snapshots.len() >= SNAPSHOTS).then_some(retention))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pause = |times| CompactionFailed { times, retry_at: 0 }.pause();
        assert_eq!([1, 2, 3, 4, 5].map(pause), [1, 2, 4, 8, 16]);
        assert_eq!([10, 11, 12, 62, 63, 64, 65, u32::MAX].map(pause), [512, 1024, 1024, 1024, 1024, 1024, 1024, 1024]);
    }

    /// Snapshot `n`, after `n - 1`, made by a window or by something else.
    fn snapshot(n: usize, operation: &str, is_window: bool) -> Value {
        let summary =
            if is_window { json!({"operation": operation, WINDOW_FROM: ""}) } else { json!({"operation": operation}) };
        let parent = if n > 1 { json!(n - 1) } else { Value::Null };
        json!({"snapshot-id": n, "parent-snapshot-id": parent, "sequence-number": n, "timestamp-ms": n,
            "manifest-list": format!("/{n}.avro"), "summary": summary, "schema-id": 0})
    }

    fn table(snapshots: &[Value], properties: &Value) -> TableMetadata {
        let field = json!({"id": 1, "name": "pk", "required": true, "type": "string"});
        let newest = &snapshots.last().unwrap()["snapshot-id"];
        let metadata = json!({"format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
            "location": "file:///t", "last-sequence-number": newest, "last-updated-ms": newest, "last-column-id": 1,
            "current-schema-id": 0, "schemas": [{"type": "struct", "schema-id": 0, "fields": [field]}],
            "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "last-partition-id": 999,
            "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}], "properties": properties,
            "current-snapshot-id": newest, "refs": {"main": {"snapshot-id": newest, "type": "branch"}},
            "snapshots": snapshots, "snapshot-log": [], "metadata-log": []});
        serde_json::from_value(metadata).unwrap()
    }

    #[test]
    fn windows_are_counted_back_to_the_load_or_the_last_compaction() {
        for first in [snapshot(1, "replace", false), snapshot(1, "append", true)] {
            let known = usize::from(first["summary"].get(WINDOW_FROM).is_some());
            for (last, most) in [(true, WINDOWS), (false, WINDOWS_IN_BETWEEN)] {
                let may = |windows: usize| {
                    let windows = (2..).take(windows - known).map(|n| snapshot(n, "append", true));
                    let snapshots: Vec<Value> = std::iter::once(first.clone()).chain(windows).collect();
                    may_compact(&table(&snapshots, &json!({})), last)
                };
                assert!(!may(most) && may(most + 1), "{most} after {first}");
            }
        }
        let others: Vec<Value> = (1..100).map(|n| snapshot(n, "append", false)).collect();
        assert!(!may_compact(&table(&others, &json!({})), true), "commits of others are no windows");
    }

    /// There may have been as many windows as commits; while more windows come, those that are known count.
    #[test]
    fn where_the_past_was_expired_commits_count() {
        let of = |commits: usize| table(&[snapshot(commits, "append", true)], &json!({}));
        assert_eq!([2, WINDOWS, WINDOWS + 1].map(|commits| may_compact(&of(commits), true)), [false, false, true]);
        assert!(!may_compact(&of(1000), false));
    }

    #[test]
    fn snapshots_go_when_there_are_many_that_may() {
        let now = Time::from_timestamp_millis(9 * 24 * 60 * 60 * 1000).unwrap();
        let gone = |count: usize, properties: Value| {
            let snapshots: Vec<Value> = (1..=count).map(|n| snapshot(n, "append", false)).collect();
            to_expire(&table(&snapshots, &properties), now).unwrap().map(|retention| retention.snapshots.len())
        };
        assert_eq!(gone(SNAPSHOTS, json!({})), None);
        assert_eq!(gone(SNAPSHOTS + 1, json!({})), Some(SNAPSHOTS), "all but the current one");
        assert_eq!(gone(SNAPSHOTS + 1, json!({"history.expire.min-snapshots-to-keep": "2"})), None);
        assert_eq!(gone(SNAPSHOTS + 9, json!({"gc.enabled": "false"})), None);
    }
}
