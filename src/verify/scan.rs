//! Reads and compares both sides.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::entries::{Entries, Entry, Side};
use super::rows::{Hash, RowForm, Rows};
use crate::columns::ItemBuilder;
use crate::columns::record::append;
use crate::error::{Error, Result};
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Split;
use crate::export::{DataFileRef, Export, Line};
use crate::runtime::cancel::Cancel;
use crate::runtime::resources::Resources;
use crate::runtime::task::Task;
use crate::schema::{Limits, TableSchema};
use crate::storage::Store;
use crate::table::{DeleteCache, LiveFile, scan_rows};

/// Bytes of items per batch of compared rows.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of items per batch.
const BATCH_ROWS: usize = 8192;

/// One comparison.
#[derive(Debug)]
pub struct Verifier {
    /// Storage of the export.
    pub exports: Store,
    /// Its data files.
    pub files: Vec<DataFileRef>,
    /// Storage of the table.
    pub file_io: FileIO,
    /// The table's data files in the compared snapshot.
    pub live: Vec<LiveFile>,
    /// The table's columns.
    pub table: TableSchema,
    /// Resources of the comparison.
    pub resources: Resources,
}

/// How a key differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Difference {
    /// The export has it, the table does not.
    Missing,
    /// The table has it, the export does not.
    Extra,
    /// Both have it, with other values.
    Different,
    /// The table has it more than once.
    Repeated,
}

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The kind of difference.
    pub difference: Difference,
    /// The key as text.
    pub key: String,
    /// The attributes that differ; only for [`Difference::Different`].
    pub attributes: Vec<String>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Number of items in the export.
    pub items: u64,
    /// Number of rows in the table.
    pub rows: u64,
    /// Number of keys with equal rows.
    pub equal: u64,
    /// Number of keys that differ, by kind.
    pub counts: BTreeMap<Difference, u64>,
    /// Examples of them, by kind.
    pub examples: Vec<Example>,
}

/// The processing of a batch of rows of one side.
type Visit = dyn Fn(Side, &Rows<'_>) -> Result<()> + Send + Sync;

/// What the tasks of both passes need of their process.
struct Shared {
    verifier: Verifier,
    form: RowForm,
    arrow_schema: ArrowSchemaRef,
    deletes: DeleteCache,
    handle: Handle,
}

/// What the tasks of one pass need of their process.
struct Pass {
    shared: Arc<Shared>,
    /// Lines that the threads of this process share.
    lines: SharedLines,
    /// Takes the rows. Digests of all rows, as outputs, would not fit into memory: they go to disk where they are made.
    visit: Box<Visit>,
}

/// Reads a part of one side.
#[derive(Serialize, Deserialize)]
enum ReadSide {
    /// Of the export.
    Items(Split),
    /// A data file of the table.
    Rows(Box<LiveFile>),
}

impl Task for ReadSide {
    const NAME: &'static str = "read-side";
    /// The table's columns.
    type Shared = TableSchema;
    type Env = Pass;
    type Output = ();

    fn run(self, env: &Pass, cancel: &Cancel) -> Result<()> {
        match self {
            Self::Items(split) => env.items(&split, cancel),
            Self::Rows(live) => env.rows(&live, cancel),
        }
    }
}

impl Verifier {
    /// Runs the comparison. At most `examples` keys of each kind of difference are reported.
    ///
    /// Errors of kind `Input`: the export is damaged, has a duplicate key, or has a key that the table can't hold.
    pub async fn run(self, export: &Export, examples: usize) -> Result<Differences> {
        let entries = Arc::new(Entries::new(self.resources.memory_limit / 4));
        let table = self.resources.runner.share::<ReadSide>(self.table.clone())?;
        let shared = Arc::new(Shared {
            form: RowForm::new(&table, Limits::default())?,
            arrow_schema: Arc::new(schema_to_arrow_schema(&table.schema)?),
            deletes: DeleteCache::new(self.file_io.clone(), Handle::current(), self.resources.memory_limit / 8),
            handle: Handle::current(),
            verifier: Self { table, ..self },
        });
        let sink = Arc::clone(&entries);
        let take = move |side: Side, rows: &Rows<'_>| {
            let mut scratch = Vec::new();
            let entry = |row| -> Result<Entry> {
                Ok(Entry { key: rows.key(row, &mut scratch)?, side, row: rows.digest(row, &mut scratch)? })
            };
            sink.add((0..rows.len()).map(entry).collect::<Result<_>>()?)
        };
        shared.scan("comparing", Box::new(take)).await?;

        let compared = tokio::task::spawn_blocking(move || {
            let entries = Arc::into_inner(entries).ok_or_else(|| Error::failed("a task is still running"))?;
            compare(entries, examples)
        });
        let (mut found, wanted, twice) = compared.await.map_err(broke_down)??;
        if twice > 0 {
            return Err(Error::input(format!("{twice} keys stand more than once in the export"))
                .in_file(export.location().to_string())
                .advice("A full export has each key once: check which files were put together"));
        }
        if !wanted.is_empty() {
            found.examples = shared.examples(wanted).await?;
        }
        Ok(found)
    }
}

