//! Rows as Parquet: batch after batch with all columns open, or column after column where there are very many, or where all
//! rows of a row group are there.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use crate::pool::Helpers;

/// A file with more columns than these, those within others counted too, is written column after column: before it has
/// any value an open column takes some 100 KB, most of it zstd's contexts.
const NARROW: usize = 1024;
/// The most columns of such a file that are open at once, unless one top-level column has more within.
const OPEN_COLUMNS: usize = 128;
/// Bytes of rows, as Arrow has them, that are collected for a row group of a wide file. Smaller row
/// groups would be more footer than data.
const WIDE_ROW_GROUP_BYTES: usize = 64 << 20;

/// Hands the values of one column of a row group, by its place in the table, to the function it is given, in as many arrays
/// as it likes.
pub(super) type ColumnSource = Arc<dyn Fn(usize, &mut dyn FnMut(&ArrayRef) -> Result<()>) -> Result<()> + Send + Sync>;

/// Encodes rows into `W`.
pub(super) enum Encoder<W: Write + Send> {
    /// Each batch is encoded when it comes.
    AtOnce(Box<ArrowWriter<W>>),
    /// A row group is encoded column after column, from batches that were collected or from arrays as they are asked for.
    ByColumns(Box<ColumnsEncoder<W>>),
}

/// Whether a file of this schema is written some columns at a time. Its columns get no dictionaries, which take 15 KB each.
pub(super) fn is_wide(schema: &Schema) -> bool {
    schema.flattened_fields().len() > NARROW
}

impl<W: Write + Send> Encoder<W> {
    pub fn new(sink: W, schema: &SchemaRef, properties: WriterProperties) -> Result<Self> {
        let is_wide = is_wide(schema);
        let writer = ArrowWriter::try_new(sink, Arc::clone(schema), Some(properties))?;
        if !is_wide {
            return Ok(Self::AtOnce(Box::new(writer)));
        }
        Self::AtOnce(Box::new(writer)).by_columns(schema)
    }

    /// From here on row groups are encoded column after column.
    pub fn by_columns(self, schema: &SchemaRef) -> Result<Self> {
        let Self::AtOnce(writer) = self else { return Ok(self) };
        let (file, _) = writer.into_serialized_writer()?;
        Ok(Self::ByColumns(Box::new(ColumnsEncoder::new(file, schema)?)))
    }

