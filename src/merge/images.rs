//! Writes the new images of a window as data files sorted by key.
//!
//! The files are read twice: first only for the keys, to find the newest change of each key. So images never pass
//! through a sort that may spill, and memory is bounded in bytes, however large an item is.

use std::sync::Arc;

use iceberg::spec::DataFile;
use serde::{Deserialize, Serialize};

use super::superseded::Superseded;
use super::work::Work;
use crate::attribute::Parser;
use crate::columns::{ItemBuilder, Rescued};
use crate::error::{Error, Result};
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Split;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::runtime::task::Task;
use crate::schema::Limits;
use crate::storage::Store;
use crate::table::file_serde;
use crate::table::write::sorted_runs::{RunWriter, Shares};
use crate::table::write::spec::WriteSpec;

/// The new images of a window.
pub(crate) struct Images {
    pub store: Store,
    pub files: Vec<DataFileRef>,
    pub limits: Limits,
    pub superseded: Superseded,
    pub shares: Shares,
}

/// What all tasks that write them share.
#[derive(Serialize, Deserialize)]
struct WritingImages {
    write: WriteSpec,
    /// Bytes of rows that a task collects before it writes them.
    run_bytes: usize,
    limits: Limits,
    superseded: Superseded,
}

/// What the tasks need of their process.
struct ImageWriter {
    store: Store,
    limits: Limits,
    superseded: Superseded,
    run_bytes: usize,
    writer: RunWriter,
    /// Lines that the threads of this process share.
    lines: SharedLines,
}

/// Writes the new images of a split.
#[derive(Serialize, Deserialize)]
struct WriteImages(Split);

impl Task for WriteImages {
    const NAME: &'static str = "write-images";
    type Shared = WritingImages;
    type Env = ImageWriter;
    type Output = Written;

    fn run(self, env: &ImageWriter, cancel: &Cancel) -> Result<Written> {
        env.run(&self.0, cancel)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Written {
    #[serde(with = "file_serde::list")]
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
    let Images { store, files, limits, superseded, shares } = images;
    let shared = WritingImages { write: work.write_spec(), run_bytes: shares.run_bytes, limits, superseded };
    let WritingImages { write, run_bytes, limits, superseded } = work.runner.share::<WriteImages>(shared)?;
    // Without a limit of partitions: a window must be applied, whatever its items are.
    let writer = RunWriter::open(write, work.base.file_io.clone(), shares.closing, Arc::clone(&work.progress))?;
    let spec_id = writer.partitioner.spec_id();
    let (lines, splits) = SharedLines::for_writers(&files, shares.threads, &writer.helpers);
    work.progress.start("writing new images", u64::try_from(files.len()).unwrap_or(u64::MAX));
    let env = Arc::new(ImageWriter { store, limits, superseded, run_bytes, writer, lines });
    let tasks = splits.into_iter().map(WriteImages).collect();
    let parts = env.writer.run(&work.runner, shares.threads, &env, tasks).await?;
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

impl ImageWriter {
    fn run(&self, split: &Split, cancel: &Cancel) -> Result<Written> {
        let mut written = Written::default();
        let mut builder = ItemBuilder::new(&self.writer.table, self.limits)?;
        let mut on_line = |file: &DataFileRef, line: Line<'_>| {
            if self.superseded.contains(u64::from(file.position), line.number) {
                return Ok(());
            }
            append_image(line.bytes, &mut builder).map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
            if builder.memory() >= self.run_bytes {
                cancel.check()?;
                self.write_run(split.number, &mut builder, &mut written)?;
            }
            Ok(())
        };
        self.lines.run(split, &self.store, &self.writer.progress, cancel, &mut on_line)?;
        if builder.rows() > 0 {
            self.write_run(split.number, &mut builder, &mut written)?;
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
