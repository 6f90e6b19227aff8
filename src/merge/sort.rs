//! External sort of encoded rows by their bytes: runs that fit into memory are sorted, spilled to a temporary file if they
//! exceed the budget, and merged, in several passes if there are very many.
//!
//! Memory is counted by the bytes of the rows, so rows of any width can be sorted.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, Rows};

use crate::error::{Error, Result};
use crate::sort::order::order_of;

/// Overhead of sorting per row, in bytes: offset, prefix, index, position.
const ROW_BYTES: usize = 8 + 16 + 4;
/// Bytes per read of a run on disk.
const READ_BYTES: usize = 256 << 10;
/// Minimum number of runs that are merged at once.
const LEAST_RUNS: usize = 16;

/// Collects and sorts the rows of one thread.
pub(super) struct Sorter {
    converter: Arc<RowConverter>,
    budget: usize,
    rows: Rows,
    /// Bytes of the rows. [`Rows::size`] would count reserved memory.
    bytes: usize,
    disk: Option<Disk>,
}

/// Sorted rows, in memory or on disk.
pub(super) enum Run {
    Memory { rows: Rows, order: Vec<u32> },
    Disk(Section),
}

/// A run in a temporary file.
pub(super) struct Section {
    file: Arc<Mutex<File>>,
    next: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..wanted) else { return Ok(0) };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.next))?;
        let count = file.read(buffer)?;
        self.next += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}

/// Writes a row.
type WriteRow<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// A temporary file to which runs are appended.
struct Disk {
    file: Arc<Mutex<File>>,
    end: u64,
    runs: Vec<Section>,
}

impl Disk {
    fn new() -> io::Result<Self> {
        Ok(Self { file: Arc::new(Mutex::new(tempfile::tempfile()?)), end: 0, runs: Vec::new() })
    }

    /// Appends a run, as rows prefixed by their length.
    fn append(&mut self, mut next: impl FnMut(&mut WriteRow<'_>) -> Result<bool>) -> Result<()> {
        let begin = self.end;
        let mut end = begin;
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(begin)).map_err(disk)?;
            let mut to = BufWriter::with_capacity(READ_BYTES, &mut *file);
            let mut write = |row: &[u8]| {
                let length = u32::try_from(row.len()).map_err(|_| io::Error::other("a row of more than 4 GiB"))?;
                to.write_all(&length.to_le_bytes())?;
                to.write_all(row)?;
                end += 4 + u64::from(length);
                Ok(())
            };
            while next(&mut write)? {}
            to.flush().map_err(disk)?;
        }
        self.end = end;
        self.runs.push(Section { file: Arc::clone(&self.file), next: begin, end });
        Ok(())
    }
}

impl Sorter {
    /// A sorter with about `budget` bytes of memory. Runs that are merged must use the same converter.
    pub fn new(converter: &Arc<RowConverter>, budget: usize) -> Self {
        Self { converter: Arc::clone(converter), budget, rows: converter.empty_rows(0, 0), bytes: 0, disk: None }
    }

    /// Encodes and adds rows.
    pub fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        if self.rows.num_rows() == 0 {
            // Never moved while it grows; what is not used of it takes no memory.
            self.rows = self.converter.empty_rows(self.budget / 64, self.budget);
        }
        let known = self.rows.num_rows();
        self.converter.append(&mut self.rows, columns)?;
        self.bytes += (known..self.rows.num_rows()).map(|n| self.rows.row(n).data().len()).sum::<usize>();
        if self.memory() >= self.budget { self.spill() } else { Ok(()) }
    }

    fn memory(&self) -> usize {
        self.rows.num_rows().saturating_mul(ROW_BYTES).saturating_add(self.bytes)
    }

    fn spill(&mut self) -> Result<()> {
        let order = order_of(&self.rows)?;
        let mut order = order.iter();
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => none.insert(Disk::new().map_err(disk)?),
        };
        let rows = &self.rows;
        disk.append(|write| {
            let Some(row) = order.next() else { return Ok(false) };
            write(rows.row(*row as usize).data()).map_err(self::disk).map(|()| true)
        })?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }

    /// The sorted runs. They are all in memory or all on disk.
    pub fn finish(mut self) -> Result<Vec<Run>> {
        if self.rows.num_rows() > 0 && self.disk.is_some() {
            self.spill()?;
        }
        if let Some(disk) = self.disk {
            return Ok(disk.runs.into_iter().map(Run::Disk).collect());
        }
        if self.rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let order = order_of(&self.rows)?;
        Ok(vec![Run::Memory { rows: self.rows, order }])
    }
}

/// A run at its current row.
enum Source {
    Memory { rows: Rows, order: std::vec::IntoIter<u32>, at: usize },
    Disk { reader: BufReader<Section>, left: u64, row: Vec<u8> },
}

impl Source {
    fn of(run: Run) -> Self {
        match run {
            Run::Memory { rows, order } => Self::Memory { rows, order: order.into_iter(), at: 0 },
            Run::Disk(section) => {
                let left = section.end - section.next;
                Self::Disk { reader: BufReader::with_capacity(READ_BYTES, section), left, row: Vec::new() }
            }
        }
    }

    fn row(&self) -> &[u8] {
        match self {
            Self::Memory { rows, at, .. } => rows.row(*at).data(),
            Self::Disk { row, .. } => row,
        }
    }

    /// Advances to the next row; `false` after the last.
    fn advance(&mut self) -> Result<bool> {
        match self {
            Self::Memory { order, at, .. } => {
                let Some(next) = order.next() else { return Ok(false) };
                *at = next as usize;
            }
            Self::Disk { reader, left, row } => {
                if *left == 0 {
                    return Ok(false);
                }
                let mut length = [0; 4];
                reader.read_exact(&mut length).map_err(disk)?;
                let length = u32::from_le_bytes(length);
                row.resize(length as usize, 0);
                reader.read_exact(row).map_err(disk)?;
                *left = left.saturating_sub(4 + u64::from(length));
            }
        }
        Ok(true)
    }
}

