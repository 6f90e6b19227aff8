//! Digests of both sides, in bounded memory: beyond a budget they go to temporary files, in parts by the key's hash.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::sync::{Mutex, PoisonError};

use super::rows::Hash;
use crate::error::{Error, Result};

/// Number of parts on disk; one is in memory at a time. Two billion digests make parts of 375 MB.
const PARTS: usize = 256;
/// Bytes of a digest on disk.
const WIDTH: usize = 33;

/// The side of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Export,
    Table,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub key: Hash,
    pub side: Side,
    pub row: Hash,
}

/// All rows of both sides.
#[derive(Debug)]
pub(super) struct Entries {
    budget: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_memory: Vec<Vec<Entry>>,
    bytes: usize,
    on_disk: Vec<BufWriter<File>>,
}

impl Entries {
    /// Keeps at most `budget` bytes in memory.
    pub fn new(budget: usize) -> Self {
        Self { budget, state: Mutex::default() }
    }

    pub fn add(&self, entries: Vec<Entry>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += entries.len() * size_of::<Entry>();
        state.in_memory.push(entries);
        if state.bytes > self.budget { state.spill().map_err(disk) } else { Ok(()) }
    }

    /// Passes them on part by part, in key order; all digests of one key are in one part.
    pub fn parts(self, mut on_part: impl FnMut(&[Entry])) -> Result<()> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if state.on_disk.is_empty() {
            let mut all = state.in_memory.concat();
            all.sort_unstable();
            on_part(&all);
            return Ok(());
        }
        state.spill().map_err(disk)?;
        for writer in state.on_disk {
            let mut file = writer.into_inner().map_err(|e| disk(e.into_error()))?;
            file.rewind().map_err(disk)?;
            let mut part = Vec::new();
            let mut reader = BufReader::with_capacity(256 * 1024, file);
            let mut record = [0; WIDTH];
            loop {
                match reader.read_exact(&mut record) {
                    Ok(()) => part.push(decode(&record)),
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(disk(error)),
                }
            }
            part.sort_unstable();
            on_part(&part);
        }
        Ok(())
    }
}

impl State {
    fn spill(&mut self) -> std::io::Result<()> {
        if self.on_disk.is_empty() {
            for _ in 0..PARTS {
                self.on_disk.push(BufWriter::with_capacity(16 * 1024, tempfile::tempfile()?));
            }
        }
        for entry in self.in_memory.drain(..).flatten() {
            let part = usize::try_from(entry.key >> 120).unwrap_or(0);
            if let Some(file) = self.on_disk.get_mut(part) {
                file.write_all(&encode(&entry))?;
            }
        }
        self.bytes = 0;
        Ok(())
    }
}

fn encode(entry: &Entry) -> [u8; WIDTH] {
    let mut record = [0; WIDTH];
    let (key, rest) = record.split_at_mut(16);
    key.copy_from_slice(&entry.key.to_le_bytes());
    let (row, side) = rest.split_at_mut(16);
    row.copy_from_slice(&entry.row.to_le_bytes());
    side.fill(u8::from(entry.side == Side::Table));
    record
}

fn decode(record: &[u8; WIDTH]) -> Entry {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | Hash::from(*byte));
    let (key, rest) = record.split_at(16);
    let (row, side) = rest.split_at(16);
    let side = if side == [0] { Side::Export } else { Side::Table };
    Entry { key: number(key), side, row: number(row) }
}

fn disk(error: std::io::Error) -> Error {
    Error::failed("digests of rows could not be kept in a temporary file")
        .caused_by(error)
        .advice("Set TMPDIR to a folder with room, or raise --memory-limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_from_memory_and_from_disk() {
        let entry = |n: u128| Entry {
            key: n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_0C8F_A5B2_C3D1),
            side: if n.is_multiple_of(3) { Side::Export } else { Side::Table },
            row: n << 64 | n,
        };
        for budget in [usize::MAX, 1000] {
            let entries = Entries::new(budget);
            for run in 0..20 {
                entries.add((0..100).map(|n| entry(run * 100 + n)).collect()).unwrap();
            }
            let mut found = Vec::new();
            entries
                .parts(|part| {
                    assert!(part.is_sorted());
                    found.extend_from_slice(part);
                })
                .unwrap();
            found.sort_unstable();
            let mut expected: Vec<_> = (0..2000).map(entry).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "budget {budget}");
        }
    }
}
