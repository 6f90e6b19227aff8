//! Reads byte ranges of a file. Synchronous: for a blocking thread.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use iceberg::io::FileRead;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::storage::{into_iceberg, too_large};

/// Ranges with smaller gaps are fetched as one.
const COALESCE_GAP: u64 = 256 * 1024;

/// Fetches ranges of a file.
#[derive(Clone)]
pub(crate) struct RangeReader {
    pub(super) file: Arc<dyn FileRead>,
    pub(super) size: u64,
    /// The whole content of a small file.
    pub(super) whole: Option<Bytes>,
    /// Maximum bytes to fetch at once.
    pub(crate) most: u64,
}

impl RangeReader {
    /// Refuses ranges whose total length exceeds the memory: lengths come from the file and are not trusted.
    pub(crate) fn check(&self, ranges: &[Range<u64>]) -> parquet::errors::Result<()> {
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

/// Number of ranges that are fetched concurrently.
pub(crate) const CONCURRENT_RANGES: usize = 4;

/// Bytes that are read first, from the end of a file; most footers fit. A file up to this size is kept in memory.
pub(crate) const FOOTER_HINT: usize = 64 * 1024;

/// The ranges in order, with near ones merged.
pub(crate) fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
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

pub(crate) async fn fetch(file: Arc<dyn FileRead>, range: Range<u64>) -> parquet::errors::Result<Bytes> {
    let expected = range.end.saturating_sub(range.start);
    let bytes = file.read(range).await.map_err(|e| ParquetError::External(Box::new(e)))?;
    if u64::try_from(bytes.len()).ok() == Some(expected) {
        Ok(bytes)
    } else {
        Err(ParquetError::EOF(format!("expected {expected} bytes, got {}", bytes.len())))
    }
}

/// The bytes of a range, from the fetched range that contains it.
pub(crate) fn slice(merged: &[Range<u64>], fetched: &[Bytes], range: &Range<u64>) -> parquet::errors::Result<Bytes> {
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
