//! DataFusion sessions: a memory pool, a folder for spilling, and sources fed from threads or streams.

use std::sync::Arc;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use super::failure::convert;
use crate::error::Result;

/// Rows of a batch between operators.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Runs DataFusion's operators within a memory budget.
#[derive(Debug, Clone)]
pub struct Engine {
    task: Arc<TaskContext>,
    /// Number of partitions that run in parallel.
    pub threads: usize,
}

impl Engine {
    /// An engine whose operators hold at most `memory` bytes and spill beyond that to the temporary folder.
    pub fn new(threads: usize, memory: usize) -> Result<Self> {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory))).build_arc();
        let config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_target_partitions(threads)
            // Memory that a sort needs to merge its spilled runs; the default of 10 MiB per partition is too much of a
            // small budget.
            .with_sort_spill_reservation_bytes((memory / threads.max(1) / 8).min(10 * 1024 * 1024));
        let task = TaskContext::default().with_session_config(config).with_runtime(runtime.map_err(convert)?);
        Ok(Self { task: Arc::new(task), threads })
    }

    /// An engine without a memory limit: for joins, whose callers bound their input.
    pub fn unbounded(threads: usize) -> Self {
        let config = SessionConfig::new().with_batch_size(BATCH_ROWS).with_target_partitions(threads);
        Self { task: Arc::new(TaskContext::default().with_session_config(config)), threads }
    }

    /// The same memory, with batches of at most this many rows.
    #[must_use]
    pub(crate) fn with_batch_rows(&self, rows: usize) -> Self {
        let config = self.task.session_config().clone().with_batch_size(rows.max(1));
        let task = TaskContext::default().with_session_config(config).with_runtime(self.task.runtime_env());
        Self { task: Arc::new(task), ..self.clone() }
    }

    /// Starts a partition of a plan.
    pub(crate) fn execute(&self, plan: &Arc<dyn ExecutionPlan>, partition: usize) -> Result<SendableRecordBatchStream> {
        plan.execute(partition, self.task.clone()).map_err(convert)
    }
}
