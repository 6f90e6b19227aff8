//! The library's front door: one file per command, with a request in and a report out.

mod check_catalog;
mod compact;
mod detect_schema;
mod expire;
mod full_load;
mod incremental;
mod load_columns;
mod orphans;
mod report;
mod request;
mod status;
#[cfg(test)]
mod task_tests;
mod upkeep;
mod verify;

pub use check_catalog::{
    CheckCatalog, CheckReport, CheckStatus, CheckStep, CheckedPart, Setting, TIME_LIMIT, check_catalog,
};
pub use report::state::{AppliedWindow, Comparison, DifferingKey, DueWindow, LiveFiles, NextWindow, TableState};
pub use report::{
    DetectReport, ErrorReport, FileCounts, MaintenanceReport, Report, RowCounts, SkippedWindow, Status, WindowReport,
};
pub use request::{
    Compact, Context, DetectSchema, Expire, FullLoad, IfExists, Incremental, Maintenance, Orphans, TableStatus, Verify,
};

pub use compact::compact;
pub use detect_schema::detect_schema;
pub use expire::expire;
pub use full_load::full_load;
pub use incremental::incremental;
pub use orphans::orphans;
pub use status::status;
pub use verify::verify;

pub use crate::merge::policy::{NewAttributes, WriteMode};
