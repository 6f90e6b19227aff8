//! One Parquet file of a table, read through iceberg's storage trait.
//!
//! Fetches only the byte ranges of the requested column chunks, one row group at a time; adjacent ranges are merged. A
//! small file is fetched whole.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{BoxStream, try_unfold};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::{FileIO, FileRead};
use iceberg::spec::DataFile;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use tokio::runtime::Handle;

use super::batches::{BatchSize, Batches};
use super::ranges::RangeReader;
use crate::error::{Error, Result};
use crate::storage::{most_of_a_file, most_of_data};
use crate::table::parquet::ranges::{FOOTER_HINT, fetch};

/// A file with its footer.
pub(crate) struct ParquetFile {
    location: String,
    input: RangeReader,
    metadata: ArrowReaderMetadata,
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
        size: BatchSize,
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut stream = self.batches(columns, row_groups, size)?;
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
        size: BatchSize,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let metadata = Arc::clone(self.metadata.metadata());
        let batches = Batches::new(self.input.clone(), metadata, &mask, row_groups, size)
            .map_err(|e| from_parquet(e).in_file(&self.location))?;
        let next = |mut batches: Batches| async { Ok(batches.next().await?.map(|batch| (batch, batches))) };
        let location = self.location.clone();
        Ok(try_unfold(batches, next).map_err(move |e| from_parquet(e).in_file(&location)).boxed())
    }
}

/// A storage error that came through Parquet's reader is the storage's again.
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
    use std::ops::Range;

    use bytes::Bytes;

    use super::ParquetFile;
    use crate::table::parquet::ranges::{FOOTER_HINT, coalesce, slice};

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

    #[test]
    fn only_what_lies_within_is_given() {
        let fetched = [Bytes::from_static(b"0123456789"), Bytes::from_static(b"abcde")];
        let merged = [10..20, 30..35];
        let of = |start, end| slice(&merged, &fetched, &Range { start, end });
        assert_eq!(of(10, 20).unwrap(), "0123456789");
        assert_eq!(of(34, 35).unwrap(), "e");
        for empty in [10, 15, 20, 35] {
            assert_eq!(of(empty, empty).unwrap(), "", "{empty}");
        }
        for (start, end) in [(15, 21), (9, 12), (22, 25), (30, 36), (17, 15), (36, 36)] {
            let error = of(start, end).unwrap_err().to_string();
            assert!(error.contains(&format!("bytes {start}..{end} were not read")), "{error}");
        }
    }

    /// A small file is kept as it is read; of others only what is asked for is fetched, up to a bound.
    #[test]
    fn small_files_are_kept_and_large_reads_refused() {
        let fixture = crate::table::fixture::Fixture::new();
        let small = fixture.write(&["a", "b"]);
        let keys: Vec<String> =
            (0_u64..20_000).map(|n| format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        let large = fixture.write(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        for (file, is_small) in [(&small, true), (&large, false)] {
            assert_eq!(usize::try_from(file.file_size_in_bytes()).unwrap() <= FOOTER_HINT, is_small);
            let mut opened = ParquetFile::open(&fixture.file_io, fixture.handle(), file).unwrap();
            assert_eq!(opened.location(), file.file_path());
            assert_eq!(opened.input.whole.is_some(), is_small);
            opened.input.most = 10;
            assert!(opened.input.check(&[0..4, 6..12]).is_ok());
            assert!(opened.input.check(std::slice::from_ref(&(0..10))).is_ok());
            let error = opened.input.check(&[0..5, 6..12]).unwrap_err();
            assert!(error.to_string().contains("11 bytes of the file are wanted together"), "{error}");
        }
    }
}
