//! Shares lines with threads that have no file of their own, so that a few large files keep all threads busy.
//!
//! The thread that reads a file also parses its lines, and passes on blocks of them only while another thread waits for
//! some. Nothing is copied as long as every thread has a file.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ahead::LineFiles;
use super::lines::Line;
use super::split::{LEAST_ITEMS, Split, items, split};
use crate::error::{Error, Result};
use crate::export::DataFileRef;
use crate::runtime::cancel::Cancel;
use crate::runtime::progress::Progress;
use crate::runtime::work_sharing::WorkSharing;
use crate::storage::Store;

/// Bytes of lines that are passed on at once; longer lines are never passed on. About three blocks per thread are in
/// memory at most.
const BLOCK_BYTES: usize = 256 << 10;
/// Number of lines between checks for cancellation.
const LINES: u64 = 1024;
/// Maximum number of pending blocks per thread that takes them.
const BLOCKS: usize = 2;
/// How long a thread waits for a block before it checks for cancellation.
const PATIENCE: Duration = Duration::from_millis(100);

/// Lines that one thread has read and another one parses.
struct Block {
    file: Arc<DataFileRef>,
    bytes: Vec<u8>,
    /// The end of each line, and its number in the file.
    lines: Vec<(usize, u64)>,
}

impl Block {
    fn new(file: Arc<DataFileRef>) -> Self {
        Self { file, bytes: Vec::new(), lines: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() + self.lines.len() * size_of::<(usize, u64)>() >= BLOCK_BYTES
    }

    fn push(&mut self, line: Line<'_>) {
        self.bytes.extend_from_slice(line.bytes);
        self.lines.push((self.bytes.len(), line.number));
    }

    fn each(&self, on_line: &mut OnLine<'_>) -> Result<()> {
        let mut start = 0;
        for &(end, number) in &self.lines {
            let bytes = self.bytes.get(start..end).unwrap_or_default();
            on_line(&self.file, Line { bytes, number })?;
            start = end;
        }
        Ok(())
    }
}

/// The processing of a line.
pub(crate) type OnLine<'a> = dyn FnMut(&DataFileRef, Line<'_>) -> Result<()> + 'a;

#[derive(Default)]
struct State {
    blocks: VecDeque<Block>,
    /// Number of tasks that have not ended.
    reading: usize,
    /// Number of threads that take blocks.
    helping: usize,
}

/// Shared state of the threads of one step.
pub(crate) struct SharedLines {
    state: Mutex<State>,
    /// Waiting threads help with this work meanwhile; it is notified of new blocks and of tasks that end.
    helpers: Arc<WorkSharing>,
    /// Whether another block would be taken soon.
    wanted: AtomicBool,
}

impl SharedLines {
    /// Divides the files into splits for this many threads, to be run in order; for tasks that each write what they
    /// parse.
    pub fn for_writers(files: &[DataFileRef], threads: usize, helpers: &Arc<WorkSharing>) -> (Self, Vec<Split>) {
        let worth = files.iter().map(items).sum::<u64>() / LEAST_ITEMS;
        Self::new(files, threads, usize::try_from(worth).unwrap_or(usize::MAX), Arc::clone(helpers))
    }

    /// The same, for tasks that only inspect what they parse.
    pub fn for_readers(files: &[DataFileRef], threads: usize) -> (Self, Vec<Split>) {
        Self::new(files, threads, usize::MAX, Arc::default())
    }

    fn new(files: &[DataFileRef], threads: usize, most: usize, helpers: Arc<WorkSharing>) -> (Self, Vec<Split>) {
        let lists = split(files, threads);
        let state = State { reading: lists.len(), ..State::default() };
        let without =
            if lists.is_empty() { 0 } else { most.saturating_sub(lists.len()).min(threads.saturating_sub(1)) };
        let files = lists.into_iter().map(Some).chain((0..without).map(|_| None));
        let tasks = (0..).zip(files).map(|(number, files)| Split { number, files }).collect();
        (Self { state: Mutex::new(state), helpers, wanted: AtomicBool::new(false) }, tasks)
    }

    /// Reads a split on a blocking thread: calls `on_line` for the lines that this task parses itself. Read each split
    /// once.
    pub fn run(
        &self,
        split: &Split,
        store: &Store,
        progress: &Arc<Progress>,
        stop: &Cancel,
        on_line: &mut OnLine<'_>,
    ) -> Result<()> {
        match &split.files {
            Some(files) => self.read(LineFiles::new(store, files, Arc::clone(progress))?, progress, stop, on_line),
            None => self.help(stop, on_line),
        }
    }

    /// Reads files; `on_line` does not get lines that another thread takes.
    fn read(&self, mut files: LineFiles, progress: &Progress, stop: &Cancel, on_line: &mut OnLine<'_>) -> Result<()> {
        let _reading = Reading(self);
        while let Some(opening) = files.take() {
            stop.check()?;
            let file = Arc::new(opening.file().clone());
            let mut lines = opening.open()?;
            let mut block = Block::new(file.clone());
            while let Some(line) = lines.next_line()? {
                if line.number.is_multiple_of(LINES) {
                    stop.check()?;
                }
                let begun = !block.lines.is_empty();
                if (begun || self.wanted.load(Ordering::Relaxed)) && line.bytes.len() < BLOCK_BYTES {
                    block.push(line);
                    if block.is_full() {
                        self.give(std::mem::replace(&mut block, Block::new(file.clone())));
                    }
                } else {
                    on_line(&file, line)?;
                }
            }
            block.each(on_line)?;
            progress.file_done();
        }
        Ok(())
    }

