//! Shared state of the steps that merge one window.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::locate::LiveKeys;
use crate::catalog::LoadedTable;
use crate::engine::session::Engine;
use crate::runtime::progress::Progress;
use crate::runtime::task::Runner;
use crate::schema::TableSchema;
use crate::table::write::spec::WriteSpec;

/// Everything that the merge of one window needs.
#[derive(Clone)]
pub(super) struct Work {
    /// Runs the joins.
    pub engine: Engine,
    pub live: Arc<LiveKeys>,
    /// The table that the window is merged into; files written through its `FileIO` belong to the window's commit.
    pub base: LoadedTable,
    pub table: TableSchema,
    pub handle: Handle,
    /// In-memory bytes of the changed keys that are looked up at once.
    pub chunk_bytes: usize,
    /// Bytes of memory that the writer of a file may hold.
    pub writer_bytes: usize,
    /// Bytes of memory for all files that are rewritten at a time.
    pub rewriting_bytes: usize,
    pub progress: Arc<Progress>,
    pub runner: Runner,
}

impl Work {
    /// The table that is written, for one stage.
    pub fn write_spec(&self) -> WriteSpec {
        WriteSpec::new(self.base.metadata.clone(), self.table.clone(), self.writer_bytes)
    }
}
