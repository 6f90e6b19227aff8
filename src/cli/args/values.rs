//! Values of options and their parsers.

use chrono::TimeDelta;
use clap::ValueEnum;
use ddb_iceberg::time::Time;
use iceberg::{NamespaceIdent, TableIdent};

/// An age: a duration before now, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Span(TimeDelta),
    Since(Time),
}

impl Age {
    /// The time at this age.
    pub fn before(self, now: Time) -> Time {
        match self {
            Self::Span(span) => now.checked_sub_signed(span).unwrap_or(Time::MIN_UTC),
            Self::Since(time) => time,
        }
    }
}

/// Reads `90s`, `90m`, `12h`, `5d`, `2w`, or a time.
pub(crate) fn parse_age(text: &str) -> Result<Age, String> {
    if let Some(time) = ddb_iceberg::time::parse(text) {
        return Ok(Age::Since(time));
    }
    parse_duration(text).map(Age::Span).map_err(|text| format!("{text}, or a time such as 2026-01-14T10:00:00Z"))
}

/// Reads `90s`, `90m`, `12h`, `5d` or `2w`.
pub(crate) fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let wrong = || "write a duration such as 90m, 12h, 5d or 2w".to_owned();
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let number: i64 = number.parse().ok().filter(|number| *number >= 0).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).and_then(TimeDelta::try_seconds).ok_or_else(wrong)
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum ProgressMode {
    #[default]
    Auto,
    Always,
    Never,
}

/// Reads `namespace.table`, or `a.b.table` for a namespace of two levels.
pub(crate) fn parse_table(text: &str) -> Result<TableIdent, String> {
    if text.chars().any(char::is_control) {
        return Err("a table's name has no control characters".to_owned());
    }
    let mut levels: Vec<String> = text.split('.').map(str::to_owned).collect();
    if levels.iter().any(|level| level.trim().is_empty()) {
        return Err("between, before or after the dots a name is missing; write NAMESPACE.TABLE".to_owned());
    }
    match levels.pop() {
        Some(name) if !levels.is_empty() => {
            let namespace = NamespaceIdent::from_vec(levels).map_err(|e| e.to_string())?;
            Ok(TableIdent::new(namespace, name))
        }
        _ => Err("the namespace is missing; write NAMESPACE.TABLE, for example shop.orders".to_owned()),
    }
}

pub(crate) fn widen(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
