//! Tasks that observe items.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::attribute::Parser;
use crate::columns::record::{begin_item, end_item};
use crate::error::Result;
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Task;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::runtime::pool;
use crate::runtime::progress::Progress;
use crate::schema::{Fields, Limits};
use crate::storage::Store;

/// The result of one task.
#[derive(Debug, Default)]
pub struct Observations {
    /// Number of items.
    pub items: u64,
    /// Their attributes.
    pub fields: Fields,
    /// The files that contain items, by index.
    pub files: BTreeSet<u32>,
}

impl Observations {
    /// Merges the result of another task.
    pub fn join(&mut self, other: Self, limits: &Limits) {
        self.items += other.items;
        self.files.extend(other.files);
        self.fields.join(other.fields, limits);
    }
}

/// Observes all items of the files with this many threads, except the attributes `left_out`.
pub async fn observe_files(
    store: Store,
    files: &[DataFileRef],
    threads: usize,
    limits: Limits,
    left_out: &BTreeSet<String>,
    progress: Arc<Progress>,
) -> Result<Observations> {
    progress.start("looking at items", u64::try_from(files.len()).unwrap_or(u64::MAX));
    let (spread, tasks) = SharedLines::for_readers(files, threads);
    let spread = Arc::new(spread);
    let shared = spread.clone();
    let nothing = Fields::leaving_out(left_out);
    let run = move |task: Task, stop: &Cancel| {
        let mut seen = Observations { fields: nothing.clone(), ..Observations::default() };
        let mut last = None;
        let mut scratch = String::new();
        let mut on_line = |file: &DataFileRef, line: Line<'_>| {
            observe(line.bytes, &mut seen.fields, &limits, &mut scratch)
                .map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
            seen.items += 1;
            if last.replace(file.position) != Some(file.position) {
                seen.files.insert(file.position);
            }
            Ok(())
        };
        shared.run(&task, &store, &progress, stop, &mut on_line)?;
        Ok(seen)
    };
    let mut seen = Observations::default();
    for more in pool::run(threads, tasks, run).await? {
        seen.join(more, &limits);
        seen.fields.check(&limits)?;
    }
    spread.finish()?;
    Ok(seen)
}

fn observe(line: &[u8], fields: &mut Fields, limits: &Limits, scratch: &mut String) -> Result<()> {
    let mut parser = Parser::new(line)?;
    begin_item(&mut parser)?;
    fields.observe_item(&mut parser, limits, scratch)?;
    end_item(&mut parser)
}
