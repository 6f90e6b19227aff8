//! Reads all rows of a data file in the table's current columns, whatever the table's schema was when the file was
//! written.
//!
//! Columns, struct fields, list elements and map values are found by Parquet field id, including nested ones. Columns
//! that an older file lacks are null; narrower numbers are widened as Iceberg's schema evolution allows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef as ArrowSchemaRef};
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use tokio::runtime::Handle;

use super::keys::{live_rows, promote};
use crate::error::{Error, Result};
use crate::table::deletes::positions::Positions;
use crate::table::files::LiveFile;
use crate::table::parquet::batches::{self, BatchSize};
use crate::table::parquet::reader::ParquetFile;

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 4096;
/// Bytes of a batch, at most, where the caller does not say.
const BATCH_BYTES: usize = 8 << 20;

/// Reads the rows of a data file except those at the given positions, in file order, as batches of `schema` (the
/// table's current Arrow schema, with field ids). Synchronous: for a blocking thread.
///
/// Errors: a required column that is missing from the file, or a type that cannot be promoted.
pub fn scan_rows(
    file_io: &FileIO,
    handle: &Handle,
    live: &LiveFile,
    schema: &ArrowSchemaRef,
    without: &Positions,
    on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    FileRows::open(file_io, handle, live, schema)?.scan(handle, without, on_batch)
}

/// An open data file, before its rows are read as by [`scan_rows`].
pub(crate) struct FileRows(RowScan);

impl FileRows {
    pub fn open(file_io: &FileIO, handle: &Handle, live: &LiveFile, schema: &ArrowSchemaRef) -> Result<Self> {
        Ok(Self(handle.block_on(RowScan::open(file_io, live, schema))?))
    }

    /// Bytes of memory that reading it takes: of the file, and of batches as read and in the table's columns.
    pub fn memory(&self) -> usize {
        batches::reading_bytes(self.0.file.metadata()).saturating_add(2 * BATCH_BYTES)
    }

    pub fn scan(
        mut self,
        handle: &Handle,
        without: &Positions,
        on_batch: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut batches = self.0.batches(BATCH_BYTES)?;
        while let Some(batch) = handle.block_on(batches.next()) {
            if let Some(batch) = self.0.live_rows(batch?, without)? {
                on_batch(batch)?;
            }
        }
        Ok(())
    }
}

/// Like [`scan_rows`], in batches of about `batch_bytes`, as a stream, which occupies no thread.
pub fn row_stream(
    file_io: FileIO,
    live: LiveFile,
    schema: ArrowSchemaRef,
    without: Positions,
    batch_bytes: usize,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let opened = async move {
        let mut scan = RowScan::open(&file_io, &live, &schema).await?;
        let batches = scan.batches(batch_bytes)?;
        let live_rows =
            move |batch: Result<RecordBatch>| ready(batch.and_then(|b| scan.live_rows(b, &without)).transpose());
        Ok::<_, Error>(batches.filter_map(live_rows))
    };
    futures::stream::once(opened).try_flatten()
}

/// A data file whose rows are read in order.
struct RowScan {
    file: ParquetFile,
    schema: ArrowSchemaRef,
    /// The position of the next row.
    next: i64,
    /// Once there is a batch.
    conversion: Option<Conversion>,
}

impl RowScan {
    async fn open(file_io: &FileIO, live: &LiveFile, schema: &ArrowSchemaRef) -> Result<Self> {
        let file = ParquetFile::open_async(file_io, &live.file).await?;
        Ok(Self { file, schema: schema.clone(), next: 0, conversion: None })
    }

    /// All rows, in the file's own columns.
    fn batches(&self, batch_bytes: usize) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let groups = (0..self.file.metadata().num_row_groups()).collect();
        let wanted: Vec<usize> = self.schema.fields().iter().filter_map(|f| self.file.column(field_id(f)?)).collect();
        if wanted.is_empty() {
            return Err(Error::failed("the data file has none of the table's columns").in_file(self.file.location()));
        }
        self.file.batches(&wanted, groups, BatchSize { rows: BATCH_ROWS, bytes: batch_bytes })
    }

    /// The remaining rows of the next batch, in the table's columns; `None` if none remain.
    fn live_rows(&mut self, batch: RecordBatch, without: &Positions) -> Result<Option<RecordBatch>> {
        let count = i64::try_from(batch.num_rows()).map_err(|_| Error::failed("a batch of too many rows"))?;
        let positions: Vec<i64> = (self.next..self.next + count).collect();
        self.next += count;
        let kept = match live_rows(&positions, &mut without.cursor()) {
            None => batch,
            Some(mask) if mask.true_count() == 0 => return Ok(None),
            Some(mask) => filter_record_batch(&batch, &mask)?,
        };
        let columns = self.in_columns_of_table(&kept).map_err(|e| e.in_file(self.file.location()))?;
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }

    fn in_columns_of_table(&mut self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let conversion = match &mut self.conversion {
            Some(conversion) => conversion,
            none => none.insert(Conversion::new(self.schema.fields(), batch.schema().fields())?),
        };
        conversion.apply(batch.columns(), batch.num_rows())
    }
}

