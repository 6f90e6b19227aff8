//! The result in words: a headline that says it all, then details, for a terminal or a scheduler's mail.

use std::collections::BTreeMap;

use super::table::{self, Form};
use super::{checks, escape, maintenance};
use ddb_iceberg::commands::{FileCounts, Report, RowCounts, SkippedWindow, Status, WindowReport};
use ddb_iceberg::time;

/// Windows that get a line of their own; the JSON result has them all.
const MAX_WINDOW_LINES: usize = 20;
/// So of those that are skipped.
const MAX_SKIPPED_LINES: usize = 5;

/// The lines for people; none when a command failed before it did anything.
pub(crate) fn of(report: &Report) -> Vec<String> {
    if let Some(lines) = checks::of(report) {
        return lines;
    }
    let wanted = if report.status == Status::DryRun { Status::DryRun } else { Status::Applied };
    let done: Vec<&WindowReport> = report.windows.iter().filter(|window| window.status == wanted).collect();
    if report.status == Status::Failed && done.is_empty() && report.maintenance.is_empty() {
        return Vec::new();
    }
    let table = escape::line(report.table.as_deref().unwrap_or("table"));
    let form = table::named(report.command).map_or(Form::Windows, |listed| listed.form);
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

fn load(report: &Report, done: &[&WindowReport]) -> String {
    let total = total_rows(done);
    let replaced =
        if total.deleted > 0 { format!(", in place of {}", count(total.deleted, "row")) } else { String::new() };
    match report.status {
        Status::DryRun if total.inserted == 0 => "would be loaded; nothing was written.".to_owned(),
        Status::DryRun => format!("would load {}{replaced}; nothing was written.", count(total.inserted, "row")),
        Status::AlreadyApplied => "has this export already.".to_owned(),
        Status::NothingToDo | Status::Checked => "nothing to do.".to_owned(),
        Status::Applied => format!("loaded {}{replaced}.", count(total.inserted, "row")),
        Status::Failed => format!("loaded {}{replaced}, then failed.", count(total.inserted, "row")),
    }
}

fn windows(report: &Report, done: &[&WindowReport]) -> String {
    let already = report.windows.iter().filter(|window| window.status == Status::AlreadyApplied).count();
    let (Some(first), Some(last)) = (done.first(), done.last()) else {
        let nothing = if report.status == Status::DryRun { "would do nothing" } else { "nothing to do" };
        return match already {
            0 => format!("{nothing}."),
            1 => format!("{nothing}, 1 window was applied already."),
            n => format!("{nothing}, {} windows were applied already.", group(n)),
        };
    };
    let what = format!("{} ({})", count(done.len(), "window"), span(first, last));
    let total = total_rows(done);
    let skipped = match already {
        0 => String::new(),
        1 => " 1 more was applied already.".to_owned(),
        n => format!(" {} more were applied already.", group(n)),
    };
    match report.status {
        // A dry run may not know how many of the changed keys the table has.
        Status::DryRun if total == RowCounts::default() => format!("would apply {what}; nothing was written.{skipped}"),
        Status::DryRun => format!("would apply {what}: {}; nothing was written.{skipped}", rows(total)),
        Status::Failed => format!("applied {what}: {}, then failed.{skipped}", rows(total)),
        _ => format!("applied {what}: {}.{skipped}", rows(total)),
    }
}

fn complete_up_to(report: &Report) -> String {
    let Some(watermark) = report.watermark.as_deref() else { return String::new() };
    let lag = report.lag_seconds.map(|seconds| format!(" (lag {})", time::span(seconds))).unwrap_or_default();
    format!(" Complete up to {}{lag}.", escape::line(watermark))
}

fn details(report: &Report, done: &[&WindowReport], lines: &mut Vec<String>) {
    let mut rescued: BTreeMap<&str, u64> = BTreeMap::new();
    for (attribute, values) in done.iter().flat_map(|window| &window.rescued) {
        let sum = rescued.entry(attribute).or_default();
        *sum = sum.saturating_add(*values);
    }
    if !rescued.is_empty() {
        let each: Vec<String> = rescued
            .iter()
            .map(|(attribute, values)| format!("{} of {}", group(*values), escape::line(attribute)))
            .collect();
        lines.push(format!("  values kept in _ddb_rescued: {}", each.join(", ")));
    }
    let added: Vec<_> =
        done.iter().flat_map(|window| &window.columns_added).map(|column| escape::line(column)).collect();
    if !added.is_empty() {
        lines.push(format!("  new columns: {}", added.join(", ")));
    }
    if !done.is_empty() && report.status != Status::DryRun {
        lines.push(format!("  files: {}", files(done)));
        lines.push(format!(
            "  read {}, wrote {}, took {}",
            bytes(report.bytes_read),
            bytes(report.bytes_written),
            seconds(report.seconds)
        ));
    }
    lines.extend(skipped(report));
    match report.pending {
        0 => {}
        1 => lines.push("  1 export has not completed yet".to_owned()),
        n => lines.push(format!("  {} exports have not completed yet", group(n))),
    }
}

/// What is not needed, and why.
pub(crate) fn skipped(report: &Report) -> Vec<String> {
    let span = |window: &SkippedWindow| format!("{} to {}", escape::line(&window.from), escape::line(&window.to));
    let told = report.skipped.iter().take(MAX_SKIPPED_LINES);
    let mut lines: Vec<_> =
        told.map(|window| format!("  skipped: {}: {}", span(window), escape::line(&window.reason))).collect();
    if let Some(more @ 1..) = report.skipped.len().checked_sub(MAX_SKIPPED_LINES) {
        lines.push(format!("  and {} more skipped", group(more)));
    }
    lines
}

fn total_rows(windows: &[&WindowReport]) -> RowCounts {
    windows.iter().fold(RowCounts::default(), |sum, window| RowCounts {
        inserted: sum.inserted.saturating_add(window.rows.inserted),
        updated: sum.updated.saturating_add(window.rows.updated),
        deleted: sum.deleted.saturating_add(window.rows.deleted),
    })
}

fn rows(rows: RowCounts) -> String {
    format!("{} inserted, {} updated, {} deleted", group(rows.inserted), group(rows.updated), group(rows.deleted))
}

fn files(windows: &[&WindowReport]) -> String {
    let sum = windows.iter().fold(FileCounts::default(), |sum, window| FileCounts {
        data_added: sum.data_added.saturating_add(window.files.data_added),
        data_removed: sum.data_removed.saturating_add(window.files.data_removed),
        deletes_added: sum.deletes_added.saturating_add(window.files.deletes_added),
    });
    let mut parts = vec![format!("{} added", count(sum.data_added, "data file"))];
    if sum.deletes_added > 0 {
        parts.push(format!("{} added", count(sum.deletes_added, "delete file")));
    }
    if sum.data_removed > 0 {
        parts.push(format!("{} removed", count(sum.data_removed, "data file")));
    }
    parts.join(", ")
}

fn span(first: &WindowReport, last: &WindowReport) -> String {
    let to = escape::line(last.to.as_deref().unwrap_or("?"));
    match &first.from {
        Some(from) => format!("{} to {to}", escape::line(from)),
        None => format!("up to {to}"),
    }
}

/// `1 row`, `1,000 rows`.
pub(crate) fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", group(number))
}

/// Digits in groups of three.
pub(crate) fn group(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in decimal units: `999 B`, `1.2 MB`.
pub(crate) fn bytes(number: u64) -> String {
    let mut unit = 1;
    let mut name = "B";
    for (next, size) in [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)] {
        if number >= size {
            (unit, name) = (size, next);
        }
    }
    if unit == 1 {
        return format!("{number} B");
    }
    // Cut, not rounded: 999,999 is not 1000.0 kB.
    format!("{}.{} {name}", number / unit, number % unit * 10 / unit)
}

fn seconds(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |seconds| seconds.as_secs());
    time::span(i64::try_from(whole).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn units() {
        for (number, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_999, "999.9 kB"), (2_560_000_000, "2.5 GB")]
        {
            assert_eq!(bytes(number), text);
        }
        assert!(bytes(u64::MAX).ends_with(" TB"));
        assert_eq!(
            (group(0_u64), group(1_000_u64), group(123_456_u64)),
            ("0".into(), "1,000".into(), "123,456".into())
        );
        assert_eq!((count(1_u64, "row"), count(0_u64, "row")), ("1 row".into(), "0 rows".into()));
    }
}
