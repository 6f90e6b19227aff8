//! Reads columns of a Parquet file in batches of bounded memory, whatever the size of its rows.
//!
//! The footer gives the mean size of a row in each row group, but not the size of values in dictionaries, nor which rows
//! are large. So each batch is measured. If rows are larger or smaller than expected, the row group's reader is created
//! again with another number of rows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups, RowSelection, RowSelector};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::{ConvertedType, Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length, SerializedPageReader};

use super::encoder::memory_of;
use super::ranges::RangeReader;

/// Rows of the first batch if the size of a row is unknown.
const FIRST_ROWS: usize = 64;
/// How often batches may get longer within a row group: each time, the rows already read are skipped again.
const MOST_GROWN: usize = 4;
/// Minimum number of remaining batches for which a reader of longer batches pays off.
const BATCHES_LEFT: usize = 16;
/// Bytes of a column's decompressed pages: one page of the size that writers use; with a dictionary, the dictionary and a
/// page of indexes.
const PAGE_BYTES: (usize, usize) = (1 << 20, 5 << 18);
/// Other bytes per column: its reader, and the decompressor if it has several pages.
const COLUMN_BYTES: (usize, usize) = (16 << 10, 160 << 10);
/// A column of more bytes may have several pages.
const SEVERAL_PAGES: usize = 512 << 10;

/// Limits of a batch. A single row may be larger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchSize {
    pub rows: usize,
    pub bytes: usize,
}

/// Reads batches of some columns of some row groups, in the file's order.
pub(crate) struct Batches {
    input: RangeReader,
    metadata: Arc<ParquetMetaData>,
    levels: FieldLevels,
    leaves: Vec<usize>,
    groups: std::vec::IntoIter<usize>,
    size: BatchSize,
    open: Option<Open>,
    /// Bytes per row in the last batch.
    row_bytes: usize,
}

/// A row group that is being read.
struct Open {
    chunks: Chunks,
    reader: ParquetRecordBatchReader,
    /// Rows of a batch.
    step: usize,
    /// Rows read.
    done: usize,
    grown: usize,
    /// Mean bytes per row, from the footer.
    mean: usize,
}

impl Batches {
    pub fn new(
        input: RangeReader,
        metadata: Arc<ParquetMetaData>,
        mask: &ProjectionMask,
        groups: Vec<usize>,
        size: BatchSize,
    ) -> Result<Self> {
        let schema = metadata.file_metadata().schema_descr();
        let levels = parquet_to_arrow_field_levels(schema, mask.clone(), None)?;
        let leaves = (0..schema.num_columns()).filter(|leaf| mask.leaf_included(*leaf)).collect();
        let size = BatchSize { rows: size.rows.max(1), bytes: size.bytes.max(1) };
        Ok(Self { input, metadata, levels, leaves, groups: groups.into_iter(), size, open: None, row_bytes: 0 })
    }

