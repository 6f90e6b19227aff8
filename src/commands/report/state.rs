//! The results of `status` and `verify`: parts of the result JSON that only they have.

use serde::Serialize;

use crate::table::watermark::Gap;

/// The state of a table, from its metadata and manifests alone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TableState {
    /// The DynamoDB table, if it is known.
    pub table_arn: Option<String>,
    /// The last loads and windows in the table's history, in order.
    pub windows: Vec<AppliedWindow>,
    /// Number of loads and windows in that history.
    pub windows_kept: u64,
    /// Time spans whose changes were skipped because the user allowed it.
    pub gaps: Vec<Gap>,
    /// Windows that `incremental` would apply, in order, if exports or a folder of exports were given.
    pub due: Vec<DueWindow>,
    /// The window to export next; `None` if the time up to which the table is complete is unknown.
    pub next: Option<NextWindow>,
    /// Files of the current snapshot; `None` if they could not be read.
    pub files: Option<LiveFiles>,
    /// Number of snapshots in the metadata, including those of branches and tags.
    pub snapshots: u64,
    /// When the oldest of them was committed.
    pub oldest_snapshot: Option<String>,
    /// Windows since the last full load or compaction.
    pub windows_since_rewrite: u64,
}

/// A load or a window that is in the table.
#[derive(Debug, Clone, Serialize)]
pub struct AppliedWindow {
    /// The export, if it had a manifest.
    pub export_arn: Option<String>,
    /// Start of the window, inclusive; a full load has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// End of the window, exclusive, or the full export's time.
    pub to: Option<String>,
    /// Its snapshot.
    pub snapshot_id: String,
    /// When it was committed.
    pub committed: String,
    /// Rows in the data files that it added.
    pub added_records: Option<u64>,
    /// Old rows that it marked as deleted.
    pub added_position_deletes: Option<u64>,
}

/// A due window.
#[derive(Debug, Clone, Serialize)]
pub struct DueWindow {
    /// The export.
    pub export_arn: Option<String>,
    /// Start, inclusive.
    pub from: String,
    /// End, exclusive.
    pub to: String,
    /// Why `incremental` would stop at it; `None` if it would not.
    pub problem: Option<String>,
}

/// A window that was not exported yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextWindow {
    /// Start, inclusive: the watermark, or the end of the due windows.
    pub from: String,
    /// End, exclusive: at most 24 hours and at least 15 minutes later.
    pub to: String,
    /// Whether the end has passed, so that it can be exported now.
    pub ready: bool,
    /// The AWS CLI command for it, if the table's ARN is known. It contains `BUCKET` if the bucket is unknown.
    pub command: Option<String>,
}

/// Files of one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LiveFiles {
    /// Data files.
    pub data_files: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// Rows in them, including deleted ones.
    pub records: u64,
    /// Data files of less than 32 MiB.
    pub small_data_files: u64,
    /// Data files to which some delete file may apply.
    pub data_files_with_deletes: u64,
    /// Position delete files that may apply.
    pub delete_files: u64,
    /// Their bytes.
    pub delete_bytes: u64,
    /// Positions in them. The table has `records` minus these rows, or more if positions belong to removed data files.
    pub deleted_positions: u64,
}

/// The result of `verify`.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The export.
    pub export_arn: Option<String>,
    /// Its time.
    pub export_time: Option<String>,
    /// The compared snapshot.
    pub snapshot_id: String,
    /// The time up to which that snapshot is complete.
    pub snapshot_watermark: Option<String>,
    /// Items of the export.
    pub items: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Keys whose rows are equal.
    pub equal: u64,
    /// Keys that the export has and the table does not.
    pub missing: u64,
    /// Keys that the table has and the export does not.
    pub extra: u64,
    /// Keys that both have, with other values.
    pub different: u64,
    /// Keys that the table has more than once.
    pub repeated: u64,
    /// Examples of keys that differ.
    pub examples: Vec<DifferingKey>,
}

/// A key that differs.
#[derive(Debug, Clone, Serialize)]
pub struct DifferingKey {
    /// `missing`, `extra`, `different` or `repeated`.
    pub difference: &'static str,
    /// The key as text: columns and values, truncated if they are long.
    pub key: String,
    /// The attributes whose values differ; only for `different`.
    pub attributes: Vec<String>,
}
