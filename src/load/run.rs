//! Runs all tasks of one load, and checks that no key is duplicated.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hashbrown::HashSet;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, TableMetadataRef};

use super::duplicates::{KeyHasher, KeyHashes, find_duplicate};
use super::task::{LoadSplit, Loaded, Loader, Loading, duplicate};
use crate::error::Result;
use crate::export::Export;
use crate::export::read::sharing::SharedLines;
use crate::runtime::resources::Resources;
use crate::runtime::task::Runner;
use crate::runtime::thread;
use crate::schema::{Limits, TableSchema};
use crate::sort::keys::{key_batch, key_converter};
use crate::storage::Store;
use crate::table::write::sorted_runs::{RunWriter, Shares};
use crate::table::write::spec::WriteSpec;
use crate::table::{DeleteCache, LiveFile, scan_keys};

/// One load.
#[derive(Debug)]
pub struct Load<'a> {
    /// Storage of the export.
    pub exports: Store,
    /// The export.
    pub export: &'a Export,
    /// The table after the load, except for the load's snapshot.
    pub metadata: &'a TableMetadataRef,
    /// Its columns.
    pub table: &'a TableSchema,
    /// Storage of the table.
    pub file_io: FileIO,
    /// Resources of the load.
    pub resources: Resources,
}

impl Load<'_> {
    /// Writes the data files. On error, the commit's staging, to which `file_io` belongs, deletes what was written.
    pub async fn run(self) -> Result<Loaded> {
        let Resources { threads, memory_limit, progress, runner } = self.resources;
        let shares = Shares::new(memory_limit, threads, &self.table.schema);
        let files = self.export.files();
        let shared = Loading {
            write: WriteSpec::new(self.metadata.clone(), self.table.clone(), shares.run_bytes),
            run_bytes: shares.run_bytes,
            limits: Limits::default(),
        };
        let Loading { write, run_bytes, limits } = runner.share::<LoadSplit>(shared)?;
        let mut writer = RunWriter::open(write, self.file_io, shares.closing, Arc::clone(&progress))?;
        writer.partitions = Some(Arc::default());
        let (lines, splits) = SharedLines::for_writers(files, shares.threads, &writer.helpers);
        let loader = Arc::new(Loader {
            exports: self.exports,
            writer,
            run_bytes,
            limits,
            hashes: KeyHashes::new(memory_limit / 16),
            hasher: KeyHasher::default(),
            lines,
        });
        progress.start("loading", u64::try_from(files.len()).unwrap_or(u64::MAX));
        let tasks = splits.into_iter().map(LoadSplit).collect();
        let mut all = Loaded::default();
        for part in loader.writer.run(&runner, shares.threads, &loader, tasks).await? {
            all.take_in(part);
        }
        loader.lines.finish()?;
        check(loader, &runner, shares.threads, all.files.clone()).await?;
        Ok(all)
    }
}

/// Checks that no key is duplicated in the load.
async fn check(loader: Arc<Loader>, runner: &Runner, threads: usize, files: Vec<DataFile>) -> Result<()> {
    let suspected = loader.hashes.repeated(runner, threads).await?;
    if suspected.is_empty() {
        return Ok(());
    }
    let work = move || compare(&loader.writer, &loader.hasher, &suspected, files);
    thread::spawn(work)?.await?
}

/// Compares keys with equal hashes.
fn compare(writer: &RunWriter, hasher: &KeyHasher, suspected: &HashSet<u64>, files: Vec<DataFile>) -> Result<()> {
    let RunWriter { table, file_io, handle, .. } = writer;
    let keys = table.key_fields()?;
    let columns: Vec<usize> = (0..keys.len()).collect();
    let deletes = DeleteCache::new(file_io.clone(), handle.clone(), 0);
    let scan = |on_batch: &mut dyn FnMut(&RecordBatch) -> Result<()>| {
        for file in files {
            let live = LiveFile::unlisted(file);
            scan_keys(file_io, handle, &live, &keys, None, &deletes, &mut |batch| on_batch(&batch.project(&columns)?))?;
        }
        Ok(())
    };
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&table.schema)?);
    let converter = key_converter(&key_batch(table, &RecordBatch::new_empty(arrow))?)?;
    match find_duplicate(suspected, hasher, &converter, scan)? {
        Some(key) => Err(duplicate(&key)),
        None => Ok(()),
    }
}
