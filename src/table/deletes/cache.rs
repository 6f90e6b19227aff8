//! Cache of delete files that apply to many data files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iceberg::io::FileIO;
use tokio::runtime::Handle;

use super::positions::{PathPositions, Positions, read_delete_file};
use crate::error::Result;
use crate::table::files::{LiveDeleteFile, LiveFile};

/// Memory per path, in addition to its text and positions.
const PATH_OVERHEAD: usize = 96;

/// Positions of delete files that cover many data files, as an LRU cache with a budget in bytes.
///
/// A window touches nearly every data file, and each may be covered by every partition-wide delete file; without the
/// cache, each of these would be read once per data file. Delete files of a single data file are not cached. Threads
/// share the cache; a file that two of them need is read once.
#[derive(Debug)]
pub struct DeleteCache {
    file_io: FileIO,
    handle: Handle,
    budget: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clock: u64,
    used: usize,
    slots: HashMap<String, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Locked while the file is read.
    content: Arc<Mutex<Option<Arc<PathPositions>>>>,
    bytes: usize,
    last_used: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values are consistent even if a thread panicked: every change below is a single assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DeleteCache {
    /// A cache of at most `budget` bytes, plus entries in use.
    pub fn new(file_io: FileIO, handle: Handle, budget: usize) -> Self {
        Self { file_io, handle, budget, state: Mutex::default() }
    }

    /// All deleted positions of a data file. Synchronous: for a blocking thread.
    pub fn positions(&self, live: &LiveFile) -> Result<Positions> {
        let path = live.file.file_path();
        let mut positions = Vec::new();
        for delete in &live.deletes {
            if delete.only_path().is_some() || self.is_too_large(delete) {
                read_delete_file(&self.file_io, &self.handle, delete, Some(path), &mut |_, p| positions.push(p))?;
            } else if let Some(found) = self.content(delete)?.get(path) {
                positions.extend_from_slice(found);
            }
        }
        Ok(Positions::new(positions))
    }

    /// The content of a delete file by data file, with positions in file order.
    pub fn content(&self, delete: &LiveDeleteFile) -> Result<Arc<PathPositions>> {
        let name = delete.file.file_path();
        let cell = {
            let mut state = lock(&self.state);
            state.clock += 1;
            let now = state.clock;
            let slot = state.slots.entry(name.to_owned()).or_default();
            slot.last_used = now;
            Arc::clone(&slot.content)
        };
        let mut content = lock(&cell);
        if let Some(known) = &*content {
            return Ok(Arc::clone(known));
        }
        let mut read = PathPositions::new();
        let collected = read_delete_file(&self.file_io, &self.handle, delete, None, &mut |path, position| {
            // Sorted files repeat the path: look it up before cloning it.
            if let Some(known) = read.get_mut(path) {
                known.push(position);
            } else {
                read.insert(path.to_owned(), vec![position]);
            }
        });
        collected?;
        let read = Arc::new(read);
        *content = Some(Arc::clone(&read));
        drop(content);
        self.account(name, &cell, size(&read));
        Ok(read)
    }

    /// Whether its positions alone exceed the budget.
    fn is_too_large(&self, delete: &LiveDeleteFile) -> bool {
        usize::try_from(delete.file.record_count())
            .ok()
            .and_then(|n| n.checked_mul(8))
            .is_none_or(|bytes| bytes > self.budget)
    }

    /// Accounts for a file that was read, and evicts others until the budget is kept.
    fn account(&self, name: &str, cell: &Arc<Mutex<Option<Arc<PathPositions>>>>, bytes: usize) {
        let mut state = lock(&self.state);
        match state.slots.get_mut(name) {
            Some(slot) if Arc::ptr_eq(&slot.content, cell) => slot.bytes = bytes,
            _ => return,
        }
        state.used = state.used.saturating_add(bytes);
        while state.used > self.budget {
            let oldest = state.slots.iter().filter(|(_, slot)| slot.bytes > 0).min_by_key(|(_, slot)| slot.last_used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
            if let Some(slot) = state.slots.remove(&oldest) {
                state.used = state.used.saturating_sub(slot.bytes);
            }
        }
    }
}

fn size(content: &PathPositions) -> usize {
    content.iter().map(|(path, positions)| path.len() + positions.capacity() * 8 + PATH_OVERHEAD).sum::<usize>()
        + PATH_OVERHEAD
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Operation};

    use super::*;
    use crate::table::fixture::Fixture;

    #[test]
    fn what_a_file_costs() {
        let content = |paths: &[(&str, &[u64])]| -> PathPositions {
            paths.iter().map(|(path, positions)| ((*path).to_owned(), positions.to_vec())).collect()
        };
        assert_eq!(size(&content(&[])), 96);
        assert_eq!(size(&content(&[("abcde", &[1, 2, 3])])), 5 + 24 + 96 + 96);
        assert_eq!(size(&content(&[("abcde", &[1, 2, 3]), ("x", &[7])])), 5 + 24 + 96 + 1 + 8 + 96 + 96);
        // Room that is reserved counts.
        let reserved = PathPositions::from([("abcde".to_owned(), Vec::with_capacity(5))]);
        assert_eq!(size(&reserved), 5 + 40 + 96 + 96);
    }

    /// Two data files and as many delete files of both as wanted, each of two positions; and one delete file of the first only.
    fn table(shared: usize) -> (Fixture, DataFile, Vec<Arc<LiveDeleteFile>>) {
        let mut fixture = Fixture::new();
        let (first, second) = (fixture.append(&["a", "b", "c"]), fixture.append(&["d", "e", "f"]));
        for _ in 0..shared {
            let written = fixture.write_deletes(&[(&first, &[0]), (&second, &[2])]);
            fixture.commit(Operation::Delete, |b| {
                b.add_delete_file(0, written[0].1.clone());
            });
        }
        let own = fixture.write_deletes(&[(&first, &[1])]);
        fixture.commit(Operation::Delete, |b| {
            b.add_delete_file(0, own[0].1.clone());
        });
        let mut deletes = fixture.live_of(&first).deletes;
        deletes.sort_by_key(|delete| delete.sequence_number);
        (fixture, first, deletes)
    }

    fn names_kept(cache: &DeleteCache) -> Vec<String> {
        let mut names: Vec<String> = lock(&cache.state).slots.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn files_of_one_data_file_and_very_large_ones_are_not_kept() {
        let (fixture, data, deletes) = table(1);
        let live = fixture.live_of(&data);
        // Two positions are 16 bytes.
        for (budget, fits) in [(1 << 20, true), (16, true), (15, false)] {
            let cache = DeleteCache::new(fixture.file_io.clone(), fixture.handle().clone(), budget);
            assert_eq!(cache.positions(&live).unwrap().as_slice(), [0, 1]);
            assert_eq!(cache.is_too_large(&deletes[0]), !fits, "{budget}");
            let expected: &[&str] = if budget == 1 << 20 { &[deletes[0].file.file_path()] } else { &[] };
            assert_eq!(names_kept(&cache), expected, "{budget}");
        }
        let endless = DataFileBuilder::default()
            .content(DataContentType::PositionDeletes)
            .file_path("d.parquet".to_owned())
            .file_format(DataFileFormat::Parquet)
            .record_count(u64::MAX)
            .file_size_in_bytes(1)
            .build()
            .unwrap();
        let endless = LiveDeleteFile { file: endless, ..LiveDeleteFile::clone(&deletes[0]) };
        assert!(fixture.cache().is_too_large(&endless));
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let (fixture, _, deletes) = table(4);
        let cache = |budget| DeleteCache::new(fixture.file_io.clone(), fixture.handle().clone(), budget);
        let cost = size(&cache(1 << 20).content(&deletes[0]).unwrap());
        let name = |n: usize| deletes[n].file.file_path().to_owned();
        for (budget, left) in [(3 * cost, vec![0, 2, 3]), (3 * cost - 1, vec![0, 3]), (4 * cost, vec![0, 1, 2, 3])] {
            let cache = cache(budget);
            for n in [0, 1, 2, 0, 3] {
                assert_eq!(cache.content(&deletes[n]).unwrap().len(), 2);
            }
            let mut expected: Vec<String> = left.iter().map(|n| name(*n)).collect();
            expected.sort_unstable();
            let used = lock(&cache.state).used;
            assert_eq!((names_kept(&cache), used), (expected, left.len() * cost), "{budget}");
        }
    }

    /// Two threads read a file, and it was dropped in between: it counts once. One that is being read stays.
    #[test]
    fn what_was_dropped_meanwhile_is_not_counted() {
        let (fixture, _, deletes) = table(1);
        let cost = size(&fixture.cache().content(&deletes[0]).unwrap());
        let cache = DeleteCache::new(fixture.file_io.clone(), fixture.handle().clone(), cost - 1);
        lock(&cache.state).slots.insert("reading".to_owned(), Slot::default());
        cache.content(&deletes[0]).unwrap();
        assert_eq!((names_kept(&cache), lock(&cache.state).used), (vec!["reading".to_owned()], 0));
        let cache = fixture.cache();
        cache.content(&deletes[0]).unwrap();
        cache.account(deletes[0].file.file_path(), &Arc::default(), 1000);
        cache.account("another", &Arc::default(), 1000);
        assert_eq!(lock(&cache.state).used, cost);
    }
}
