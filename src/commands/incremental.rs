//! `incremental`: merges due windows into the table in order, in one commit each.

use std::collections::HashSet;
use std::time::Duration;

use super::event::{Event, Events, describe, ended, warn, warn_of_properties};
use super::report::{self, FileCounts, SkippedWindow, Status, WindowReport, rescue_warnings};
use super::request::{Context, Incremental, Maintenance};
use super::upkeep::upkeep;
use crate::catalog::{Catalog, LoadedTable, is_unfinished};
use crate::error::{Error, Result};
use crate::merge::window::{Effect, Merged, WindowMerge};
use crate::merge::{RowCounts, WriteMode};
use crate::table::columns::columns_with_key;
use crate::table::commit::retry::Attempts;
use crate::table::open::existing_to_change;
use crate::table::watermark::{self, Gap, Watermark};
use crate::table::{Partitioner, check_properties, check_writable};
use crate::time::{self, Time};
use crate::windows::{self, Allow, Choice, Due, Found, Why, holder};

/// The table property for removing old rows, as Spark's MERGE uses it.
const MERGE_MODE: &str = "write.merge.mode";

/// Applies every window that is due, in order.
///
/// Windows applied before an error stay applied, and are told, as is the failed window. If an export below a folder is damaged, the windows that follow the watermark without a gap are applied before this error is returned.
pub async fn incremental(context: &Context, request: &Incremental, events: &mut dyn Events) -> Result<Status> {
    let catalog = context.catalog()?;
    let mut table = load(catalog.as_ref(), request).await?;
    describe(events, &table)?;
    let mut found = discover(context, &request.exports, &table, events).await?;
    let damaged = found.damaged.take();
    let allow = Allow { gap: request.allow_gap, overlap: request.allow_overlap };
    let mut told = Told::default();
    let (mut base, mut choice) = begin(&found, &table, allow, &mut told, events)?;
    let (mut position, mut attempts) = (0, attempts_at_a_window());
    let mut source = watermark::source(&table.metadata);
    while let Some(due) = choice.due.get(position).cloned()
        && let Some((export, span)) = found.get(due.window)
    {
        let mut window = window_of(&found, due.window);
        // With the table's current state: an earlier window may have recorded its source.
        if let Err(error) = source.check(export) {
            told.tell(due.window, window, Status::Failed, events);
            events.take(Event::Skipped(skipped(&found, &choice)));
            return Err(error);
        }
        if request.dry_run {
            source.learn(export);
            warn(events, due.warning);
            told.tell(due.window, window, Status::DryRun, events);
            position += 1;
            continue;
        }
        let applied = match apply(context, catalog.as_ref(), request, &found, &due, &table).await {
            Ok(None) => attempts.lost().await.map(|()| None),
            applied => applied,
        };
        match applied {
            Err(error) => {
                told.tell(due.window, window, Status::Failed, events);
                events.take(Event::Skipped(skipped(&found, &choice)));
                return Err(error);
            }
            Ok(Some(Merged { table: committed, snapshot_id, effect })) => {
                let warnings = record(&mut window, snapshot_id, effect);
                if due.gap.is_some() {
                    found.seen.record(&table.metadata, &committed.metadata);
                }
                table = committed;
                told.tell(due.window, window, Status::Applied, events);
                warn(events, due.warning.into_iter().chain(warnings));
                warn_of_properties(events, &table);
                describe(events, &table)?;
                source = watermark::source(&table.metadata);
                base.follow(span.to, due.gap);
                (position, attempts) = (position + 1, attempts_at_a_window());
                if request.maintenance == Maintenance::Auto {
                    // Also between windows: a long run of late windows would become slower with every small file.
                    table = upkeep(context, catalog.as_ref(), table, false, events).await;
                }
            }
            Ok(None) => {
                table = load(catalog.as_ref(), request).await?;
                describe(events, &table)?;
                source = watermark::source(&table.metadata);
            }
        }
        // Another process that applies windows may have chosen different ones.
        if Base::of(&table)? != base {
            (base, choice) = begin(&found, &table, allow, &mut told, events)?;
            (position, attempts) = (0, attempts_at_a_window());
        }
    }
    events.take(Event::Skipped(skipped(&found, &choice)));
    found.check(&source)?;
    check_filtered(&found, &choice, events)?;
    let mut stops = choice.stops.iter().filter(|stop| !told.windows.contains(&stop.window));
    if let Some(error) = damaged {
        // It may contain the missing window, but not one that comes too late.
        let late = stops.filter(|stop| matches!(stop.why, Why::Late(_)));
        warn(events, late.map(|stop| found.error(stop, &table, &request.exports).to_string()));
        return Err(error);
    }
    if let Some(first) = stops.next() {
        warn(events, stops.map(|stop| found.error(stop, &table, &request.exports).to_string()));
        let mut window = window_of(&found, first.window);
        window.status = Status::Failed;
        events.take(Event::Window(window));
        return Err(found.error(first, &table, &request.exports));
    }
    if told.status == Status::Applied && request.maintenance == Maintenance::Auto {
        upkeep(context, catalog.as_ref(), table, true, events).await;
    }
    Ok(ended(events, told.status))
}

