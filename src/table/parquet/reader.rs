//! One Parquet file of a table, read through iceberg's storage trait.
//!
//! Fetches only the byte ranges of the requested column chunks, one row group at a time; adjacent ranges are merged. A
//! small file is fetched whole.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use iceberg::io::{FileIO, FileRead};
use iceberg::spec::DataFile;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::storage::{into_iceberg, most_of_a_file, most_of_data, too_large};

/// Bytes fetched from a file's end in the first request, so that it usually contains the whole footer. Smaller files
/// are kept whole.
const FOOTER_HINT: usize = 64 * 1024;
/// Ranges closer than this are fetched as one.
const COALESCE_GAP: u64 = 256 * 1024;
/// Number of ranges fetched in parallel.
const CONCURRENT_RANGES: usize = 4;

/// A file with its footer.
pub(crate) struct ParquetFile {
    location: String,
    input: RangeReader,
    metadata: ArrowReaderMetadata,
}

#[derive(Clone)]
struct RangeReader {
    file: Arc<dyn FileRead>,
    size: u64,
    /// The content of a small file.
    whole: Option<Bytes>,
    /// Maximum bytes fetched at once.
    most: u64,
}

impl ParquetFile {
    /// Opens the file and reads its footer. The manifest states its size. Synchronous: for a blocking thread.
    pub(crate) fn open(file_io: &FileIO, handle: &Handle, file: &DataFile) -> Result<Self> {
        handle.block_on(Self::open_async(file_io, file))
    }

    /// Like [`ParquetFile::open`].
    pub(crate) async fn open_async(file_io: &FileIO, file: &DataFile) -> Result<Self> {
        let location = file.file_path();
        Self::read_footer(file_io, location, file.file_size_in_bytes()).await.map_err(|e| e.in_file(location))
    }

