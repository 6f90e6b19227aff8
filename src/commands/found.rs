//! What the arguments of `incremental` and `status` name, held against the table.

use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::export::{Export, Source};
use crate::storage::Location;
use crate::table::watermark::{self, EXPORT_ARN, TABLE_ARN};
use crate::time::{self, Time};
use crate::windows::{Allow, Choice, Seen, Stop, Unseen, Window, choose, export_command};

use super::report::{SkippedWindow, WindowReport};

/// What the arguments name.
#[derive(Default)]
pub(super) struct Found {
    /// Each export once, ordered by window.
    exports: Vec<Export>,
    windows: Vec<Window>,
    /// Exports of which the window is not known.
    pub(super) unseen: Unseen,
    /// Windows of exports below a folder that a filter has cut.
    pub(super) filtered: Vec<(Window, Location)>,
    /// The first export below a folder that is damaged; the others are warnings.
    pub(super) damaged: Option<Error>,
    /// Which folders were looked through.
    pub(super) seen: Seen,
}

impl Found {
    /// Nothing yet; `seen` is what the table remembers.
    pub(super) fn new(seen: Seen) -> Self {
        Self { seen, ..Self::default() }
    }

    /// Sets the exports; those that are no windows are left out.
    pub(super) fn set(&mut self, mut exports: Vec<Export>) {
        let window = |export: &Export| export.window().map(|(from, to, _)| Window { from, to });
        exports.retain(|export| export.window().is_some());
        exports.sort_by(|a, b| (window(a), a.arn()).cmp(&(window(b), b.arn())));
        self.windows = exports.iter().filter_map(window).collect();
        self.exports = exports;
    }

    /// Which of the windows are due, for the table as it is now.
    pub(super) fn choose(&self, table: &LoadedTable, allow: Allow) -> Result<Choice> {
        let mark = watermark::watermark(&table.metadata)?;
        let gaps = watermark::gaps(&table.metadata)?;
        Ok(choose(mark, &gaps, &self.windows, &self.unseen, allow))
    }

    /// Refuses exports of another table than the one that is known by now, whether they are due or not.
    pub(super) fn check(&self, source: &Source) -> Result<()> {
        self.exports.iter().try_for_each(|export| source.check(export))
    }

    /// Fails if the table stops where only a filtered export goes on; other filtered ones are left out with a warning.
    pub(super) fn check_filtered(&self, reached: Option<Time>, warnings: &mut Vec<String>) -> Result<()> {
        let mut needed = None;
        for (window, folder) in &self.filtered {
            if reached.is_some_and(|reached| window.from <= reached && reached < window.to) {
                needed.get_or_insert((window, folder));
            } else {
                warnings.push(format!("{folder}: a filtered export holds only a part; it is left out"));
            }
        }
        let Some((window, folder)) = needed else { return Ok(()) };
        Err(Error::input(format!("the export is filtered: of the window {window} it holds only a part of the changes"))
            .in_file(folder.to_string())
            .advice("Export the window without a filter"))
    }

    /// An export and its window.
    pub(super) fn get(&self, window: usize) -> Option<(&Export, Window)> {
        self.exports.get(window).zip(self.windows.get(window).copied())
    }

    /// A window that nothing was done with yet.
    pub(super) fn report(&self, window: usize) -> WindowReport {
        let (arn, span) = self.get(window).map_or((None, None), |(export, span)| (export.arn(), Some(span)));
        WindowReport::new(arn, span.map(|span| span.from), span.map(|span| span.to))
    }

    /// What is skipped.
    pub(super) fn skipped(&self, choice: &Choice) -> Vec<SkippedWindow> {
        let told = choice.skipped.iter().filter_map(|skipped| {
            let (export, window) = self.get(skipped.window)?;
            Some(SkippedWindow {
                export_arn: export.arn().map(str::to_owned),
                from: time::format(window.from),
                to: time::format(window.to),
                reason: skipped.reason.clone(),
            })
        });
        told.collect()
    }

    /// A stop as an error that names the export, and how to get what is missing. `arguments` say where exports lie.
    pub(super) fn error(&self, stop: &Stop, table: &LoadedTable, arguments: &[String]) -> Error {
        let Some((export, window)) = self.get(stop.window) else {
            return Error::window("a window can't be applied");
        };
        let arn = table.metadata.properties().get(TABLE_ARN);
        let command = arn.zip(stop.missing).map(|(arn, missing)| export_command(arn, missing, arguments));
        stop.error(window, &export.location().to_string(), command.as_deref())
    }
}

/// The snapshot that holds an export, unless it was expired.
pub(super) fn holder(table: &LoadedTable, export: &Export) -> Option<String> {
    let arn = export.arn()?;
    watermark::ancestors(&table.metadata)
        .find(|s| s.summary().additional_properties.get(EXPORT_ARN).is_some_and(|held| held == arn))
        .map(|s| s.snapshot_id().to_string())
}
