//! Progress counters that tasks increment and a front end may watch.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use super::run::Run;

/// Progress of the current step. Within a step, counters only grow.
#[derive(Debug, Default)]
pub struct Progress {
    files_total: AtomicU64,
    files_done: AtomicU64,
    items: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    step: Mutex<String>,
    run: Arc<Run>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The current activity, as text.
    pub step: String,
    /// Number of files in this step.
    pub files_total: u64,
    /// Number of files done in this step.
    pub files_done: u64,
    /// Number of items read in this step.
    pub items: u64,
    /// Compressed bytes read from exports, over all steps.
    pub bytes_read: u64,
    /// Bytes written to the table, over all steps.
    pub bytes_written: u64,
}

impl Progress {
    /// Starts a step: files and items count from zero again.
    pub fn start(&self, step: &str, files: u64) {
        if let Ok(mut current) = self.step.lock() {
            step.clone_into(&mut current);
        }
        self.files_total.store(files, Relaxed);
        self.files_done.store(0, Relaxed);
        self.items.store(0, Relaxed);
    }

    /// One more file is done.
    pub fn file_done(&self) {
        self.files_done.fetch_add(1, Relaxed);
    }

    /// More items were read.
    pub fn add_items(&self, items: u64) {
        self.items.fetch_add(items, Relaxed);
    }

    /// More compressed bytes were read.
    pub fn add_bytes_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    /// More bytes were written to the table.
    pub fn add_bytes_written(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Relaxed);
    }

    /// The run that is counted.
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            step: self.step.lock().map(|s| s.clone()).unwrap_or_default(),
            files_total: self.files_total.load(Relaxed),
            files_done: self.files_done.load(Relaxed),
            items: self.items.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
        }
    }
}
