//! Encodes rows as Parquet: batch by batch with all columns open; or column by column, for very wide files or if all
//! rows of a row group are available.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;

use super::chunk::{Column, columns};
use super::min_max::MinMax;
use crate::runtime::work_sharing::WorkSharing;
use crate::table::parquet::chunk::Levels;

/// A file with more columns than these, those within others counted too, is written column after column: before it has
/// any value an open column takes some 100 KB, most of it zstd's contexts, and each null a step.
const NARROW: usize = 64;
/// Columns of a file with more than these get no dictionaries.
const WITH_DICTIONARIES: usize = 1024;
/// Bytes of rows, as Arrow has them, that are collected for a row group of a wide file. Smaller row
/// groups would be more footer than data.
pub(crate) const WIDE_ROW_GROUP_BYTES: usize = 64 << 20;

/// Encodes rows into `W`.
pub(crate) enum Encoder<W: Write + Send> {
    /// Encodes each batch immediately.
    AtOnce(Box<ArrowWriter<W>>),
    /// Encodes a row group column by column, once all of its rows are available.
    ByColumns(Box<ColumnsEncoder<W>>),
}

/// Whether columns of a file of this schema get dictionaries, which take 15 KB each.
pub(crate) fn has_dictionaries(schema: &Schema) -> bool {
    schema.flattened_fields().len() <= WITH_DICTIONARIES
}

impl<W: Write + Send> Encoder<W> {
    /// `parquet` is the schema as Parquet's descriptor.
    pub fn new(sink: W, schema: &SchemaRef, parquet: SchemaDescriptor, properties: WriterProperties) -> Result<Self> {
        let is_wide = schema.flattened_fields().len() > NARROW;
        let options = ArrowWriterOptions::new().with_properties(properties).with_parquet_schema(parquet);
        let writer = ArrowWriter::try_new_with_options(sink, Arc::clone(schema), options)?;
        if !is_wide {
            return Ok(Self::AtOnce(Box::new(writer)));
        }
        Self::AtOnce(Box::new(writer)).by_columns(schema)
    }

    /// From here on, row groups are encoded column by column.
    pub fn by_columns(self, schema: &SchemaRef) -> Result<Self> {
        let Self::AtOnce(writer) = self else { return Ok(self) };
        let (file, _) = writer.into_serialized_writer()?;
        Ok(Self::ByColumns(Box::new(ColumnsEncoder::new(file, schema))))
    }

    /// Encodes the rows at the given positions as a row group, only after [`by_columns`](Self::by_columns). Returns the
    /// statistics of each field that is not inside a list or a map, by field id.
    pub fn write_row_group(
        &mut self,
        batch: &RecordBatch,
        positions: Vec<u32>,
        helpers: &Arc<WorkSharing>,
    ) -> Result<Vec<(i32, MinMax)>> {
        match self {
            Self::AtOnce(_) => Err(ParquetError::General("the file is written batch after batch".to_owned())),
            Self::ByColumns(writer) => {
                writer.end_row_group()?;
                writer.write_row_group(vec![batch.clone()], positions, helpers)
            }
        }
    }

    /// Appends rows of the schema.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::AtOnce(writer) => writer.write(batch),
            Self::ByColumns(writer) => writer.write(batch),
        }
    }

    /// Ends the row group, if it has any rows.
    pub fn end_row_group(&mut self) -> Result<()> {
        match self {
            Self::AtOnce(writer) => writer.flush(),
            Self::ByColumns(writer) => writer.end_row_group(),
        }
    }

    /// Encodes what is left, and the footer.
    pub fn finish(&mut self) -> Result<ParquetMetaData> {
        match self {
            Self::AtOnce(writer) => writer.finish(),
            Self::ByColumns(writer) => writer.finish(),
        }
    }

    /// Estimated size of the file if it were finished now, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::AtOnce(writer) => writer.bytes_written().saturating_add(writer.in_progress_size()),
            Self::ByColumns(writer) => writer.file.bytes_written().saturating_add(writer.pending_bytes),
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        match self {
            Self::AtOnce(writer) => writer.memory_size(),
            Self::ByColumns(writer) => writer.pending_bytes,
        }
    }

    pub fn sink(&mut self) -> &mut W {
        match self {
            Self::AtOnce(writer) => writer.inner_mut(),
            Self::ByColumns(writer) => writer.file.inner_mut(),
        }
    }
}

/// Encodes a row group column after column.
pub(crate) struct ColumnsEncoder<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Column>,
    /// The rows of the next row group.
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    pending_rows: usize,
}

