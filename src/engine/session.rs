//! DataFusion as we need it: joins and merges of sorted streams, bounded by what they are given.

use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use super::failure::convert;
use crate::error::Result;

/// Rows of a batch between operators.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Runs DataFusion's operators: joins and merges, which hold what they are given; whoever gives it bounds it.
#[derive(Debug, Clone)]
pub struct Engine {
    task: Arc<TaskContext>,
    /// Number of partitions that run in parallel.
    pub threads: usize,
}

impl Engine {
    /// An engine of so many threads.
    pub fn new(threads: usize) -> Self {
        let config = SessionConfig::new().with_batch_size(BATCH_ROWS).with_target_partitions(threads);
        Self { task: Arc::new(TaskContext::default().with_session_config(config)), threads }
    }

    /// The same with batches of at most so many rows.
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