    /// Calls `on_line` for lines of other tasks until all of those have ended.
    fn help(&self, stop: &Cancel, on_line: &mut OnLine<'_>) -> Result<()> {
        self.lock().helping += 1;
        loop {
            let seen = self.helpers.events();
            let mut state = self.lock();
            self.tell(&state);
            if let Some(block) = state.blocks.pop_front() {
                self.tell(&state);
                drop(state);
                stop.check()?;
                block.each(on_line)?;
            } else if state.reading == 0 {
                return Ok(());
            } else {
                drop(state);
                stop.check()?;
                self.helpers.help_or_wait(seen, PATIENCE);
            }
        }
    }

    /// Checks that each line was taken, once all work is done.
    pub fn finish(&self) -> Result<()> {
        match self.lock().blocks.len() {
            0 => Ok(()),
            left => Err(Error::failed(format!("{left} blocks of lines were left over; please report this as a bug"))),
        }
    }

    fn give(&self, block: Block) {
        let mut state = self.lock();
        state.blocks.push_back(block);
        self.tell(&state);
        drop(state);
        self.helpers.wake();
    }

    fn tell(&self, state: &State) {
        self.wanted.store(state.blocks.len() < state.helping * BLOCKS, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SharedLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedLines").finish_non_exhaustive()
    }
}

/// A running task; it also ends if it fails.
struct Reading<'a>(&'a SharedLines);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reading = state.reading.saturating_sub(1);
        drop(state);
        self.0.helpers.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::pool;
    use crate::storage::location::Location;

    fn file(position: u32, items: u64) -> DataFileRef {
        DataFileRef {
            location: Location::parse(&format!("/x/{position}")).unwrap(),
            name: position.to_string(),
            item_count: Some(items),
            md5: None,
            position,
        }
    }

    #[test]
    fn small_files_share_a_task_and_order_is_kept() {
        let files: Vec<_> = (0..10_000).map(|n| file(n, 100)).collect();
        let tasks = split(&files, 2);
        assert_eq!(tasks.concat(), files);
        assert!((10..=20).contains(&tasks.len()), "{}", tasks.len());
        assert_eq!(split(&(0..16).map(|n| file(n, 62_500)).collect::<Vec<_>>(), 2).len(), 16);
        assert!(split(&[], 2).is_empty());
    }

    /// A file of so many lines, each with its number, padded.
    fn written(folder: &std::path::Path, lines: u64) -> DataFileRef {
        let path = folder.join("lines.json");
        let text: Vec<String> = (1..=lines).map(|n| format!("{n:<200}\n")).collect();
        std::fs::write(&path, text.concat()).unwrap();
        DataFileRef { location: Location::parse(path.to_str().unwrap()).unwrap(), ..file(0, lines) }
    }

    #[test]
    fn no_thread_more_than_files_are_worth_writes_any() {
        let tasks = |files: &[DataFileRef]| SharedLines::for_writers(files, 16, &Arc::default()).1.len();
        assert_eq!(tasks(&[file(0, 40_000)]), 1);
        assert_eq!(tasks(&[file(0, 200_000)]), 4);
        assert_eq!(tasks(&[file(0, 10_000_000)]), 16);
        assert_eq!(tasks(&[]), 0);
        assert_eq!(SharedLines::for_readers(&[file(0, 40_000)], 16).1.len(), 16);
    }

    type Seen = Vec<(u32, u64)>;

    /// Which task got which line; `fails`: the line that one cannot parse.
    async fn run(lines: u64, fails: Option<u64>) -> (Result<Vec<Seen>>, Arc<SharedLines>) {
        let folder = tempfile::tempdir().unwrap();
        let (spread, tasks) = SharedLines::for_readers(&[written(folder.path(), lines)], 3);
        assert_eq!(tasks.len(), 3, "one reads, two help");
        let spread = Arc::new(spread);
        let shared = Arc::clone(&spread);
        let progress = Arc::<Progress>::default();
        let work = move |task: Split, stop: &Cancel| {
            let mut seen = Seen::new();
            let mut on_line = |_: &DataFileRef, line: Line<'_>| {
                let text = std::str::from_utf8(line.bytes).unwrap().trim();
                assert_eq!(text, line.number.to_string());
                if fails == Some(line.number) {
                    return Err(Error::input("not a line").on_line(line.number));
                }
                // Else the file might be read before anyone can help.
                while line.number == 1 && !shared.wanted.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                seen.push((task.number, line.number));
                Ok(())
            };
            shared.run(&task, &Store::local(), &progress, stop, &mut on_line)?;
            Ok(seen)
        };
        (pool::run(3, tasks, work).await, spread)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn threads_without_a_file_get_lines_of_others_each_once() {
        const LINES: u64 = 50_000;
        let (seen, spread) = run(LINES, None).await;
        let seen = seen.unwrap().concat();
        assert!(seen.iter().any(|(task, _)| *task != 0), "no other thread has got a line");
        let mut numbers: Vec<u64> = seen.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=LINES).collect::<Vec<_>>());
        spread.finish().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_fails_the_others_stop() {
        for line in [2, 20_000, 50_000] {
            let (seen, _) = run(50_000, Some(line)).await;
            assert_eq!(seen.unwrap_err().line(), Some(line));
        }
    }
}
