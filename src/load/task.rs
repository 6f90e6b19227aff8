//! A task that loads files of a full export into sorted data files.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, Struct};
use tokio::runtime::Handle;

use super::duplicates::{KeyHasher, KeyHashes, key_text};
use super::{begin_item, end_item};
use crate::attribute::Parser;
use crate::columns::{ItemBuilder, Rescued};
use crate::error::{Error, Result};
use crate::export::{DataFileRef, LineReader};
use crate::pool::Stop;
use crate::progress::Progress;
use crate::schema::{Limits, TableSchema};
use crate::storage::Store;
use crate::table::{DataFileWriter, DataPaths, WriteOptions};

/// Rows that are put in order and handed to the writer at a time.
const CHUNK_ROWS: usize = 8192;

/// "Load these files."
#[derive(Debug, Clone)]
pub(super) struct LoadTask {
    /// Counts the tasks of a load; part of the data files' names.
    pub number: u32,
    /// The files, in order.
    pub files: Vec<DataFileRef>,
}

/// What one task wrote.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Descriptions of the data files.
    pub files: Vec<DataFile>,
    /// Rows in them.
    pub rows: u64,
    /// What went into `_ddb_rescued`.
    pub rescued: Rescued,
}

impl Loaded {
    /// Takes in what another task wrote.
    pub(super) fn take_in(&mut self, other: Self) {
        self.files.extend(other.files);
        self.rows += other.rows;
        for (name, count) in other.rescued {
            *self.rescued.entry(name).or_default() += count;
        }
    }
}

/// What all tasks of a load share.
#[derive(Debug)]
pub(super) struct Loader {
    /// Storage of the export.
    pub exports: Store,
    /// Storage of the table.
    pub file_io: FileIO,
    /// The runtime that storage runs on.
    pub handle: Handle,
    /// The table's columns.
    pub table: TableSchema,
    /// The partition spec of the data files; unpartitioned.
    pub spec_id: i32,
    /// The sort order of the data files: by key.
    pub sort_order_id: i32,
    /// Names of data files.
    pub paths: DataPaths,
    /// How data files are written.
    pub options: WriteOptions,
    /// Bytes of rows that a task collects before it writes them.
    pub run_bytes: usize,
    /// Bounds of what is remembered of new attributes.
    pub limits: Limits,
    /// Where the hashes of all keys go.
    pub hashes: KeyHashes,
    /// Makes them.
    pub hasher: KeyHasher,
    /// Raised as the work goes on.
    pub progress: Arc<Progress>,
}

impl Loader {
    /// Runs a task on a blocking thread. If it fails, the files it has finished are deleted.
    pub fn run(&self, task: LoadTask, stop: &Stop) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let result = self.load(task, stop, &mut loaded);
        result.map(|()| std::mem::take(&mut loaded)).inspect_err(|_| self.discard(&loaded))
    }

    fn discard(&self, loaded: &Loaded) {
        for file in &loaded.files {
            if let Err(error) = self.handle.block_on(self.file_io.delete(file.file_path())) {
                tracing::warn!("{} was left behind: {error}", file.file_path());
            }
        }
    }

    fn load(&self, task: LoadTask, stop: &Stop, loaded: &mut Loaded) -> Result<()> {
        let mut builder = ItemBuilder::new(&self.table, self.limits)?;
        for file in &task.files {
            stop.check()?;
            let mut lines = LineReader::open(&self.exports, file, self.progress.clone())?;
            while let Some(line) = lines.next_line()? {
                let number = line.number;
                append(line.bytes, &mut builder).map_err(|e| e.in_file(file.name.as_str()).on_line(number))?;
                if builder.memory() >= self.run_bytes {
                    stop.check()?;
                    self.write_run(task.number, &mut builder, loaded)?;
                }
            }
            self.progress.file_done();
        }
        if builder.rows() > 0 {
            self.write_run(task.number, &mut builder, loaded)?;
        }
        Ok(())
    }

    /// Sorts the collected rows by key and writes them as one data file.
    fn write_run(&self, number: u32, builder: &mut ItemBuilder, loaded: &mut Loaded) -> Result<()> {
        for (name, count) in builder.take_rescued() {
            *loaded.rescued.entry(name).or_default() += count;
        }
        let batch = builder.finish()?;
        let order = self.order(&batch)?;
        let mut writer = DataFileWriter::create(
            &self.file_io,
            &self.handle,
            self.paths.data_file(number),
            &self.table.schema,
            self.spec_id,
            Struct::empty(),
            Some(self.sort_order_id),
            &self.options,
        )?;
        for chunk in order.chunks(CHUNK_ROWS) {
            writer.write(&take_record_batch(&batch, &UInt32Array::from(chunk.to_vec()))?)?;
        }
        loaded.rows += writer.rows();
        let file = writer.finish()?;
        self.progress.add_bytes_written(file.file_size_in_bytes());
        loaded.files.push(file);
        Ok(())
    }

    /// The rows' positions in the order of their keys.
    fn order(&self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let keys = key_batch(&self.table, batch)?;
        let rows = key_converter(&keys)?.convert_columns(keys.columns())?;
        let count = u32::try_from(batch.num_rows()).map_err(|_| Error::failed("more than 2^32 rows in one run"))?;
        let mut order: Vec<(u32, &[u8])> = (0..count).zip(rows.iter().map(|row| row.data())).collect();
        order.sort_unstable_by(|a, b| a.1.cmp(b.1));
        let twin = order.windows(2).find_map(|pair| match pair {
            [a, b] if a.1 == b.1 => Some(a.0),
            _ => None,
        });
        if let Some(row) = twin {
            return Err(duplicate(&key_text(&keys, row as usize)));
        }
        self.hashes.add(order.iter().map(|(_, row)| self.hasher.hash(row)).collect())?;
        Ok(order.into_iter().map(|(n, _)| n).collect())
    }
}

/// The error of a key that is twice in a full export.
pub(super) fn duplicate(key: &str) -> Error {
    Error::input("two items of the export have the same key")
        .of_key(key)
        .advice("A full export has each key once: check --key, or which files were put together")
}

/// The key columns of a batch in the table's columns.
pub(super) fn key_batch(table: &TableSchema, batch: &RecordBatch) -> Result<RecordBatch> {
    let fields = table.schema.as_struct().fields();
    let slots = table
        .key_fields()?
        .iter()
        .filter_map(|key| fields.iter().position(|field| field.id == key.id))
        .collect::<Vec<_>>();
    Ok(batch.project(&slots)?)
}

/// Makes keys comparable as bytes, in the table's sort order.
pub(super) fn key_converter(keys: &RecordBatch) -> Result<RowConverter> {
    let fields = keys.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?)
}

fn append(line: &[u8], builder: &mut ItemBuilder) -> Result<()> {
    let mut parser = Parser::new(line)?;
    begin_item(&mut parser)?;
    builder.append(&mut parser)?;
    end_item(&mut parser)
}
