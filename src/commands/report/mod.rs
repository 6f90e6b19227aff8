//! The result JSON of a command, version 1. A public, versioned interface.

pub(crate) mod detect_table;
pub(crate) mod state;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::columns::Rescued;
use crate::error::Error;
use crate::schema::Hint;
use crate::time::{self, Time};
use state::{Comparison, TableState};

/// How a command, or one window, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was applied.
    Applied,
    /// The table already had it.
    AlreadyApplied,
    /// Nothing was due.
    NothingToDo,
    /// It would be applied.
    DryRun,
    /// It failed; see `error`.
    Failed,
    /// It was checked, and is correct; nothing was to be changed.
    Checked,
}

/// The result of every command that works on a table, and of any command that failed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this format: 1.
    pub version: u32,
    /// The subcommand.
    pub command: &'static str,
    /// `namespace.table`.
    pub table: Option<String>,
    /// How it ended.
    pub status: Status,
    /// Loads and windows, in order; the failed window, if any, is last.
    pub windows: Vec<WindowReport>,
    /// Windows that were skipped, since others cover their time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedWindow>,
    /// Maintenance operations, in order.
    pub maintenance: Vec<MaintenanceReport>,
    /// The time up to which the table is complete.
    pub watermark: Option<String>,
    /// Now minus the watermark.
    pub lag_seconds: Option<i64>,
    /// Exports that have not completed yet.
    pub pending: u64,
    /// The table's current metadata file.
    pub metadata_location: Option<String>,
    /// Compressed bytes read from exports.
    pub bytes_read: u64,
    /// Bytes written to the table.
    pub bytes_written: u64,
    /// Wall time.
    pub seconds: f64,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The error.
    pub error: Option<ErrorReport>,
    /// Only for `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<TableState>>,
    /// Only for `verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

impl Report {
    /// An empty report of a command that has done nothing yet.
    pub fn new(command: &'static str, table: Option<String>) -> Self {
        Self {
            version: 1,
            command,
            table,
            status: Status::NothingToDo,
            windows: Vec::new(),
            skipped: Vec::new(),
            maintenance: Vec::new(),
            watermark: None,
            lag_seconds: None,
            pending: 0,
            metadata_location: None,
            bytes_read: 0,
            bytes_written: 0,
            seconds: 0.0,
            warnings: Vec::new(),
            error: None,
            state: None,
            comparison: None,
        }
    }

    /// Records a failure.
    pub fn fail(&mut self, error: &Error) {
        self.status = Status::Failed;
        self.error = Some(ErrorReport::from(error));
    }
}

/// One load or one window.
#[derive(Debug, Clone, Serialize)]
pub struct WindowReport {
    /// The export, if it has a manifest.
    pub export_arn: Option<String>,
    /// Start of the window, inclusive; a full load has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// End of the window, exclusive, or the full export's time.
    pub to: Option<String>,
    /// How it ended.
    pub status: Status,
    /// Its snapshot. A string, since JSON readers may use doubles, which cannot hold 64 bits.
    pub snapshot_id: Option<String>,
    /// Rows by operation.
    pub rows: RowCounts,
    /// Values kept in `_ddb_rescued`, by attribute.
    pub rescued: BTreeMap<String, u64>,
    /// Columns, and nested fields, that it added.
    pub columns_added: Vec<String>,
    /// Files by operation.
    pub files: FileCounts,
}

impl WindowReport {
    /// A window that was not processed yet.
    pub(super) fn new(export_arn: Option<&str>, from: Option<Time>, to: Option<Time>) -> Self {
        Self {
            export_arn: export_arn.map(str::to_owned),
            from: from.map(time::format),
            to: to.map(time::format),
            status: Status::NothingToDo,
            snapshot_id: None,
            rows: RowCounts::default(),
            rescued: BTreeMap::new(),
            columns_added: Vec::new(),
            files: FileCounts::default(),
        }
    }
}

/// A skipped window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedWindow {
    /// The export.
    pub export_arn: Option<String>,
    /// Start, inclusive.
    pub from: String,
    /// End, exclusive.
    pub to: String,
    /// The reason.
    pub reason: String,
}

/// What to do about rescued values. Values that wait for a type need no action: the first value with a type adds the
/// column.
pub(super) fn rescue_warnings(rescued: &Rescued) -> Vec<String> {
    let misfits = rescued.values.iter().map(|(attribute, count)| {
        let waiting = rescued.undecided.get(attribute).copied().unwrap_or(0);
        (attribute, count.saturating_sub(waiting))
    });
    let warning = |(attribute, count): (&String, u64)| {
        format!(
            "{count} values of {attribute:?} did not fit their column; they are kept in _ddb_rescued. To give the \
             attribute another type, load a newer full export with full-load --if-exists replace, with --schema if a \
             schema file named its type"
        )
    };
    misfits.filter(|(_, count)| *count > 0).map(warning).collect()
}

/// Rows by operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Rows of keys that were not in the table.
    pub inserted: u64,
    /// Rows that replaced an old one.
    pub updated: u64,
    /// Rows removed.
    pub deleted: u64,
}

/// Files by operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileCounts {
    /// Data files added.
    pub data_added: u64,
    /// Data files removed.
    pub data_removed: u64,
    /// Position delete files added.
    pub deletes_added: u64,
}

/// One `compact`, `expire` or `orphans`, run by hand or by `incremental`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaintenanceReport {
    /// `compact`, `expire` or `orphans`.
    pub action: &'static str,
    /// How it ended. `dry_run` if orphans were found and not deleted.
    pub status: Status,
    /// The snapshot of a compaction.
    pub snapshot_id: Option<String>,
    /// Data files that were replaced.
    pub data_files_removed: u64,
    /// Data files written.
    pub data_files_added: u64,
    /// Position delete files removed because nothing needs them.
    pub delete_files_removed: u64,
    /// Bytes of the data files removed, or of the orphans.
    pub bytes_removed: u64,
    /// Bytes of the data files written.
    pub bytes_added: u64,
    /// Snapshots expired.
    pub snapshots_removed: u64,
    /// Branches and tags expired.
    pub references_removed: Vec<String>,
    /// Files deleted from storage; for a dry run of `expire`, those that would be.
    pub files_deleted: u64,
    /// The orphans' locations.
    pub files: Vec<String>,
}

impl MaintenanceReport {
    /// One that was not run yet.
    pub fn new(action: &'static str, status: Status) -> Self {
        Self {
            action,
            status,
            snapshot_id: None,
            data_files_removed: 0,
            data_files_added: 0,
            delete_files_removed: 0,
            bytes_removed: 0,
            bytes_added: 0,
            snapshots_removed: 0,
            references_removed: Vec::new(),
            files_deleted: 0,
            files: Vec::new(),
        }
    }
}

/// The parts of an error.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReport {
    /// The exit code.
    pub exit: u8,
    /// The whole message.
    pub message: String,
    /// The file with the error.
    pub file: Option<String>,
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// The attribute.
    pub attribute: Option<String>,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self {
            exit: error.kind().exit_code(),
            message: error.to_string(),
            file: error.file().map(str::to_owned),
            line: error.line(),
            attribute: error.attribute().map(str::to_owned),
        }
    }
}

/// The result of `detect-schema`.
#[derive(Debug, Clone)]
pub struct DetectReport {
    /// The schema file's text.
    pub schema_file: String,
    /// The text output, one line per attribute, then the hints.
    pub table: String,
    /// Number of items observed.
    pub items: u64,
    /// Hints about the attributes.
    pub hints: Vec<Hint>,
    /// Warnings.
    pub warnings: Vec<String>,
}
