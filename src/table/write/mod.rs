//! Writes data files: names, options, rows, metrics, and waiting until storage has them.

pub(crate) mod closing;
pub mod data_file;
pub mod locations;
pub(crate) mod manifest_entry;
pub mod metrics;
pub(crate) mod options;
pub(crate) mod sink;
pub mod sorted_runs;
pub(crate) mod spec;
pub(crate) mod unfinished;