/// Merges sorted runs.
pub(super) struct Merge {
    /// A binary min-heap by current row.
    sources: Vec<Source>,
    begun: bool,
}

impl Merge {
    /// Merges the runs with about `budget` bytes of memory, in addition to the runs in memory.
    pub fn of(mut runs: Vec<Run>, budget: usize) -> Result<Self> {
        let most = (budget / READ_BYTES).max(LEAST_RUNS);
        while runs.len() > most {
            let rest = runs.split_off(most);
            let mut merge = Self::of_few(runs)?;
            let mut disk = Disk::new().map_err(disk)?;
            disk.append(|write| {
                let Some(row) = merge.next()? else { return Ok(false) };
                write(row).map_err(self::disk).map(|()| true)
            })?;
            runs = rest;
            runs.extend(disk.runs.into_iter().map(Run::Disk));
        }
        Self::of_few(runs)
    }

    fn of_few(runs: Vec<Run>) -> Result<Self> {
        let mut sources = Vec::with_capacity(runs.len());
        for run in runs {
            let mut source = Source::of(run);
            if source.advance()? {
                sources.push(source);
            }
        }
        // A sorted list is a heap.
        sources.sort_by(|a, b| a.row().cmp(b.row()));
        Ok(Self { sources, begun: false })
    }

    /// The next row; `None` after the last.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.begun
            && let Some(first) = self.sources.first_mut()
        {
            if !first.advance()? {
                self.sources.swap_remove(0);
            }
            self.sift_down();
        }
        self.begun = true;
        Ok(self.sources.first().map(Source::row))
    }

    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            let Some(first) = self.sources.get(left) else { return };
            let least = match self.sources.get(left + 1) {
                Some(second) if second.row() < first.row() => left + 1,
                _ => left,
            };
            match (self.sources.get(at), self.sources.get(least)) {
                (Some(parent), Some(child)) if child.row() < parent.row() => self.sources.swap(at, least),
                _ => return,
            }
            at = least;
        }
    }
}

fn disk(error: io::Error) -> Error {
    Error::failed("changes could not be kept in a temporary file")
        .caused_by(error)
        .advice("Set TMPDIR to a folder with room, or raise --memory-limit")
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringArray, UInt64Array};
    use arrow::datatypes::{DataType, UInt64Type};
    use arrow::row::SortField;

    use super::*;

    /// Sorts the numbers with keys of about `width` bytes; gives them as they come, and the number of runs.
    fn sorted(numbers: &[u64], width: usize, budget: usize, reading: usize) -> (Vec<(String, u64)>, usize) {
        let fields = vec![SortField::new(DataType::Utf8), SortField::new(DataType::UInt64)];
        let converter = Arc::new(RowConverter::new(fields).unwrap());
        let mut runs = Vec::new();
        for share in numbers.chunks(numbers.len().div_ceil(3)) {
            let mut sorter = Sorter::new(&converter, budget);
            for some in share.chunks(70) {
                let keys = some.iter().map(|n| Some(format!("{:>width$}", n % 1000))).collect::<StringArray>();
                let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(UInt64Array::from(some.to_vec()))];
                sorter.add(&columns).unwrap();
            }
            runs.extend(sorter.finish().unwrap());
        }
        let count = runs.len();
        let mut merge = Merge::of(runs, reading).unwrap();
        let parser = converter.parser();
        let mut found = Vec::new();
        while let Some(row) = merge.next().unwrap() {
            let columns = converter.convert_rows([parser.parse(row)]).unwrap();
            let [key, number] = columns.as_slice() else { panic!() };
            found.push((key.as_string::<i32>().value(0).to_owned(), number.as_primitive::<UInt64Type>().value(0)));
        }
        assert!(merge.next().unwrap().is_none());
        (found, count)
    }

    #[test]
    fn any_number_of_rows_of_any_width_is_sorted() {
        let numbers: Vec<u64> = (0..5000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50).collect();
        for width in [1, 36, 2048] {
            let mut expected: Vec<(String, u64)> =
                numbers.iter().map(|n| (format!("{:>width$}", n % 1000), *n)).collect();
            expected.sort();
            // All in memory; some runs on disk; more than are merged at once, so that it takes several passes.
            for (budget, least, most) in [(64 << 20, 3, 3), (200_000, 3, 60), (1, 60, 90)] {
                let (found, runs) = sorted(&numbers, width, budget, 0);
                assert!(found == expected, "{width}, {budget}");
                assert!((least..=most).contains(&runs), "{runs} runs of {width} within {budget}");
            }
        }
    }

    /// What is left when all that came before is on disk goes there too, be it one row.
    #[test]
    fn the_last_run_may_have_one_row() {
        let numbers: Vec<u64> = (0..3 * 141).rev().collect();
        let (found, runs) = sorted(&numbers, 1, 1000, 0);
        assert_eq!(runs, 9, "of 70, 70 and 1 rows, three times");
        let numbers: Vec<u64> = found.into_iter().map(|(_, number)| number).collect();
        assert_eq!(numbers.len(), 3 * 141);
        assert!((0..3 * 141).all(|n| numbers.contains(&n)));
    }

    #[test]
    fn no_rows_are_no_runs() {
        let converter = Arc::new(RowConverter::new(vec![SortField::new(DataType::Utf8)]).unwrap());
        assert!(Sorter::new(&converter, 0).finish().unwrap().is_empty());
        assert!(Merge::of(Vec::new(), 0).unwrap().next().unwrap().is_none());
    }
}
