//! Copy-on-write: rewrites data files without their old rows.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::DataFile;

use super::plan::Removed;
use super::work::Work;
use crate::error::Result;
use crate::runtime::cancel::Cancel;
use crate::runtime::pool;
use crate::table::{DataFileWriter, LiveFile, Positions, conform, scan_rows};

/// "Write this data file again without these rows."
struct RewriteTask {
    number: u32,
    live: LiveFile,
    positions: Vec<u64>,
}

/// Rewrites the files in parallel; a file without remaining rows is only removed. Deletes that applied to the files are
/// applied.
pub(super) async fn rewrite_files(work: &Work, positions: Vec<Vec<u64>>) -> Result<Removed> {
    let affected = work.live.files.iter().zip(positions).filter(|(_, positions)| !positions.is_empty());
    let tasks: Vec<_> = (1..)
        .zip(affected)
        .map(|(number, (live, positions))| RewriteTask { number, live: live.clone(), positions })
        .collect();
    let data_removed: Vec<LiveFile> = tasks.iter().map(|task| task.live.clone()).collect();
    work.progress.start("rewriting files", u64::try_from(tasks.len()).unwrap_or(u64::MAX));
    let shared = work.clone();
    let run = move |task: RewriteTask, stop: &Cancel| {
        stop.check()?;
        rewrite_file(&shared, &task)
    };
    let rewritten = pool::run(work.engine.threads, tasks, run).await?.into_iter().flatten().collect();

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

fn rewrite_file(work: &Work, task: &RewriteTask) -> Result<Option<(i32, DataFile)>> {
    let mut without = work.live.deletes.positions(&task.live)?.into_vec();
    without.extend(&task.positions);
    let mut writer: Option<DataFileWriter> = None;
    let scanned = scan_rows(
        &work.base.file_io,
        &work.handle,
        &task.live,
        &work.arrow_schema,
        &Positions::new(without),
        &mut |batch| {
            if writer.is_none() {
                writer = Some(DataFileWriter::create(
                    &work.base.file_io,
                    &work.handle,
                    work.paths.data_file(task.number),
                    &work.table.schema,
                    task.live.spec_id,
                    conform(&work.base.metadata, &work.table.schema, task.live.spec_id, task.live.file.partition()),
                    // The rows keep their order.
                    task.live.file.sort_order_id(),
                    &work.options,
                )?);
            }
            writer.as_mut().map_or(Ok(()), |writer| writer.write(&batch))
        },
    );
    if let Err(error) = scanned {
        if let Some(writer) = writer {
            writer.abandon();
        }
        return Err(error);
    }
    work.progress.file_done();
    let Some(writer) = writer else { return Ok(None) };
    let file = writer.finish()?;
    work.progress.add_bytes_written(file.file_size_in_bytes());
    Ok(Some((task.live.spec_id, file)))
}
