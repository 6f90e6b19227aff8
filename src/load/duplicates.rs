//! Finds duplicate keys in a load, in bounded memory.
//!
//! The 64-bit hash of every key is kept; hashes that exceed a budget go to disk. Only keys with equal hashes are then
//! compared.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufReader, BufWriter, IntoInnerError, Read, Seek, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::row::RowConverter;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use serde::{Deserialize, Serialize};

use crate::columns::key_text::key_text;
use crate::error::{Error, Result};
use crate::runtime::cancel::Cancel;
use crate::runtime::task::{Runner, Task};

/// Number of parts into which hashes are split by their first bits; on disk each part is a file. A power of two.
const PARTS: usize = 64;

/// Hashes keys; the same for all tasks of one load.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyHasher(DefaultHashBuilder);

impl KeyHasher {
    /// The hash of a key in Arrow's row format.
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

/// The hashes of all keys of a load.
#[derive(Debug)]
pub(crate) struct KeyHashes {
    budget: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_memory: Vec<Parted>,
    bytes: usize,
    /// One file per part, or none yet.
    on_disk: Vec<BufWriter<File>>,
}

/// Hashes grouped by part.
#[derive(Debug)]
struct Parted {
    hashes: Vec<u64>,
    ends: [usize; PARTS],
}

impl Parted {
    fn new(hashes: &[u64]) -> Self {
        let part_of = |hash: u64| usize::try_from(hash >> (u64::BITS - PARTS.ilog2())).unwrap_or(0);
        let mut counts = [0; PARTS];
        for hash in hashes {
            if let Some(count) = counts.get_mut(part_of(*hash)) {
                *count += 1;
            }
        }
        let mut end = 0;
        let mut next = counts.map(|count| {
            end += count;
            end - count
        });
        let mut grouped = vec![0; hashes.len()];
        for hash in hashes {
            if let Some(at) = next.get_mut(part_of(*hash)) {
                if let Some(slot) = grouped.get_mut(*at) {
                    *slot = *hash;
                }
                *at += 1;
            }
        }
        Self { hashes: grouped, ends: next }
    }

    fn part(&self, part: usize) -> &[u64] {
        let begin = part.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(part).and_then(|end| self.hashes.get(begin..*end)).unwrap_or_default()
    }
}

impl KeyHashes {
    /// Keeps at most `budget` bytes in memory.
    pub fn new(budget: usize) -> Self {
        Self { budget, state: Mutex::default() }
    }

    /// Adds the hashes of a run.
    pub fn add(&self, hashes: &[u64]) -> Result<()> {
        let parted = Parted::new(hashes);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += size_of_val(hashes);
        state.in_memory.push(parted);
        if state.bytes > self.budget { state.spill().map_err(disk) } else { Ok(()) }
    }

    /// Removes all hashes and returns those that occur more than once. Several threads check parts, as far as they fit
    /// into four times the budget.
    pub async fn repeated(&self, runner: &Runner, threads: usize) -> Result<HashSet<u64>> {
        let mut state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        let mut threads = threads;
        if !state.on_disk.is_empty() {
            state.spill().map_err(disk)?;
            let mut largest = 1;
            for file in &mut state.on_disk {
                largest = largest.max(file.stream_position().map_err(disk)?);
            }
            let budget = u64::try_from(self.budget).unwrap_or(u64::MAX).saturating_mul(4);
            threads = threads.min(usize::try_from(budget / largest).unwrap_or(usize::MAX));
        }
        let on_disk = state.on_disk.into_iter().map(|file| Mutex::new(Some(file))).collect();
        let env = Arc::new((state.in_memory, on_disk));
        let tasks = (0..PARTS).map(FindRepeated).collect();
        Ok(runner.run(threads, &env, tasks).await?.into_iter().flatten().collect())
    }
}

/// Finds the hashes of a part that occur more than once.
#[derive(Debug, Serialize, Deserialize)]
struct FindRepeated(usize);

impl Task for FindRepeated {
    const NAME: &'static str = "find-repeated";
    type Shared = ();
    /// The hashes are where they were collected, and their files have no name.
    type Env = (Vec<Parted>, Vec<Mutex<Option<BufWriter<File>>>>);
    type Output = Vec<u64>;

