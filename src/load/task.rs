//! A task that loads files of a full export into sorted data files.

use iceberg::spec::DataFile;

use super::duplicates::{KeyHasher, KeyHashes};
use crate::columns::key_text::key_text;
use crate::columns::record::append;
use crate::columns::{ItemBuilder, Rescued};
use crate::error::{Error, Result};
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Task;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::schema::Limits;
use crate::sort::keys::KeyOrder;
use crate::storage::Store;
use crate::table::write::sorted_runs::RunWriter;

/// The result of one task.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Manifest entries of the data files.
    pub files: Vec<DataFile>,
    /// Rows in them.
    pub rows: u64,
    /// Values that went into `_ddb_rescued`.
    pub rescued: Rescued,
}

impl Loaded {
    /// Adds the result of another task.
    pub(crate) fn take_in(&mut self, other: Self) {
        self.files.extend(other.files);
        self.rows += other.rows;
        self.rescued.take_in(other.rescued);
    }
}

/// Shared state of all tasks of a load.
#[derive(Debug)]
pub(crate) struct Loader {
    /// Storage of the export.
    pub exports: Store,
    /// Writes the runs.
    pub writer: RunWriter,
    /// Bytes of rows that a task collects before it writes them.
    pub run_bytes: usize,
    /// Limits of what is remembered of new attributes.
    pub limits: Limits,
    /// Collects the hashes of all keys.
    pub hashes: KeyHashes,
    /// Hashes the keys.
    pub hasher: KeyHasher,
    /// Divides the export into tasks.
    pub spread: SharedLines,
}

impl Loader {
    /// Runs a task on a blocking thread.
    pub fn run(&self, task: &Task, stop: &Cancel) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut builder = ItemBuilder::new(&self.writer.table, self.limits)?;
        let mut on_line = |file: &DataFileRef, line: Line<'_>| {
            append(line.bytes, &mut builder).map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
            if builder.memory() >= self.run_bytes {
                stop.check()?;
                self.write_run(task.number, &mut builder, &mut loaded)?;
            }
            Ok(())
        };
        self.spread.run(task, &self.exports, &self.writer.progress, stop, &mut on_line)?;
        if builder.rows() > 0 {
            self.write_run(task.number, &mut builder, &mut loaded)?;
        }
        Ok(loaded)
    }

    /// Sorts the collected rows by key and writes them, one data file per partition.
    fn write_run(&self, number: u32, builder: &mut ItemBuilder, loaded: &mut Loaded) -> Result<()> {
        loaded.rescued.take_in(builder.take_rescued());
        let batch = builder.finish()?;
        let KeyOrder { keys, rows, order } = self.writer.sort(&batch)?;
        let key = |n: u32| rows.row(n as usize);
        let twin = order.windows(2).find_map(|pair| match pair {
            [a, b] if key(*a) == key(*b) => Some(*a),
            _ => None,
        });
        if let Some(row) = twin {
            return Err(duplicate(&key_text(&keys, row as usize)));
        }
        self.hashes.add(&rows.iter().map(|row| self.hasher.hash(row.data())).collect::<Vec<_>>())?;
        loaded.files.extend(self.writer.write(number, &batch, &order)?);
        loaded.rows += u64::try_from(order.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// The error for a duplicate key in a full export.
pub(crate) fn duplicate(key: &str) -> Error {
    Error::input("two items of the export have the same key")
        .of_key(key)
        .advice("A full export has each key once: check --key, or which files were put together")
}
