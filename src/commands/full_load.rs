//! `full-load`: loads a full export into a table, which is complete as soon as it exists.

use std::time::Duration;

use iceberg::spec::Snapshot;

use super::event::{Event, Events, describe, ended, warn, warn_of_properties};
use super::load_columns::Columns;
use super::report::{FileCounts, RowCounts, Status, WindowReport, rescue_warnings};
use super::request::{Context, FullLoad, IfExists};
use crate::catalog::settle::Outcome;
use crate::catalog::{LoadedTable, is_unfinished};
use crate::error::{Error, Result};
use crate::export::{Export, open_full};
use crate::load::Publish;
use crate::table::commit::partitioning::Partitioning;
use crate::table::commit::retry::Attempts;
use crate::table::watermark::{self, EXPORT_ARN, WATERMARK};
use crate::table::{check_properties, check_writable};
use crate::time;

/// Loads a full export into a new table, or replaces a table's rows, in one commit.
///
/// Errors: the table exists (`Failed`), unless it already holds this export, which is success; with `replace`, an
/// export older than the table (`Window`), or one of another DynamoDB table (`Input`), unless that is allowed.
pub async fn full_load(context: &Context, request: &FullLoad, events: &mut dyn Events) -> Result<Status> {
    let partitioning = Partitioning::parse(&request.partition_by)?;
    let catalog = context.catalog()?;
    // The items are read twice: for their types and for their values.
    let context = &Context { exports: context.exports.keeping(context.memory_limit / 16), ..context.clone() };
    let export = open_full(&context.exports, &request.export, request.without_manifest).await?;
    let mut window = window_of(&export);
    let mut old = catalog.load(&request.table).await?.filter(|table| !is_unfinished(&table.metadata));
    if let Some(table) = &old
        && holds_already(table, request, &export, &mut window, events)?
    {
        return Ok(ended(events, Status::AlreadyApplied));
    }
    if let Some(table) = &old {
        table.place.check()?;
    }
    if let Some(time) = export.time()
        && time.timestamp_subsec_millis() != 0
    {
        let text = format!(
            "the export's time {} has milliseconds, but windows start at whole seconds: the first increment starts \
             within that second. To be exact, ask for a full export with --export-time at a whole second",
            time::format(time)
        );
        warn(events, [text]);
    }
    let mut decided = Columns::new(context, request, &export).await?;
    let mut columns = decided.of(old.as_ref()).await?;
    partitioning.check(old.as_ref(), &columns)?;
    if request.dry_run {
        window.status = Status::DryRun;
        events.take(Event::Window(window));
        return Ok(ended(events, Status::DryRun));
    }
    let advice = "Nothing was applied; run the command again";
    // Without pauses: what is loaded again takes longer than any.
    let mut attempts = Attempts::new(10, Duration::ZERO, " during the load", advice);
    loop {
        let publish = Publish {
            catalog: catalog.as_ref(),
            ident: &request.table,
            exports: context.exports.clone(),
            export: &export,
            columns: &columns,
            partitioning: &partitioning,
            forget_source: request.allow_other_table,
            resources: context.resources(),
        };
        let (published, outcome) = match &old {
            None => publish.create().await?,
            Some(table) => publish.replace(table).await?,
        };
        match outcome {
            Outcome::Committed(table) => {
                window.status = Status::Applied;
                window.snapshot_id = Some(published.snapshot_id.to_string());
                window.rows = RowCounts { inserted: published.rows, ..RowCounts::default() };
                let (data_added, data_removed) = (published.data_added, published.data_removed);
                window.files = FileCounts { data_added, data_removed, ..FileCounts::default() };
                let warnings = rescue_warnings(&published.rescued);
                window.rescued = published.rescued.values;
                events.take(Event::Window(window));
                warn(events, warnings);
                warn_of_properties(events, &table);
                describe(events, &table)?;
                return Ok(ended(events, Status::Applied));
            }
            Outcome::Moved(found) => {
                // The written files have been deleted again.
                window = window_of(&export);
                let found = found.filter(|table| !is_unfinished(&table.metadata));
                if old.is_some() && found.is_none() {
                    return Err(Error::failed(format!("the table {} was dropped during the load", request.table))
                        .advice("What it left out of its columns is not known any more: load it anew, with --schema"));
                }
                if let Some(table) = &found
                    && holds_already(table, request, &export, &mut window, events)?
                {
                    return Ok(ended(events, Status::AlreadyApplied));
                }
                attempts.lost().await?;
                old = found;
                columns = decided.of(old.as_ref()).await?;
            }
        }
    }
}

fn window_of(export: &Export) -> WindowReport {
    WindowReport::new(export.arn(), None, export.time())
}

/// Whether an existing table already holds this export, which is then told.
///
/// Errors: it does not, and must not be replaced.
fn holds_already(
    table: &LoadedTable,
    request: &FullLoad,
    export: &Export,
    window: &mut WindowReport,
    events: &mut dyn Events,
) -> Result<bool> {
    let holds = |snapshot: &Snapshot| {
        let held = snapshot.summary().additional_properties.get(EXPORT_ARN).map(String::as_str);
        export.arn().is_some() && held == export.arn()
    };
    let replaces = request.if_exists == IfExists::Replace;
    let mut history = watermark::since_load(&table.metadata).filter(|snapshot| is_ours(snapshot));
    // Replacing also removes windows, so only the last operation counts.
    let found = if replaces { history.next().filter(|s| holds(s)) } else { history.find(|s| holds(s)) };
    if let Some(snapshot) = found {
        window.status = Status::AlreadyApplied;
        window.snapshot_id = Some(snapshot.snapshot_id().to_string());
        events.take(Event::Window(window.clone()));
        describe(events, table)?;
        return Ok(true);
    }
    if !replaces && export.arn().is_some() && watermark::expired_load(&table.metadata).as_deref() == export.arn() {
        window.status = Status::AlreadyApplied;
        events.take(Event::Window(window.clone()));
        describe(events, table)?;
        return Ok(true);
    }
    if !replaces {
        return Err(Error::failed(format!("the table {} exists", table.ident))
            .advice("Load into another table, or replace its rows with --if-exists replace"));
    }
    watermark::check_version(&table.metadata)?;
    check_writable(&table.metadata)?;
    check_properties(&table.metadata)?;
    let same = watermark::source(&table.metadata).check(export);
    let is_other = same.is_err();
    if !request.allow_other_table {
        same?;
    }
    // Replacing also repairs a table after a rollback, so an unclear watermark does not prevent it.
    let mark = watermark::watermark(&table.metadata).ok().flatten();
    if let (Some(mark), Some(time)) = (mark, export.time())
        && time < mark.time
        && !is_other
    {
        return Err(Error::window(format!(
            "the export is of {}, the table is complete up to {}",
            time::format(time),
            time::format(mark.time)
        ))
        .advice("Replace it with a newer full export"));
    }
    Ok(false)
}

/// Whether a load or a window created it, and not maintenance or another program.
fn is_ours(snapshot: &Snapshot) -> bool {
    let summary = snapshot.summary();
    watermark::is_load(summary) || summary.additional_properties.contains_key(WATERMARK)
}
