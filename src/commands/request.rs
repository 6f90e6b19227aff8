//! What a caller asks for.

use std::sync::Arc;

use chrono::TimeDelta;
use iceberg::TableIdent;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::merge::{NewAttributes, WriteMode};
use crate::runtime::progress::Progress;
use crate::runtime::resources::Resources;
use crate::storage::Store;
use crate::time::Time;

/// What every command works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// Storage of exports, and of `--schema` and `--output`.
    pub exports: Store,
    /// The catalog; `detect-schema` needs none.
    pub catalog: Option<Arc<dyn Catalog>>,
    /// Tasks that run at once; at least 1.
    pub threads: usize,
    /// Upper bound of resident memory, in bytes.
    pub memory_limit: usize,
    /// Raised while the work goes on.
    pub progress: Arc<Progress>,
}

impl Context {
    /// What a job of the command may use.
    pub(super) fn resources(&self) -> Resources {
        Resources { threads: self.threads, memory_limit: self.memory_limit, progress: Arc::clone(&self.progress) }
    }

    /// The catalog of a command that cannot do without.
    pub(super) fn catalog(&self) -> Result<Arc<dyn Catalog>> {
        self.catalog.clone().ok_or_else(|| Error::usage("no catalog is configured"))
    }
}

/// `detect-schema`.
#[derive(Debug, Clone)]
pub struct DetectSchema {
    /// Where the export is, as typed.
    pub export: String,
    /// The export is a folder of bare data files.
    pub without_manifest: bool,
    /// Where the schema file goes; `None`: only into the report.
    pub output: Option<String>,
    /// Partition key, then sort key, if the user named them.
    pub key: Vec<String>,
    /// Write the plain form `{"attribute":"S"}`.
    pub flat: bool,
    /// Read only so many files, spread over the export.
    pub sample_files: Option<usize>,
    /// A map with more distinct fields than this becomes `map<string, V>`.
    pub max_struct_fields: usize,
}

/// What `full-load` does when the table exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfExists {
    /// Leave it alone; an error unless it holds this very export.
    #[default]
    Fail,
    /// Replace its rows in one commit.
    Replace,
}

/// `full-load`.
#[derive(Debug, Clone)]
pub struct FullLoad {
    /// Where the export is, as typed.
    pub export: String,
    /// The export is a folder of bare data files.
    pub without_manifest: bool,
    /// The table to create.
    pub table: TableIdent,
    /// A schema file; without one the export is read twice.
    pub schema: Option<String>,
    /// Partition key, then sort key.
    pub key: Vec<String>,
    /// Partition fields, as typed.
    pub partition_by: Vec<String>,
    /// What to do when the table exists.
    pub if_exists: IfExists,
    /// Replace the rows of a table that holds another DynamoDB table's, which it is then a table of.
    pub allow_other_table: bool,
    /// As in [`DetectSchema`]; only without a schema file.
    pub max_struct_fields: usize,
    /// Say what would be done, write nothing.
    pub dry_run: bool,
}

/// Whether `incremental` also looks after the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Maintenance {
    /// Compact and expire when that is due, once windows were applied.
    #[default]
    Auto,
    /// Leave it to others.
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
    /// `None`: as the table's `write.merge.mode` says.
    pub write_mode: Option<WriteMode>,
    /// What happens to new attributes.
    pub new_attributes: NewAttributes,
    /// Apply a window that starts after the watermark, and record the gap.
    pub allow_gap: bool,
    /// Apply a window that starts before the watermark and ends after it.
    pub allow_overlap: bool,
    /// Whether the table is looked after, too.
    pub maintenance: Maintenance,
    /// Say what would be done, write nothing.
    pub dry_run: bool,
}

/// `compact`.
#[derive(Debug, Clone)]
pub struct Compact {
    /// The table.
    pub table: TableIdent,
    /// Say what would be done, write nothing.
    pub dry_run: bool,
}

/// `expire`.
#[derive(Debug, Clone)]
pub struct Expire {
    /// The table.
    pub table: TableIdent,
    /// Snapshots older than this go; `None`: as the table's properties say.
    pub older_than: Option<Time>,
    /// The newest snapshots of each branch that are kept however old they are; `None`: as the table's properties say.
    pub retain_last: Option<usize>,
    /// Say what would be done, write nothing.
    pub dry_run: bool,
}

/// `orphans`.
#[derive(Debug, Clone)]
pub struct Orphans {
    /// The table.
    pub table: TableIdent,
    /// Only files last written before this; at least 24 hours back.
    pub older_than: Time,
    /// Delete them; else they are only listed.
    pub delete: bool,
    /// Say what would be done, write nothing.
    pub dry_run: bool,
}

/// `status`.
#[derive(Debug, Clone)]
pub struct TableStatus {
    /// The table.
    pub table: TableIdent,
    /// Exports and folders of exports, as typed; there may be none.
    pub exports: Vec<String>,
    /// A table that lags more is an error.
    pub max_lag: Option<TimeDelta>,
    /// The windows that are told, the newest ones.
    pub windows: usize,
}

/// `verify`.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Where the full export is, as typed.
    pub export: String,
    /// The table.
    pub table: TableIdent,
    /// Only for a table without identifier fields.
    pub key: Vec<String>,
    /// The snapshot to compare; `None`: the newest that is complete up to exactly the export's time.
    pub snapshot_id: Option<i64>,
    /// Keys that are told of each kind of difference.
    pub examples: usize,
}