impl<W: Write + Send> ColumnsEncoder<W> {
    fn new(file: SerializedFileWriter<W>, schema: &SchemaRef) -> Self {
        let columns = columns(schema.fields(), file.schema_descr().columns());
        Self { file, columns, pending: Vec::new(), pending_bytes: 0, pending_rows: 0 }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.pending_bytes += memory_of(batch);
        self.pending_rows += batch.num_rows();
        self.pending.push(batch.clone());
        let most_rows = self.file.properties().max_row_group_row_count().unwrap_or(usize::MAX);
        if self.pending_bytes >= WIDE_ROW_GROUP_BYTES || self.pending_rows >= most_rows {
            self.end_row_group()?;
        }
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.pending);
        let rows = u32::try_from(self.pending_rows).map_err(|e| ParquetError::External(Box::new(e)))?;
        (self.pending_bytes, self.pending_rows) = (0, 0);
        if !batches.is_empty() {
            self.write_row_group(batches, (0..rows).collect(), &Arc::default())?;
        }
        Ok(())
    }

    fn write_row_group(
        &mut self,
        batches: Vec<RecordBatch>,
        positions: Vec<u32>,
        helpers: &Arc<WorkSharing>,
    ) -> Result<Vec<(i32, MinMax)>> {
        let (rows, properties) = (Levels::rows(Arc::new(positions)), Arc::clone(self.file.properties()));
        let mut group = self.file.next_row_group()?;
        let mut found = Vec::new();
        let more = Arc::clone(helpers);
        let encode = move |(place, column): (usize, Column)| {
            let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(place).as_ref()).collect();
            let array = match batches.as_slice() {
                [batch] => Arc::clone(batch.column(place)),
                _ => concat(&arrays)?,
            };
            column.encode(&array, &rows, &properties, &more)
        };
        helpers.in_order(self.columns.iter().cloned().enumerate().collect(), encode, |chunks| {
            for chunk in chunks? {
                found.extend(chunk.append(&mut group)?);
            }
            Ok::<_, ParquetError>(())
        })?;
        group.close()?;
        Ok(found)
    }

    fn finish(&mut self) -> Result<ParquetMetaData> {
        self.end_row_group()?;
        self.file.finish()
    }
}

/// Bytes of the rows themselves, even if the batch is a slice of a larger one.
pub(crate) fn memory_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(bytes_of).sum()
}

fn bytes_of(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StructArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{DataType, Field, Fields, Int32Type};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::{Compression, ZstdLevel};

    use super::*;

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let longs =
            |k: i64| Arc::new((from..from + rows).map(|n| (n % 3 != 0).then_some(n * k)).collect::<Int64Array>());
        let inside: Fields = (0..150).map(|k| Field::new(format!("s{k}"), DataType::Int64, true)).collect();
        let inside = StructArray::new(inside, (0..150).map(|k| longs(k) as ArrayRef).collect(), None);
        let texts = (from..from + rows).map(|n| Some(format!("text {n}"))).collect::<StringArray>();
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
            (from..from + rows).map(|n| (n % 4 != 0).then(|| (0..i32::try_from(n % 5).unwrap()).map(Some))),
        );
        let mut columns: Vec<(String, ArrayRef)> = (0..200).map(|k| (format!("c{k}"), longs(k) as ArrayRef)).collect();
        columns.push(("struct".to_owned(), Arc::new(inside)));
        columns.push(("text".to_owned(), Arc::new(texts)));
        columns.push(("list".to_owned(), Arc::new(lists)));
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
    }

    #[test]
    fn wide_rows_are_read_as_they_were_written() {
        let batches = [batch(0, 7), batch(7, 1), batch(8, 5)];
        let schema = batches[0].schema();
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).set_max_row_group_row_count(Some(8)).build();
        let file = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).unwrap();
        let mut encoder = ColumnsEncoder::new(file.into_serialized_writer().unwrap().0, &schema);
        assert_eq!(encoder.columns.len(), 203);
        for batch in &batches {
            encoder.write(batch).unwrap();
        }
        let footer = encoder.finish().unwrap();
        let rows: Vec<i64> =
            footer.row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).collect();
        assert_eq!(rows, [8, 5]);
        let bytes = Bytes::from(std::mem::take(encoder.file.inner_mut()));
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        assert_eq!(reader.schema(), &schema);
        let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(concat_batches(&schema, &read).unwrap(), concat_batches(&schema, &batches).unwrap());
    }
}
