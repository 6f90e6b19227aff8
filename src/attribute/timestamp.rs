//! Timestamps: microseconds since 1970 in UTC, from numbers and ISO 8601 strings, exactly or not at all.

use chrono::NaiveDate;

use super::number::Number;

/// The years that every reader of a table supports: 0001-01-01T00:00:00Z to the end of 9999, in microseconds.
const YEARS_1_TO_9999: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// Converts an epoch time in units of `10^-digits` seconds to microseconds: `digits` is 0 for seconds, 3 for
/// milliseconds.
///
/// `None` if it is not a whole number of microseconds, or outside the years 1 to 9999.
pub fn of_number(number: &Number, digits: u32) -> Option<i64> {
    let micros = i64::try_from(number.to_unscaled(6_u32.checked_sub(digits)?)?).ok()?;
    YEARS_1_TO_9999.contains(&micros).then_some(micros)
}

/// Converts an RFC 3339 string to microseconds: `2026-01-14T10:20:00.5+02:00`, also with a space instead of `T`;
/// without an offset it is UTC.
///
/// `None` for any other format, for dates and times that do not exist, for leap seconds, and for a fraction that is not
/// a whole number of microseconds.
pub fn of_text(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let (time, rest) = rest.split_at_checked(9)?;
    let [b'T' | b't' | b' ', h1, h2, b':', n1, n2, b':', s1, s2] = time else { return None };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?;
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, zone) = fraction(rest)?;
    let days = date.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days();
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - offset(zone)?;
    let micros = seconds * 1_000_000 + fraction;
    YEARS_1_TO_9999.contains(&micros).then_some(micros)
}

/// Parses digits only.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u32::from(digit - b'0')))
}

/// Microseconds of `.5`, and the rest of the text.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(length)?;
    let (kept, beyond) = digits.split_at(digits.len().min(6));
    if !(1..=9).contains(&length) || beyond.iter().any(|digit| *digit != b'0') {
        return None;
    }
    let padded = kept.iter().copied().chain(std::iter::repeat(b'0')).take(6);
    Some((padded.fold(0, |value, digit| value * 10 + i64::from(digit - b'0')), rest))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let seconds = i64::from(hours * 3600 + minutes * 60);
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        of_number(&Number::parse(text).unwrap(), 0)
    }

    #[test]
    fn numbers_are_exact_or_nothing() {
        assert_eq!(seconds("1768386096"), Some(1_768_386_096_000_000));
        assert_eq!(seconds("1768386096.366933"), Some(1_768_386_096_366_933));
        assert_eq!(seconds("-0.5"), Some(-500_000));
        assert_eq!(seconds("1.7E9"), Some(1_700_000_000_000_000));
        assert_eq!(seconds("0.0000001"), None);
        assert_eq!(seconds("253402300799.999999"), Some(253_402_300_799_999_999));
        assert_eq!(seconds("253402300800"), None);
        assert_eq!(seconds("-62135596800"), Some(-62_135_596_800_000_000));
        assert_eq!(seconds("-62135596801"), None);
        assert_eq!(seconds("1E125"), None);
        assert_eq!(seconds("1768386096366"), None, "milliseconds taken for seconds are no instant");
        let milliseconds = |text| of_number(&Number::parse(text).unwrap(), 3);
        assert_eq!(milliseconds("1768386096366"), Some(1_768_386_096_366_000));
        assert_eq!(milliseconds("0.001"), Some(1));
        assert_eq!(milliseconds("0.0001"), None);
    }

    #[test]
    fn texts_are_exact_or_nothing() {
        let instant = 1_768_386_000_000_000;
        for (text, expected) in [
            ("2026-01-14T10:20:00Z", instant),
            ("2026-01-14t10:20:00z", instant),
            ("2026-01-14 10:20:00", instant),
            ("2026-01-14T12:20:00+02:00", instant),
            ("2026-01-14T04:50:00-05:30", instant),
            ("2026-01-14T10:20:00-00:00", instant),
            ("2026-01-14T10:20:00.5Z", instant + 500_000),
            ("2026-01-14T10:20:00.000001000Z", instant + 1),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ] {
            assert_eq!(of_text(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "2026-01-14",
            "2026-01-14T10:20Z",
            "2026-01-14T10:20:00 Z",
            " 2026-01-14T10:20:00Z",
            "2026-01-14T10:20:00Z ",
            "2026-01-14T10:20:00.Z",
            "2026-01-14T10:20:00,5Z",
            "2026-01-14T10:20:00.0000001Z",
            "2026-01-14T10:20:00.0000000000Z",
            "2026-01-14T10:20:00+0200",
            "2026-01-14T10:20:00+02",
            "2026-01-14T10:20:00+24:00",
            "2026-01-14T10:20:00+02:60",
            "2026-01-14T10:20:60Z",
            "2016-12-31T23:59:60Z",
            "2026-01-14T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+2026-01-14T10:20:00Z",
            "2026-1-14T10:20:00Z",
            "20260114T102000Z",
            "2026-01-14X10:20:00Z",
            "２026-01-14T10:20:00Z",
            "2026-01-14T10:20:0éZ",
            "Wed, 14 Jan 2026 10:20:00 GMT",
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_agrees_with_chrono(micros in YEARS_1_TO_9999, minutes in -1439_i32..1440) {
            let utc = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            let zone = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
            let local = utc.with_timezone(&zone);
            let text = local.to_rfc3339();
            // chrono writes years outside of 0 to 9999 with a sign.
            let expected = (text.len() >= 25 && !text.starts_with(['+', '-']) && !text.starts_with("0000")).then_some(micros);
            prop_assert_eq!(of_text(&text), expected, "{}", text);
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".{0,40}") {
            let _ = of_text(&text);
        }
    }
}
