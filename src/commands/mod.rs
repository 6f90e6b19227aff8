//! The library's front door: one file a command, a request in, a report out.

mod check_catalog;
mod detect_schema;
mod detect_table;
mod full_load;
mod incremental;
mod partitioning;
mod report;
mod request;

pub use check_catalog::{
    CheckCatalog, CheckReport, CheckStatus, CheckStep, CheckedPart, Setting, TIME_LIMIT, check_catalog,
};
pub use report::{DetectReport, ErrorReport, FileCounts, Report, RowCounts, Status, WindowReport};
pub use request::{Context, DetectSchema, FullLoad, IfExists, Incremental, NewAttributes, WriteMode};

pub use detect_schema::detect_schema;
pub use full_load::full_load;
pub use incremental::incremental;
