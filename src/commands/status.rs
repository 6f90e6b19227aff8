//! `status`: how current a table is, what is due, what to export next, and its size. Reads no data.

use std::collections::BTreeMap;

use chrono::{TimeDelta, TimeZone, Utc};
use iceberg::spec::{Operation, TableMetadata};

use super::event::{Event, Events, describe, ended, warn};
use super::incremental::{check_filtered, discover, skipped};
use super::report::Status;
use super::request::{Context, TableStatus};
use crate::catalog::LoadedTable;
use crate::commands::report::state::{AppliedWindow, DueWindow, LiveFiles, NextWindow, TableState};
use crate::error::{Error, Result};
use crate::table::open::existing;
use crate::table::watermark::{self, EXPORT_ARN, WINDOW_FROM, WINDOW_TO, Watermark};
use crate::table::{LiveFile, live_files};
use crate::time::{self, Time};
use crate::windows::{Allow, Choice, Found, REACH, export_command, exportable};

/// A data file below this is small.
const SMALL: u64 = 32 * 1024 * 1024;

/// Inspects a table's metadata and manifests, and the given exports. Writes nothing.
///
/// Even on error, the findings are told. Errors of kind `Window`: a table that was rolled back, or one that
/// lags by more than `max_lag`.
pub async fn status(context: &Context, request: &TableStatus, events: &mut dyn Events) -> Result<Status> {
    let catalog = context.catalog()?;
    let table = existing(catalog.as_ref(), &request.table).await?;
    watermark::check_version(&table.metadata)?;
    let described = describe(events, &table);
    let mut state = of_metadata(&table.metadata, request.windows);
    let files = live_files(&table).await;
    state.files = files.as_deref().ok().map(count);
    events.take(Event::State(Box::new(state.clone())));
    described?;
    files?;
    let gaps = watermark::gaps(&table.metadata)?;
    let mark = watermark::watermark(&table.metadata)?;
    let mut found = if request.exports.is_empty() {
        Found::default()
    } else {
        discover(context, &request.exports, &table, events).await?
    };
    let choice = found.choose(&table, Allow::default())?;
    let due = due(&found, &choice, &table, &request.exports);
    let now = Utc::now();
    let next = choice.reached.map(|reached| next(reached, &choice, now, &table, &request.exports));
    if let Some(reached) = choice.reached
        && now - reached > REACH
    {
        let text = "the next window starts more than 35 days ago, where point-in-time recovery no longer reaches: load a new full \
                    export with full-load --if-exists replace";
        warn(events, [text.to_owned()]);
    }
    events.take(Event::Skipped(skipped(&found, &choice)));
    events.take(Event::State(Box::new(TableState { gaps, due, next, ..state })));
    // As `incremental` would, window by window.
    let mut source = watermark::source(&table.metadata);
    choice.due.iter().filter_map(|due| found.get(due.window)).for_each(|(export, _)| source.learn(export));
    found.check(&source)?;
    check_filtered(&found, &choice, events)?;
    if let Some(error) = found.damaged.take() {
        return Err(error);
    }
    check_lag(mark, request.max_lag)?;
    Ok(ended(events, Status::Checked))
}

fn check_lag(mark: Option<Watermark>, most: Option<TimeDelta>) -> Result<()> {
    let Some(most) = most else { return Ok(()) };
    let Some(mark) = mark else {
        return Err(Error::window("the table has no watermark: how far it lags is not known"));
    };
    let lag = Utc::now() - mark.time;
    if lag <= most {
        return Ok(());
    }
    let (lag, over) = (time::span(lag.num_seconds()), time::span((lag - most).num_seconds().max(1)));
    Err(Error::window(format!(
        "the table is complete up to {}, {lag} ago: {over} more than --max-lag allows",
        time::format(mark.time)
    ))
    .advice("Look whether exports are made, and whether `incremental` runs"))
}

