//! Tasks that observe items.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attribute::Parser;
use crate::columns::record::{begin_item, end_item};
use crate::error::Result;
use crate::export::read::sharing::SharedLines;
use crate::export::read::split::Split;
use crate::export::{DataFileRef, Line};
use crate::runtime::cancel::Cancel;
use crate::runtime::progress::Progress;
use crate::runtime::resources::Resources;
use crate::runtime::task::Task;
use crate::schema::{Fields, Limits};
use crate::storage::Store;

/// The result of one task.
#[derive(Debug, Default, Serialize, Deserialize)]
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

/// What all tasks share.
#[derive(Debug, Serialize, Deserialize)]
struct Observing {
    limits: Limits,
    /// Attributes that are not observed.
    left_out: BTreeSet<String>,
}

/// What the tasks need of their process.
struct Observer {
    store: Store,
    limits: Limits,
    /// No observations yet.
    nothing: Fields,
    /// Lines that the threads of this process share.
    lines: SharedLines,
    progress: Arc<Progress>,
}

/// Observes the items of a split.
#[derive(Debug, Serialize, Deserialize)]
struct ObserveSplit(Split);

impl Task for ObserveSplit {
    const NAME: &'static str = "observe-split";
    type Shared = Observing;
    type Env = Observer;
    type Output = Observations;

    fn run(self, env: &Observer, cancel: &Cancel) -> Result<Observations> {
        let mut seen = Observations { fields: env.nothing.clone(), ..Observations::default() };
        let mut last = None;
        let mut scratch = String::new();
        let mut on_line = |file: &DataFileRef, line: Line<'_>| {
            observe(line.bytes, &mut seen.fields, &env.limits, &mut scratch)
                .map_err(|e| e.in_file(file.name.as_str()).on_line(line.number))?;
            seen.items += 1;
            if last.replace(file.position) != Some(file.position) {
                seen.files.insert(file.position);
            }
            Ok(())
        };
        env.lines.run(&self.0, &env.store, &env.progress, cancel, &mut on_line)?;
        Ok(seen)
    }
}

/// Observes all items of the files, except the attributes `left_out`.
pub async fn observe_files(
    store: Store,
    files: &[DataFileRef],
    limits: Limits,
    left_out: &BTreeSet<String>,
    resources: Resources,
) -> Result<Observations> {
    let Resources { threads, progress, runner, .. } = resources;
    progress.start("looking at items", u64::try_from(files.len()).unwrap_or(u64::MAX));
    let shared = Observing { limits, left_out: left_out.clone() };
    let Observing { limits, left_out } = runner.share::<ObserveSplit>(shared)?;
    let (lines, splits) = SharedLines::for_readers(files, threads);
    let observer = Arc::new(Observer { store, limits, nothing: Fields::leaving_out(&left_out), lines, progress });
    let mut seen = Observations::default();
    for more in runner.run(threads, &observer, splits.into_iter().map(ObserveSplit).collect()).await? {
        seen.join(more, &limits);
        seen.fields.check(&limits)?;
    }
    observer.lines.finish()?;
    Ok(seen)
}

fn observe(line: &[u8], fields: &mut Fields, limits: &Limits, scratch: &mut String) -> Result<()> {
    let mut parser = Parser::new(line)?;
    begin_item(&mut parser)?;
    fields.observe_item(&mut parser, limits, scratch)?;
    end_item(&mut parser)
}