    fn run(self, (in_memory, on_disk): &Self::Env, _: &Cancel) -> Result<Vec<u64>> {
        let hashes = match on_disk.get(self.0) {
            Some(file) => match file.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(file) => read(file).map_err(disk)?,
                None => return Err(Error::failed("a part of the key hashes was read twice")),
            },
            None => in_memory.iter().flat_map(|hashes| hashes.part(self.0)).copied().collect(),
        };
        Ok(repeated(hashes))
    }
}

impl State {
    fn spill(&mut self) -> std::io::Result<()> {
        if self.on_disk.is_empty() {
            for _ in 0..PARTS {
                self.on_disk.push(BufWriter::with_capacity(8192, tempfile::tempfile()?));
            }
        }
        for parted in self.in_memory.drain(..) {
            for (part, file) in self.on_disk.iter_mut().enumerate() {
                for hash in parted.part(part) {
                    file.write_all(&hash.to_le_bytes())?;
                }
            }
        }
        self.bytes = 0;
        Ok(())
    }
}

fn read(writer: BufWriter<File>) -> std::io::Result<Vec<u64>> {
    let mut file = writer.into_inner().map_err(IntoInnerError::into_error)?;
    file.rewind()?;
    let words = file.metadata()?.len() / 8;
    let mut hashes = Vec::with_capacity(usize::try_from(words).unwrap_or(0));
    let mut file = BufReader::with_capacity(64 * 1024, file);
    let mut word = [0; 8];
    for _ in 0..words {
        file.read_exact(&mut word)?;
        hashes.push(u64::from_le_bytes(word));
    }
    Ok(hashes)
}

fn disk(error: std::io::Error) -> Error {
    Error::failed("key hashes could not be kept in a temporary file")
        .caused_by(error)
        .advice("Set TMPDIR to a folder with room, or raise --memory-limit")
}

fn repeated(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    hashes
        .windows(2)
        .filter_map(|pair| (pair.first() == pair.last()).then(|| pair.first().copied()).flatten())
        .collect()
}

/// The first actual duplicate among keys with these hashes, as text. `scan` returns all keys in batches of the key
/// columns.
pub(crate) fn find_duplicate(
    suspected: &HashSet<u64>,
    hasher: &KeyHasher,
    converter: &RowConverter,
    scan: impl FnOnce(&mut dyn FnMut(&arrow::array::RecordBatch) -> Result<()>) -> Result<()>,
) -> Result<Option<String>> {
    let mut seen: HashMap<Vec<u8>, ()> = HashMap::new();
    let mut found = None;
    scan(&mut |keys| {
        let rows = converter.convert_columns(keys.columns())?;
        for (n, row) in rows.iter().enumerate() {
            if suspected.contains(&hasher.hash(row.as_ref())) && seen.insert(row.as_ref().to_vec(), ()).is_some() {
                found.get_or_insert(key_text(keys, n));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn repeats_are_found_in_memory_and_on_disk() {
        let mixed = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for budget in [usize::MAX, 1000, 100] {
            let hashes = KeyHashes::new(budget);
            for run in 0..50 {
                hashes.add(&(0..100).map(|n| mixed(run * 100 + n)).collect::<Vec<_>>()).unwrap();
            }
            hashes.add(&[mixed(4242), mixed(77), mixed(77), 1, u64::MAX]).unwrap();
            let found = hashes.repeated(&Runner::Local, 3).await.unwrap();
            assert_eq!(found, HashSet::from([mixed(4242), mixed(77)]));
            assert!(hashes.repeated(&Runner::Local, 3).await.unwrap().is_empty());
        }
    }

    #[test]
    fn hashes_lie_together_by_parts() {
        let hashes = [5, u64::MAX, 1 << 58, 6, (1 << 58) + 9, 63 << 58];
        let parted = Parted::new(&hashes);
        let parts: Vec<&[u64]> = (0..PARTS).map(|part| parted.part(part)).collect();
        assert_eq!(parts[0], [5, 6]);
        assert_eq!(parts[1], [1 << 58, (1 << 58) + 9]);
        assert_eq!(parts[63], [u64::MAX, 63 << 58]);
        assert_eq!(parts.concat().len(), hashes.len());
    }
}
