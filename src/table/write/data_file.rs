//! Writes data files: Parquet, and a manifest entry with exact bounds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use iceberg::spec::{DataContentType, DataFile, SchemaRef, Struct};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::runtime::Handle;

use super::closing::ClosingFiles;
use super::manifest_entry::{Entry, describe, is_repeated};
use super::metrics::{MetricsConfig, MetricsMode, RowMetrics};
use super::options::{LEAST_ROW_GROUP_BYTES, WriteOptions};
use super::sink::Sink;
use super::unfinished::Unfinished;
use crate::error::{Error, Result};
use crate::runtime::work_sharing::WorkSharing;
use crate::table::parquet::encoder::{Encoder, has_dictionaries, memory_of};
use crate::table::parquet::schema::parquet_schema;
use crate::table::properties::DEFAULT_ROW_GROUP_BYTES;

/// Maximum rows passed to the encoder at once.
const SLICE_ROWS: usize = 8192;
/// A row group of ordered rows may take this multiple of its encoded bytes in memory: rows seldom encode to more than a
/// quarter, and the encoded size is not known before.
const ORDERED_RATIO: usize = 4;
/// Approximate maximum number of values of a column in such a row group, including values in lists: each takes up to 12
/// bytes of levels and positions until the column is encoded.
const ORDERED_VALUES: usize = 4 << 20;
/// Minimum rows of a row group for which it pays to wake other threads.
const HELPED_ROWS: usize = 4096;

/// Writes one data file. Synchronous: for a blocking thread.
///
/// If dropped before [`finish`](Self::finish), it deletes what it wrote, as far as possible.
pub struct DataFileWriter {
    /// `None` only after finishing or aborting.
    encoder: Option<Encoder<Sink>>,
    guard: Unfinished,
    arrow_schema: ArrowSchemaRef,
    config: MetricsConfig,
    metrics: RowMetrics,
    rows: u64,
    row_group_bytes: usize,
    row_group_rows: usize,
    memory_bytes: usize,
    target_bytes: Option<u64>,
    entry: Entry,
}

