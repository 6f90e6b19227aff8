//! The storage of one run, for exports and for tables, which may be accessed differently.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ddb_iceberg::error::Result;
use ddb_iceberg::runtime::run::Run;
use ddb_iceberg::storage::{S3Config, Store, set_memory_limit};

/// Fraction of a run's memory for S3 buffers.
const BUFFERS_PART: usize = 8;
/// Fraction of its memory for the first bytes of files that are opened ahead.
const AHEAD_PART: usize = 16;

/// Fraction of its memory for files that are inflated whole.
const INFLATED_PART: usize = 4;

/// Time limit for files that are still being written when the run ends.
const FINISH: Duration = Duration::from_secs(5);

/// Opened stores, to close them when the run ends, however it ends.
#[derive(Default)]
pub(crate) struct Stores(Mutex<Vec<Store>>);

impl Stores {
    /// Storage of exports and of tables: the same if the same properties apply to both.
    pub fn open(
        &self,
        properties: Option<&BTreeMap<String, String>>,
        memory_limit: usize,
        threads: usize,
    ) -> Result<(Store, Store)> {
        set_memory_limit(u64::try_from(memory_limit).unwrap_or(u64::MAX));
        let none = BTreeMap::new();
        let properties = properties.unwrap_or(&none);
        let mut exports = S3Config::for_exports(properties)?;
        let mut tables = S3Config::from_properties(properties)?;
        let same = exports == tables;
        let buffers = memory_limit / BUFFERS_PART / if same { 1 } else { 2 };
        exports.transfer.buffers = buffers;
        let first_read = usize::try_from(exports.transfer.first_read).unwrap_or(usize::MAX).max(1);
        let fitting = memory_limit / AHEAD_PART / threads.max(1) / first_read;
        exports.transfer.open_ahead = exports.transfer.open_ahead.min(fitting.max(1));
        tables.transfer.buffers = buffers;
        let exports = Store::routed(exports);
        let tables = if same { exports.clone() } else { Store::routed(tables) };
        let exports = exports.inflating_within(memory_limit / INFLATED_PART);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend([exports.clone(), tables.clone()]);
        Ok((exports, tables))
    }

    /// Aborts unfinished operations.
    pub async fn close(&self) {
        for store in self.opened() {
            store.close().await;
        }
    }

    /// Deletes files that a failed or stopped run has written and no table refers to. Call it before
    /// [`close`](Self::close).
    pub async fn take_back(&self, run: &Run) {
        let left = run.take_back(FINISH).await;
        if let Some(one) = left.first() {
            tracing::warn!("{} files that no table names were left behind, such as {one}", left.len());
        }
    }

    fn opened(&self) -> Vec<Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
