//! `status`: how far a table is, what waits, what to export next, and how large it has become. Reads no data.

use std::collections::BTreeMap;

use chrono::{TimeDelta, TimeZone, Utc};
use iceberg::spec::{Operation, TableMetadata};

use super::existing::existing;
use super::incremental::{Collected, collect};
use super::report::{Report, Status};
use super::request::{Context, TableStatus};
use super::state::{AppliedWindow, DueWindow, LiveFiles, NextWindow, TableState};
use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::merge::{Allow, Verdict, judge};
use crate::storage::Location;
use crate::table::watermark::{self, EXPORT_ARN, WINDOW_FROM, WINDOW_TO, Watermark};
use crate::table::{LiveFile, live_files};
use crate::time::{self, Time};

/// A data file below this is small.
const SMALL: u64 = 32 * 1024 * 1024;
/// The longest window that DynamoDB exports (Developer Guide, "DynamoDB data export to Amazon S3: how it works").
const LONGEST: TimeDelta = TimeDelta::hours(24);
/// The shortest one.
const SHORTEST: TimeDelta = TimeDelta::minutes(15);
/// How far back point-in-time recovery reaches at most.
const REACH: TimeDelta = TimeDelta::days(35);

/// Looks at a table's metadata and manifests, and at the exports that are named. Nothing is written.
///
/// What could be learned is in the report also when it fails. Errors of kind `Window`: a table that was rolled back, or one
/// that lags more than `max_lag`.
pub async fn status(context: &Context, request: &TableStatus, report: &mut Report) -> Result<()> {
    let catalog = context.catalog()?;
    let table = existing(catalog.as_ref(), &request.table).await?;
    watermark::check_version(&table.metadata)?;
    let described = report.describe(&table);
    let mut state = of_metadata(&table.metadata, request.windows);
    let files = live_files(&table).await;
    state.files = files.as_deref().ok().map(count);
    report.state = Some(Box::new(state));
    described?;
    files?;
    let gaps = watermark::gaps(&table.metadata)?;
    let mark = watermark::watermark(&table.metadata)?;
    let Collected { exports, damaged } = if request.exports.is_empty() {
        Collected { exports: Vec::new(), damaged: None }
    } else {
        collect(context, &request.exports, &table, report).await?
    };

    let mut due = Vec::new();
    let (mut reached, mut source, mut foreign) = (mark, watermark::source(&table.metadata), None);
    for export in exports {
        let Some((from, to, _)) = export.window() else { continue };
        if let Err(error) = source.check(&export) {
            foreign.get_or_insert(error);
            continue;
        }
        let problem = match judge(reached, &gaps, from, to, Allow::default()) {
            Ok(Verdict::Already) => continue,
            Ok(Verdict::Due { .. }) => {
                reached = Some(Watermark { time: to, of_load: false });
                source.learn(&export);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let export_arn = export.arn().map(str::to_owned);
        due.push(DueWindow { export_arn, from: time::format(from), to: time::format(to), problem });
    }
    let now = Utc::now();
    let next = reached.map(|mark| next(mark.time, now, &table, &request.exports));
    if let Some(mark) = reached
        && now - mark.time > REACH
    {
        report.warnings.push(
            "the next window starts more than 35 days ago, where point-in-time recovery no longer reaches: load a new full \
             export with full-load --if-exists replace"
                .to_owned(),
        );
    }
    if let Some(state) = &mut report.state {
        (state.due, state.next, state.gaps) = (due, next, gaps);
    }
    if let Some(error) = foreign.or(damaged) {
        return Err(error);
    }
    report.status = Status::Checked;
    check_lag(mark, request.max_lag)
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

/// What the metadata file alone says.
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

/// The window after what is there. Windows start and end at whole seconds.
fn next(from: Time, now: Time, table: &LoadedTable, arguments: &[String]) -> NextWindow {
    let second = |time: Time| Utc.timestamp_opt(time.timestamp(), 0).single().unwrap_or(time);
    let from = second(from);
    let soonest = from + SHORTEST;
    let to = second(now).clamp(soonest, from + LONGEST);
    let arn = table.metadata.properties().get(watermark::TABLE_ARN);
    NextWindow {
        from: time::format(from),
        to: time::format(to),
        ready: soonest <= now,
        // What can't be exported any more needs no command.
        command: arn.filter(|_| now - from <= REACH).map(|arn| command(arn, from, to, arguments)),
    }
}

/// How the AWS CLI is asked for a window. New images suffice: old rows are found by key.
fn command(arn: &str, from: Time, to: Time, arguments: &[String]) -> String {
    let locations = arguments.iter().filter_map(|argument| Location::parse(argument).ok());
    let target = locations.filter(Location::is_s3).map(|location| target(location.as_str())).next();
    let (bucket, prefix) = target.unwrap_or(("BUCKET".to_owned(), None));
    let prefix = prefix.map(|prefix| format!(" --s3-prefix {}", quoted(&prefix))).unwrap_or_default();
    let at = |time: Time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    format!(
        "aws dynamodb export-table-to-point-in-time --table-arn {} --s3-bucket {}{prefix} --export-type INCREMENTAL_EXPORT \
         --incremental-export-specification ExportFromTime={},ExportToTime={},ExportViewType=NEW_IMAGE",
        quoted(arn),
        quoted(&bucket),
        at(from),
        at(to)
    )
}

/// Bucket and prefix of the folder that exports lie in: what stands before `AWSDynamoDB`.
fn target(location: &str) -> (String, Option<String>) {
    let path = location.strip_prefix("s3://").unwrap_or(location);
    let mut parts = path.split('/').take_while(|part| *part != "AWSDynamoDB");
    let bucket = parts.next().unwrap_or_default().to_owned();
    let prefix = parts.collect::<Vec<_>>().join("/");
    (bucket, (!prefix.is_empty()).then_some(prefix))
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        time::parse(&format!("2026-01-{text}Z")).unwrap()
    }

    #[test]
    fn the_command_can_be_pasted() {
        let (from, to) = (at("14T10:20:00"), at("14T10:35:00"));
        let made = command("arn:aws:dynamodb:eu-north-1:1:table/t", from, to, &["s3://b/a/b/AWSDynamoDB/".to_owned()]);
        assert_eq!(
            made,
            "aws dynamodb export-table-to-point-in-time --table-arn arn:aws:dynamodb:eu-north-1:1:table/t --s3-bucket b \
             --s3-prefix a/b --export-type INCREMENTAL_EXPORT --incremental-export-specification \
             ExportFromTime=2026-01-14T10:20:00Z,ExportToTime=2026-01-14T10:35:00Z,ExportViewType=NEW_IMAGE"
        );
        let hostile = command("x'; rm -rf ~ #", from, to, &["/local".to_owned()]);
        assert!(hostile.contains(r"--table-arn 'x'\''; rm -rf ~ #' --s3-bucket BUCKET --export-type"), "{hostile}");
        assert_eq!(target("s3://b"), ("b".to_owned(), None));
        assert_eq!(target("s3://b/AWSDynamoDB/0123-ab"), ("b".to_owned(), None));
    }

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