/// The state according to the metadata file alone.
fn of_metadata(metadata: &TableMetadata, windows: usize) -> TableState {
    let mut state = TableState {
        table_arn: metadata.properties().get(watermark::TABLE_ARN).cloned(),
        snapshots: u64::try_from(metadata.snapshots().len()).unwrap_or(u64::MAX),
        oldest_snapshot: metadata.snapshots().map(|s| s.timestamp_ms()).min().and_then(committed),
        ..TableState::default()
    };
    let mut rewritten = false;
    for snapshot in watermark::ancestors(metadata) {
        let summary = &snapshot.summary().additional_properties;
        let (is_load, is_window) = (watermark::is_load(snapshot.summary()), summary.contains_key(WINDOW_FROM));
        rewritten |= snapshot.summary().operation == Operation::Replace || is_load;
        state.windows_since_rewrite += u64::from(!rewritten && is_window);
        if !is_load && !is_window {
            continue;
        }
        state.windows_kept += 1;
        if state.windows.len() < windows {
            let number = |name: &str| summary.get(name).and_then(|text| text.parse().ok());
            state.windows.push(AppliedWindow {
                export_arn: summary.get(EXPORT_ARN).cloned(),
                from: summary.get(WINDOW_FROM).cloned(),
                to: summary.get(WINDOW_TO).cloned(),
                snapshot_id: snapshot.snapshot_id().to_string(),
                committed: committed(snapshot.timestamp_ms()).unwrap_or_default(),
                added_records: number("added-records"),
                added_position_deletes: number("added-position-deletes"),
            });
        }
    }
    state.windows.reverse();
    state
}

fn committed(milliseconds: i64) -> Option<String> {
    Utc.timestamp_millis_opt(milliseconds).single().map(time::format)
}

fn count(live: &[LiveFile]) -> LiveFiles {
    let mut found = LiveFiles::default();
    let mut deletes = BTreeMap::new();
    for file in live {
        let bytes = file.file.file_size_in_bytes();
        found.data_files += 1;
        found.data_bytes = found.data_bytes.saturating_add(bytes);
        found.records = found.records.saturating_add(file.file.record_count());
        found.small_data_files += u64::from(bytes < SMALL);
        found.data_files_with_deletes += u64::from(!file.deletes.is_empty());
        deletes.extend(file.deletes.iter().map(|delete| (delete.file.file_path(), delete)));
    }
    for delete in deletes.into_values() {
        found.delete_files += 1;
        found.delete_bytes = found.delete_bytes.saturating_add(delete.file.file_size_in_bytes());
        found.deleted_positions = found.deleted_positions.saturating_add(delete.file.record_count());
    }
    found
}

/// The windows that are not applied: those that are due, where that stops, and those after it.
fn due(found: &Found, choice: &Choice, table: &LoadedTable, arguments: &[String]) -> Vec<DueWindow> {
    let first = choice.stops.first().and_then(|stop| found.get(stop.window));
    let behind = first.map(|(_, window)| format!("it waits behind the window {window}, where incremental stops"));
    let applied = choice.due.iter().map(|due| (due.window, None));
    let stops = choice.stops.iter().map(|stop| (stop.window, Some(found.error(stop, table, arguments).to_string())));
    let waiting = choice.waiting.iter().map(|window| (*window, behind.clone()));
    let listed = applied.chain(stops).chain(waiting).filter_map(|(index, problem)| {
        let (export, window) = found.get(index)?;
        Some(DueWindow {
            export_arn: export.arn().map(str::to_owned),
            from: time::format(window.from),
            to: time::format(window.to),
            problem,
        })
    });
    listed.collect()
}

/// The window after the existing ones: the missing one, or as much as has passed.
fn next(reached: Time, choice: &Choice, now: Time, table: &LoadedTable, arguments: &[String]) -> NextWindow {
    let missing = choice.stops.iter().find_map(|stop| stop.missing);
    let window = missing.unwrap_or_else(|| exportable(reached, Some(now), std::iter::empty()));
    let arn = table.metadata.properties().get(watermark::TABLE_ARN);
    NextWindow {
        from: time::format(window.from),
        to: time::format(window.to),
        ready: window.to <= now,
        // A window that can no longer be exported needs no command.
        command: arn.filter(|_| now - window.from <= REACH).map(|arn| export_command(arn, window, arguments)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_measured_against_what_is_allowed() {
        let mark = |minutes| Some(Watermark { time: Utc::now() - TimeDelta::minutes(minutes), of_load: false });
        assert!(check_lag(None, None).is_ok() && check_lag(mark(90), None).is_ok());
        assert!(check_lag(mark(30), Some(TimeDelta::hours(1))).is_ok());
        let error = check_lag(mark(90), Some(TimeDelta::hours(1))).unwrap_err();
        assert_eq!(error.kind().exit_code(), 4);
        assert!(error.to_string().contains("1 h 30 min ago: 30 min more"), "{error}");
        assert!(check_lag(None, Some(TimeDelta::hours(1))).is_err());
    }
}