impl std::fmt::Debug for DataFileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFileWriter")
            .field("location", &self.guard.location)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl DataFileWriter {
    /// Starts a data file with the given schema and location.
    #[expect(clippy::too_many_arguments, reason = "each is one part of the manifest entry")]
    pub fn create(
        file_io: &FileIO,
        handle: &Handle,
        location: String,
        schema: &SchemaRef,
        spec_id: i32,
        partition: Struct,
        sort_order_id: Option<i32>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let entry =
            Entry { content: DataContentType::Data, spec_id, partition, sort_order_id, referenced_data_file: None };
        Self::start(file_io, handle, location, schema, entry, options)
    }

    /// Starts a position delete file. Its bounds are not truncated, neither in the manifest entry nor in Parquet's
    /// statistics, since readers match them against paths.
    #[expect(clippy::too_many_arguments, reason = "each is one part of the manifest entry")]
    pub(crate) fn create_deletes(
        file_io: &FileIO,
        handle: &Handle,
        location: String,
        schema: &SchemaRef,
        spec_id: i32,
        partition: Struct,
        referenced_data_file: Option<String>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let entry = Entry {
            content: DataContentType::PositionDeletes,
            spec_id,
            partition,
            sort_order_id: None,
            referenced_data_file,
        };
        let options = WriteOptions {
            metrics: MetricsConfig::uniform(MetricsMode::Full),
            encoding: options.deletes,
            row_group_bytes: options.deletes.row_group_bytes.clamp(LEAST_ROW_GROUP_BYTES, DEFAULT_ROW_GROUP_BYTES),
            ..options.clone()
        };
        Self::start(file_io, handle, location, schema, entry, &options)
    }

    fn start(
        file_io: &FileIO,
        handle: &Handle,
        location: String,
        schema: &SchemaRef,
        entry: Entry,
        options: &WriteOptions,
    ) -> Result<Self> {
        let arrow_schema = Arc::new(schema_to_arrow_schema(schema)?);
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("ddb-iceberg version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(options.encoding.compression)
            .set_dictionary_enabled(has_dictionaries(&arrow_schema))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
            .set_max_row_group_bytes(Some(options.row_group_bytes.max(1)));
        if let Some(bytes) = options.encoding.page_bytes {
            properties = properties.set_data_page_size_limit(bytes);
        }
        if let Some(rows) = options.encoding.page_rows {
            properties = properties.set_data_page_row_count_limit(rows);
        }
        if let Some(bytes) = options.encoding.dictionary_bytes {
            properties = properties.set_dictionary_page_size_limit(bytes);
        }
        for path in &options.plain {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        let parquet = parquet_schema(schema, &arrow_schema)?;
        for leaf in parquet.columns().iter().filter(|leaf| is_repeated(leaf)) {
            properties = properties.set_column_statistics_enabled(leaf.path().clone(), EnabledStatistics::None);
        }
        if entry.content == DataContentType::PositionDeletes {
            properties = properties.set_statistics_truncate_length(None);
        }
        let output = file_io.new_output(&location)?;
        let mut guard = Unfinished { file_io: file_io.clone(), handle: handle.clone(), location, armed: true };
        let file = match handle.block_on(output.writer()) {
            Ok(file) => file,
            Err(error) => {
                // The file may exist: perhaps only the answer was lost.
                guard.remove_blocking();
                return Err(Error::from(error).in_file(&guard.location));
            }
        };
        let sink = Sink::new(Some(file), handle.clone());
        let encoder = Encoder::new(sink, &arrow_schema, parquet, properties.build())?;
        Ok(Self {
            encoder: Some(encoder),
            guard,
            arrow_schema,
            config: options.metrics.clone(),
            metrics: RowMetrics::new(schema, &options.metrics),
            rows: 0,
            row_group_bytes: options.row_group_bytes.max(1),
            row_group_rows: options.row_group_rows.max(1),
            memory_bytes: options.memory_bytes,
            target_bytes: options.target_bytes,
            entry,
        })
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Estimated size of the file if it were finished now, in bytes.
    pub fn size(&self) -> u64 {
        let size = self.encoder.as_ref().map_or(0, Encoder::size);
        u64::try_from(size).unwrap_or(u64::MAX)
    }

    /// Appends rows. Columns must be those of the schema, in its order, with the Arrow types of
    /// `iceberg::arrow::schema_to_arrow_schema`.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.conforming(batch)?;
        self.metrics.update(&batch)?;
        let rows = batch.num_rows();
        // Large rows go to the encoder a few at a time, so that a row group ends soon after it is full.
        let row_bytes = memory_of(&batch) / rows + 1;
        let step = (self.row_group_bytes / 4 / row_bytes).clamp(1, SLICE_ROWS);
        let mut start = 0;
        while start < rows {
            let length = step.min(rows - start);
            let slice = batch.slice(start, length);
            let encoder = self.encoder.as_mut().ok_or_else(gone)?;
            let mut written = encoder.write(&slice);
            if written.is_ok() && encoder.memory() > self.memory_bytes {
                written = encoder.end_row_group();
            }
            if let Err(error) = written {
                return Err(self.failure(error));
            }
            start += length;
        }
        self.rows = self.rows.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Appends the rows at the given positions, in this order, up to the target size of a file; returns their number.
    /// Columns are as in [`write`](Self::write); helper threads encode some of them.
    pub fn write_ordered(&mut self, batch: &RecordBatch, order: &[u32], helpers: &Arc<WorkSharing>) -> Result<usize> {
        if order.is_empty() {
            return Ok(0);
        }
        let batch = self.conforming(batch)?;
        let encoder = self.encoder.take().ok_or_else(gone)?;
        match encoder.by_columns(&self.arrow_schema) {
            Ok(encoder) => self.encoder = Some(encoder),
            Err(error) => return Err(self.failure(error)),
        }
        let most = rows_of_a_group(&batch, self.row_group_bytes, self.row_group_rows);
        // Row groups of similar length, instead of a short one at the end.
        let length = order.len().div_ceil(order.len().div_ceil(most));
        let mut written = 0;
        for group in order.chunks(length) {
            if written > 0 && self.target_bytes.is_some_and(|bytes| self.size() >= bytes) {
                break;
            }
            let encoder = self.encoder.as_mut().ok_or_else(gone)?;
            let helpers = if group.len() < HELPED_ROWS { &Arc::default() } else { helpers };
            match encoder.write_row_group(&batch, group.to_vec(), helpers) {
                Ok(found) => self.metrics.take_in(found)?,
                Err(error) => return Err(self.failure(error)),
            }
            written += group.len();
        }
        self.rows = self.rows.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    /// The batch in the file's own schema.
    fn conforming(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        RecordBatch::try_new(Arc::clone(&self.arrow_schema), batch.columns().to_vec())
            .map_err(|e| Error::from(e).in_file(&self.guard.location))
    }

    /// Finishes the file and returns its description.
    pub fn finish(self) -> Result<DataFile> {
        let handle = self.guard.handle.clone();
        let (file, close) = self.end()?;
        handle.block_on(close)?;
        Ok(file)
    }

    /// Like [`finish`](Self::finish), but the file exists only once `pending` is settled.
    pub fn finish_later(self, pending: &ClosingFiles) -> Result<DataFile> {
        let handle = self.guard.handle.clone();
        let (file, close) = self.end()?;
        pending.add(&handle, close)?;
        Ok(file)
    }

    /// Encodes pending rows, describes the file, and returns the future that closes it. A file that can't be closed is
    /// deleted.
    fn end(mut self) -> Result<(DataFile, impl Future<Output = Result<()>> + Send + 'static)> {
        let encoder = self.encoder.as_mut().ok_or_else(gone)?;
        let footer = match encoder.finish() {
            Ok(footer) => footer,
            Err(error) => return Err(self.failure(error)),
        };
        let mut sink = encoder.sink().detach();
        let location = &self.guard.location;
        let file = describe(location, sink.size(), self.rows, &footer, &self.config, self.metrics, &self.entry)?;
        let mut guard = self.guard;
        let close = async move {
            let closed = sink.close().await;
            // Some storages delete a file only if it is not open.
            drop(sink);
            if closed.is_err() {
                guard.remove().await;
            }
            guard.armed = false;
            closed.map_err(|error| Error::from(error).in_file(&guard.location))
        };
        Ok((file, close))
    }

    /// Abandons the file and deletes it.
    pub fn abort(mut self) -> Result<()> {
        self.guard.armed = false;
        // The open file goes first: some storages delete it only then.
        self.encoder = None;
        self.guard.handle.block_on(self.guard.file_io.delete(&self.guard.location))?;
        Ok(())
    }

    /// Like [`abort`](Self::abort), for a caller that has its own error to return: a failure is logged.
    pub fn abandon(self) {
        if let Err(error) = self.abort() {
            tracing::warn!("an unfinished file was left behind: {error}");
        }
    }

    /// Closes the open file, since some storages delete it only then, and deletes it as far as possible.
    fn give_up(&mut self) {
        self.encoder = None;
        self.guard.remove_blocking();
    }

    /// Abandons the file and returns the root cause: storage's own error, if there was one.
    fn failure(&mut self, error: parquet::errors::ParquetError) -> Error {
        let stored = self.encoder.as_mut().and_then(|encoder| encoder.sink().error.take());
        self.give_up();
        stored.map_or_else(|| Error::from(error), Error::from).in_file(&self.guard.location)
    }
}

/// The number of ordered rows in a row group: as many as fit into its bytes, with no column exceeding its maximum of
/// values.
fn rows_of_a_group(batch: &RecordBatch, most_bytes: usize, most_rows: usize) -> usize {
    let rows = batch.num_rows().max(1);
    let values = batch.columns().iter().map(most_values).max().unwrap_or(0);
    (most_bytes.saturating_mul(ORDERED_RATIO) / (memory_of(batch) / rows + 1))
        .min(ORDERED_VALUES / (values / rows + 1))
        .clamp(1, most_rows)
}

/// The maximum number of values in any leaf of the column.
fn most_values(column: &ArrayRef) -> usize {
    let inside = match column.data_type() {
        DataType::Struct(_) => column.as_struct().columns().iter().map(most_values).max().unwrap_or(0),
        DataType::List(_) => most_values(column.as_list::<i32>().values()),
        DataType::Map(..) => most_values(column.as_map().values()),
        _ => 0,
    };
    inside.max(column.len())
}

fn gone() -> Error {
    Error::failed("the file was already finished")
}

#[cfg(test)]
#[path = "data_file_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "row_group_tests.rs"]
mod row_group_tests;
