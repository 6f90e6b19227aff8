//! Cancellation of the tasks of one step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Tells running tasks that their results are no longer needed.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks every task to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// An error if the tasks were asked to stop; for loops inside a task.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::failed("stopped because another task failed")) } else { Ok(()) }
    }
}