    /// The next batch; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.groups.next() {
                    Some(group) => self.open(group).await?,
                    None => return Ok(None),
                },
            };
            if let Some(batch) = open.reader.next().transpose()? {
                self.measure(&mut open, &batch)?;
                self.open = Some(open);
                return Ok(Some(batch));
            }
        }
    }

    async fn open(&mut self, index: usize) -> Result<Open> {
        let group = group(&self.metadata, index)?;
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let mut places: Vec<usize> = Vec::with_capacity(self.leaves.len());
        let mut ranges = Vec::with_capacity(self.leaves.len());
        let (mut bytes, mut known) = (0_usize, true);
        for leaf in &self.leaves {
            let Some(column) = group.columns().get(*leaf) else { continue };
            ranges.push(range(column)?);
            places.push(*leaf);
            let (more, is_known) = in_memory(column);
            bytes = bytes.saturating_add(more);
            known &= is_known;
        }
        let starts: Vec<u64> = ranges.iter().map(|range| range.start).collect();
        let fetched = self.input.get_byte_ranges(ranges).await?;
        let chunks = starts.into_iter().zip(fetched).map(|(start, bytes)| Arc::new(Chunk { start, bytes }));
        let leaves = places.into_iter().zip(chunks).collect();
        let chunks = Chunks { metadata: Arc::clone(&self.metadata), index, rows, leaves };
        let mean = bytes / rows.max(1);
        let mut step = self.rows_of(self.row_bytes.max(mean));
        if !known && self.row_bytes == 0 {
            step = step.min(FIRST_ROWS);
        }
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &chunks, step, None)?;
        Ok(Open { chunks, reader, step, done: 0, grown: 0, mean })
    }

    /// Number of rows of this size in a batch.
    fn rows_of(&self, row_bytes: usize) -> usize {
        (self.size.bytes / row_bytes.max(1)).clamp(1, self.size.rows)
    }

    /// Measures a batch, and adjusts the number of rows of the next one.
    fn measure(&mut self, open: &mut Open, batch: &RecordBatch) -> Result<()> {
        let bytes = memory_of(batch);
        open.done += batch.num_rows();
        self.row_bytes = bytes / batch.num_rows().max(1) + 1;
        let rows = open.chunks.rows.saturating_sub(open.done);
        let wanted = self.rows_of(self.row_bytes.max(open.mean));
        let longer = wanted / 4 >= open.step && rows / BATCHES_LEFT >= open.step && open.grown < MOST_GROWN;
        if rows == 0 || (wanted >= open.step.div_ceil(2) && !longer) {
            return Ok(());
        }
        open.grown += usize::from(longer);
        // The next rows may be larger than the last ones.
        open.step = if longer { wanted / 2 } else { wanted };
        let left = RowSelection::from(vec![RowSelector::skip(open.done), RowSelector::select(rows)]);
        open.reader =
            ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &open.chunks, open.step, Some(left))?;
        Ok(())
    }
}

/// The encoded columns of a row group.
struct Chunks {
    metadata: Arc<ParquetMetaData>,
    index: usize,
    rows: usize,
    leaves: HashMap<usize, Arc<Chunk>>,
}

impl RowGroups for Chunks {
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>> {
        let place = (self.index, leaf);
        column(&self.metadata, place)?;
        let Some(chunk) = self.leaves.get(&leaf) else { return Err(no_column(place)) };
        let pages = Pages {
            metadata: Arc::clone(&self.metadata),
            place,
            rows: self.rows,
            chunk: Some(Arc::clone(chunk)),
            reader: None,
        };
        Ok(Box::new(OneChunk(Some(Box::new(pages)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().get(self.index).into_iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of a column chunk. A decompressor takes 100 KB and more: it is created for the first page and dropped after
/// the last, so that only a few of many small columns have one at a time.
struct Pages {
    metadata: Arc<ParquetMetaData>,
    /// Indexes of the row group and of the leaf column.
    place: (usize, usize),
    rows: usize,
    /// The bytes, until `reader` has them.
    chunk: Option<Arc<Chunk>>,
    reader: Option<SerializedPageReader<Chunk>>,
}

impl Pages {
    /// The reader; `None` after the last page.
    fn reader(&mut self) -> Result<Option<&mut SerializedPageReader<Chunk>>> {
        if let Some(chunk) = self.chunk.take() {
            let column = column(&self.metadata, self.place)?;
            self.reader = Some(SerializedPageReader::new(chunk, column, self.rows, None)?);
        }
        Ok(self.reader.as_mut())
    }

    /// Drops the reader after its last page.
    fn end(&mut self) -> Result<()> {
        if let Some(reader) = &mut self.reader
            && reader.peek_next_page()?.is_none()
        {
            self.reader = None;
        }
        Ok(())
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(reader) = self.reader()? else { return Ok(None) };
        let page = reader.get_next_page()?;
        self.end()?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.reader()?.map_or(Ok(None), SerializedPageReader::peek_next_page)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let Some(reader) = self.reader()? else { return Ok(()) };
        reader.skip_next_page()?;
        self.end()
    }
}

struct OneChunk(Option<Box<dyn PageReader>>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for OneChunk {}

/// The bytes of a column chunk, by file offset.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn from(&self, start: u64) -> Result<Bytes> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| *at <= self.bytes.len()) {
            Some(at) => Ok(self.bytes.slice(at..)),
            None => Err(ParquetError::EOF(format!("a page at {start} is outside of its column"))),
        }
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("a page of {length} bytes at {start} is longer than its column")));
        }
        Ok(bytes.slice(..length))
    }
}

fn group(metadata: &ParquetMetaData, index: usize) -> Result<&RowGroupMetaData> {
    metadata.row_groups().get(index).ok_or_else(|| ParquetError::General(format!("the file has no row group {index}")))
}

fn column(metadata: &ParquetMetaData, place: (usize, usize)) -> Result<&ColumnChunkMetaData> {
    group(metadata, place.0)?.columns().get(place.1).ok_or_else(|| no_column(place))
}

fn no_column((group, leaf): (usize, usize)) -> ParquetError {
    ParquetError::General(format!("row group {group} has no column {leaf}"))
}

/// Where the column lies in the file.
fn range(column: &ColumnChunkMetaData) -> Result<Range<u64>> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let range = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
    let range = range.and_then(|(start, length)| Some(start..start.checked_add(length)?));
    range.ok_or_else(|| ParquetError::General(format!("column {} has an impossible place", column.column_path())))
}

