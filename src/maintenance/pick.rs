//! Which data files are worth rewriting, and which of them together.
//!
//! Two reasons: a file is small, or many of its rows are deleted. Files are rewritten together only if they are of one
//! partition of one spec, and both sorted by key or both not.

use std::collections::BTreeMap;
use std::collections::HashMap;

use iceberg::spec::DataFile;

use crate::table::{LiveFile, PartitionKey};

/// Bytes of a data file, where the table does not say.
pub const TARGET_BYTES: u64 = 256 * 1024 * 1024;
/// A file below this part of the target, in percent, is small. As in Iceberg Java.
const SMALL_PERCENT: u64 = 75;
/// Deleted rows, in percent, from which on a file is rewritten.
const DELETED_PERCENT: u64 = 10;
/// Files merged at once: each is open, with some rows of it in memory.
const MAX_FILES: usize = 64;
/// Bytes merged at once, in files of the target's size: more gives narrower key ranges, and work that is less evenly spread.
const MAX_TARGETS: u64 = 8;

/// What is worth rewriting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of a data file.
    pub target_bytes: u64,
    /// Small files of one partition before they are merged.
    pub min_files: usize,
    /// Delete files on one data file from which on it is rewritten, however few rows they delete; `None`: their number is no
    /// reason.
    pub max_delete_files: Option<usize>,
    /// Merge a small file only with others that have as many bytes together. So a byte is rewritten a few times in its life,
    /// not at every turn.
    pub tiered: bool,
    /// Bytes rewritten at most, the files with the most deletes first; `None`: all.
    pub max_bytes: Option<u64>,
}

impl Policy {
    /// Everything worth it, for a run by hand.
    pub fn thorough(target_bytes: u64) -> Self {
        Self { target_bytes, min_files: 5, max_delete_files: Some(8), tiered: false, max_bytes: None }
    }

    /// What pays for itself, for the scheduled run: few bytes at a time, so that the next window is not late.
    ///
    /// That many delete files gather on a data file is prevented by the merge itself, so their number is no reason here.
    pub fn frugal(target_bytes: u64) -> Self {
        Self { target_bytes, min_files: 16, max_delete_files: None, tiered: true, max_bytes: Some(4 << 30) }
    }

    /// Whether a file is small.
    fn is_small(&self, file: &DataFile) -> bool {
        file.file_size_in_bytes() < self.target_bytes / 100 * SMALL_PERCENT
    }

    /// Whether so many deletes are a reason to rewrite a file.
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
    /// Rows that its delete files take away.
    pub deleted: u64,
}

/// Whether counting a file's deleted rows can show many: the delete files' own counts bound it from above.
pub fn may_have_many_deletes(live: &LiveFile, policy: &Policy) -> bool {
    let deleted = live.deletes.iter().map(|delete| delete.file.record_count()).fold(0, u64::saturating_add);
    policy.has_many_deletes(&Candidate { live: live.clone(), deleted: deleted.min(live.file.record_count()) })
}

/// Files to be rewritten together: of one partition, all sorted by key or none.
#[derive(Debug, Clone)]
pub struct Group {
    /// The files, the smallest first.
    pub files: Vec<LiveFile>,
    /// All are sorted by key.
    pub sorted: bool,
    /// Bytes that the rows which are left will take, as far as the files' sizes tell.
    pub bytes: u64,
}

/// Bytes that reading a file holds at a time: its largest row group.
fn reading_bytes(file: &DataFile) -> u64 {
    let size = file.file_size_in_bytes();
    let offsets: Vec<u64> =
        file.split_offsets().unwrap_or_default().iter().filter_map(|at| u64::try_from(*at).ok()).collect();
    let ends = offsets.iter().skip(1).chain([&size]);
    offsets.iter().zip(ends).map(|(start, end)| end.saturating_sub(*start)).max().unwrap_or(size).min(size)
}

/// The groups to be rewritten. `sort_order` is the id of the table's order by key; a file of that order is sorted.
/// `memory` are the bytes that one group may hold of its files.
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

/// The files of one class that are worth it, the smallest first.
fn choose(members: Vec<Candidate>, policy: &Policy) -> Vec<Candidate> {
    let size = |candidate: &Candidate| candidate.live.file.file_size_in_bytes();
    let (mut chosen, mut rest): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|candidate| policy.has_many_deletes(candidate));
    rest.retain(|candidate| policy.is_small(&candidate.live.file));
    rest.sort_by_key(size);
    if policy.tiered {
        // The longest start whose largest file does not outweigh all others of it together.
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
        // Files that are not merged by key are read one after the other.
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

/// A group, if rewriting it gains anything.
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

/// As many groups as may be rewritten at a time; at least one.
fn limit(mut groups: Vec<Group>, policy: &Policy) -> Vec<Group> {
    let Some(most) = policy.max_bytes else { return groups };
    let read =
        |group: &Group| group.files.iter().map(|live| live.file.file_size_in_bytes()).fold(0, u64::saturating_add);
    // What is gained: bytes of deleted rows, then files.
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
