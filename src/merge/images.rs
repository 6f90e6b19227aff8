//! Writes the new images of a window as data files sorted by key.
//!
//! The files are read twice: first only for the keys, to find the newest change of each key. So images never pass
//! through a sort that may spill, and memory is bounded in bytes, however large an item is.

use std::sync::Arc;

use iceberg::spec::DataFile;

use super::superseded::Superseded;
use super::work::Work;
use crate::attribute::Parser;
use crate::columns::{ItemBuilder, Rescued};
use crate::error::{Error, Result};
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Task;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::schema::Limits;
use crate::storage::Store;
use crate::table::columns::sort_order_by_key;
use crate::table::write::sorted_runs::{RunWriter, Shares};
use crate::table::{ClosingFiles, Partitioner};

/// The new images of a window.
pub(crate) struct Images {
    pub store: Store,
    pub files: Vec<DataFileRef>,
    pub limits: Limits,
    pub superseded: Superseded,
    pub shares: Shares,
}

/// The tasks that write them.
struct ImageTasks {
    images: Images,
    writer: RunWriter,
    spread: SharedLines,
}

#[derive(Default)]
struct Written {
    files: Vec<DataFile>,
    rescued: Rescued,
}

/// The new images written for a window.
#[derive(Default)]
pub(super) struct NewImages {
    /// Data files, with their specs.
    pub files: Vec<(i32, DataFile)>,
    /// Values that went into `_ddb_rescued`.
    pub rescued: Rescued,
}

/// Writes the new images, in parallel if there are many. There must be `expected` rows, otherwise the export has
/// changed since it was read.
pub(super) async fn write_images(work: &Work, images: Images, expected: u64) -> Result<NewImages> {
    let partitioner = Partitioner::new(work.base.metadata.default_partition_spec(), &work.table.schema)?;
    let spec_id = partitioner.spec_id();
    let writer = RunWriter {
        file_io: work.base.file_io.clone(),
        handle: work.handle.clone(),
        table: work.table.clone(),
        partitioner,
        // A window must be applied, whatever its items are.
        partitions: None,
        sort_order_id: sort_order_by_key(&work.base.metadata, &work.table)?,
        paths: work.paths.clone(),
        options: work.options.clone(),
        helpers: Arc::default(),
        files: ClosingFiles::new(images.shares.closing),
        progress: work.progress.clone(),
    };
    let threads = images.shares.threads;
    let (spread, tasks) = SharedLines::for_writers(&images.files, threads, &writer.helpers);
    let progress = Arc::clone(&work.progress);
    progress.start("writing new images", u64::try_from(images.files.len()).unwrap_or(u64::MAX));
    let all = Arc::new(ImageTasks { images, writer, spread });
    let shared = Arc::clone(&all);
    let run = move |task: Task, stop: &Cancel| shared.run(&task, stop);
    let parts = all.writer.run(threads, tasks, run).await?;
    let mut new = NewImages::default();
    let mut rows = 0;
    for written in parts {
        rows += written.files.iter().map(DataFile::record_count).sum::<u64>();
        new.files.extend(written.files.into_iter().map(|file| (spec_id, file)));
        new.rescued.take_in(written.rescued);
    }
    // Without an MD5 in the manifest, only this detects that the files changed between the two passes.
    if rows != expected {
        return Err(Error::input(format!(
            "the export changed while it was read: {expected} new images the first time, {rows} the second"
        )));
    }
    Ok(new)
}

impl ImageTasks {
    fn run(&self, task: &Task, stop: &Cancel) -> Result<Written> {
        let Self { images, writer, spread } = self;
        let mut written = Written::default();
        let mut builder = ItemBuilder::new(&writer.table, images.limits)?;
        let mut on_line = |file: &DataFileRef, line: Line<'_>| {
            if images.superseded.contains(u64::from(file.position), line.number) {
                return Ok(());
            }
            append_image(line.bytes, &mut builder).map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
            if builder.memory() >= images.shares.run_bytes {
                stop.check()?;
                self.write_run(task.number, &mut builder, &mut written)?;
            }
            Ok(())
        };
        spread.run(task, &images.store, &writer.progress, stop, &mut on_line)?;
        if builder.rows() > 0 {
            self.write_run(task.number, &mut builder, &mut written)?;
        }
        Ok(written)
    }

    fn write_run(&self, number: u32, builder: &mut ItemBuilder, written: &mut Written) -> Result<()> {
        written.rescued.take_in(builder.take_rescued());
        let batch = builder.finish()?;
        let sorted = self.writer.sort(&batch)?;
        written.files.extend(self.writer.write(number, &batch, &sorted.order)?);
        Ok(())
    }
}

/// Adds a record's new image, if it has one. The first pass has checked the rest of the record.
fn append_image(line: &[u8], builder: &mut ItemBuilder) -> Result<()> {
    let mut parser = Parser::new(line)?;
    let mut scratch = String::new();
    let mut first = true;
    parser.begin_object()?;
    while let Some(name) = parser.next_name(&mut first, &mut scratch)? {
        if name == "NewImage" {
            return builder.append(&mut parser);
        }
        parser.skip_json()?;
    }
    Ok(())
}
