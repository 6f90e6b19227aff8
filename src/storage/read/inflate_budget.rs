//! Memory budget for files that are inflated whole.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory budget shared by readers. When it is exhausted, files are streamed instead.
#[derive(Debug)]
pub struct InflateBudget {
    /// Available KiB.
    left: Arc<Semaphore>,
    /// A returned buffer that is kept: the next file needs no new pages.
    spare: Mutex<Vec<(Vec<u8>, OwnedSemaphorePermit)>>,
}

impl InflateBudget {
    /// Minimum number of bytes taken at once.
    const LEAST: usize = 64 << 10;

    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        let left = Arc::new(Semaphore::new((bytes >> 10).min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { left, spare: Mutex::default() })
    }

    /// Reserves bytes until the share is dropped; `None` if too few are left.
    pub fn share(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        Arc::clone(&self.left).try_acquire_many_owned(units).ok()
    }

    /// A buffer of at least this many bytes with arbitrary content; `None` if too few are left.
    pub fn buffer(self: &Arc<Self>, bytes: usize) -> Option<Buffer> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = spare.iter().enumerate().filter(|(_, (buffer, _))| buffer.len() >= bytes);
        let (bytes, share) = if let Some((at, _)) = fitting.min_by_key(|(_, (buffer, _))| buffer.len()) {
            spare.swap_remove(at)
        } else {
            spare.clear();
            // Slightly larger than requested, so that it also fits the next file.
            let step = (bytes / 8).checked_next_power_of_two()?.max(Self::LEAST);
            let bytes = bytes.checked_next_multiple_of(step)?;
            let share = self.share(bytes)?;
            (vec![0; bytes], share)
        };
        Some(Buffer { bytes, lent: Some((Arc::clone(self), share)) })
    }
}

/// Bytes that return to their [`InflateBudget`], if they belong to one.
#[derive(Debug)]
pub struct Buffer {
    /// The bytes.
    pub bytes: Vec<u8>,
    lent: Option<(Arc<InflateBudget>, OwnedSemaphorePermit)>,
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, lent: None }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some((room, share)) = self.lent.take() {
            let bytes = std::mem::take(&mut self.bytes);
            room.spare.lock().unwrap_or_else(PoisonError::into_inner).push((bytes, share));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let room = InflateBudget::new(1 << 20);
        let large = room.buffer(700 << 10).unwrap();
        assert!(large.bytes.len() >= 700 << 10);
        assert!(room.buffer(700 << 10).is_none());
        assert!(room.buffer(usize::MAX).is_none());
        let small = room.buffer(100 << 10).unwrap();
        drop(large);
        assert!(room.share(700 << 10).is_none(), "a spare buffer is still in memory");
        let again = room.buffer(600 << 10).unwrap();
        assert!(again.bytes.len() >= 700 << 10, "the spare one is used");
        drop((again, small));
        assert!(room.buffer(900 << 10).is_some(), "spare ones that are too small make room");
        assert!(room.share(1 << 20).is_none());
    }
}
