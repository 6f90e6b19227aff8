//! The newest change of each key of a window, in key order: keys and kinds of change, without images.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef as ArrowSchemaRef, UInt64Type};
use arrow::row::{RowConverter, SortField};
use tokio::sync::mpsc;

use super::sort::{Merge, Run, Sorter};
use super::superseded::Superseded;
use crate::columns::{ChangeBuilder, DELETED, LINE, ORDER, WRITTEN};
use crate::engine::session::BATCH_ROWS;
use crate::error::{Error, Result};
use crate::export::read::sharing::SharedLines;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::runtime::pool;
use crate::runtime::progress::Progress;
use crate::runtime::thread::{self, Thread};
use crate::schema::{Limits, NewFields, TableSchema};
use crate::storage::Store;

/// Approximate bytes of rows per batch; a batch of small rows ends at [`BATCH_ROWS`].
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Name prefix of key columns while changes are sorted and joined; the column's index follows.
const KEY: &str = "__key";

/// What the readers found in addition to the changes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub new: NewFields,
}

/// The changes of a window's files.
pub(crate) struct ChangeFiles {
    pub store: Store,
    pub files: Vec<DataFileRef>,
    pub table: TableSchema,
    pub arrow_schema: ArrowSchemaRef,
    pub limits: Limits,
    pub progress: Arc<Progress>,
}

/// The parts of a change that are sorted, and their encoding as bytes.
#[derive(Clone)]
struct Kept {
    /// The key columns and [`DELETED`].
    schema: ArrowSchemaRef,
    /// Indexes of the sorted columns in a change.
    columns: Vec<usize>,
    /// Number of them that belong to the key; these come first.
    width: usize,
    /// Encodes them as bytes that sort by key, newest change first.
    converter: Arc<RowConverter>,
    /// Number of bytes after the key.
    tail: usize,
}

/// Some of the newest changes, and the positions (file, line) of records that newer ones supersede.
struct Merged {
    batch: RecordBatch,
    superseded: Vec<(u64, u64)>,
}

/// A stream of batches with one change per key, ordered by key.
pub(crate) struct Newest {
    batches: mpsc::Receiver<Merged>,
    /// The thread that merges the runs; `None` once it has succeeded.
    merging: Option<Thread<Result<()>>>,
    superseded: Superseded,
    found: Found,
    spread: Arc<SharedLines>,
}

/// Builds batches of records for the sort, each from one file.
struct Batches<'a> {
    builder: ChangeBuilder,
    kept: &'a Kept,
    sorter: Sorter,
    /// The file of the builder's records.
    file: Option<DataFileRef>,
}

impl Batches<'_> {
    fn take(&mut self, file: &DataFileRef, line: Line<'_>) -> Result<()> {
        if self.file.as_ref().is_none_or(|last| last.position != file.position) {
            self.flush()?;
            self.file = Some(file.clone());
        }
        let taken = self.builder.append(line.bytes, line.number);
        taken.map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
        if self.builder.rows() >= BATCH_ROWS || self.builder.memory() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.builder.rows() > 0) else { return Ok(()) };
        let changes = self.builder.finish(u64::from(file.position)).map_err(|e| e.in_file(file.name.as_str()))?;
        self.sorter.add(changes.project(&self.kept.columns)?.columns())
    }
}

impl ChangeFiles {
    /// Reads the changes and sorts them, in about `memory` bytes; the rest is spilled to disk. The result yields the
    /// newest change of each key.
    pub async fn newest(self, threads: usize, memory: usize) -> Result<Newest> {
        let kept = self.kept()?;
        let (spread, tasks) = SharedLines::for_readers(&self.files, threads);
        let spread = Arc::new(spread);
        let readers = threads.min(tasks.len()).max(1);
        let budget = memory / readers;
        // Not run by a `Runner`: each thread sorts all that it reads together, and its runs stay in its memory or in its
        // temporary file, which has no name.
        let tasks = Mutex::new(VecDeque::from(tasks));
        let shared = (Arc::clone(&spread), kept.clone());
        let read = move |_: usize, stop: &Cancel| {
            let (spread, kept) = &shared;
            let builder = ChangeBuilder::new(&self.table, self.limits)?;
            let mut batches = Batches { builder, kept, sorter: Sorter::new(&kept.converter, budget), file: None };
            // An idle thread takes the next split; the lock is released before it is read.
            let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(task) = next() {
                let mut on_line = |file: &DataFileRef, line: Line<'_>| batches.take(file, line);
                spread.run(&task, &self.store, &self.progress, stop, &mut on_line)?;
            }
            batches.flush()?;
            Ok((batches.sorter.finish()?, batches.builder.take_new(), self.limits))
        };
        let mut found = Found::default();
        let mut runs = Vec::new();
        for (sorted, new, limits) in pool::run(readers, (0..readers).collect(), read).await? {
            runs.extend(sorted);
            found.new.join(new, &limits);
        }
        let (sender, batches) = mpsc::channel(1);
        let merging = thread::spawn(move || kept.merge(runs, memory, &sender))?;
        Ok(Newest { batches, merging: Some(merging), superseded: Superseded::default(), found, spread })
    }

