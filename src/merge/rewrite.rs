//! Copy-on-write: the data files that hold old rows are written again without them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::spec::DataFile;

use super::plan::Plan;
use super::work::{Work, give_up};
use crate::error::Result;
use crate::pool;
use crate::table::{DataFileWriter, LiveFile, Positions, conform, scan_rows};

/// "Write this data file again without these rows."
struct RewriteTask {
    number: u32,
    live: LiveFile,
    positions: Vec<u64>,
}

impl Work {
    /// Writes the files again, in parallel; one without a row left just goes. Deletes that applied are applied for good.
    pub(super) async fn rewrite_files(&self, positions: Vec<Vec<u64>>, plan: &mut Plan) -> Result<()> {
        let affected = self.live.files.iter().zip(positions).filter(|(_, positions)| !positions.is_empty());
        let tasks: Vec<_> = (1..)
            .zip(affected)
            .map(|(number, (live, positions))| RewriteTask { number, live: live.clone(), positions })
            .collect();
        let removed: Vec<LiveFile> = tasks.iter().map(|task| task.live.clone()).collect();
        self.progress.start("rewriting files", u64::try_from(tasks.len()).unwrap_or(u64::MAX));
        // What other tasks wrote before one failed is in the plan too, to be discarded with it.
        let abandoned = Mutex::new(Vec::new());
        let undo = |file: Option<(i32, DataFile)>| {
            abandoned.lock().unwrap_or_else(PoisonError::into_inner).extend(file);
        };
        let shared = self.clone();
        let work = move |task: RewriteTask, stop: &pool::Stop| {
            stop.check()?;
            shared.rewrite_file(&task)
        };
        let result = pool::run(self.engine.threads, tasks, work, undo).await;
        plan.data_files.extend(abandoned.into_inner().unwrap_or_else(PoisonError::into_inner));
        plan.data_files.extend(result?.into_iter().flatten());

        let gone: HashSet<&str> = removed.iter().map(|live| live.file.file_path()).collect();
        let mut seen = HashSet::new();
        for delete in removed.iter().flat_map(|live| &live.deletes) {
            let only = delete.only_path();
            if only.is_some_and(|path| gone.contains(path.as_str())) && seen.insert(delete.file.file_path().to_owned())
            {
                plan.deletes_removed.push(Arc::clone(delete));
            }
        }
        plan.data_removed = removed;
        Ok(())
    }

    fn rewrite_file(&self, task: &RewriteTask) -> Result<Option<(i32, DataFile)>> {
        let mut without = self.live.deletes.positions(&task.live)?.into_vec();
        without.extend(&task.positions);
        let mut writer: Option<DataFileWriter> = None;
        let scanned = scan_rows(
            &self.base.file_io,
            &self.handle,
            &task.live,
            &self.arrow_schema,
            &Positions::new(without),
            &mut |batch| {
                if writer.is_none() {
                    writer = Some(DataFileWriter::create(
                        &self.base.file_io,
                        &self.handle,
                        self.paths.data_file(task.number),
                        &self.table.schema,
                        task.live.spec_id,
                        conform(&self.base.metadata, &self.table.schema, task.live.spec_id, task.live.file.partition()),
                        // The rows keep their order.
                        task.live.file.sort_order_id(),
                        &self.options,
                    )?);
                }
                writer.as_mut().map_or(Ok(()), |writer| writer.write(&batch))
            },
        );
        if let Err(error) = scanned {
            give_up(writer);
            return Err(error);
        }
        self.progress.file_done();
        let Some(writer) = writer else { return Ok(None) };
        let file = writer.finish()?;
        self.progress.add_bytes_written(file.file_size_in_bytes());
        Ok(Some((task.live.spec_id, file)))
    }
}
