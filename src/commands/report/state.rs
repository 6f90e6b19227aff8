//! What `status` and `verify` found: parts of the result JSON that only they have.

use serde::Serialize;

use crate::table::watermark::Gap;

/// How a table is, as `status` sees it: by its metadata and manifests alone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TableState {
    /// The DynamoDB table, if it is known.
    pub table_arn: Option<String>,
    /// The last loads and windows that the table's history still has, in order.
    pub windows: Vec<AppliedWindow>,
    /// Loads and windows in that history.
    pub windows_kept: u64,
    /// Spans whose changes were skipped on the user's word.
    pub gaps: Vec<Gap>,
    /// Windows that `incremental` would apply, in order, if exports or a folder of them were named.
    pub due: Vec<DueWindow>,
    /// The window to export next; `None` while nobody knows up to when the table is complete.
    pub next: Option<NextWindow>,
    /// Files of the current snapshot; `None` where they could not be read.
    pub files: Option<LiveFiles>,
    /// Snapshots in the metadata, those of branches and tags too.
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
    /// The snapshot that holds it.
    pub snapshot_id: String,
    /// When it was committed.
    pub committed: String,
    /// Rows in the data files that it added.
    pub added_records: Option<u64>,
    /// Old rows that it marked as deleted.
    pub added_position_deletes: Option<u64>,
}

/// A window that waits.
#[derive(Debug, Clone, Serialize)]
pub struct DueWindow {
    /// The export.
    pub export_arn: Option<String>,
    /// Start, inclusive.
    pub from: String,
    /// End, exclusive.
    pub to: String,
    /// Why `incremental` would stop at it; `None`: it would not.
    pub problem: Option<String>,
}

/// A window that nobody has exported yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextWindow {
    /// Start, inclusive: where the table is complete, or will be with the windows that are due.
    pub from: String,
    /// End, exclusive: at most 24 hours and at least 15 minutes later.
    pub to: String,
    /// Whether that end has passed already, so that it can be exported now.
    pub ready: bool,
    /// The AWS CLI's command for it, where the table's ARN is known. `BUCKET` stands in it where the bucket is not.
    pub command: Option<String>,
}

/// Files of one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LiveFiles {
    /// Data files.
    pub data_files: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// Rows in them, deleted ones too.
    pub records: u64,
    /// Data files of less than 32 MiB.
    pub small_data_files: u64,
    /// Data files that some delete file may apply to.
    pub data_files_with_deletes: u64,
    /// Position delete files that may apply.
    pub delete_files: u64,
    /// Their bytes.
    pub delete_bytes: u64,
    /// Positions in them. Rows are `records` less these, or more where positions are of data files that went.
    pub deleted_positions: u64,
}

/// What `verify` found.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The export.
    pub export_arn: Option<String>,
    /// Its time.
    pub export_time: Option<String>,
    /// The snapshot that was compared.
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
    /// Some of the keys that differ.
    pub examples: Vec<DifferingKey>,
}

/// A key that differs.
#[derive(Debug, Clone, Serialize)]
pub struct DifferingKey {
    /// `missing`, `extra`, `different` or `repeated`.
    pub difference: &'static str,
    /// The key, for people: columns and values, cut where they are long.
    pub key: String,
    /// The attributes whose values differ; only of `different`.
    pub attributes: Vec<String>,
}
