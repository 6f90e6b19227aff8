//! Finds a key that is twice in a load, in bounded memory.
//!
//! Every key's 64-bit hash is kept, past a budget on disk. Only keys whose hashes meet are then compared themselves.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::sync::{Mutex, PoisonError};

use arrow::row::RowConverter;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};

use crate::error::{Error, Result};

/// Parts that hashes are split into on disk, by their first bits; one part is in memory at a time.
const PARTS: usize = 64;

/// Hashes keys; the same for all tasks of one load.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyHasher(DefaultHashBuilder);

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
pub(super) struct KeyHashes {
    budget: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_memory: Vec<Vec<u64>>,
    bytes: usize,
    on_disk: Vec<BufWriter<File>>,
}

impl KeyHashes {
    /// Keeps at most `budget` bytes in memory.
    pub fn new(budget: usize) -> Self {
        Self { budget, state: Mutex::default() }
    }

    /// Takes in the hashes of a run.
    pub fn add(&self, hashes: Vec<u64>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += hashes.len() * size_of::<u64>();
        state.in_memory.push(hashes);
        if state.bytes > self.budget { state.spill().map_err(disk) } else { Ok(()) }
    }

    /// Hashes that occur more than once, of all that were taken in; none is left.
    pub fn repeated(&self) -> Result<HashSet<u64>> {
        let mut state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        if state.on_disk.is_empty() {
            return Ok(repeated(state.in_memory.concat()));
        }
        state.spill().map_err(disk)?;
        let mut all = HashSet::new();
        for writer in state.on_disk {
            let mut file = writer.into_inner().map_err(|e| disk(e.into_error()))?;
            file.rewind().map_err(disk)?;
            let mut bytes = Vec::new();
            BufReader::new(file).read_to_end(&mut bytes).map_err(disk)?;
            let (words, _) = bytes.as_chunks::<8>();
            all.extend(repeated(words.iter().map(|word| u64::from_le_bytes(*word)).collect()));
        }
        Ok(all)
    }
}

impl State {
    fn spill(&mut self) -> std::io::Result<()> {
        if self.on_disk.is_empty() {
            for _ in 0..PARTS {
                self.on_disk.push(BufWriter::with_capacity(8192, tempfile::tempfile()?));
            }
        }
        for hash in self.in_memory.drain(..).flatten() {
            let part = usize::try_from(hash >> 58).unwrap_or(0);
            if let Some(file) = self.on_disk.get_mut(part) {
                file.write_all(&hash.to_le_bytes())?;
            }
        }
        self.bytes = 0;
        Ok(())
    }
}

fn disk(error: std::io::Error) -> Error {
    Error::failed("key hashes could not be kept in a temporary file")
        .caused_by(error)
        .advice("Set TMPDIR to a folder with room, or raise --memory-limit")
}

fn repeated(mut hashes: Vec<u64>) -> HashSet<u64> {
    hashes.sort_unstable();
    hashes
        .windows(2)
        .filter_map(|pair| (pair.first() == pair.last()).then(|| pair.first().copied()).flatten())
        .collect()
}

/// The first key that is really twice among those whose hash is suspected, as text. `scan` gives all keys in batches of
/// the key columns.
pub(super) fn find_duplicate(
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

/// A key for people: `pk=…, sk=…`.
pub(crate) fn key_text(keys: &arrow::array::RecordBatch, row: usize) -> String {
    use arrow::array::AsArray;
    use arrow::datatypes::DataType;
    let schema = keys.schema();
    let parts = schema.fields().iter().zip(keys.columns()).map(|(field, column)| {
        let value = match column.data_type() {
            DataType::LargeBinary => {
                column.as_binary::<i64>().value(row).iter().fold("0x".to_owned(), |hex, b| format!("{hex}{b:02x}"))
            }
            DataType::Utf8 => format!("{:?}", column.as_string::<i32>().value(row)),
            _ => arrow::util::display::array_value_to_string(column, row).unwrap_or_default(),
        };
        let shown: String = value.chars().take(120).collect();
        format!("{}={shown}", field.name())
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_found_in_memory_and_on_disk() {
        for budget in [usize::MAX, 100] {
            let hashes = KeyHashes::new(budget);
            for run in 0..50u64 {
                hashes.add((0..100).map(|n| (run * 100 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect()).unwrap();
            }
            hashes.add(vec![4242u64.wrapping_mul(0x9E37_79B9_7F4A_7C15), 1]).unwrap();
            assert_eq!(hashes.repeated().unwrap(), HashSet::from([4242u64.wrapping_mul(0x9E37_79B9_7F4A_7C15)]));
        }
    }
}
