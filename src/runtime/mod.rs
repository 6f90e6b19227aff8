//! Runs work: tasks as values and their runner, a bounded pool of threads, work sharing between them, progress,
//! cancellation, interruption.
//!
//! Work that blocks on storage or on other tasks has its own thread (`thread`); nothing occupies a thread that it
//! waits for.

pub mod cancel;
pub(crate) mod memory;
pub mod pool;
pub mod progress;
pub mod resources;
pub mod run;
pub mod task;
pub(crate) mod thread;
pub(crate) mod work_sharing;
