//! Reading a file in order on a blocking thread, one chunk ahead of its use.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::{Buf, Bytes};
use iceberg::io::FileRead;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// How much is fetched at once, in bytes. Two such chunks are in memory for each open file: the one in use and the next.
/// A local disk gains nothing beyond this size, and many files are open at once.
pub const CHUNK: u64 = 1 << 20;

/// A file read from its beginning. Its methods block: they are for blocking threads only.
pub struct ReadAhead {
    reader: Arc<dyn FileRead>,
    handle: Handle,
    size: u64,
    /// Where the next fetch starts.
    next: u64,
    fetching: Option<JoinHandle<iceberg::Result<Bytes>>>,
    current: Bytes,
    bytes_read: Arc<AtomicU64>,
}

impl ReadAhead {
    /// Starts fetching; `size` is the file's size in bytes. An error outside of a tokio runtime.
    pub fn new(reader: Arc<dyn FileRead>, size: u64) -> Result<Self> {
        let handle = Handle::try_current()
            .map_err(|e| Error::failed("files can only be read inside of a tokio runtime").caused_by(e))?;
        let bytes_read = Arc::default();
        let mut new = Self { reader, handle, size, next: 0, fetching: None, current: Bytes::new(), bytes_read };
        new.fetch();
        Ok(new)
    }

    /// The file's size when it was opened, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Counts the bytes handed out; may be watched from elsewhere.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }

    /// The rest of the current chunk, or the next one; `None` at the end of the file.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        if self.current.is_empty() && !self.advance()? {
            return Ok(None);
        }
        let chunk = std::mem::take(&mut self.current);
        self.bytes_read.fetch_add(chunk.len() as u64, Relaxed);
        Ok(Some(chunk))
    }

    fn fetch(&mut self) {
        if self.next >= self.size {
            return;
        }
        let end = self.size.min(self.next.saturating_add(CHUNK));
        let range = self.next..end;
        self.next = end;
        let reader = Arc::clone(&self.reader);
        self.fetching = Some(self.handle.spawn(async move { reader.read(range).await }));
    }

    fn advance(&mut self) -> Result<bool> {
        let Some(fetching) = self.fetching.take() else {
            return Ok(false);
        };
        let fetched = self.handle.block_on(fetching);
        self.current = fetched.map_err(|e| Error::failed("reading a file was stopped").caused_by(e))??;
        if self.current.is_empty() {
            return Err(Error::failed("a file got shorter while it was read"));
        }
        self.fetch();
        Ok(true)
    }
}

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
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
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
    }
}

impl std::fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadAhead").field("size", &self.size).field("next", &self.next).finish_non_exhaustive()
    }
}
