//! What one window writes and removes, planned on one state of the table. Nothing refers to a plan's files yet.

use std::sync::Arc;

use iceberg::spec::DataFile;

use crate::columns::Rescued;
use crate::schema::TableSchema;
use crate::table::{LiveDeleteFile, LiveFile};

/// The changes that one window makes to the table.
#[derive(Debug, Default)]
pub struct Plan {
    /// The columns that the window adds.
    pub evolution: Evolution,
    /// Values kept in `_ddb_rescued`, by attribute.
    pub rescued: Rescued,
    /// Data files of new images, with their specs.
    pub images: Vec<(i32, DataFile)>,
    /// How old rows are removed.
    pub removed: Removed,
    /// Counts of inserted, updated and deleted rows.
    pub counts: RowCounts,
}

/// The table's columns, if a window changes them.
#[derive(Debug, Default)]
pub struct Evolution {
    /// The new columns; `None` if unchanged.
    pub table: Option<TableSchema>,
    /// Full names of the added columns.
    pub added: Vec<String>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// How old rows are removed from the table.
#[derive(Debug, Default)]
pub struct Removed {
    /// New position delete files, with the specs of the data files that they apply to.
    pub delete_files: Vec<(i32, DataFile)>,
    /// Data files written in place of `data_removed`, with their specs.
    pub rewritten: Vec<(i32, DataFile)>,
    /// Data files to remove.
    pub data_removed: Vec<LiveFile>,
    /// Delete files that are replaced by new ones, or whose data files are removed.
    pub deletes_removed: Vec<Arc<LiveDeleteFile>>,
}

/// Counts of inserted, updated and deleted rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows of keys that were not in the table.
    pub inserted: u64,
    /// Rows that replaced an old one.
    pub updated: u64,
    /// Rows removed.
    pub deleted: u64,
}
