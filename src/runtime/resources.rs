//! Resources of a job.

use std::sync::Arc;

use super::progress::Progress;
use super::task::Runner;

/// Resources that a job may use, and its progress counters.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Number of parallel tasks; at least 1.
    pub threads: usize,
    /// Upper bound of resident memory, in bytes.
    pub memory_limit: usize,
    /// Progress counters, incremented during the work.
    pub progress: Arc<Progress>,
    /// Where tasks run.
    pub runner: Runner,
}
