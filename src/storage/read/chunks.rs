//! Sequential reading of a file on a blocking thread, with read-ahead.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use iceberg::io::FileRead;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Bytes per fetch of a local file. Two such chunks are in memory per open file: the current one and the next. Larger
/// chunks gain nothing on a local disk, and many files are open at the same time.
pub const CHUNK: u64 = 1 << 20;

/// Settings for read-ahead.
#[derive(Debug, Clone)]
pub struct Lookahead {
    /// Bytes per fetch.
    pub chunk: u64,
    /// Number of fetches in flight.
    pub in_flight: usize,
    /// Maximum KiB in flight for all files together. One chunk of [`CHUNK`] per file is always fetched. `None`: no
    /// limit.
    pub buffers: Option<Arc<Semaphore>>,
}

impl Default for Lookahead {
    /// For local files.
    fn default() -> Self {
        Self { chunk: CHUNK, in_flight: 1, buffers: None }
    }
}

struct Fetch {
    task: JoinHandle<iceberg::Result<Bytes>>,
    room: Option<OwnedSemaphorePermit>,
}

/// A file that is read sequentially. Its methods block: call them on blocking threads only.
pub struct ReadAhead {
    reader: Arc<dyn FileRead>,
    handle: Handle,
    lookahead: Lookahead,
    size: u64,
    /// Where the next fetch starts.
    next: u64,
    fetching: VecDeque<Fetch>,
    current: Bytes,
    /// Permits for the memory of `current`, and of the chunk returned last.
    room: Option<OwnedSemaphorePermit>,
    bytes_read: Arc<AtomicU64>,
}

impl ReadAhead {
    /// Starts fetching; `size` is the file's size in bytes. Fails outside of a tokio runtime.
    pub fn new(reader: Arc<dyn FileRead>, size: u64) -> Result<Self> {
        let mut new = Self::begun(reader, size, Bytes::new(), Lookahead::default())?;
        new.fetch();
        Ok(new)
    }

    /// A file whose first bytes have been read; fetching continues after they are taken.
    pub fn begun(reader: Arc<dyn FileRead>, size: u64, first: Bytes, lookahead: Lookahead) -> Result<Self> {
        let handle = Handle::try_current()
            .map_err(|e| Error::failed("files can only be read inside of a tokio runtime").caused_by(e))?;
        let next = u64::try_from(first.len()).unwrap_or(u64::MAX);
        Ok(Self {
            reader,
            handle,
            lookahead,
            size,
            next,
            fetching: VecDeque::new(),
            current: first,
            room: None,
            bytes_read: Arc::default(),
        })
    }

    /// A file in memory.
    pub fn of_bytes(bytes: Bytes) -> Result<Self> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self::begun(Arc::new(InMemory(bytes.clone())), size, bytes, Lookahead::default())
    }

    /// The file, if all of it is in memory and nothing has been taken yet.
    pub fn whole(&self) -> Option<&Bytes> {
        (u64::try_from(self.current.len()).ok() == Some(self.size)).then_some(&self.current)
    }

    /// Whether waiting for the rest of the file costs almost nothing, since it is local.
    pub fn is_near(&self) -> bool {
        self.lookahead.buffers.is_none()
    }

    /// The file's size when it was opened, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Counts the bytes returned; may be observed from elsewhere.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }

    /// The rest of the current chunk, or the next one; `None` at the end of the file.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        if self.current.is_empty() && !self.advance()? {
            return Ok(None);
        }
        self.fetch();
        let chunk = std::mem::take(&mut self.current);
        self.bytes_read.fetch_add(chunk.len() as u64, Relaxed);
        Ok(Some(chunk))
    }

    /// Starts as many fetches as allowed.
    fn fetch(&mut self) {
        while self.next < self.size && self.fetching.len() < self.lookahead.in_flight.max(1) {
            let mut length = self.lookahead.chunk.max(1).min(self.size - self.next);
            let mut room = None;
            if let Some(buffers) = &self.lookahead.buffers {
                let units = u32::try_from(length.div_ceil(1 << 10)).unwrap_or(u32::MAX);
                room = Arc::clone(buffers).try_acquire_many_owned(units).ok();
                if room.is_none() {
                    if !self.fetching.is_empty() {
                        return;
                    }
                    length = length.min(CHUNK);
                }
            }
            let range = self.next..self.next.saturating_add(length);
            self.next = range.end;
            let reader = Arc::clone(&self.reader);
            let task = self.handle.spawn(async move { reader.read(range).await });
            self.fetching.push_back(Fetch { task, room });
        }
    }

    fn advance(&mut self) -> Result<bool> {
        self.room = None;
        self.fetch();
        let Some(fetch) = self.fetching.pop_front() else {
            return Ok(false);
        };
        let fetched = self.handle.block_on(fetch.task);
        self.current = fetched.map_err(|e| Error::failed("reading a file was stopped").caused_by(e))??;
        self.room = fetch.room;
        if self.current.is_empty() {
            return Err(Error::failed("a file got shorter while it was read"));
        }
        self.fetch();
        Ok(true)
    }
}

struct InMemory(Bytes);

#[async_trait]
impl FileRead for InMemory {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0.slice(at(range.start).min(at(range.end))..at(range.end)))
    }
}

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.fetching.is_empty() {
            self.fetch();
        }
        if into.is_empty() || (self.current.is_empty() && !self.advance().map_err(io::Error::other)?) {
            return Ok(0);
        }
        let length = into.len().min(self.current.len());
        if let Some(into) = into.get_mut(..length) {
            self.current.copy_to_slice(into);
        }
        self.bytes_read.fetch_add(length as u64, Relaxed);
        Ok(length)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        for fetch in &self.fetching {
            fetch.task.abort();
        }
    }
}

impl std::fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadAhead").field("size", &self.size).field("next", &self.next).finish_non_exhaustive()
    }
}
