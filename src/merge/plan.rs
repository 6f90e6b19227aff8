//! What one window writes and removes, planned on one state of the table. A plan is made of files that nobody sees yet.

use std::sync::Arc;

use iceberg::spec::DataFile;

use crate::columns::Rescued;
use crate::schema::TableSchema;
use crate::table::{LiveDeleteFile, LiveFile};

/// What one window does to the table.
#[derive(Debug, Default)]
pub struct Plan {
    /// The columns that the window adds.
    pub evolution: Evolution,
    /// Values kept in `_ddb_rescued`, by attribute.
    pub rescued: Rescued,
    /// Data files of new images, with their specs.
    pub images: Vec<(i32, DataFile)>,
    /// What removes old rows.
    pub removed: Removed,
    /// Rows by what becomes of them.
    pub counts: RowCounts,
}

/// The table's columns, if a window changes them.
#[derive(Debug, Default)]
pub struct Evolution {
    /// The new columns; `None`: as they were.
    pub table: Option<TableSchema>,
    /// Full names of those that are added.
    pub added: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// How old rows leave the table.
#[derive(Debug, Default)]
pub struct Removed {
    /// New position delete files, with the spec of what they delete from.
    pub delete_files: Vec<(i32, DataFile)>,
    /// Data files written in place of `data_removed`, with their specs.
    pub rewritten: Vec<(i32, DataFile)>,
    /// Data files that go.
    pub data_removed: Vec<LiveFile>,
    /// Delete files that new ones replace, or whose data files go.
    pub deletes_removed: Vec<Arc<LiveDeleteFile>>,
}

/// Rows by what becomes of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RowCounts {
    /// Of keys that were not in the table.
    pub inserted: u64,
    /// Written in place of an old one.
    pub updated: u64,
    /// Removed.
    pub deleted: u64,
}
