//! A task that loads files of a full export into sorted data files.

use iceberg::spec::DataFile;
use serde::{Deserialize, Serialize};

use super::duplicates::{KeyHasher, KeyHashes};
use crate::columns::key_text::key_text;
use crate::columns::record::append;
use crate::columns::{ItemBuilder, Rescued};
use crate::error::{Error, Result};
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Split;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::runtime::task::Task;
use crate::schema::Limits;
use crate::sort::keys::KeyOrder;
use crate::storage::Store;
use crate::table::file_serde;
use crate::table::write::sorted_runs::RunWriter;
use crate::table::write::spec::WriteSpec;

/// The result of one task.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Loaded {
    /// Manifest entries of the data files.
    #[serde(with = "file_serde::list")]
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

/// What all tasks of a load share.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Loading {
    /// The table that is written.
    pub write: WriteSpec,
    /// Bytes of rows that a task collects before it writes them.
    pub run_bytes: usize,
    /// Limits of what is remembered of new attributes.
    pub limits: Limits,
}

/// Loads a split of the export.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LoadSplit(pub Split);

impl Task for LoadSplit {
    const NAME: &'static str = "load-split";
    type Shared = Loading;
    type Env = Loader;
    type Output = Loaded;

    fn run(self, env: &Loader, cancel: &Cancel) -> Result<Loaded> {
        env.run(&self.0, cancel)
    }
}

/// What the tasks of a load need of their process.
#[derive(Debug)]
pub(super) struct Loader {
    /// Storage of the export.
    pub exports: Store,
    /// Writes the runs.
    pub writer: RunWriter,
    /// Bytes of rows that a task collects before it writes them.
    pub run_bytes: usize,
    /// Limits of what is remembered of new attributes.
    pub limits: Limits,
    /// Collects the hashes of all keys. They are no output: hundreds of millions of them would not fit into memory.
    pub hashes: KeyHashes,
    /// Hashes the keys.
    pub hasher: KeyHasher,
    /// Lines that the threads of this process share.
    pub lines: SharedLines,
}

impl Loader {
    fn run(&self, split: &Split, cancel: &Cancel) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut builder = ItemBuilder::new(&self.writer.table, self.limits)?;
        let mut on_line = |file: &DataFileRef, line: Line<'_>| {
            append(line.bytes, &mut builder).map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
            if builder.memory() >= self.run_bytes {
                cancel.check()?;
                self.write_run(split.number, &mut builder, &mut loaded)?;
            }
            Ok(())
        };
        self.lines.run(split, &self.exports, &self.writer.progress, cancel, &mut on_line)?;
        if builder.rows() > 0 {
            self.write_run(split.number, &mut builder, &mut loaded)?;
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
