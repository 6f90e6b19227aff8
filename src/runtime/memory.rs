//! Memory that concurrent tasks reserve before they use it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::cancel::Cancel;
use crate::error::Result;

/// How often a task that waits looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes for the tasks of one stage. A task that finds too little waits until others are done; one alone always gets what
/// it asks for, so that each ends. No task may reserve twice at a time.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: usize,
    held: Mutex<usize>,
    released: Condvar,
}

/// Reserved bytes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    memory: &'a Memory,
    bytes: usize,
}

impl Memory {
    pub fn new(bytes: usize) -> Self {
        Self { bytes, held: Mutex::new(0), released: Condvar::new() }
    }

    /// Waits for so many bytes.
    ///
    /// Errors: the tasks were cancelled.
    pub fn reserve(&self, bytes: usize, cancel: &Cancel) -> Result<Reservation<'_>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while *held > 0 && held.saturating_add(bytes) > self.bytes {
            cancel.check()?;
            held = self.released.wait_timeout(held, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *held = held.saturating_add(bytes);
        Ok(Reservation { memory: self, bytes })
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut held = self.memory.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.saturating_sub(self.bytes);
        self.memory.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn no_more_is_held_than_there_is_unless_one_alone_needs_it() {
        let memory = Memory::new(100);
        let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (memory, held, most) = (&memory, &held, &most);
                scope.spawn(move || {
                    for k in 0..50 {
                        let bytes = [10, 40, 60, 250][(n + k) % 4];
                        let reserved = memory.reserve(bytes, &Cancel::default()).unwrap();
                        let now = held.fetch_add(bytes, SeqCst) + bytes;
                        assert!(now <= 100 || now == bytes, "{now}");
                        most.fetch_max(now, SeqCst);
                        held.fetch_sub(bytes, SeqCst);
                        drop(reserved);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 250);
    }

    #[test]
    fn a_task_that_waits_can_be_cancelled() {
        let memory = Memory::new(100);
        let cancel = Cancel::default();
        let first = memory.reserve(80, &cancel).unwrap();
        cancel.set();
        assert!(memory.reserve(30, &cancel).is_err());
        drop(first);
        // Nothing is left of the one that gave up.
        memory.reserve(100, &Cancel::default()).unwrap();
    }
}
