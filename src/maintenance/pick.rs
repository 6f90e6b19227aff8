//! Selects and groups the data files to rewrite.
//!
//! There are two reasons: a file is small, or many of its rows are deleted. Files are rewritten together only if they
//! are in the same partition of the same spec, and either all sorted by key or all not.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::DataFile;
use serde::{Deserialize, Serialize};

use crate::table::{LiveFile, PartitionKey};

/// Default target size of a data file, in bytes.
pub const TARGET_BYTES: u64 = 256 * 1024 * 1024;
/// A file smaller than this percentage of the target is small. As in Iceberg Java.
const SMALL_PERCENT: u64 = 75;
/// Percentage of deleted rows from which a file is rewritten.
const DELETED_PERCENT: u64 = 10;
/// Maximum number of files merged at once: each is open, with some of its rows in memory.
const MAX_FILES: usize = 64;
/// Maximum size of a group, in files of the target size: larger groups give narrower key ranges, but distribute work
/// less evenly.
const MAX_TARGETS: u64 = 8;

/// What to rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Target size of a data file, in bytes.
    pub target_bytes: u64,
    /// Number of small files in a partition from which they are merged.
    pub min_files: usize,
    /// Number of delete files on a data file from which it is rewritten, however few rows they delete; `None`: their
    /// number is ignored.
    pub max_delete_files: Option<usize>,
    /// Merge a small file only with others that have as many bytes in total. So each byte is rewritten a few times in
    /// its life, instead of every time.
    pub tiered: bool,
    /// Maximum bytes to rewrite, files with the most deletes first; `None`: no limit.
    pub max_bytes: Option<u64>,
}

impl Policy {
    /// Everything that pays off, for a manual run.
    pub fn thorough(target_bytes: u64) -> Self {
        Self { target_bytes, min_files: 5, max_delete_files: Some(8), tiered: false, max_bytes: None }
    }

    /// What pays off quickly, for the scheduled run: few bytes at a time, so that the next window is not late.
    ///
    /// Merging itself prevents many delete files on a data file, so their number is ignored here.
    pub fn frugal(target_bytes: u64) -> Self {
        Self { target_bytes, min_files: 16, max_delete_files: None, tiered: true, max_bytes: Some(4 << 30) }
    }

    /// Whether a file is small.
    fn is_small(&self, file: &DataFile) -> bool {
        file.file_size_in_bytes() < self.target_bytes / 100 * SMALL_PERCENT
    }

    /// Whether a file has enough deletes to be rewritten.
    fn has_many_deletes(&self, candidate: &Candidate) -> bool {
        let rows = candidate.live.file.record_count();
        candidate.deleted > 0
            && (candidate.deleted.saturating_mul(100) >= rows.saturating_mul(DELETED_PERCENT)
                || self.max_delete_files.is_some_and(|most| candidate.live.deletes.len() >= most))
    }
}

/// A data file and how many of its rows are deleted.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The file.
    pub live: LiveFile,
    /// Number of rows deleted by its delete files.
    pub deleted: u64,
}

/// Whether counting a file's deleted rows may find many: the counts in the delete files are an upper bound.
pub fn may_have_many_deletes(live: &LiveFile, policy: &Policy) -> bool {
    let deleted = live.deletes.iter().map(|delete| delete.file.record_count()).fold(0, u64::saturating_add);
    policy.has_many_deletes(&Candidate { live: live.clone(), deleted: deleted.min(live.file.record_count()) })
}

/// Files to be rewritten together: from one partition, all sorted by key or none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// The files, smallest first.
    pub files: Vec<LiveFile>,
    /// Whether all are sorted by key.
    pub sorted: bool,
    /// Estimated bytes of the remaining rows, from the files' sizes.
    pub bytes: u64,
}

impl Group {
    /// Whether its rows are merged by key; otherwise its files are read one after the other.
    pub fn is_merged(&self) -> bool {
        self.sorted && self.files.len() > 1
    }
}

/// Memory for reading a file: its largest row group.
fn reading_bytes(file: &DataFile) -> u64 {
    let size = file.file_size_in_bytes();
    let offsets: Vec<u64> =
        file.split_offsets().unwrap_or_default().iter().filter_map(|at| u64::try_from(*at).ok()).collect();
    let ends = offsets.iter().skip(1).chain([&size]);
    offsets.iter().zip(ends).map(|(start, end)| end.saturating_sub(*start)).max().unwrap_or(size).min(size)
}

