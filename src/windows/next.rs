//! The window to export next, and the AWS CLI command for it.

use chrono::{TimeDelta, TimeZone, Utc};

use super::window::Window;
use crate::storage::Location;
use crate::time::Time;

/// The longest window that DynamoDB exports (Developer Guide, "DynamoDB data export to Amazon S3: how it works").
const LONGEST: TimeDelta = TimeDelta::hours(24);
/// The shortest one.
const SHORTEST: TimeDelta = TimeDelta::minutes(15);
/// How far back point-in-time recovery reaches at most.
pub const REACH: TimeDelta = TimeDelta::days(35);

/// A window starting at `from` that DynamoDB can export: whole seconds, 15 minutes to 24 hours.
///
/// It ends at `joins`, where the next window starts. If that is too near, it ends at the first of the `bounds` of other
/// windows that is far enough away, so that these continue after it.
pub fn exportable(from: Time, joins: Option<Time>, bounds: impl Iterator<Item = Time>) -> Window {
    let second = |time: Time| Utc.timestamp_opt(time.timestamp(), 0).single().unwrap_or(time);
    let from = second(from);
    let (soonest, latest) = (from + SHORTEST, from + LONGEST);
    let to = joins.filter(|to| *to >= soonest).or_else(|| bounds.filter(|to| *to >= soonest).min());
    Window { from, to: to.map_or(soonest, second).min(latest) }
}

/// The AWS CLI command to export a window. New images suffice, since old rows are found by key. The bucket is that of
/// the first location on S3.
pub fn export_command(arn: &str, window: Window, locations: &[String]) -> String {
    let locations = locations.iter().filter_map(|argument| Location::parse(argument).ok());
    let target = locations.filter(Location::is_s3).map(|location| target(location.as_str())).next();
    let (bucket, prefix) = target.unwrap_or(("BUCKET".to_owned(), None));
    let prefix = prefix.map(|prefix| format!(" --s3-prefix {}", quoted(&prefix))).unwrap_or_default();
    let at = |time: Time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    format!(
        "aws dynamodb export-table-to-point-in-time --table-arn {} --s3-bucket {}{prefix} --export-type INCREMENTAL_EXPORT \
         --incremental-export-specification ExportFromTime={},ExportToTime={},ExportViewType=NEW_IMAGE",
        quoted(arn),
        quoted(&bucket),
        at(window.from),
        at(window.to)
    )
}

/// Bucket and prefix of the folder that contains exports: the part before `AWSDynamoDB`.
fn target(location: &str) -> (String, Option<String>) {
    let path = location.strip_prefix("s3://").unwrap_or(location);
    let mut parts = path.split('/').take_while(|part| *part != "AWSDynamoDB");
    let bucket = parts.next().unwrap_or_default().to_owned();
    let prefix = parts.collect::<Vec<_>>().join("/");
    (bucket, (!prefix.is_empty()).then_some(prefix))
}

/// Quotes a word for a shell.
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
    use crate::time;

    fn at(text: &str) -> Time {
        time::parse(&format!("2026-01-{text}Z")).unwrap()
    }

    #[test]
    fn the_command_can_be_pasted() {
        let window = Window { from: at("14T10:20:00"), to: at("14T10:35:00") };
        let arn = "arn:aws:dynamodb:eu-north-1:1:table/t";
        let made = export_command(arn, window, &["s3://b/a/b/AWSDynamoDB/".to_owned()]);
        assert_eq!(
            made,
            "aws dynamodb export-table-to-point-in-time --table-arn arn:aws:dynamodb:eu-north-1:1:table/t --s3-bucket b \
             --s3-prefix a/b --export-type INCREMENTAL_EXPORT --incremental-export-specification \
             ExportFromTime=2026-01-14T10:20:00Z,ExportToTime=2026-01-14T10:35:00Z,ExportViewType=NEW_IMAGE"
        );
        let hostile = export_command("x'; rm -rf ~ #", window, &["/local".to_owned()]);
        assert!(hostile.contains(r"--table-arn 'x'\''; rm -rf ~ #' --s3-bucket BUCKET --export-type"), "{hostile}");
        assert_eq!(target("s3://b"), ("b".to_owned(), None));
        assert_eq!(target("s3://b/AWSDynamoDB/0123-ab"), ("b".to_owned(), None));
    }

    #[test]
    fn what_is_to_be_exported_can_be_exported() {
        let made = |from: &str, joins: Option<&str>, bounds: &[&str]| {
            let window = exportable(at(from), joins.map(at), bounds.iter().map(|bound| at(bound)));
            format!("{} {}", &time::format(window.from)[8..23], &time::format(window.to)[8..23])
        };
        let whole = "14T10:00:00.000 14T10:30:00.000";
        assert_eq!(made("14T10:00:00", Some("14T10:30:00"), &["14T10:20:00"]), whole);
        assert_eq!(made("14T10:00:00.622", Some("14T10:30:00"), &[]), whole, "windows start at whole seconds");
        // The gap is too short: the window ends with the one after it.
        assert_eq!(made("14T10:00:00", Some("14T10:05:00"), &["14T10:05:00", "14T10:45:00", "14T10:30:00"]), whole);
        assert_eq!(made("14T10:00:00", None, &["14T10:14:59"]), "14T10:00:00.000 14T10:15:00.000");
        // The gap is too long: the first day of it.
        assert_eq!(made("14T10:00:00", Some("20T10:00:00"), &[]), "14T10:00:00.000 15T10:00:00.000");
    }
}