/// The windows that were told.
struct Told {
    windows: HashSet<usize>,
    /// How the command ends, if it does not fail.
    status: Status,
}

impl Default for Told {
    fn default() -> Self {
        Self { windows: HashSet::new(), status: Status::NothingToDo }
    }
}

impl Told {
    /// Tells how a window has ended.
    fn tell(&mut self, index: usize, mut window: WindowReport, status: Status, events: &mut dyn Events) {
        window.status = status;
        self.windows.insert(index);
        // Each of these says more than the next: a window that was applied, would be applied, was applied before.
        let ranks = [Status::Applied, Status::DryRun, Status::AlreadyApplied];
        let rank = |status| ranks.iter().position(|ranked| *ranked == status).unwrap_or(ranks.len());
        if rank(status) < rank(self.status) {
            self.status = status;
        }
        events.take(Event::Window(window));
    }
}

fn attempts_at_a_window() -> Attempts {
    let advice = "Nothing of the window was applied; run the command again";
    Attempts::new(10, Duration::from_millis(100), " while this window was merged", advice)
}

/// The state on which windows were chosen.
#[derive(PartialEq)]
struct Base {
    mark: Option<Watermark>,
    gaps: Vec<Gap>,
}

impl Base {
    fn of(table: &LoadedTable) -> Result<Self> {
        Ok(Self { mark: watermark::watermark(&table.metadata)?, gaps: watermark::gaps(&table.metadata)? })
    }

    /// The state after a window was applied.
    fn follow(&mut self, to: Time, gap: Option<Gap>) {
        self.mark = Some(Watermark { time: to, of_load: false });
        self.gaps.extend(gap);
    }
}

/// Chooses windows for the current state of the table, and tells those that it already has.
fn begin(
    found: &Found,
    table: &LoadedTable,
    allow: Allow,
    told: &mut Told,
    events: &mut dyn Events,
) -> Result<(Base, Choice)> {
    let choice = found.choose(table, allow)?;
    for &index in &choice.already {
        if !told.windows.contains(&index) {
            let mut window = window_of(found, index);
            window.snapshot_id = found.get(index).and_then(|(export, _)| holder(table, export));
            told.tell(index, window, Status::AlreadyApplied, events);
        }
    }
    Ok((Base::of(table)?, choice))
}

/// Loads the table, if this program can merge into it.
async fn load(catalog: &dyn Catalog, request: &Incremental) -> Result<LoadedTable> {
    let table = existing_to_change(catalog, &request.table).await?;
    if is_unfinished(&table.metadata) {
        return Err(Error::failed(format!(
            "the first load of table {} has not finished; the table is empty",
            request.table
        ))
        .advice("Run that `ddb-iceberg full-load` again: it goes on with this table"));
    }
    watermark::check_version(&table.metadata)?;
    check_writable(&table.metadata)?;
    check_properties(&table.metadata)?;
    // New images will be written with it, so check it now.
    Partitioner::new(table.metadata.default_partition_spec(), table.metadata.current_schema())?;
    Ok(table)
}

