//! What commands say on their way.

use chrono::Utc;

use super::report::state::{Comparison, TableState};
use super::report::{MaintenanceReport, Report, SkippedWindow, Status, WindowReport};
use crate::catalog::LoadedTable;
use crate::error::Result;
use crate::table::{unfollowed, watermark};
use crate::time::{self, Time};

/// Something that a command has done or found. A [`Report`] is what all of them come to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The table's metadata file: before the command changes anything, and after each change.
    Metadata(String),
    /// The time up to which the table is complete, if it is known; follows [`Metadata`](Self::Metadata).
    Watermark(Option<Time>),
    /// A load or a window has ended: it was applied, was applied before, would be applied, or failed.
    Window(WindowReport),
    /// The windows that are skipped. Replaces those that were told before.
    Skipped(Vec<SkippedWindow>),
    /// So many exports have not completed yet.
    Pending(u64),
    /// A compaction, an expiry or a search for orphans has ended.
    Maintenance(MaintenanceReport),
    /// A warning for the user.
    Warning(String),
    /// A warning about table properties that are not followed; told each time the table is written.
    Unfollowed(String),
    /// The state of the table, for `status`. Replaces what was told before.
    State(Box<TableState>),
    /// The result of `verify`.
    Comparison(Comparison),
    /// The command has succeeded. The last event.
    Ended(Status),
}

/// Takes a command's events, in order: a [`Report`], or a closure.
///
/// What was told has happened, even if the command fails later or its future is dropped.
pub trait Events: Send {
    /// Takes an event.
    fn take(&mut self, event: Event);
}

impl<F: FnMut(Event) + Send> Events for F {
    fn take(&mut self, event: Event) {
        self(event);
    }
}

impl Events for Report {
    fn take(&mut self, event: Event) {
        self.apply(event);
    }
}

impl Report {
    /// Adds what an event says.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Metadata(location) => self.metadata_location = Some(location),
            Event::Watermark(time) => {
                self.watermark = time.map(time::format);
                self.lag_seconds = time.map(|time| (Utc::now() - time).num_seconds());
            }
            Event::Window(window) => self.windows.push(window),
            Event::Skipped(skipped) => self.skipped = skipped,
            Event::Pending(count) => self.pending += count,
            Event::Maintenance(done) => self.maintenance.push(done),
            Event::Warning(text) => self.warnings.push(text),
            Event::Unfollowed(text) => {
                if !self.warnings.contains(&text) {
                    self.warnings.push(text);
                }
            }
            Event::State(state) => self.state = Some(state),
            Event::Comparison(comparison) => self.comparison = Some(comparison),
            Event::Ended(status) => self.status = status,
        }
    }
}

/// Passes on how a command has ended.
pub(super) fn ended(events: &mut dyn Events, status: Status) -> Status {
    events.take(Event::Ended(status));
    status
}

/// Tells the table's metadata file and its watermark.
pub(super) fn describe(events: &mut dyn Events, table: &LoadedTable) -> Result<()> {
    events.take(Event::Metadata(table.metadata_location.clone()));
    let mark = watermark::watermark(&table.metadata)?;
    events.take(Event::Watermark(mark.map(|mark| mark.time)));
    Ok(())
}

/// Passes on warnings.
pub(super) fn warn(events: &mut dyn Events, warnings: impl IntoIterator<Item = String>) {
    warnings.into_iter().for_each(|text| events.take(Event::Warning(text)));
}

/// Warns if table properties were not followed.
pub(super) fn warn_of_properties(events: &mut dyn Events, table: &LoadedTable) {
    if let Some(text) = unfollowed(&table.metadata) {
        events.take(Event::Unfollowed(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_what_the_events_come_to() {
        let mut report = Report::new("incremental", None);
        let events: &mut dyn Events = &mut report;
        events.take(Event::Metadata("a".to_owned()));
        events.take(Event::Watermark(time::parse("2026-01-14T10:20:00Z")));
        events.take(Event::Metadata("b".to_owned()));
        for text in ["x", "x"] {
            events.take(Event::Unfollowed(text.to_owned()));
            events.take(Event::Warning("w".to_owned()));
        }
        events.take(Event::Pending(2));
        events.take(Event::Pending(3));
        ended(events, Status::Applied);
        assert_eq!(report.metadata_location.as_deref(), Some("b"));
        assert_eq!(report.watermark.as_deref(), Some("2026-01-14T10:20:00.000Z"));
        assert!(report.lag_seconds.is_some());
        assert_eq!(report.warnings, ["x", "w", "w"]);
        assert_eq!((report.pending, report.status), (5, Status::Applied));
    }

    #[test]
    fn a_closure_may_take_them() {
        let mut told = Vec::new();
        let mut closure = |event| told.push(event);
        ended(&mut closure, Status::Checked);
        assert!(matches!(told.as_slice(), [Event::Ended(Status::Checked)]));
    }
}
