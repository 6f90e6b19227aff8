//! The library's front door: one file a command, a request in, a report out.

mod report;
mod request;

pub use report::{DetectReport, ErrorReport, FileCounts, Report, RowCounts, Status, WindowReport};
pub use request::{Context, DetectSchema, FullLoad, IfExists, Incremental, NewAttributes, WriteMode};
