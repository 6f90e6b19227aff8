//! What `status` found, in words; [`of`] also hands on those of `verify`.

use ddb_iceberg::commands::{AppliedWindow, Report, TableState};
use ddb_iceberg::time;

use super::escape;
use super::units::{bytes, count, group};
use super::verify::verify;
use super::windows::skipped;

/// Maximum number of due windows that are printed; the JSON result has all of them.
const MAX_DUE_LINES: usize = 20;

/// The lines for people, if there is a result.
pub(crate) fn of(report: &Report) -> Option<Vec<String>> {
    let table = escape::line(report.table.as_deref().unwrap_or("table"));
    if let Some(state) = &report.state {
        return Some(status(&table, report, state));
    }
    report.comparison.as_ref().map(|comparison| verify(&table, comparison))
}

fn status(table: &str, report: &Report, state: &TableState) -> Vec<String> {
    let lag = report.lag_seconds.map(|seconds| format!(" (lag {})", time::span(seconds))).unwrap_or_default();
    let mut lines = vec![match &report.watermark {
        Some(watermark) => format!("{table}: complete up to {}{lag}.", escape::line(watermark)),
        None => format!("{table}: it is not known up to which time it is complete."),
    }];
    if !state.windows.is_empty() {
        lines.push(format!(
            "  {} in the history; the last:",
            match state.windows_kept {
                1 => "1 load or window".to_owned(),
                n => format!("{} loads and windows", group(n)),
            }
        ));
        lines.extend(state.windows.iter().map(|window| format!("    {}", applied(window))));
    }
    for gap in &state.gaps {
        lines.push(format!("  gap: {} to {}", escape::line(&gap.from), escape::line(&gap.to)));
    }
    for due in state.due.iter().take(MAX_DUE_LINES) {
        let problem = due.problem.as_deref().map(|text| format!(": {}", escape::line(text))).unwrap_or_default();
        lines.push(format!("  due: {} to {}{problem}", escape::line(&due.from), escape::line(&due.to)));
    }
    if let Some(more @ 1..) = state.due.len().checked_sub(MAX_DUE_LINES) {
        lines.push(format!("  and {} more due", group(more)));
    }
    lines.extend(skipped(report));
    if report.pending > 0 {
        lines.push(format!("  {} not completed yet", count(report.pending, "export")));
    }
    if let Some(next) = &state.next {
        let ready = if next.ready { "" } else { ", not before it has passed" };
        lines.push(format!(
            "  next window to export: {} to {}{ready}",
            escape::line(&next.from),
            escape::line(&next.to)
        ));
        lines.extend(next.command.iter().map(|command| format!("    {}", escape::line(command))));
    }
    if let Some(files) = &state.files {
        let deleted = match files.deleted_positions {
            0 => String::new(),
            deleted => format!(", {} of them deleted", group(deleted)),
        };
        lines.push(format!(
            "  {} ({}, {} small): {}{deleted}",
            count(files.data_files, "data file"),
            bytes(files.data_bytes),
            group(files.small_data_files),
            count(files.records, "row")
        ));
        lines.push(format!(
            "  {} ({}), on {}",
            count(files.delete_files, "delete file"),
            bytes(files.delete_bytes),
            count(files.data_files_with_deletes, "data file")
        ));
    }
    let oldest = state.oldest_snapshot.as_deref().map(|at| format!(", the oldest of {at}")).unwrap_or_default();
    lines.push(format!(
        "  {}{oldest}; {} since the last load or compaction",
        count(state.snapshots, "snapshot"),
        count(state.windows_since_rewrite, "window")
    ));
    lines
}

fn applied(window: &AppliedWindow) -> String {
    let to = escape::line(window.to.as_deref().unwrap_or("?"));
    let span = match &window.from {
        Some(from) => format!("{} to {to}", escape::line(from)),
        None => format!("full load, {to}"),
    };
    let rows = window.added_records.unwrap_or(0);
    let old = match window.added_position_deletes {
        Some(old @ 1..) => format!(", {} old rows deleted", group(old)),
        _ => String::new(),
    };
    format!("{span}: {} written{old}; snapshot {}, {}", count(rows, "row"), window.snapshot_id, window.committed)
}

#[cfg(test)]
mod tests {
    use ddb_iceberg::commands::{DifferingKey, LiveFiles, NextWindow};

    use super::*;
    use ddb_iceberg::commands::Comparison;

    #[test]
    fn a_status_in_words() {
        let mut report = Report::new("status", Some("n.t".to_owned()));
        (report.watermark, report.lag_seconds, report.pending) = (Some("10:35".to_owned()), Some(250), 1);
        let files =
            LiveFiles { data_files: 2, records: 1000, deleted_positions: 3, delete_files: 1, ..LiveFiles::default() };
        let next = NextWindow {
            from: "a".to_owned(),
            to: "b".to_owned(),
            ready: false,
            command: Some("aws\u{1b}".to_owned()),
        };
        report.state =
            Some(Box::new(TableState { files: Some(files), next: Some(next), snapshots: 4, ..TableState::default() }));
        assert_eq!(
            of(&report).unwrap(),
            [
                "n.t: complete up to 10:35 (lag 4 min).",
                "  1 export not completed yet",
                "  next window to export: a to b, not before it has passed",
                "    aws\\u{1b}",
                "  2 data files (0 B, 0 small): 1,000 rows, 3 of them deleted",
                "  1 delete file (0 B), on 0 data files",
                "  4 snapshots; 0 windows since the last load or compaction",
            ]
        );
    }

    #[test]
    fn differences_in_words() {
        let example = |difference, attributes: &[&str]| DifferingKey {
            difference,
            key: "pk=\"a\"".to_owned(),
            attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut report = Report::new("verify", Some("n.t".to_owned()));
        report.comparison = Some(Comparison {
            export_arn: None,
            export_time: Some("10:00".to_owned()),
            snapshot_id: "7".to_owned(),
            snapshot_watermark: None,
            items: 3,
            rows: 2,
            equal: 1,
            missing: 1,
            extra: 0,
            different: 1,
            repeated: 0,
            examples: vec![example("missing", &[]), example("different", &["v", "w"])],
        });
        assert_eq!(
            of(&report).unwrap(),
            [
                "n.t: snapshot 7 differs from the export of 10:00: 3 items, 2 rows.",
                "  1 equal, 1 missing, 0 extra, 1 with other values, 0 more than once",
                "  missing: pk=\"a\"",
                "  different: pk=\"a\" (v, w)",
            ]
        );
    }
}
