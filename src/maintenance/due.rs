//! When the scheduled `incremental` compacts and expires by itself.
//!
//! What is looked at first is in the metadata, so that most windows cost nothing.

use iceberg::spec::{Operation, TableMetadata};

use super::retention::{Retention, Wanted, check_gc};
use crate::error::Result;
use crate::table::watermark::{WINDOW_FROM, ancestors, is_load};
use crate::time::Time;

/// Windows after a load, or after the last compaction, in which none is looked for: as many small files as are merged.
const WINDOWS: usize = 16;
/// Windows without one in a long run of windows that were late.
const WINDOWS_IN_BETWEEN: usize = 64;
/// Snapshots that may go before they do: each time costs a commit and a look at all that stay.
const SNAPSHOTS: usize = 32;

/// Whether a compaction may pay. `last`: no other window waits.
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
        // What came before was expired, so it is not known how many windows there were; no more than commits.
        if last && snapshot.parent_snapshot_id().is_some_and(|id| metadata.snapshot_by_id(id).is_none()) {
            return usize::try_from(metadata.last_sequence_number()).is_ok_and(|commits| commits > WINDOWS);
        }
    }
    windows > enough
}

/// The snapshots that go now, if there are enough of them and the table lets them go.
pub fn to_expire(metadata: &TableMetadata, now: Time) -> Result<Option<Retention>> {
    if metadata.snapshots().len() <= SNAPSHOTS || check_gc(metadata).is_err() {
        return Ok(None);
    }
    let retention = Retention::of(metadata, Wanted::default(), now)?;
    Ok((retention.snapshots.len() >= SNAPSHOTS).then_some(retention))
}
