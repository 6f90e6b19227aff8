//! Finds the exports that the arguments of `incremental` and `status` name, and compares them with the table.

use std::collections::HashSet;

use chrono::Utc;

use super::choose::{Allow, Choice, Stop, Unseen, choose};
use super::next::export_command;
use super::seen::Seen;
use super::window::Window;
use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::export::{Export, Prefix, Source, resolve_back};
use crate::storage::{Location, Store};
use crate::table::watermark::{self, EXPORT_ARN, Gap, TABLE_ARN};
use crate::time::Time;

/// The exports that the arguments name.
#[derive(Default)]
pub struct Found {
    /// Each export once, ordered by window.
    exports: Vec<Export>,
    windows: Vec<Window>,
    /// Exports with unknown windows.
    pub unseen: Unseen,
    /// Filtered windows of exports below a folder.
    pub filtered: Vec<(Window, Location)>,
    /// The first damaged export below a folder; further ones are warnings.
    pub damaged: Option<Error>,
    /// The folders that were searched.
    pub seen: Seen,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

impl Found {
    /// Sets the exports; those without a window are ignored.
    fn set(&mut self, mut exports: Vec<Export>) {
        let window = |export: &Export| export.window().map(|(from, to, _)| Window { from, to });
        exports.retain(|export| export.window().is_some());
        exports.sort_by(|a, b| (window(a), a.arn()).cmp(&(window(b), b.arn())));
        self.windows = exports.iter().filter_map(window).collect();
        self.exports = exports;
    }

    /// Exports that have not completed.
    pub fn pending(&self) -> u64 {
        self.unseen.pending
    }

    /// Chooses the due windows for the current state of the table.
    pub fn choose(&self, table: &LoadedTable, allow: Allow) -> Result<Choice> {
        let mark = watermark::watermark(&table.metadata)?;
        let gaps = watermark::gaps(&table.metadata)?;
        Ok(choose(mark, &gaps, &self.windows, &self.unseen, allow))
    }

    /// Refuses exports of another table than the one that is known by now, even if they are not due.
    pub fn check(&self, source: &Source) -> Result<()> {
        self.exports.iter().try_for_each(|export| source.check(export))
    }

    /// Fails if only a filtered export continues from where the table stops; other filtered ones are skipped with a
    /// warning.
    pub fn check_filtered(&self, reached: Option<Time>, warnings: &mut Vec<String>) -> Result<()> {
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
    pub fn get(&self, window: usize) -> Option<(&Export, Window)> {
        self.exports.get(window).zip(self.windows.get(window).copied())
    }

    /// Converts a stop to an error that names the export and the way to get the missing one. `arguments` are the
    /// locations of exports.
    pub fn error(&self, stop: &Stop, table: &LoadedTable, arguments: &[String]) -> Error {
        let Some((export, window)) = self.get(stop.window) else {
            return Error::window("a window can't be applied");
        };
        let arn = table.metadata.properties().get(TABLE_ARN);
        let command = arn.zip(stop.missing).map(|(arn, missing)| export_command(arn, missing, arguments));
        stop.error(window, &export.location().to_string(), command.as_deref())
    }
}

/// Finds the exports that the arguments name: exports, and folders of exports. Even on error, the findings so far are
/// worth reporting.
pub async fn discover(store: &Store, arguments: &[String], table: &LoadedTable) -> (Found, Result<()>) {
    let mut found = Found { seen: Seen::of_table(&table.metadata), ..Found::default() };
    let result = find(store, arguments, table, &mut found).await;
    (found, result)
}

async fn find(store: &Store, arguments: &[String], table: &LoadedTable, found: &mut Found) -> Result<()> {
    let source = watermark::source(&table.metadata);
    let mark = watermark::watermark(&table.metadata)?.map(|mark| mark.time);
    let gaps = watermark::gaps(&table.metadata)?;
    let hint =
        Prefix { table_arn: source.arn.as_deref(), table_id: source.id.as_deref(), watermark: mark, now: Utc::now() };
    let (mut exports, mut damaged): (Vec<Export>, Vec<Error>) = (Vec::new(), Vec::new());
    for argument in arguments {
        let folder = Location::parse(argument)?;
        // A late window of a gap must be found, so that it can be refused.
        let back = found.seen.look_back(folder.as_str(), mark, &gaps);
        let mut resolved = resolve_back(store, argument, &hint, back).await?;
        found.unseen.pending += resolved.pending;
        found.unseen.newest_pending = found.unseen.newest_pending.max(resolved.newest_pending);
        if let Some(looked) = resolved.looked.take() {
            found.seen.note(folder.as_str(), looked, &resolved.exports, &gaps);
            resolved.exports.retain(|export| is_open(export, mark, &gaps));
        }
        let filtered = resolved.filtered.into_iter().filter(|(_, to, _)| mark.is_none_or(|mark| mark < *to));
        found.filtered.extend(filtered.map(|(from, to, folder)| (Window { from, to }, folder)));
        let (foreign, full) = (resolved.foreign, resolved.full);
        tracing::info!("{argument}: {foreign} exports of other tables and {full} full exports were skipped");
        if resolved.exports.is_empty() && resolved.older == 0 && resolved.pending == 0 && foreign > 0 {
            found.warnings.push(format!("{argument}: nothing but {foreign} exports of other tables is there"));
        }
        found.warnings.extend(resolved.warnings);
        for error in resolved.damaged {
            // The same folder may be named twice.
            if !damaged.iter().any(|known| known.to_string() == error.to_string()) {
                damaged.push(error);
            }
        }
        exports.extend(resolved.exports);
    }
    let mut known = HashSet::new();
    let mut each = Vec::new();
    // If the table does not record its source yet, the first export defines it: others are refused before anything is
    // applied.
    let mut whose = source.clone();
    for export in exports {
        check_incremental(&export)?;
        whose.check(&export)?;
        whose.learn(&export);
        if known.insert(export.arn().unwrap_or(export.location().as_str()).to_owned()) {
            each.push(export);
        }
    }
    found.set(each);
    let mut damaged = damaged.into_iter();
    found.damaged = damaged.next();
    found.unseen.damaged = found.damaged.is_some();
    found.warnings.extend(damaged.map(|error| error.to_string()));
    Ok(())
}

/// Whether the table lacks the window of an export below a folder: it ends after the watermark, or is in a gap.
fn is_open(export: &Export, mark: Option<Time>, gaps: &[Gap]) -> bool {
    let Some((from, to, _)) = export.window() else { return true };
    mark.is_none_or(|mark| mark < to) || gaps.iter().any(|gap| gap.touches(from, to))
}

/// Refuses a full export.
fn check_incremental(export: &Export) -> Result<()> {
    if export.window().is_none() {
        return Err(Error::input("this is a full export, an incremental one is needed")
            .in_file(export.location().to_string())
            .advice("Load full exports with `ddb-iceberg full-load`"));
    }
    Ok(())
}

/// The snapshot that contains an export, unless it has expired.
pub fn holder(table: &LoadedTable, export: &Export) -> Option<String> {
    let arn = export.arn()?;
    watermark::ancestors(&table.metadata)
        .find(|s| s.summary().additional_properties.get(EXPORT_ARN).is_some_and(|held| held == arn))
        .map(|s| s.snapshot_id().to_string())
}