/// What reading a data file takes, by its footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// About how many bytes a row takes in memory, on average, where rows are the largest; at least 1.
    pub row_bytes: usize,
    /// Rows may take more: nothing tells how large the values are that a dictionary holds.
    pub at_least: bool,
    /// Bytes that are held while it is read, besides batches.
    pub reading_bytes: usize,
}

/// Looks at the footer of a data file. Synchronous: for a blocking thread.
pub fn footprint(file_io: &FileIO, handle: &Handle, live: &LiveFile) -> Result<Footprint> {
    let file = ParquetFile::open(file_io, handle, &live.file)?;
    let (row_bytes, known) = batches::row_bytes(file.metadata());
    Ok(Footprint { row_bytes, at_least: !known, reading_bytes: batches::reading_bytes(file.metadata()) })
}

/// How columns of a data file become columns of the table: found once a file.
#[derive(Debug)]
struct Conversion(Vec<(FieldRef, Source)>);

/// Where a column's values come from.
#[derive(Debug)]
enum Source {
    /// No column of the file: they are null. As many nulls as a batch has needed so far.
    Nulls(ArrayRef),
    Column(usize, Change),
}

/// What is to be done with the values of a column.
#[derive(Debug)]
enum Change {
    Nothing,
    Promote,
    Struct(Fields, Conversion),
    List(FieldRef, Box<Change>),
    Map(FieldRef, bool, Box<[Change; 2]>),
}

impl Conversion {
    fn new(wanted: &Fields, there: &Fields) -> Result<Self> {
        let by_id: HashMap<i32, usize> =
            there.iter().enumerate().filter_map(|(n, field)| Some((field_id(field)?, n))).collect();
        let source = |field: &FieldRef| {
            let found = field_id(field).and_then(|id| by_id.get(&id)).and_then(|n| Some((*n, there.get(*n)?)));
            Ok(match found {
                Some((n, from)) => Source::Column(n, Change::new(from.data_type(), field)?),
                None if field.is_nullable() => Source::Nulls(new_null_array(field.data_type(), 0)),
                None => {
                    return Err(
                        Error::failed("the data file lacks a required column").of_attribute(field.name().as_str())
                    );
                }
            })
        };
        wanted.iter().map(|field| Ok((Arc::clone(field), source(field)?))).collect::<Result<_>>().map(Self)
    }

    fn apply(&mut self, arrays: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
        let missing = || Error::failed("a column of the data file is missing");
        let column = |(field, source): &mut (FieldRef, Source)| match source {
            Source::Column(n, change) => change.apply(arrays.get(*n).ok_or_else(missing)?, field),
            Source::Nulls(nulls) => {
                if nulls.len() < rows {
                    *nulls = new_null_array(field.data_type(), rows);
                }
                Ok(nulls.slice(0, rows))
            }
        };
        self.0.iter_mut().map(column).collect()
    }
}