impl Differences {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.counts.values().all(|count| *count == 0)
    }
}

/// Compares the two sides. Returns the result, the keys of examples, and the number of duplicate keys in the export.
fn compare(entries: Entries, examples: usize) -> Result<(Differences, HashMap<Hash, Difference>, u64)> {
    let mut found = Differences::default();
    let mut wanted = HashMap::new();
    let mut twice = 0;
    entries.parts(|part| {
        for rows in part.chunk_by(|a, b| a.key == b.key) {
            // For each key, the export's entries come first.
            let (items, rows) = rows.split_at(rows.partition_point(|entry| entry.side == Side::Export));
            found.items += u64::try_from(items.len()).unwrap_or(u64::MAX);
            found.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
            twice += u64::from(items.len() > 1);
            let (difference, key) = match (items, rows) {
                ([item, ..], []) => (Difference::Missing, item.key),
                ([], [row]) => (Difference::Extra, row.key),
                (_, [row, _, ..]) => (Difference::Repeated, row.key),
                ([item, ..], [row]) if item.row != row.row => (Difference::Different, row.key),
                _ => {
                    found.equal += 1;
                    continue;
                }
            };
            let count = found.counts.entry(difference).or_default();
            *count += 1;
            if usize::try_from(*count).is_ok_and(|count| count <= examples) {
                wanted.insert(key, difference);
            }
        }
    })?;
    Ok((found, wanted, twice))
}

impl Shared {
    /// Reads both sides; each batch is visited once, on one of several threads.
    async fn scan(self: &Arc<Self>, step: &str, visit: Box<Visit>) -> Result<()> {
        let Verifier { files, live, resources, .. } = &self.verifier;
        let mut tasks: Vec<ReadSide> = live.iter().map(|live| ReadSide::Rows(Box::new(live.clone()))).collect();
        let (lines, splits) = SharedLines::for_readers(files, resources.threads);
        tasks.extend(splits.into_iter().map(ReadSide::Items));
        resources.progress.start(step, u64::try_from(live.len() + files.len()).unwrap_or(u64::MAX));
        let pass = Arc::new(Pass { shared: Arc::clone(self), lines, visit });
        resources.runner.run(resources.threads, &pass, tasks).await?;
        pass.lines.finish()
    }

