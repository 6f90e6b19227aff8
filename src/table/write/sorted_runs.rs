//! Writes runs of rows, sorted by key, as data files.

use std::sync::Arc;

use arrow::array::RecordBatch;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, Schema};
use tokio::runtime::Handle;

use super::closing::ClosingFiles;
use super::data_file::DataFileWriter;
use super::locations::DataPaths;
use super::options::WriteOptions;
use super::spec::WriteSpec;
use crate::error::Result;
use crate::runtime::progress::Progress;
use crate::runtime::task::{Runner, Task};
use crate::runtime::work_sharing::WorkSharing;
use crate::schema::TableSchema;
use crate::sort::keys::{KeyOrder, key_batch, key_converter};
use crate::sort::order::order_of;
use crate::table::parquet::dictionary::plain_columns;
use crate::table::partition::limit::DistinctPartitions;
use crate::table::partition::partitioner::Partitioner;

/// Writes runs into one table.
#[derive(Debug)]
pub struct RunWriter {
    /// Storage of the table.
    pub file_io: FileIO,
    /// The runtime that storage runs on.
    pub handle: Handle,
    /// The table's columns.
    pub table: TableSchema,
    /// Computes the rows' partitions, by the spec of the data files.
    pub partitioner: Partitioner,
    /// Limits the partitions of a load; `None`: no limit.
    pub partitions: Option<Arc<DistinctPartitions>>,
    /// The table's sort order, if it is the key.
    pub sort_order_id: Option<i32>,
    /// Names of data files.
    pub paths: DataPaths,
    /// Options for writing data files.
    pub options: WriteOptions,
    /// Idle threads that help those that write.
    pub helpers: Arc<WorkSharing>,
    /// The files that were written. They must be settled before anything refers to them.
    pub files: ClosingFiles,
    /// Called as the work progresses.
    pub progress: Arc<Progress>,
}

impl RunWriter {
    /// Opens a writer for the threads of this process, of which up to `closing` files are closed in the background.
    pub(crate) fn open(spec: WriteSpec, file_io: FileIO, closing: usize, progress: Arc<Progress>) -> Result<Self> {
        Ok(Self {
            file_io,
            handle: Handle::current(),
            partitioner: Partitioner::new(spec.metadata.default_partition_spec(), &spec.table.schema)?,
            partitions: None,
            sort_order_id: spec.sort_order_id()?,
            options: spec.options(),
            table: spec.table,
            paths: spec.paths,
            helpers: Arc::default(),
            files: ClosingFiles::new(closing),
            progress,
        })
    }

    /// The order of a run's rows by key.
    pub fn sort(&self, batch: &RecordBatch) -> Result<KeyOrder> {
        let keys = key_batch(&self.table, batch)?;
        let rows = key_converter(&keys)?.convert_columns(keys.columns())?;
        let order = order_of(&rows)?;
        Ok(KeyOrder { keys, rows, order })
    }

    /// Runs tasks that use this writer, and waits until all of their files are closed, even on error.
    pub(crate) async fn run<T: Task>(
        &self,
        runner: &Runner,
        threads: usize,
        env: &Arc<T::Env>,
        tasks: Vec<T>,
    ) -> Result<Vec<T::Output>> {
        let done = runner.run_with_helpers(&self.helpers, threads, env, tasks).await;
        // Also if a task failed: its error takes precedence.
        let settled = self.files.settle().await;
        done.and_then(|done| settled.map(|()| done))
    }

    /// Writes the rows in the given order: one data file per partition, or more if the table wants them smaller. `task`
    /// is part of their names. Returns the files' manifest entries.
    pub fn write(&self, task: u32, batch: &RecordBatch, order: &[u32]) -> Result<Vec<DataFile>> {
        let groups = self.partitioner.split(batch, order)?;
        if let Some(partitions) = &self.partitions {
            partitions.note(groups.iter().map(|(partition, _)| partition))?;
        }
        let options = WriteOptions { plain: plain_columns(batch)?, ..self.options.clone() };
        let mut files = Vec::with_capacity(groups.len());
        for (partition, order) in groups {
            let mut rest = order.as_slice();
            while !rest.is_empty() {
                let mut writer = DataFileWriter::create(
                    &self.file_io,
                    &self.handle,
                    self.paths.data_file(task),
                    &self.table.schema,
                    self.partitioner.spec_id(),
                    partition.clone(),
                    self.sort_order_id,
                    &options,
                )?;
                let written = writer.write_ordered(batch, rest, &self.helpers)?;
                rest = rest.get(written..).unwrap_or_default();
                let file = writer.finish_later(&self.files)?;
                self.progress.add_bytes_written(file.file_size_in_bytes());
                files.push(file);
            }
        }
        Ok(files)
    }
}

/// Divides a memory limit between tasks that write data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Number of tasks that write in parallel.
    pub threads: usize,
    /// Bytes of rows that a task collects before it writes them: the rows, their write order, some columns' levels and
    /// the encoded pages are in memory at the same time.
    pub run_bytes: usize,
    /// Number of files that are closed in the background.
    pub closing: usize,
}

impl Shares {
    /// Bytes that a task needs per column, before any value.
    const COLUMN_BYTES: usize = 8 * 1024;
    /// Maximum bytes for a file that is being closed: the last part of an upload.
    const CLOSING_BYTES: usize = 9 << 20;

    /// The shares for at most this many threads; a very wide table allows fewer.
    pub fn new(memory_limit: usize, threads: usize, schema: &Schema) -> Self {
        // Field ids count all columns, including nested ones.
        let columns = usize::try_from(schema.highest_field_id()).unwrap_or(0);
        let writer = columns.saturating_mul(Self::COLUMN_BYTES).max(1);
        let run_bytes = (memory_limit / threads.max(1) / 4).clamp(8 << 20, 512 << 20);
        let closing = (memory_limit / 16 / Self::CLOSING_BYTES).clamp(1, threads.max(1));
        Self { threads: (memory_limit / 2 / writer).clamp(1, threads.max(1)), run_bytes, closing }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iceberg::spec::{NestedField, PrimitiveType, Type};

    use super::*;

    #[test]
    fn wide_tables_have_room_for_fewer_writers() {
        let shares = |columns: i32, memory: usize, threads: usize| {
            let fields = (1..=columns)
                .map(|n| Arc::new(NestedField::optional(n, n.to_string(), Type::Primitive(PrimitiveType::Long))));
            let schema = Schema::builder().with_fields(fields).build().unwrap();
            let shares = Shares::new(memory << 20, threads, &schema);
            (shares.threads, shares.run_bytes >> 20, shares.closing)
        };
        assert_eq!(shares(32, 512, 2), (2, 64, 2));
        assert_eq!(shares(32, 1 << 20, 2), (2, 512, 2));
        assert_eq!(shares(10_000, 512, 2), (2, 64, 2));
        assert_eq!(shares(10_000, 512, 8), (3, 16, 3));
        assert_eq!(shares(20_000, 512, 2), (1, 64, 2));
    }
}
