//! Copy-on-write: rewrites data files without their old rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::locate::LiveKeys;
use super::plan::Removed;
use super::work::Work;
use crate::error::Result;
use crate::runtime::cancel::Cancel;
use crate::runtime::memory::Memory;
use crate::runtime::progress::Progress;
use crate::runtime::task::Task;
use crate::table::write::spec::WriteSpec;
use crate::table::{DataFileWriter, FileRows, LiveFile, Positions, WriteOptions, conform, file_serde};

/// Writes a data file again without these rows.
#[derive(Serialize, Deserialize)]
struct RewriteFile {
    number: u32,
    live: LiveFile,
    positions: Vec<u64>,
}

/// The file that replaces it; none if no row is left.
#[derive(Serialize, Deserialize)]
struct Rewritten {
    spec_id: i32,
    #[serde(with = "file_serde::list")]
    files: Vec<DataFile>,
}

/// What the tasks need of their process.
struct FileRewriter {
    write: WriteSpec,
    options: WriteOptions,
    arrow_schema: ArrowSchemaRef,
    file_io: FileIO,
    handle: Handle,
    /// Of this, the cache of deletes: locating the keys has filled it.
    live: Arc<LiveKeys>,
    /// Files that are rewritten at a time share it.
    memory: Memory,
    progress: Arc<Progress>,
}

impl Task for RewriteFile {
    const NAME: &'static str = "rewrite-file";
    type Shared = WriteSpec;
    type Env = FileRewriter;
    type Output = Rewritten;

    fn run(self, env: &FileRewriter, cancel: &Cancel) -> Result<Rewritten> {
        cancel.check()?;
        Ok(Rewritten { spec_id: self.live.spec_id, files: env.rewrite(&self, cancel)?.into_iter().collect() })
    }
}

/// Rewrites the files in parallel; a file without remaining rows is only removed. Deletes that applied to the files are
/// applied.
pub(super) async fn rewrite_files(work: &Work, positions: Vec<Vec<u64>>) -> Result<Removed> {
    let affected = work.live.files.iter().zip(positions).filter(|(_, positions)| !positions.is_empty());
    let tasks: Vec<_> = (1..)
        .zip(affected)
        .map(|(number, (live, positions))| RewriteFile { number, live: live.clone(), positions })
        .collect();
    let data_removed: Vec<LiveFile> = tasks.iter().map(|task| task.live.clone()).collect();
    work.progress.start("rewriting files", u64::try_from(tasks.len()).unwrap_or(u64::MAX));
    let write = work.runner.share::<RewriteFile>(work.write_spec())?;
    let env = FileRewriter {
        options: write.options(),
        arrow_schema: Arc::new(schema_to_arrow_schema(&write.table.schema)?),
        write,
        file_io: work.base.file_io.clone(),
        handle: work.handle.clone(),
        live: Arc::clone(&work.live),
        memory: Memory::new(work.rewriting_bytes),
        progress: Arc::clone(&work.progress),
    };
    let mut rewritten = Vec::new();
    for Rewritten { spec_id, files } in work.runner.run(work.engine.threads, &Arc::new(env), tasks).await? {
        rewritten.extend(files.into_iter().map(|file| (spec_id, file)));
    }

    let mut deletes_removed = Vec::new();
    let gone: HashSet<&str> = data_removed.iter().map(|live| live.file.file_path()).collect();
    let mut seen = HashSet::new();
    for delete in data_removed.iter().flat_map(|live| &live.deletes) {
        let only = delete.only_path();
        if only.is_some_and(|path| gone.contains(path.as_str())) && seen.insert(delete.file.file_path().to_owned()) {
            deletes_removed.push(Arc::clone(delete));
        }
    }
    Ok(Removed { rewritten, data_removed, deletes_removed, ..Removed::default() })
}

impl FileRewriter {
    fn rewrite(&self, task: &RewriteFile, cancel: &Cancel) -> Result<Option<DataFile>> {
        let WriteSpec { metadata, table, paths, .. } = &self.write;
        let live = &task.live;
        let mut without = self.live.deletes.positions(live)?.into_vec();
        without.extend(&task.positions);
        let without = Positions::new(without);
        let rows = FileRows::open(&self.file_io, &self.handle, live, &self.arrow_schema)?;
        let bytes = rows.memory().saturating_add(self.options.most_memory());
        let _reserved = self.memory.reserve(bytes, cancel)?;
        let mut writer: Option<DataFileWriter> = None;
        let scanned = rows.scan(&self.handle, &without, &mut |batch| {
            if writer.is_none() {
                writer = Some(DataFileWriter::create(
                    &self.file_io,
                    &self.handle,
                    paths.data_file(task.number),
                    &table.schema,
                    live.spec_id,
                    conform(metadata, &table.schema, live.spec_id, live.file.partition()),
                    // The rows keep their order.
                    live.file.sort_order_id(),
                    &self.options,
                )?);
            }
            writer.as_mut().map_or(Ok(()), |writer| writer.write(&batch))
        });
        if let Err(error) = scanned {
            if let Some(writer) = writer {
                writer.abandon();
            }
            return Err(error);
        }
        self.progress.file_done();
        let Some(writer) = writer else { return Ok(None) };
        let file = writer.finish()?;
        self.progress.add_bytes_written(file.file_size_in_bytes());
        Ok(Some(file))
    }
}
