//! The destination of encoded bytes: a file in the table's storage.

use std::io;

use bytes::Bytes;
use iceberg::io::FileWrite;
use tokio::runtime::Handle;

/// Bytes sent to storage at once.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;

/// Sends bytes to storage in chunks.
pub(crate) struct Sink {
    /// `None` after it was detached.
    file: Option<Box<dyn FileWrite>>,
    handle: Handle,
    buffer: Vec<u8>,
    sent: u64,
    /// Storage's own error, if a write has failed.
    pub error: Option<iceberg::Error>,
}

impl Sink {
    pub fn new(file: Option<Box<dyn FileWrite>>, handle: Handle) -> Self {
        Self { file, handle, buffer: Vec::new(), sent: 0, error: None }
    }

    /// Takes the file and the bytes that were not sent yet; nothing more can be written here.
    pub fn detach(&mut self) -> Self {
        let rest = Self::new(None, self.handle.clone());
        std::mem::replace(self, rest)
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.sent.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX))
    }

    async fn send(&mut self) -> iceberg::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.sent = self.size();
        let chunk = std::mem::take(&mut self.buffer);
        self.file.as_mut().ok_or_else(finished)?.write(Bytes::from(chunk)).await
    }

    /// Sends the remaining bytes and closes the file.
    pub async fn close(&mut self) -> iceberg::Result<()> {
        self.send().await?;
        self.file.take().ok_or_else(finished)?.close().await
    }
}

fn finished() -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, "the file was already finished")
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len().saturating_add(bytes.len()) > CHUNK_BYTES
            && let Err(error) = self.handle.clone().block_on(self.send())
        {
            let text = error.to_string();
            self.error = Some(error);
            return Err(io::Error::other(text));
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(CHUNK_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Parquet flushes after each row group; a chunk is sent only when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;

    use super::*;

    /// Notes the length of what it gets.
    struct Noted(Arc<Mutex<Vec<usize>>>);

    #[async_trait]
    impl FileWrite for Noted {
        async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
            self.0.lock().unwrap().push(bytes.len());
            Ok(())
        }

        async fn close(&mut self) -> iceberg::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_travel_in_chunks() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for (writes, sent) in [
            (vec![CHUNK_BYTES / 2, CHUNK_BYTES / 2], vec![CHUNK_BYTES]),
            (vec![CHUNK_BYTES / 2, CHUNK_BYTES / 2, 1], vec![CHUNK_BYTES, 1]),
            (vec![5, CHUNK_BYTES, 7, CHUNK_BYTES - 7], vec![5, CHUNK_BYTES, CHUNK_BYTES]),
            (vec![3 * CHUNK_BYTES, 2], vec![3 * CHUNK_BYTES, 2]),
            (vec![], vec![]),
        ] {
            let noted = Arc::default();
            let mut sink = Sink::new(Some(Box::new(Noted(Arc::clone(&noted)))), runtime.handle().clone());
            let mut total = 0;
            for length in writes {
                assert_eq!(sink.write(&vec![1; length]).unwrap(), length);
                total += u64::try_from(length).unwrap();
                assert_eq!(sink.size(), total);
            }
            let mut rest = sink.detach();
            runtime.block_on(rest.close()).unwrap();
            assert_eq!((noted.lock().unwrap().clone(), rest.size()), (sent, total));
            assert!(runtime.block_on(rest.close()).is_err(), "it is closed");
        }
    }
}