    async fn read_footer(file_io: &FileIO, location: &str, size: u64) -> Result<Self> {
        let file: Arc<dyn FileRead> = Arc::from(file_io.new_input(location)?.reader().await?);
        let is_small = usize::try_from(size).is_ok_and(|size| size <= FOOTER_HINT);
        let whole = if is_small { Some(fetch(Arc::clone(&file), 0..size).await.map_err(from_parquet)?) } else { None };
        let mut input = RangeReader { file, size, whole, most: most_of_a_file() };
        let metadata = input.get_metadata(None).await.map_err(from_parquet)?;
        // Types come from Parquet's own schema; an embedded Arrow schema is private to its writer.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::try_new(metadata, options).map_err(from_parquet)?;
        input.most = most_of_data();
        Ok(Self { location: location.to_owned(), input, metadata })
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// The index of the top-level column with this field id.
    pub(crate) fn column(&self, field_id: i32) -> Option<usize> {
        self.metadata.parquet_schema().root_schema().get_fields().iter().position(|field| {
            let info = field.get_basic_info();
            info.has_id() && info.id() == field_id
        })
    }

    /// The leaf of a top-level column with a primitive type.
    pub(crate) fn leaf(&self, column: usize) -> Option<usize> {
        let schema = self.metadata.parquet_schema();
        let field = schema.root_schema().get_fields().get(column)?;
        if !field.is_primitive() {
            return None;
        }
        (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == column)
    }

    /// Reads the given top-level columns of the given row groups in batches, with columns in file order.
    pub(crate) fn read(
        &self,
        handle: &Handle,
        columns: &[usize],
        row_groups: Vec<usize>,
        batch_size: usize,
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut stream = self.batches(columns, row_groups, batch_size)?;
        while let Some(batch) = handle.block_on(stream.next()) {
            on_batch(batch?)?;
        }
        Ok(())
    }

    /// Like [`read`](Self::read), as a stream, which occupies no thread.
    pub(crate) fn batches(
        &self,
        columns: &[usize],
        row_groups: Vec<usize>,
        batch_size: usize,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + Send + Unpin + use<>> {
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(self.input.clone(), self.metadata.clone())
            .with_projection(mask)
            .with_row_groups(row_groups)
            .with_batch_size(batch_size)
            .build()
            .map_err(|e| from_parquet(e).in_file(&self.location))?;
        let location = self.location.clone();
        Ok(stream.map_err(move |e| from_parquet(e).in_file(&location)))
    }
}

impl RangeReader {
    /// Refuses ranges that exceed the memory limit in total: the file declares their lengths itself.
    fn check(&self, ranges: &[Range<u64>]) -> parquet::errors::Result<()> {
        let total = ranges.iter().fold(0_u64, |sum, r| sum.saturating_add(r.end.saturating_sub(r.start)));
        if total > self.most {
            let error = too_large(&format!("{total} bytes of the file are wanted together"), self.most);
            return Err(ParquetError::External(Box::new(into_iceberg(error))));
        }
        Ok(())
    }

    fn of_whole(&self, whole: &Bytes, range: &Range<u64>) -> parquet::errors::Result<Bytes> {
        slice(std::slice::from_ref(&(0..self.size)), std::slice::from_ref(whole), range)
    }
}

impl AsyncFileReader for RangeReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        match &self.whole {
            Some(whole) => std::future::ready(self.of_whole(whole, &range)).boxed(),
            None => match self.check(std::slice::from_ref(&range)) {
                Ok(()) => fetch(Arc::clone(&self.file), range).boxed(),
                Err(error) => std::future::ready(Err(error)).boxed(),
            },
        }
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        if let Some(whole) = &self.whole {
            let slices = ranges.iter().map(|range| self.of_whole(whole, range));
            return std::future::ready(slices.collect()).boxed();
        }
        let file = Arc::clone(&self.file);
        let merged = coalesce(&ranges);
        let checked = self.check(&merged);
        async move {
            checked?;
            let fetched: Vec<Bytes> = futures::stream::iter(merged.clone())
                .map(|range| fetch(Arc::clone(&file), range))
                .buffered(CONCURRENT_RANGES)
                .try_collect()
                .await?;
            ranges.iter().map(|range| slice(&merged, &fetched, range)).collect()
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let metadata = ParquetMetaDataReader::new()
                .with_prefetch_hint(Some(FOOTER_HINT))
                .with_page_index_policy(PageIndexPolicy::Skip)
                .load_and_finish(self, size)
                .await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

async fn fetch(file: Arc<dyn FileRead>, range: Range<u64>) -> parquet::errors::Result<Bytes> {
    let expected = range.end.saturating_sub(range.start);
    let bytes = file.read(range).await.map_err(|e| ParquetError::External(Box::new(e)))?;
    if u64::try_from(bytes.len()).ok() == Some(expected) {
        Ok(bytes)
    } else {
        Err(ParquetError::EOF(format!("expected {expected} bytes, got {}", bytes.len())))
    }
}

/// The ranges in order, with near ones merged.
fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(COALESCE_GAP) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The bytes of one range, from the merged range that contains it.
fn slice(merged: &[Range<u64>], fetched: &[Bytes], range: &Range<u64>) -> parquet::errors::Result<Bytes> {
    let lost = || ParquetError::EOF(format!("bytes {}..{} were not read", range.start, range.end));
    let index = merged.partition_point(|m| m.start <= range.start).checked_sub(1).ok_or_else(lost)?;
    let (outer, bytes) = merged.get(index).zip(fetched.get(index)).ok_or_else(lost)?;
    let start = usize::try_from(range.start.checked_sub(outer.start).ok_or_else(lost)?)?;
    let end = usize::try_from(range.end.checked_sub(outer.start).ok_or_else(lost)?)?;
    if start > end || end > bytes.len() {
        return Err(lost());
    }
    Ok(bytes.slice(start..end))
}

/// Unwraps a storage error that passed through Parquet's reader.
fn from_parquet(error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<iceberg::Error>() {
            Ok(inner) => Error::from(*inner),
            Err(inner) => Error::from(ParquetError::External(inner)),
        },
        other => Error::from(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_one_request_and_come_back_apart() {
        let data: Vec<u8> = (0..=255_u8).cycle().take(1_000_000).collect();
        let ranges = vec![900_000..900_004, 10..14, 20..22, 400_000..400_001];
        let merged = coalesce(&ranges);
        assert_eq!(merged, vec![10..22, 400_000..400_001, 900_000..900_004]);
        let fetched: Vec<Bytes> = merged
            .iter()
            .map(|r| Bytes::copy_from_slice(&data[usize::try_from(r.start).unwrap()..usize::try_from(r.end).unwrap()]))
            .collect();
        for range in &ranges {
            let expected = &data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            assert_eq!(&slice(&merged, &fetched, range).unwrap()[..], expected);
        }
        assert!(slice(&merged, &fetched, &(5..8)).is_err());
    }
}
