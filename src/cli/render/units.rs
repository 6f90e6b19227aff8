//! Numbers, sizes and times as text.

use ddb_iceberg::time;

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
    // Truncated, not rounded: 999,999 is not 1000.0 kB.
    format!("{}.{} {name}", number / unit, number % unit * 10 / unit)
}

pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |seconds| seconds.as_secs());
    time::span(i64::try_from(whole).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

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
