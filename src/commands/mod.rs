//! The library's front door: one file per command.
//!
//! A command takes a [`Context`], a request and a receiver of [`Events`], and returns how it ended. A [`Report`] is such a
//! receiver; a closure is another, for example to show progress.

mod check_catalog;
mod compact;
mod detect_schema;
mod event;
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
pub use event::{Event, Events};
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

#[doc(inline)]
pub use crate::merge::policy::{NewAttributes, WriteMode};
// In the results.
#[doc(inline)]
pub use crate::schema::{Hint, HintKind};
#[doc(inline)]
pub use crate::table::watermark::Gap;