    /// Reads both sides again for the keys of the examples.
    async fn examples(self: &Arc<Self>, wanted: HashMap<Hash, Difference>) -> Result<Vec<Example>> {
        type Attributes = BTreeMap<String, Hash>;
        #[derive(Default)]
        struct Seen {
            key: String,
            sides: BTreeMap<Side, Attributes>,
        }
        let seen: Arc<Mutex<BTreeMap<Hash, Seen>>> = Arc::default();
        let keys: std::collections::HashSet<Hash> = wanted.keys().copied().collect();
        let sink = Arc::clone(&seen);
        let take = move |side: Side, rows: &Rows<'_>| {
            let mut scratch = Vec::new();
            for row in 0..rows.len() {
                let key = rows.key(row, &mut scratch)?;
                if keys.contains(&key) {
                    let (text, attributes) = (rows.key_text(row)?, rows.attributes(row)?);
                    let mut seen = sink.lock().unwrap_or_else(PoisonError::into_inner);
                    let seen = seen.entry(key).or_default();
                    seen.key = text;
                    seen.sides.insert(side, attributes);
                }
            }
            Ok(())
        };
        self.scan("looking at what differs", Box::new(take)).await?;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let example = |(hash, Seen { key, sides }): (Hash, Seen)| {
            let difference = wanted.get(&hash).copied()?;
            let mut attributes = Vec::new();
            if let (Difference::Different, Some(a), Some(b)) =
                (difference, sides.get(&Side::Export), sides.get(&Side::Table))
            {
                attributes.extend(a.keys().filter(|name| a.get(*name) != b.get(*name)).cloned());
                attributes.extend(b.keys().filter(|name| !a.contains_key(*name)).cloned());
                attributes.sort_unstable();
            }
            Some(Example { difference, key, attributes })
        };
        let mut examples: Vec<Example> = seen.into_iter().filter_map(example).collect();
        examples.sort_by(|a, b| (a.difference, &a.key).cmp(&(b.difference, &b.key)));
        Ok(examples)
    }
}

impl Pass {
    fn items(&self, split: &Split, cancel: &Cancel) -> Result<()> {
        let Shared { verifier, form, .. } = &*self.shared;
        let mut builder = ItemBuilder::new(&verifier.table, Limits::default())?;
        let flush = |builder: &mut ItemBuilder| {
            builder.take_rescued();
            builder.take_new();
            (self.visit)(Side::Export, &Rows::of_items(form, &builder.finish()?))
        };
        let mut on_line = |file: &DataFileRef, line: Line<'_>| {
            append(line.bytes, &mut builder).map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
            if builder.rows() >= BATCH_ROWS || builder.memory() >= BATCH_BYTES {
                cancel.check()?;
                flush(&mut builder)?;
            }
            Ok(())
        };
        self.lines.run(split, &verifier.exports, &verifier.resources.progress, cancel, &mut on_line)?;
        if builder.rows() > 0 { flush(&mut builder) } else { Ok(()) }
    }

    fn rows(&self, live: &LiveFile, cancel: &Cancel) -> Result<()> {
        let Shared { verifier, form, arrow_schema, deletes, handle } = &*self.shared;
        let without = deletes.positions(live)?;
        scan_rows(&verifier.file_io, handle, live, arrow_schema, &without, &mut |batch: RecordBatch| {
            cancel.check()?;
            let rows = Rows::of_table(form, &batch).map_err(|e| e.in_file(live.file.file_path()))?;
            (self.visit)(Side::Table, &rows)
        })?;
        verifier.resources.progress.file_done();
        Ok(())
    }
}

fn broke_down(error: tokio::task::JoinError) -> Error {
    Error::failed("the comparison broke down; please report this as a bug").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_how_they_differ() {
        let entries = Entries::new(usize::MAX);
        let side = |side, rows: &[(u128, u128)]| {
            rows.iter().map(|(key, row)| Entry { key: *key, side, row: *row }).collect::<Vec<_>>()
        };
        entries.add(side(Side::Table, &[(1, 1), (2, 3), (4, 4), (5, 5), (5, 6), (6, 1), (6, 1)])).unwrap();
        entries.add(side(Side::Export, &[(1, 1), (2, 2), (3, 3), (5, 5), (7, 1), (7, 1)])).unwrap();
        let (found, wanted, twice) = compare(entries, 1).unwrap();
        assert_eq!((found.items, found.rows, found.equal, twice), (6, 7, 1, 1));
        let counts =
            [(Difference::Missing, 2), (Difference::Extra, 1), (Difference::Different, 1), (Difference::Repeated, 2)];
        assert_eq!(found.counts, BTreeMap::from(counts));
        assert!(!found.is_empty() && Differences::default().is_empty());
        assert_eq!(wanted.len(), 4);
    }
}
