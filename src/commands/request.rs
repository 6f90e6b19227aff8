//! Requests: the arguments of commands.

use std::sync::Arc;

use chrono::TimeDelta;
use iceberg::TableIdent;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::merge::{NewAttributes, WriteMode};
use crate::runtime::progress::Progress;
use crate::runtime::resources::Resources;
use crate::runtime::task::Runner;
use crate::storage::Store;
use crate::time::Time;

/// The context of every command.
#[derive(Debug, Clone)]
pub struct Context {
    /// Storage of exports, and of `--schema` and `--output`.
    pub exports: Store,
    /// The catalog; `detect-schema` needs none.
    pub catalog: Option<Arc<dyn Catalog>>,
    /// Number of parallel tasks; at least 1.
    pub threads: usize,
    /// Upper bound of resident memory, in bytes.
    pub memory_limit: usize,
    /// Progress counters, incremented during the work.
    pub progress: Arc<Progress>,
}

/// Bytes of the memory limit that a thread needs: more threads would wait for memory, or exceed it.
const THREAD_BYTES: usize = 32 << 20;

impl Context {
    /// Resources of the command's jobs: as many threads as the memory limit feeds.
    pub(super) fn resources(&self) -> Resources {
        Resources {
            threads: self.threads.min(self.memory_limit / THREAD_BYTES).max(1),
            memory_limit: self.memory_limit,
            progress: Arc::clone(&self.progress),
            runner: Runner::default(),
        }
    }

    /// The catalog of a command that needs one.
    pub(super) fn catalog(&self) -> Result<Arc<dyn Catalog>> {
        self.catalog.clone().ok_or_else(|| Error::usage("no catalog is configured"))
    }
}

/// `detect-schema`.
#[derive(Debug, Clone)]
pub struct DetectSchema {
    /// The export's location, as typed.
    pub export: String,
    /// Whether the export is a folder of bare data files.
    pub without_manifest: bool,
    /// The location of the schema file; `None`: only in the report.
    pub output: Option<String>,
    /// Partition key, then sort key, if given.
    pub key: Vec<String>,
    /// Write the flat form `{"attribute":"S"}`.
    pub flat: bool,
    /// Read only this many files, spread over the export.
    pub sample_files: Option<usize>,
    /// A map with more distinct fields than this becomes `map<string, V>`.
    pub max_struct_fields: usize,
}

/// What `full-load` does if the table exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfExists {
    /// Keep it; an error unless it already holds this export.
    #[default]
    Fail,
    /// Replace its rows in one commit.
    Replace,
}

/// `full-load`.
#[derive(Debug, Clone)]
pub struct FullLoad {
    /// The export's location, as typed.
    pub export: String,
    /// Whether the export is a folder of bare data files.
    pub without_manifest: bool,
    /// The table to create.
    pub table: TableIdent,
    /// A schema file; without one the export is read twice.
    pub schema: Option<String>,
    /// Partition key, then sort key.
    pub key: Vec<String>,
    /// Partition fields, as typed.
    pub partition_by: Vec<String>,
    /// What to do if the table exists.
    pub if_exists: IfExists,
    /// Replace rows of another DynamoDB table; from then on the table belongs to the new one.
    pub allow_other_table: bool,
    /// As in [`DetectSchema`]; only without a schema file.
    pub max_struct_fields: usize,
    /// Report what would be done, write nothing.
    pub dry_run: bool,
}

/// Whether `incremental` also maintains the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Maintenance {
    /// Compact and expire when this is due, after windows were applied.
    #[default]
    Auto,
    /// Leave it to another tool.
    Off,
}

/// `incremental`.
#[derive(Debug, Clone)]
pub struct Incremental {
    /// Exports and folders of exports, as typed.
    pub exports: Vec<String>,
    /// The table.
    pub table: TableIdent,
    /// Only for a table without identifier fields.
    pub key: Vec<String>,
    /// `None`: by the table's `write.merge.mode`.
    pub write_mode: Option<WriteMode>,
    /// How new attributes are handled.
    pub new_attributes: NewAttributes,
    /// Apply a window that starts after the watermark, and record the gap.
    pub allow_gap: bool,
    /// Apply a window that starts before the watermark and ends after it.
    pub allow_overlap: bool,
    /// Whether the table is maintained.
    pub maintenance: Maintenance,
    /// Report what would be done, write nothing.
    pub dry_run: bool,
}

/// `compact`.
#[derive(Debug, Clone)]
pub struct Compact {
    /// The table.
    pub table: TableIdent,
    /// Report what would be done, write nothing.
    pub dry_run: bool,
}

/// `expire`.
#[derive(Debug, Clone)]
pub struct Expire {
    /// The table.
    pub table: TableIdent,
    /// Snapshots older than this expire; `None`: by the table's properties.
    pub older_than: Option<Time>,
    /// Number of newest snapshots of each branch that are kept whatever their age; `None`: by the table's properties.
    pub retain_last: Option<usize>,
    /// Report what would be done, write nothing.
    pub dry_run: bool,
}

/// `orphans`.
#[derive(Debug, Clone)]
pub struct Orphans {
    /// The table.
    pub table: TableIdent,
    /// Only files last written before this; at least 24 hours back.
    pub older_than: Time,
    /// Delete them; otherwise they are only listed.
    pub delete: bool,
    /// Report what would be done, write nothing.
    pub dry_run: bool,
}

/// `status`.
#[derive(Debug, Clone)]
pub struct TableStatus {
    /// The table.
    pub table: TableIdent,
    /// Exports and folders of exports, as typed; there may be none.
    pub exports: Vec<String>,
    /// A higher lag is an error.
    pub max_lag: Option<TimeDelta>,
    /// Number of newest windows to list.
    pub windows: usize,
}

/// `verify`.
#[derive(Debug, Clone)]
pub struct Verify {
    /// The full export's location, as typed.
    pub export: String,
    /// The table.
    pub table: TableIdent,
    /// Only for a table without identifier fields.
    pub key: Vec<String>,
    /// The snapshot to compare; `None`: the newest one that is complete up to exactly the export's time.
    pub snapshot_id: Option<i64>,
    /// Number of keys to list for each kind of difference.
    pub examples: usize,
}
