//! What a job may use.

use std::sync::Arc;

use super::progress::Progress;

/// What a job may use, and where it says how far it is.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Tasks that run at once; at least 1.
    pub threads: usize,
    /// Upper bound of resident memory, in bytes.
    pub memory_limit: usize,
    /// Raised while the work goes on.
    pub progress: Arc<Progress>,
}
