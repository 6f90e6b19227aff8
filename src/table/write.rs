//! Writes data files: Parquet, and a manifest entry whose bounds are true.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use iceberg::spec::{DataContentType, DataFile, SchemaRef, Struct, TableMetadata};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tokio::runtime::Handle;

use super::describe::{Entry, describe, is_repeated};
use super::encoder::{Encoder, is_wide};
use super::metrics::{MetricsConfig, MetricsMode, RowMetrics};
use super::parquet_schema::parquet_schema;
use super::pending::PendingFiles;
use super::properties::{Encoding, target_file_bytes};
use super::sink::{CHUNK_BYTES, Sink};
use crate::error::{Error, Result};
use crate::pool::Helpers;

/// zstd's level where the table's properties name none. Level 3 makes the files of a
/// load 10 % smaller, and takes a fifth of its CPU time rather than a seventh.
pub const DEFAULT_ZSTD_LEVEL: i32 = 1;
/// Encoded bytes of a row group; a writer holds about one row group in memory.
pub const DEFAULT_ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;
/// Rows of a row group, so that small rows too leave something to prune.
pub const DEFAULT_ROW_GROUP_ROWS: usize = 1024 * 1024;
/// The most rows handed to the encoder at once.
const SLICE_ROWS: usize = 8192;
/// Rows that are put in order make a row group of so many times its encoded bytes in memory: they seldom encode to more
/// than a quarter, and cannot be counted before.
const ORDERED_RATIO: usize = 4;
/// About the most values that a column has in such a row group, those in lists counted: for each, up to 12 bytes of levels and
/// positions are in memory until the column is encoded.
const ORDERED_VALUES: usize = 4 << 20;
/// Rows of a row group that are worth waking other threads for.
const HELPED_ROWS: usize = 4096;
/// Whatever the properties say: a row group of a few rows is more footer than data, and a file takes 32,767 of them.
const LEAST_ROW_GROUP_BYTES: usize = 64 << 10;

/// How data files are written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Encoded bytes after which a row group of a data file ends.
    pub row_group_bytes: usize,
    /// Rows after which a row group ends.
    pub row_group_rows: usize,
    /// How data files are encoded.
    pub encoding: Encoding,
    /// How delete files are encoded.
    pub deletes: Encoding,
    /// Bytes after which a load begins another data file, if the table says so.
    pub target_bytes: Option<u64>,
    /// How much the manifest entry says of each column.
    pub metrics: MetricsConfig,
    /// Columns that get no dictionary ([`plain_columns`](super::plain_columns)).
    pub plain: Vec<ColumnPath>,
}

impl WriteOptions {
    /// What the table's properties ask for, for files of the given schema; where they say nothing, or what
    /// [`check_properties`](super::check_properties) refuses, this crate's defaults.
    pub fn for_table(metadata: &TableMetadata, schema: &SchemaRef) -> Self {
        let properties = metadata.properties();
        let encoding = Encoding::of_data(properties);
        let target_bytes = target_file_bytes(properties).unwrap_or_default();
        let most = target_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        Self {
            row_group_bytes: encoding.row_group_bytes.min(most).max(LEAST_ROW_GROUP_BYTES),
            row_group_rows: DEFAULT_ROW_GROUP_ROWS,
            encoding,
            deletes: Encoding::of_deletes(properties),
            target_bytes,
            metrics: MetricsConfig::from_properties(properties, schema, Some(metadata.default_sort_order().as_ref())),
            plain: Vec::new(),
        }
    }

    /// The same for writers that may each hold a row group of so many bytes, if that is more than the default.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        self.row_group_bytes = self.row_group_bytes.min(bytes.max(DEFAULT_ROW_GROUP_BYTES));
        self
    }
}

/// Writes one data file. Synchronous: for a blocking thread.
///
/// Dropped before [`finish`](Self::finish), it deletes what it wrote, as far as that is possible.
pub struct DataFileWriter {
    /// `None` only once finished or given up.
    encoder: Option<Encoder<Sink>>,
    guard: Unfinished,
    arrow_schema: ArrowSchemaRef,
    config: MetricsConfig,
    metrics: RowMetrics,
    rows: u64,
    row_group_bytes: usize,
    row_group_rows: usize,
    target_bytes: Option<u64>,
    entry: Entry,
}

/// A file that nothing refers to yet: deleted when dropped while armed.
struct Unfinished {
    file_io: FileIO,
    handle: Handle,
    location: String,
    armed: bool,
}

impl Unfinished {
    /// Deletes the file now, as far as possible: what a drop leaves to the runtime may never run if the program ends.
    async fn remove(&mut self) {
        if std::mem::take(&mut self.armed)
            && let Err(error) = self.file_io.delete(&self.location).await
        {
            tracing::debug!(location = self.location, %error, "an unfinished file was left behind");
        }
    }

