//! When the scheduled `incremental` runs compaction and expiry.
//!
//! The metadata is checked first, so that most windows cost nothing.

use iceberg::spec::{Operation, TableMetadata};

use super::retention::{Retention, Wanted, check_gc};
use crate::error::Result;
use crate::table::watermark::{WINDOW_FROM, ancestors, is_load};
use crate::time::Time;

/// Number of windows after a load or a compaction before the next compaction is considered: as many small files as are
/// merged.
const WINDOWS: usize = 16;
/// The same while further windows are waiting.
const WINDOWS_IN_BETWEEN: usize = 64;
/// Minimum number of snapshots to expire: each expiry costs a commit and a pass over all remaining snapshots.
const SNAPSHOTS: usize = 32;

/// Whether a compaction may pay off. `last`: no other window is waiting.
pub fn may_compact(metadata: &TableMetadata, last: bool) -> bool {
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