    /// The sorted parts: key, time, position in the export, kind of change.
    ///
    /// Key columns are renamed, since an attribute may have the name of one of the other columns.
    fn kept(&self) -> Result<Kept> {
        let wide = ChangeBuilder::schema(&self.arrow_schema);
        let fields = self.table.schema.as_struct().fields();
        let mut columns = Vec::new();
        for key in self.table.key_fields()? {
            let slot = fields.iter().position(|field| field.id == key.id);
            columns.push(slot.ok_or_else(|| Error::failed("a key column is missing"))?);
        }
        let named =
            columns.iter().enumerate().map(|(n, slot)| wide.field(*slot).clone().with_name(format!("{KEY}{n}")));
        let mut schema: Vec<Field> = named.collect();
        let width = columns.len();
        // A change's own columns follow the table's.
        let own = |name: &str| wide.fields().iter().rposition(|field| field.name() == name);
        for name in [WRITTEN, ORDER, LINE, DELETED] {
            columns.push(own(name).ok_or_else(|| Error::failed("changes without their kind"))?);
        }
        let ascending = SortOptions { descending: false, nulls_first: true };
        let newest_first = SortOptions { descending: true, nulls_first: false };
        let field = |n: usize, slot: &usize| {
            let options = if n < width { ascending } else { newest_first };
            SortField::new_with_options(wide.field(*slot).data_type().clone(), options)
        };
        let fields: Vec<SortField> = columns.iter().enumerate().map(|(n, slot)| field(n, slot)).collect();
        // All columns after the key have a fixed width.
        let behind = RowConverter::new(fields.iter().skip(width).cloned().collect())?;
        let some = columns.iter().skip(width).map(|slot| new_null_array(wide.field(*slot).data_type(), 1));
        let tail = behind.convert_columns(&some.collect::<Vec<_>>())?.row(0).data().len();
        schema.push(wide.field(*columns.last().unwrap_or(&0)).clone());
        let converter = Arc::new(RowConverter::new(fields)?);
        Ok(Kept { schema: Arc::new(Schema::new(schema)), columns, width, converter, tail })
    }
}

/// Encoded changes, concatenated.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Gathered {
    fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    fn is_full(&self) -> bool {
        self.ends.len() >= BATCH_ROWS || self.bytes.len() >= BATCH_BYTES
    }

    /// Decodes all changes into columns, and removes them.
    fn take(&mut self, kept: &Kept) -> Result<Vec<ArrayRef>> {
        let parser = kept.converter.parser();
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let rows = begins.zip(&self.ends).map(|(begin, end)| self.bytes.get(begin..*end).unwrap_or_default());
        let columns = kept.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        self.bytes.clear();
        self.ends.clear();
        Ok(columns)
    }
}

impl Kept {
    /// Merges the runs and sends the newest change of each key.
    fn merge(&self, runs: Vec<Run>, memory: usize, to: &mpsc::Sender<Merged>) -> Result<()> {
        let mut merge = Merge::of(runs, memory)?;
        let (mut newest, mut older) = (Gathered::default(), Gathered::default());
        let mut key: Vec<u8> = Vec::new();
        let mut first = true;
        let mut superseded = Vec::new();
        let send = |batch: RecordBatch, superseded: &mut Vec<(u64, u64)>| {
            let merged = Merged { batch, superseded: std::mem::take(superseded) };
            to.blocking_send(merged).map_err(|_| Error::failed("the reader of the changes went away"))
        };
        loop {
            let row = merge.next()?;
            let ended = row.is_none();
            if let Some(row) = row {
                let (its_key, _) = row.split_at_checked(row.len().saturating_sub(self.tail)).unwrap_or_default();
                if !first && key == its_key {
                    older.push(row);
                } else {
                    key.clear();
                    key.extend_from_slice(its_key);
                    first = false;
                    newest.push(row);
                }
            }
            if ended || older.is_full() {
                superseded.extend(self.places(&mut older)?);
            }
            if newest.is_full() || (ended && !newest.ends.is_empty()) {
                let mut columns = newest.take(self)?;
                // Keep only the key and the last column, the kind of change.
                columns.drain(self.width..columns.len().saturating_sub(1));
                send(RecordBatch::try_new(self.schema.clone(), columns)?, &mut superseded)?;
            } else if superseded.len() >= BATCH_ROWS {
                send(RecordBatch::new_empty(self.schema.clone()), &mut superseded)?;
            }
            if ended {
                return if superseded.is_empty() {
                    Ok(())
                } else {
                    send(RecordBatch::new_empty(self.schema.clone()), &mut superseded)
                };
            }
        }
    }

    /// The positions of these records: the index of the file, and the line.
    fn places(&self, older: &mut Gathered) -> Result<Vec<(u64, u64)>> {
        let columns = older.take(self)?;
        let [.., orders, lines, _] = columns.as_slice() else {
            return Err(Error::failed("changes without their places"));
        };
        let values = |column: &ArrayRef| column.as_primitive::<UInt64Type>().values().clone();
        Ok(values(orders).iter().copied().zip(values(lines).iter().copied()).collect())
    }
}

impl Newest {
    /// The next batch of keys, never empty, with a column that tells whether the key was deleted; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(Merged { batch, superseded }) = self.batches.recv().await {
            for (order, line) in superseded {
                self.superseded.add(order, line);
            }
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        match self.merging.take() {
            Some(merging) => merging.await?.map(|()| None),
            None => Ok(None),
        }
    }

    /// Positions of the superseded records. Complete only after the last batch.
    pub fn into_superseded(self) -> Result<Superseded> {
        self.spread.finish()?;
        Ok(self.superseded)
    }

    /// What the readers found in addition to the changes.
    pub fn take_found(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }
}
