//! The result as text: a complete headline, then details, for a terminal or a scheduler's mail.

use std::collections::BTreeMap;

use ddb_iceberg::commands::{FileCounts, Report, RowCounts, SkippedWindow, Status, WindowReport};
use ddb_iceberg::time;

use super::escape;
use super::units::{bytes, count, group, seconds};

/// Maximum number of windows that are printed; the JSON result has all of them.
pub(crate) const MAX_WINDOW_LINES: usize = 20;
/// The same for skipped windows.
const MAX_SKIPPED_LINES: usize = 5;

pub(crate) fn load(report: &Report, done: &[&WindowReport]) -> String {
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

pub(crate) fn windows(report: &Report, done: &[&WindowReport]) -> String {
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
        // A dry run may not know how many of the changed keys are in the table.
        Status::DryRun if total == RowCounts::default() => format!("would apply {what}; nothing was written.{skipped}"),
        Status::DryRun => format!("would apply {what}: {}; nothing was written.{skipped}", rows(total)),
        Status::Failed => format!("applied {what}: {}, then failed.{skipped}", rows(total)),
        _ => format!("applied {what}: {}.{skipped}", rows(total)),
    }
}

pub(crate) fn complete_up_to(report: &Report) -> String {
    let Some(watermark) = report.watermark.as_deref() else { return String::new() };
    let lag = report.lag_seconds.map(|seconds| format!(" (lag {})", time::span(seconds))).unwrap_or_default();
    format!(" Complete up to {}{lag}.", escape::line(watermark))
}

pub(crate) fn details(report: &Report, done: &[&WindowReport], lines: &mut Vec<String>) {
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

/// The skipped windows, with the reasons.
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

pub(crate) fn rows(rows: RowCounts) -> String {
    format!("{} inserted, {} updated, {} deleted", group(rows.inserted), group(rows.updated), group(rows.deleted))
}

pub(crate) fn files(windows: &[&WindowReport]) -> String {
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

pub(crate) fn span(first: &WindowReport, last: &WindowReport) -> String {
    let to = escape::line(last.to.as_deref().unwrap_or("?"));
    match &first.from {
        Some(from) => format!("{} to {to}", escape::line(from)),
        None => format!("up to {to}"),
    }
}
