//! Shared state of the steps that merge one window.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::locate::LiveKeys;
use crate::catalog::LoadedTable;
use crate::engine::session::Engine;
use crate::runtime::progress::Progress;
use crate::schema::TableSchema;
use crate::table::{DataPaths, WriteOptions};

/// Everything that the merge of one window needs.
#[derive(Clone)]
pub(super) struct Work {
    /// Runs the joins.
    pub engine: Engine,
    pub live: Arc<LiveKeys>,
    pub paths: Arc<DataPaths>,
    pub options: WriteOptions,
    /// The table that the window is merged into; files written through its `FileIO` belong to the window's commit.
    pub base: LoadedTable,
    pub table: TableSchema,
    pub arrow_schema: arrow::datatypes::SchemaRef,
    pub handle: Handle,
    /// In-memory bytes of the changed keys that are looked up at once.
    pub chunk_bytes: usize,
    pub progress: Arc<Progress>,
}