/// The groups to be rewritten. `sort_order` is the id of the table's sort order by key; files with that order are
/// sorted. `memory` is the maximum number of bytes that one group may take for its files.
pub fn pick(candidates: Vec<Candidate>, policy: &Policy, sort_order: Option<i32>, memory: u64) -> Vec<Group> {
    let mut classes: HashMap<(i32, PartitionKey, bool), usize> = HashMap::new();
    let mut members: BTreeMap<usize, (bool, Vec<Candidate>)> = BTreeMap::new();
    for candidate in candidates {
        let file = &candidate.live.file;
        let sorted = sort_order.is_some() && file.sort_order_id() == sort_order;
        let next = classes.len();
        let key = (candidate.live.spec_id, PartitionKey::from(file.partition()), sorted);
        let class = *classes.entry(key).or_insert(next);
        members.entry(class).or_insert_with(|| (sorted, Vec::new())).1.push(candidate);
    }
    let mut groups = Vec::new();
    for (sorted, members) in members.into_values() {
        groups.extend(cut(choose(members, policy), policy, sorted, memory));
    }
    limit(groups, policy)
}

/// The files of one class that are to be rewritten, smallest first.
fn choose(members: Vec<Candidate>, policy: &Policy) -> Vec<Candidate> {
    let size = |candidate: &Candidate| candidate.live.file.file_size_in_bytes();
    let (mut chosen, mut rest): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|candidate| policy.has_many_deletes(candidate));
    rest.retain(|candidate| policy.is_small(&candidate.live.file));
    rest.sort_by_key(size);
    if policy.tiered {
        // The longest prefix whose largest file is not larger than all the others together.
        let mut sum = 0_u64;
        let mut end = 0;
        for (n, candidate) in rest.iter().enumerate() {
            if size(candidate) <= sum {
                end = n + 1;
            }
            sum = sum.saturating_add(size(candidate));
        }
        rest.truncate(end);
    }
    let small = chosen.iter().filter(|candidate| policy.is_small(&candidate.live.file)).count() + rest.len();
    if small >= policy.min_files {
        chosen.extend(rest);
    }
    chosen.sort_by_key(size);
    chosen
}

fn cut(chosen: Vec<Candidate>, policy: &Policy, sorted: bool, memory: u64) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut open: Vec<Candidate> = Vec::new();
    let (mut bytes, mut reading) = (0_u64, 0_u64);
    for candidate in chosen {
        let size = candidate.live.file.file_size_in_bytes();
        // Files that are not merged by key are read one at a time.
        let held = if sorted { reading_bytes(&candidate.live.file) } else { 0 };
        let full = open.len() >= MAX_FILES
            || bytes.saturating_add(size) > policy.target_bytes.saturating_mul(MAX_TARGETS)
            || (open.len() >= 2 && reading.saturating_add(held) > memory);
        if full {
            groups.extend(group(std::mem::take(&mut open), policy, sorted));
            (bytes, reading) = (0, 0);
        }
        bytes = bytes.saturating_add(size);
        reading = reading.saturating_add(held);
        open.push(candidate);
    }
    groups.extend(group(open, policy, sorted));
    groups
}

/// Returns the group if rewriting it gains anything.
fn group(files: Vec<Candidate>, policy: &Policy, sorted: bool) -> Option<Group> {
    let deletes = files.iter().any(|candidate| policy.has_many_deletes(candidate));
    if files.is_empty() || (files.len() < 2 && !deletes) {
        return None;
    }
    let left = |candidate: &Candidate| {
        let rows = candidate.live.file.record_count();
        let kept = u128::from(rows.saturating_sub(candidate.deleted));
        let bytes = u128::from(candidate.live.file.file_size_in_bytes()) * kept / u128::from(rows.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    };
    let bytes = files.iter().map(left).fold(0, u64::saturating_add);
    Some(Group { files: files.into_iter().map(|candidate| candidate.live).collect(), sorted, bytes })
}

/// Limits the groups to what may be rewritten at a time; at least one.
fn limit(mut groups: Vec<Group>, policy: &Policy) -> Vec<Group> {
    let Some(most) = policy.max_bytes else { return groups };
    let read =
        |group: &Group| group.files.iter().map(|live| live.file.file_size_in_bytes()).fold(0, u64::saturating_add);
    // By gain: bytes of deleted rows, then number of files.
    groups.sort_by_key(|group| std::cmp::Reverse((read(group).saturating_sub(group.bytes), group.files.len())));
    let mut sum = 0_u64;
    let mut kept = Vec::new();
    for group in groups {
        if kept.is_empty() || sum.saturating_add(read(&group)) <= most {
            sum = sum.saturating_add(read(&group));
            kept.push(group);
        }
    }
    kept
}

#[cfg(test)]
#[path = "pick_tests.rs"]
mod tests;
