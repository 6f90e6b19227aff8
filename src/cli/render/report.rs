//! The final output of a command.

use ddb_iceberg::commands::{Report, Status, WindowReport};

use super::units::group;
use super::windows::{MAX_WINDOW_LINES, complete_up_to, details, load, rows, span, windows};
use super::{escape, maintenance, status};
use crate::cli::commands;
use crate::cli::commands::listed::Form;

/// The lines for people; none if a command failed before it did anything.
pub(crate) fn of(report: &Report) -> Vec<String> {
    if let Some(lines) = status::of(report) {
        return lines;
    }
    let wanted = if report.status == Status::DryRun { Status::DryRun } else { Status::Applied };
    let done: Vec<&WindowReport> = report.windows.iter().filter(|window| window.status == wanted).collect();
    if report.status == Status::Failed && done.is_empty() && report.maintenance.is_empty() {
        return Vec::new();
    }
    let table = escape::line(report.table.as_deref().unwrap_or("table"));
    let form = commands::named(report.command).map_or(Form::Windows, |listed| listed.form);
    if form == Form::Maintenance {
        let done = report.maintenance.first();
        let what = done.map_or_else(|| "nothing to do.".to_owned(), maintenance::sentence);
        let mut lines = vec![format!("{table}: {what}")];
        lines.extend(done.into_iter().flat_map(maintenance::files));
        return lines;
    }
    let what = if form == Form::Load { load(report, &done) } else { windows(report, &done) };
    let mut lines = vec![format!("{table}: {what}{}", complete_up_to(report))];
    if done.len() > 1 {
        for window in done.iter().take(MAX_WINDOW_LINES) {
            lines.push(format!("  {}: {}", span(window, window), rows(window.rows)));
        }
        if done.len() > MAX_WINDOW_LINES {
            lines.push(format!("  and {} more", group(done.len() - MAX_WINDOW_LINES)));
        }
    }
    details(report, &done, &mut lines);
    lines.extend(report.maintenance.iter().map(|done| format!("  {}", maintenance::sentence(done))));
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use ddb_iceberg::commands::{FileCounts, RowCounts};
    use ddb_iceberg::error::Error;

    fn window(from: Option<&str>, to: &str, status: Status, rows: [u64; 3]) -> WindowReport {
        WindowReport {
            export_arn: None,
            from: from.map(str::to_owned),
            to: Some(to.to_owned()),
            status,
            snapshot_id: None,
            rows: RowCounts { inserted: rows[0], updated: rows[1], deleted: rows[2] },
            rescued: BTreeMap::new(),
            columns_added: Vec::new(),
            files: FileCounts { data_added: 1, data_removed: 0, deletes_added: 1 },
        }
    }

    fn incremental(status: Status, windows: Vec<WindowReport>) -> Report {
        let mut report = Report::new("incremental", Some("shop.orders".to_owned()));
        report.status = status;
        report.windows = windows;
        report.watermark = Some("10:35".to_owned());
        report.lag_seconds = Some(250);
        report
    }

    #[test]
    fn two_windows() {
        let mut report = incremental(
            Status::Applied,
            vec![
                window(Some("10:05"), "10:20", Status::AlreadyApplied, [9, 9, 9]),
                window(Some("10:20"), "10:30", Status::Applied, [1010, 1, 0]),
                window(Some("10:30"), "10:35", Status::Applied, [2, 2, 1]),
            ],
        );
        report.windows[1].rescued.insert("price".to_owned(), 2);
        report.windows[2].rescued.insert("price".to_owned(), 1);
        report.windows[2].columns_added.push("evil\u{1b}[1m".to_owned());
        (report.bytes_read, report.bytes_written, report.seconds, report.pending) = (1_250_000, 999, 0.84, 2);
        assert_eq!(
            of(&report),
            [
                "shop.orders: applied 2 windows (10:20 to 10:35): 1,012 inserted, 3 updated, 1 deleted. 1 more was applied already. \
                 Complete up to 10:35 (lag 4 min).",
                "  10:20 to 10:30: 1,010 inserted, 1 updated, 0 deleted",
                "  10:30 to 10:35: 2 inserted, 2 updated, 1 deleted",
                "  values kept in _ddb_rescued: 3 of price",
                "  new columns: evil\\u{1b}[1m",
                "  files: 2 data files added, 2 delete files added",
                "  read 1.2 MB, wrote 999 B, took 0.8 s",
                "  2 exports have not completed yet",
            ]
        );
    }

    #[test]
    fn nothing_dry_and_failed() {
        let already = window(Some("a"), "b", Status::AlreadyApplied, [0; 3]);
        assert_eq!(
            of(&incremental(Status::AlreadyApplied, vec![already])),
            ["shop.orders: nothing to do, 1 window was applied already. Complete up to 10:35 (lag 4 min)."]
        );
        let dry = incremental(Status::DryRun, vec![window(Some("a"), "b", Status::DryRun, [0; 3])]);
        assert_eq!(
            of(&dry),
            ["shop.orders: would apply 1 window (a to b); nothing was written. Complete up to 10:35 (lag 4 min)."]
        );
        let mut failed = incremental(Status::Applied, vec![window(Some("a"), "b", Status::Applied, [1, 0, 0])]);
        failed.fail(&Error::window("gap"));
        assert_eq!(
            of(&failed)[0],
            "shop.orders: applied 1 window (a to b): 1 inserted, 0 updated, 0 deleted, then failed. \
             Complete up to 10:35 (lag 4 min)."
        );
        failed.windows.clear();
        assert!(of(&failed).is_empty());
    }

    #[test]
    fn a_full_load() {
        let mut report = Report::new("full-load", Some("shop.orders".to_owned()));
        report.status = Status::Applied;
        report.windows = vec![window(None, "10:20", Status::Applied, [1, 0, 0])];
        assert_eq!(of(&report)[0], "shop.orders: loaded 1 row.");
        report.windows[0].rows.deleted = 12;
        assert_eq!(of(&report)[0], "shop.orders: loaded 1 row, in place of 12 rows.");
        report.status = Status::AlreadyApplied;
        report.windows[0].status = Status::AlreadyApplied;
        assert_eq!(of(&report), ["shop.orders: has this export already."]);
    }

    #[test]
    fn many_windows_are_not_all_listed() {
        let windows = (0..100).map(|_| window(Some("a"), "b", Status::Applied, [1, 0, 0])).collect();
        let lines = of(&incremental(Status::Applied, windows));
        assert!(lines.contains(&"  and 80 more".to_owned()), "{lines:?}");
        assert!(lines.len() < 30);
    }
}
