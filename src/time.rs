//! Times as DynamoDB's manifests write them: UTC, ISO 8601, milliseconds.

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time.
pub type Time = DateTime<Utc>;

/// Reads `2026-01-14T10:20:00.000Z` and its ISO 8601 relatives.
pub fn parse(text: &str) -> Option<Time> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc))
}

/// Writes `2026-01-14T10:20:00.000Z`.
pub fn format(time: Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