    fn remove_blocking(&mut self) {
        let handle = self.handle.clone();
        handle.block_on(self.remove());
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.armed {
            let (file_io, location) = (self.file_io.clone(), std::mem::take(&mut self.location));
            self.handle.spawn(async move {
                if let Err(error) = file_io.delete(&location).await {
                    tracing::debug!(%location, %error, "an unfinished file was left behind");
                }
            });
        }
    }
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
    /// Starts a data file of the given schema at the given location.
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

    /// Starts a position delete file. Its bounds are whole, in the manifest entry and in Parquet's statistics: readers match
    /// them against paths.
    #[expect(clippy::too_many_arguments, reason = "each is one part of the manifest entry")]
    pub(super) fn create_deletes(
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
            .set_dictionary_enabled(!is_wide(&arrow_schema))
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
                // Only the answer may have been lost, and the file be there.
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
            target_bytes: options.target_bytes,
            entry,
        })
    }

    /// Where the file is.
    pub fn location(&self) -> &str {
        &self.guard.location
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// About how many bytes the file would have if it were finished now.
    pub fn size(&self) -> u64 {
        let size = self.encoder.as_ref().map_or(0, Encoder::size);
        u64::try_from(size).unwrap_or(u64::MAX)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.encoder.as_ref().map_or(0, |encoder| encoder.memory().saturating_add(CHUNK_BYTES))
    }

    /// Appends rows. The columns are those of the schema, in its order, with the Arrow types that
    /// `iceberg::arrow::schema_to_arrow_schema` gives.
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
            if let Err(error) = encoder.write(&slice) {
                return Err(self.failure(error));
            }
            start += length;
        }
        self.rows = self.rows.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Appends the rows at the given positions, in their order, up to the bytes that a file is to have; gives how many. The
    /// columns are as in [`write`](Self::write); helpers encode some of them.
    pub fn write_ordered(&mut self, batch: &RecordBatch, order: &[u32], helpers: &Arc<Helpers>) -> Result<usize> {
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
        // Row groups of about the same length, not a short one at the end.
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

    /// Ends the file and describes it.
    pub fn finish(self) -> Result<DataFile> {
        let handle = self.guard.handle.clone();
        let (file, close) = self.end()?;
        handle.block_on(close)?;
        Ok(file)
    }

    /// As [`finish`](Self::finish), but that the file is only there once `pending` is settled.
    pub fn finish_later(self, pending: &PendingFiles) -> Result<DataFile> {
        let handle = self.guard.handle.clone();
        let (file, close) = self.end()?;
        pending.add(&handle, file.file_path(), close)?;
        Ok(file)
    }

    /// Encodes what is left and describes the file, and gives what closes it. A file that can't be closed is deleted.
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
            // Some storages only delete a file that is not open.
            drop(sink);
            if closed.is_err() {
                guard.remove().await;
            }
            guard.armed = false;
            closed.map_err(|error| Error::from(error).in_file(&guard.location))
        };
        Ok((file, close))
    }

    /// Gives the file up and deletes it.
    pub fn abort(mut self) -> Result<()> {
        self.guard.armed = false;
        // The open file goes first: some storages only let go of it then.
        self.encoder = None;
        self.guard.handle.block_on(self.guard.file_io.delete(&self.guard.location))?;
        Ok(())
    }

    /// Lets go of the open file, since some storages only delete it then, and deletes it, as far as possible.
    fn give_up(&mut self) {
        self.encoder = None;
        self.guard.remove_blocking();
    }

    /// Gives the file up, and says what really went wrong: storage's own error if there was one.
    fn failure(&mut self, error: parquet::errors::ParquetError) -> Error {
        let stored = self.encoder.as_mut().and_then(|encoder| encoder.sink().error.take());
        self.give_up();
        stored.map_or_else(|| Error::from(error), Error::from).in_file(&self.guard.location)
    }
}

/// Bytes of the rows themselves, also where the batch is a slice of a larger one.
pub(super) fn memory_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(bytes_of).sum()
}

fn bytes_of(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or(0)
}

/// How many rows, put in order, make a row group: as many as fit into its bytes, with no column that has too many values.
fn rows_of_a_group(batch: &RecordBatch, most_bytes: usize, most_rows: usize) -> usize {
    let rows = batch.num_rows().max(1);
    let values = batch.columns().iter().map(most_values).max().unwrap_or(0);
    (most_bytes.saturating_mul(ORDERED_RATIO) / (memory_of(batch) / rows + 1))
        .min(ORDERED_VALUES / (values / rows + 1))
        .clamp(1, most_rows)
}

/// How many values the column has that has the most of those inside of a column.
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
#[path = "write_tests.rs"]
mod tests;
