//! Decides which snapshots expire, by Iceberg's rules and ours.
//!
//! Iceberg's: a branch keeps its newest snapshots, by number and age as the branch or the table sets; a tag keeps its
//! snapshot; branches and tags themselves may expire, but not main; snapshots that no reference reaches expire by age
//! alone.
//! Ours: the watermark must remain known. The snapshots between main and the nearest one with a watermark are kept, and
//! so is a snapshot from which the table was rolled back, since otherwise the rollback would go unnoticed.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};

use crate::error::{Error, Result};
use crate::table::watermark::{WATERMARK, ancestors, is_load, named_snapshot};
use crate::time::Time;

/// Table property: milliseconds for which a snapshot is kept. Default: 5 days.
pub const MAX_AGE: &str = "history.expire.max-snapshot-age-ms";
/// Table property: number of snapshots of a branch that are kept whatever their age. Default: 1.
pub const MIN_SNAPSHOTS: &str = "history.expire.min-snapshots-to-keep";
/// Table property: milliseconds for which a branch or tag is kept. Default: forever.
pub const MAX_REF_AGE: &str = "history.expire.max-ref-age-ms";
/// Table property: `false` means that files may also belong to other tables.
pub const GC: &str = "gc.enabled";

const FIVE_DAYS: i64 = 5 * 24 * 60 * 60 * 1000;

/// Settings that override the table's properties. A branch's own settings take precedence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Snapshots older than this expire.
    pub older_than: Option<Time>,
    /// Number of newest snapshots of each branch that are kept whatever their age.
    pub retain_last: Option<usize>,
}

/// The snapshots and references to expire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Snapshots, oldest first.
    pub snapshots: Vec<i64>,
    /// Branches and tags, by name.
    pub references: Vec<String>,
}

impl Retention {
    /// The snapshots and references of a table to expire now.
    pub fn of(metadata: &TableMetadata, wanted: Wanted, now: Time) -> Result<Self> {
        let properties = metadata.properties();
        let now = now.timestamp_millis();
        let oldest = match wanted.older_than {
            Some(time) => time.timestamp_millis(),
            None => now.saturating_sub(number(properties, MAX_AGE, FIVE_DAYS)?),
        };
        let least = match wanted.retain_last {
            Some(count) => count.max(1),
            None => usize::try_from(number(properties, MIN_SNAPSHOTS, 1)?).unwrap_or(usize::MAX).max(1),
        };
        let ref_age = number(properties, MAX_REF_AGE, i64::MAX)?;

        let all = references(metadata)?;
        let mut gone = Vec::new();
        let mut kept: HashSet<i64> = HashSet::new();
        let mut reached: HashSet<i64> = HashSet::new();
        for (name, reference) in &all {
            let snapshot = metadata.snapshot_by_id(reference.snapshot_id);
            let (own_ref_age, branch) = match &reference.retention {
                SnapshotRetention::Tag { max_ref_age_ms } => (*max_ref_age_ms, None),
                SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
                    (*max_ref_age_ms, Some((*min_snapshots_to_keep, *max_snapshot_age_ms)))
                }
            };
            let age = snapshot.map_or(i64::MAX, |snapshot| now.saturating_sub(snapshot.timestamp_ms()));
            if name != MAIN_BRANCH && age > own_ref_age.unwrap_or(ref_age) {
                gone.push(name.clone());
                continue;
            }
            let Some((own_least, own_age)) = branch else {
                kept.insert(reference.snapshot_id);
                reached.insert(reference.snapshot_id);
                continue;
            };
            let least = own_least.and_then(|n| usize::try_from(n).ok()).unwrap_or(least);
            let oldest = own_age.map_or(oldest, |age| now.saturating_sub(age));
            let mut wanted = true;
            for (n, id) in line(metadata, reference.snapshot_id).into_iter().enumerate() {
                let time = metadata.snapshot_by_id(id).map_or(0, |snapshot| snapshot.timestamp_ms());
                wanted &= n < least || time >= oldest;
                if wanted {
                    kept.insert(id);
                }
                reached.insert(id);
            }
        }
        kept.extend(
            metadata
                .snapshots()
                .filter(|snapshot| !reached.contains(&snapshot.snapshot_id()) && snapshot.timestamp_ms() >= oldest)
                .map(|snapshot| snapshot.snapshot_id()),
        );
        kept.extend(for_the_watermark(metadata));

        let mut snapshots: Vec<_> =
            metadata.snapshots().filter(|snapshot| !kept.contains(&snapshot.snapshot_id())).collect();
        snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
        gone.sort_unstable();
        Ok(Self { snapshots: snapshots.iter().map(|snapshot| snapshot.snapshot_id()).collect(), references: gone })
    }

    /// Whether nothing expires.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.references.is_empty()
    }
}

/// Refuses a table whose files may also belong to others.
pub fn check_gc(metadata: &TableMetadata) -> Result<()> {
    match metadata.properties().get(GC) {
        Some(value) if value.trim().eq_ignore_ascii_case("false") => {
            Err(Error::failed(format!("the table says {GC}=false: its files may belong to other tables too"))
                .advice(format!("If they do not, set the table property {GC} to true")))
        }
        _ => Ok(()),
    }
}

/// The branches and tags of a table.
pub fn references(metadata: &TableMetadata) -> Result<HashMap<String, SnapshotReference>> {
    // The crate returns references only by name; its JSON has all of them.
    let unreadable = |e: serde_json::Error| Error::failed("the table's branches and tags cannot be read").caused_by(e);
    let mut json = serde_json::to_value(metadata).map_err(unreadable)?;
    match json.get_mut("refs") {
        Some(refs) if !refs.is_null() => serde_json::from_value(refs.take()).map_err(unreadable),
        _ => Ok(HashMap::new()),
    }
}

fn number(properties: &HashMap<String, String>, name: &str, default: i64) -> Result<i64> {
    match properties.get(name) {
        None => Ok(default),
        Some(text) => text.trim().parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
            Error::usage(format!("the table property {name} is {text:?}, not a whole number"))
                .advice("Set it right, or remove it")
        }),
    }
}

/// A snapshot and its ancestors, newest first, as far as they exist.
fn line(metadata: &TableMetadata, from: i64) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut next = metadata.snapshot_by_id(from);
    while let Some(snapshot) = next.filter(|_| ids.len() < metadata.snapshots().len()) {
        ids.push(snapshot.snapshot_id());
        next = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    ids
}

fn for_the_watermark(metadata: &TableMetadata) -> Vec<i64> {
    let mut kept = Vec::new();
    let mut marked = false;
    for snapshot in ancestors(metadata) {
        kept.push(snapshot.snapshot_id());
        marked = snapshot.summary().additional_properties.contains_key(WATERMARK);
        if marked || is_load(snapshot.summary()) {
            break;
        }
    }
    if !marked {
        // No ancestor has a watermark any more, or the last load had no time: none of them is needed.
        kept.clear();
    }
    kept.extend(named_snapshot(metadata).filter(|id| metadata.snapshot_by_id(*id).is_some()));
    kept
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
