//! Times in the format of DynamoDB's manifests (UTC, ISO 8601, milliseconds), and durations as text.

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time.
pub type Time = DateTime<Utc>;

/// Parses `2026-01-14T10:20:00.000Z` and other ISO 8601 formats.
pub fn parse(text: &str) -> Option<Time> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc))
}

/// Formats as `2026-01-14T10:20:00.000Z`.
pub fn format(time: Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// From this many days on, hours are omitted.
const MANY_DAYS: i64 = 10;

/// A duration in seconds, in the one or two relevant units: `59 s`, `7 h 5 min`, `2 days 2 h`, `320 days`. A negative
/// one counts as zero.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (first, rest) = match seconds {
        0..MINUTE => return format!("{seconds} s"),
        MINUTE..HOUR => return format!("{} min", seconds / MINUTE),
        // Below that, days alone would be too coarse: 26 h 30 min.
        HOUR..172_800 => (format!("{} h", seconds / HOUR), (seconds % HOUR / MINUTE, "min")),
        _ if seconds / DAY < MANY_DAYS => (format!("{} days", seconds / DAY), (seconds % DAY / HOUR, "h")),
        _ => return format!("{} days", seconds / DAY),
    };
    match rest {
        (0, _) => first,
        (number, unit) => format!("{first} {number} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_units_that_matter() {
        for (seconds, text) in [
            (i64::MIN, "0 s"),
            (-5, "0 s"),
            (59, "59 s"),
            (240, "4 min"),
            (3_600, "1 h"),
            (25_500, "7 h 5 min"),
            (90_000, "25 h"),
            (172_800, "2 days"),
            (180_000, "2 days 2 h"),
            (863_999, "9 days 23 h"),
            (864_000, "10 days"),
            (27_651_406, "320 days"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