/// Bytes of a column chunk in memory, including nulls, and whether they are known. For values in dictionaries or delta
/// encodings they are known only if the writer stated them.
fn in_memory(column: &ColumnChunkMetaData) -> (usize, bool) {
    let count = |n: i64| usize::try_from(n).unwrap_or(0);
    let decimal = column.column_descr().converted_type() == ConvertedType::DECIMAL;
    let width = match column.column_type() {
        _ if decimal => 16,
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE | Type::INT96 | Type::BYTE_ARRAY => 8,
        Type::FIXED_LEN_BYTE_ARRAY => count(column.column_descr().type_length().into()),
    };
    let values = count(column.num_values()).saturating_mul(width);
    if column.column_type() != Type::BYTE_ARRAY || decimal {
        return (values, true);
    }
    let plain = |encoding: Encoding| {
        #[expect(deprecated, reason = "old writers note it")]
        let levels = matches!(encoding, Encoding::RLE | Encoding::BIT_PACKED);
        levels || encoding == Encoding::PLAIN
    };
    match column.unencoded_byte_array_data_bytes() {
        Some(bytes) => (values.saturating_add(count(bytes)), true),
        None => (values.saturating_add(count(column.uncompressed_size())), column.encodings().all(plain)),
    }
}

/// The largest mean size of a row in memory, over all row groups, and whether it is known; at least 1.
pub(crate) fn row_bytes(metadata: &ParquetMetaData) -> (usize, bool) {
    let mut known = true;
    let of_group = |group: &RowGroupMetaData| {
        let bytes = group.columns().iter().map(in_memory).fold(0_usize, |sum, (bytes, is_known)| {
            known &= is_known;
            sum.saturating_add(bytes)
        });
        bytes / usize::try_from(group.num_rows()).unwrap_or(0).max(1)
    };
    let most = metadata.row_groups().iter().map(of_group).max().unwrap_or(1).max(1);
    (most, known)
}

/// Memory for reading the file, in addition to batches: the fetched bytes of the largest row group, and the decompressed
/// pages of its columns.
pub(crate) fn reading_bytes(metadata: &ParquetMetaData) -> usize {
    let count = |n: i64| usize::try_from(n).unwrap_or(0);
    let of_column = |column: &ColumnChunkMetaData| {
        let unpacked = count(column.uncompressed_size());
        let own = if unpacked > SEVERAL_PAGES { COLUMN_BYTES.1 } else { COLUMN_BYTES.0 };
        let page = if column.dictionary_page_offset().is_some() { PAGE_BYTES.1 } else { PAGE_BYTES.0 };
        count(column.compressed_size()).saturating_add(unpacked.min(page)).saturating_add(own)
    };
    let of_group = |group: &RowGroupMetaData| group.columns().iter().map(of_column).fold(0, usize::saturating_add);
    metadata.row_groups().iter().map(of_group).max().unwrap_or(0)
}

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;