impl Change {
    /// From one column, or one level of a nested column, to the wanted field.
    fn new(there: &DataType, wanted: &Field) -> Result<Self> {
        let mismatch = || {
            Error::failed(format!("the data file has {there}, the table's column is {}", wanted.data_type()))
                .of_attribute(wanted.name().as_str())
        };
        Ok(match (there, wanted.data_type()) {
            (there, wanted) if there == wanted => Self::Nothing,
            (DataType::Struct(there), DataType::Struct(inner)) => {
                Self::Struct(inner.clone(), Conversion::new(inner, there)?)
            }
            (DataType::List(there), DataType::List(element)) => {
                Self::List(Arc::clone(element), Box::new(Self::new(there.data_type(), element)?))
            }
            (DataType::Map(there, _), DataType::Map(entries, ordered)) => {
                let (DataType::Struct(from), DataType::Struct(to)) = (there.data_type(), entries.data_type()) else {
                    return Err(mismatch());
                };
                let ([key, value], [to_key, to_value]) = (from.as_ref(), to.as_ref()) else { return Err(mismatch()) };
                let changes = [Self::new(key.data_type(), to_key)?, Self::new(value.data_type(), to_value)?];
                Self::Map(Arc::clone(entries), *ordered, Box::new(changes))
            }
            (_, DataType::Struct(_) | DataType::List(_) | DataType::Map(..)) => return Err(mismatch()),
            _ => Self::Promote,
        })
    }

    fn apply(&mut self, array: &ArrayRef, wanted: &Field) -> Result<ArrayRef> {
        Ok(match self {
            Self::Nothing => Arc::clone(array),
            Self::Promote => promote(array, wanted.data_type()).map_err(|e| e.of_attribute(wanted.name().as_str()))?,
            Self::Struct(inner, conversion) => {
                let array = array.as_struct();
                let columns = conversion.apply(array.columns(), array.len())?;
                Arc::new(StructArray::try_new(inner.clone(), columns, array.nulls().cloned())?)
            }
            Self::List(element, change) => {
                let array = array.as_list::<i32>();
                let values = change.apply(array.values(), element)?;
                Arc::new(ListArray::try_new(element.clone(), array.offsets().clone(), values, array.nulls().cloned())?)
            }
            Self::Map(entries, ordered, changes) => {
                let array = array.as_map();
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(Error::failed("a map without entries"));
                };
                let ([key, value], [of_key, of_value]) = (pair.as_ref(), &mut **changes) else {
                    return Err(Error::failed("a map without entries"));
                };
                let columns = vec![of_key.apply(array.keys(), key)?, of_value.apply(array.values(), value)?];
                let pairs = StructArray::try_new(pair.clone(), columns, None)?;
                let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
                Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *ordered)?)
            }
        })
    }
}

fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok())
}

#[cfg(test)]
mod tests {
    use iceberg::arrow::schema_to_arrow_schema;
    use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};

    use super::*;
    use crate::table::fixture::Fixture;

    fn file(rows: usize) -> (Fixture, LiveFile) {
        let mut fixture = Fixture::new();
        let keys: Vec<String> = (0..rows).map(|n| format!("key {n:04}")).collect();
        let file = fixture.append(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let live = fixture.live_of(&file);
        (fixture, live)
    }

    fn table_schema(fixture: &Fixture) -> ArrowSchemaRef {
        Arc::new(schema_to_arrow_schema(&fixture.schema()).unwrap())
    }

    #[test]
    fn a_file_that_is_all_deleted_gives_no_batch() {
        let (fixture, live) = file(3);
        let schema = table_schema(&fixture);
        for (deleted, expected) in [(vec![0, 1, 2], 0), (vec![0, 2], 1), (vec![], 1)] {
            let mut batches = 0;
            let without = Positions::new(deleted);
            scan_rows(&fixture.file_io, fixture.handle(), &live, &schema, &without, &mut |_| {
                batches += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(batches, expected);
        }
    }

    #[test]
    fn what_a_file_lacks_is_null_or_refused() {
        let (fixture, live) = file(2);
        let read = |field: NestedField| {
            let table = fixture.schema();
            let fields = table.as_struct().fields().iter().cloned().chain([Arc::new(field)]);
            let schema = Schema::builder().with_fields(fields).build().unwrap();
            let schema = Arc::new(schema_to_arrow_schema(&schema).unwrap());
            let mut nulls = Vec::new();
            let without = Positions::default();
            scan_rows(&fixture.file_io, fixture.handle(), &live, &schema, &without, &mut |batch| {
                nulls.push(batch.column(3).null_count());
                Ok(())
            })
            .map(|()| nulls)
        };
        let long = Type::Primitive(PrimitiveType::Long);
        assert_eq!(read(NestedField::optional(9, "later", long.clone())).unwrap(), [2]);
        let error = read(NestedField::required(9, "later", long)).unwrap_err();
        assert!(error.message().contains("lacks a required column"), "{error}");
        assert!(error.attribute() == Some("later") && error.to_string().contains(live.file.file_path()), "{error}");
    }
}