/// How old rows are removed: as requested, otherwise by the table property that Spark uses.
fn write_mode(table: &LoadedTable, request: &Incremental) -> Result<WriteMode> {
    match (request.write_mode, table.metadata.properties().get(MERGE_MODE).map(String::as_str)) {
        (Some(asked), _) => Ok(asked),
        (None, None | Some("merge-on-read")) => Ok(WriteMode::MergeOnRead),
        (None, Some("copy-on-write")) => Ok(WriteMode::CopyOnWrite),
        (None, Some(other)) => Err(Error::usage(format!("the table property {MERGE_MODE} is {other:?}"))
            .advice("Set it to merge-on-read or copy-on-write, or give --write-mode")),
    }
}

/// Merges one window into the current state of the table; `None` if another writer committed first.
async fn apply(
    context: &Context,
    catalog: &dyn Catalog,
    request: &Incremental,
    found: &Found,
    due: &Due,
    table: &LoadedTable,
) -> Result<Option<Merged>> {
    let Some((export, span)) = found.get(due.window) else { return Err(Error::failed("a window was lost")) };
    let merge = WindowMerge {
        catalog,
        exports: context.exports.clone(),
        export,
        from: span.from,
        to: span.to,
        gap: due.gap.clone(),
        columns: columns_with_key(table, &request.key)?,
        new_attributes: request.new_attributes,
        write_mode: write_mode(table, request)?,
        resources: context.resources(),
    };
    merge.run(table, |gaps| found.seen.property(&table.metadata, gaps)).await
}

/// A window that was not processed yet.
pub(super) fn window_of(found: &Found, window: usize) -> WindowReport {
    let (arn, span) = found.get(window).map_or((None, None), |(export, span)| (export.arn(), Some(span)));
    WindowReport::new(arn, span.map(|span| span.from), span.map(|span| span.to))
}

/// A skipped window.
pub(super) fn skipped(found: &Found, choice: &Choice) -> Vec<SkippedWindow> {
    let told = choice.skipped.iter().filter_map(|skipped| {
        let (export, window) = found.get(skipped.window)?;
        Some(SkippedWindow {
            export_arn: export.arn().map(str::to_owned),
            from: time::format(window.from),
            to: time::format(window.to),
            reason: skipped.reason.clone(),
        })
    });
    told.collect()
}

/// Finds the exports that the arguments name; even on error, the findings are told.
pub(super) async fn discover(
    context: &Context,
    arguments: &[String],
    table: &LoadedTable,
    events: &mut dyn Events,
) -> Result<Found> {
    let (mut found, result) = windows::discover(&context.exports, arguments, table).await;
    events.take(Event::Pending(found.pending()));
    warn(events, found.warnings.drain(..));
    result.map(|()| found)
}

/// Checks that no filtered export is needed, and warns of the others.
pub(super) fn check_filtered(found: &Found, choice: &Choice, events: &mut dyn Events) -> Result<()> {
    let mut warnings = Vec::new();
    let checked = found.check_filtered(choice.reached, &mut warnings);
    warn(events, warnings);
    checked
}

/// Records a committed window; returns warnings for the user.
fn record(window: &mut WindowReport, snapshot_id: Option<i64>, effect: Effect) -> Vec<String> {
    window.snapshot_id = snapshot_id.map(|id| id.to_string());
    let RowCounts { inserted, updated, deleted } = effect.counts;
    window.rows = report::RowCounts { inserted, updated, deleted };
    let warnings = effect.warnings.into_iter().chain(rescue_warnings(&effect.rescued)).collect();
    window.rescued = effect.rescued.values;
    window.columns_added = effect.columns_added;
    window.files = FileCounts {
        data_added: effect.data_added,
        data_removed: effect.data_removed,
        deletes_added: effect.deletes_added,
    };
    warnings
}
