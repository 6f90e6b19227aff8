//! Tasks over the files of a full export: observe them, or load them into data files.
//!
//! A task is a plain value and so is what it returns. Inside it runs a stream: inflate, hash, split, parse into columns,
//! collect a run up to the task's memory, sort it by key, write it as one data file a partition.

mod duplicates;
pub mod publish;
mod run;
mod task;

pub use publish::{Publish, Published};
pub use run::Load;
pub use task::Loaded;
