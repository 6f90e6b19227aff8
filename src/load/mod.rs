//! A full export loaded into data files (`run`), and the commit of it ([`publish`]).
//!
//! Tasks and their results are plain values. A task runs a stream: inflate, hash, split, parse into columns, collect a
//! run up to the task's memory, sort it by key, write it as one data file per partition.

mod duplicates;
pub mod publish;
mod run;
mod task;

pub use publish::{Publish, Published};
pub use run::Load;
pub use task::Loaded;