    /// Encodes a row group of its own, after [`by_columns`](Self::by_columns) only.
    pub fn write_row_group(&mut self, source: &ColumnSource, helpers: &Arc<Helpers>) -> Result<()> {
        match self {
            Self::AtOnce(_) => Err(ParquetError::General("the file is written batch after batch".to_owned())),
            Self::ByColumns(writer) => {
                writer.end_row_group()?;
                writer.write_row_group(source, helpers)
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

    /// Encodes what is left, and the footer.
    pub fn finish(&mut self) -> Result<ParquetMetaData> {
        match self {
            Self::AtOnce(writer) => writer.finish(),
            Self::ByColumns(writer) => writer.finish(),
        }
    }

    /// About how many bytes the file would have if it were finished now.
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
pub(super) struct ColumnsEncoder<W: Write + Send> {
    file: SerializedFileWriter<W>,
    schema: SchemaRef,
    sections: Vec<Section>,
    /// The rows of the next row group.
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    pending_rows: usize,
}

/// Columns whose encoders are made at the same time.
struct Section {
    /// Their places among the columns of the table.
    columns: Range<usize>,
    writers: ArrowRowGroupWriterFactory,
}

/// A column of the table whose values of one row group are to be encoded.
struct OpenColumn {
    place: usize,
    field: FieldRef,
    /// Of its leaves.
    writers: Vec<ArrowColumnWriter>,
}

impl OpenColumn {
    fn encode(self, source: &ColumnSource, helpers: &Helpers) -> Result<Vec<ArrowColumnChunk>> {
        let Self { place, field, mut writers } = self;
        source(place, &mut |array| {
            let leaves = compute_leaves(&field, array)?;
            let pairs = leaves.into_iter().zip(std::mem::take(&mut writers)).collect();
            let encode =
                |(leaf, mut writer): (ArrowLeafColumn, ArrowColumnWriter)| writer.write(&leaf).map(|()| writer);
            helpers.in_order(pairs, encode, |writer| {
                writers.push(writer?);
                Ok(())
            })
        })?;
        writers.into_iter().map(ArrowColumnWriter::close).collect()
    }
}

impl<W: Write + Send> ColumnsEncoder<W> {
    fn new(file: SerializedFileWriter<W>, schema: &SchemaRef) -> Result<Self> {
        let mut sections = Vec::new();
        let mut start = 0;
        while start < schema.fields().len() {
            let (mut end, mut leaves) = (start, 0);
            for field in schema.fields().iter().skip(start) {
                leaves += Schema::new(vec![Arc::clone(field)]).flattened_fields().len();
                if leaves > OPEN_COLUMNS && end > start {
                    break;
                }
                end += 1;
            }
            let part = Arc::new(schema.project(&(start..end).collect::<Vec<_>>())?);
            let parquet = ArrowSchemaConverter::new().convert(&part)?;
            // It only hands the section's columns and the properties to the factory.
            let unused =
                SerializedFileWriter::new(io::sink(), parquet.root_schema_ptr(), Arc::clone(file.properties()))?;
            sections.push(Section { columns: start..end, writers: ArrowRowGroupWriterFactory::new(&unused, part) });
            start = end;
        }
        let schema = Arc::clone(schema);
        Ok(Self { file, schema, sections, pending: Vec::new(), pending_bytes: 0, pending_rows: 0 })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.pending_bytes += super::write::memory_of(batch);
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
        (self.pending_bytes, self.pending_rows) = (0, 0);
        if batches.is_empty() {
            return Ok(());
        }
        let source: ColumnSource =
            Arc::new(move |place, write| batches.iter().try_for_each(|batch| write(batch.column(place))));
        self.write_row_group(&source, &Arc::default())
    }

    fn write_row_group(&mut self, source: &ColumnSource, helpers: &Arc<Helpers>) -> Result<()> {
        let number = self.file.flushed_row_groups().len();
        let mut group = self.file.next_row_group()?;
        for section in &self.sections {
            let mut writers = section.writers.create_column_writers(number)?.into_iter();
            let columns = section.columns.clone().zip(self.schema.fields().iter().skip(section.columns.start));
            let columns: Vec<OpenColumn> = columns
                .map(|(place, field)| {
                    let writers = writers.by_ref().take(leaves(field.data_type())).collect();
                    OpenColumn { place, field: Arc::clone(field), writers }
                })
                .collect();
            let (source, more) = (Arc::clone(source), Arc::clone(helpers));
            helpers.in_order(
                columns,
                move |column| column.encode(&source, &more),
                |chunks| chunks?.into_iter().try_for_each(|chunk| chunk.append_to_row_group(&mut group)),
            )?;
        }
        group.close()?;
        Ok(())
    }

    fn finish(&mut self) -> Result<ParquetMetaData> {
        self.end_row_group()?;
        self.file.finish()
    }
}

/// How many columns a column is in Parquet.
fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        DataType::List(inner) | DataType::Map(inner, _) => leaves(inner.data_type()),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListArray, StringArray, StructArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, Fields, Int32Type};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

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
    fn some_columns_at_a_time_make_the_same_file() {
        let batches = [batch(0, 7), batch(7, 1), batch(8, 5)];
        let schema = batches[0].schema();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(8)).build();
        let file = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).unwrap();
        let mut encoder = ColumnsEncoder::new(file.into_serialized_writer().unwrap().0, &schema).unwrap();
        assert!(encoder.sections.len() >= 3 && encoder.sections.iter().any(|section| section.columns.len() == 1));
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
