//! Runs all tasks of one load, and checks that no key is duplicated.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hashbrown::HashSet;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, TableMetadata};
use tokio::runtime::Handle;

use super::duplicates::{KeyHasher, KeyHashes, find_duplicate};
use super::task::{Loaded, Loader, duplicate};
use crate::error::Result;
use crate::export::Export;
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Task;
use crate::runtime::cancel::Cancel;
use crate::runtime::resources::Resources;
use crate::runtime::thread;
use crate::schema::{Limits, TableSchema};
use crate::sort::keys::{key_batch, key_converter};
use crate::storage::Store;
use crate::table::write::sorted_runs::{RunWriter, Shares};
use crate::table::{ClosingFiles, DataPaths, DeleteCache, LiveFile, Partitioner, WriteOptions, scan_keys};

/// One load.
#[derive(Debug)]
pub struct Load<'a> {
    /// Storage of the export.
    pub exports: Store,
    /// The export.
    pub export: &'a Export,
    /// The table after the load, except for the load's snapshot.
    pub metadata: &'a TableMetadata,
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
        let partitioner = Partitioner::new(self.metadata.default_partition_spec(), &self.table.schema)?;
        let shares = Shares::new(self.resources.memory_limit, self.resources.threads, &self.table.schema);
        let writer = RunWriter {
            file_io: self.file_io.clone(),
            handle: Handle::current(),
            table: self.table.clone(),
            partitioner,
            partitions: Some(Arc::default()),
            sort_order_id: i32::try_from(self.metadata.default_sort_order_id()).ok(),
            paths: Arc::new(DataPaths::new(self.metadata)),
            options: WriteOptions::for_table(self.metadata, &self.table.schema).within(shares.run_bytes),
            helpers: Arc::default(),
            files: ClosingFiles::new(shares.closing),
            progress: self.resources.progress.clone(),
        };
        let files = self.export.files();
        let (spread, tasks) = SharedLines::for_writers(files, shares.threads, &writer.helpers);
        let loader = Arc::new(Loader {
            exports: self.exports.clone(),
            writer,
            run_bytes: shares.run_bytes,
            limits: Limits::default(),
            hashes: KeyHashes::new(self.resources.memory_limit / 16),
            hasher: KeyHasher::default(),
            spread,
        });
        self.resources.progress.start("loading", u64::try_from(files.len()).unwrap_or(u64::MAX));
        let shared = Arc::clone(&loader);
        let work = move |task: Task, stop: &Cancel| shared.run(&task, stop);
        let mut all = Loaded::default();
        for part in loader.writer.run(shares.threads, tasks, work).await? {
            all.take_in(part);
        }
        check(Arc::clone(&loader), shares.threads, all.files.clone()).await?;
        Ok(all)
    }
}

/// Checks that no key is duplicated in the load.
async fn check(loader: Arc<Loader>, threads: usize, files: Vec<DataFile>) -> Result<()> {
    loader.spread.finish()?;
    let suspected = loader.hashes.repeated(threads).await?;
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
