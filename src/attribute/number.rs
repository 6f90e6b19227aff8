//! Exact numbers: no value ever passes through a float.

use std::fmt;

/// DynamoDB stores up to 38 significant digits ("Naming rules and data types: Number").
pub const MAX_DIGITS: u32 = 38;

/// Powers of ten of the first significant digit that DynamoDB accepts: 1E-130 to 9.99…E+125.
const EXPONENTS: std::ops::RangeInclusive<i32> = -130..=125;

/// `±coefficient × 10^exponent`, with no trailing zero in the coefficient; zero is `0 × 10^0`.
///
/// Two numbers are equal if and only if their values are: `1`, `1.0` and `1E0` give the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    coefficient: u128,
    digits: u32,
    exponent: i32,
}

impl Number {
    /// Parses decimal or scientific notation; `None` if the text is not a number, has more than 38 significant digits,
    /// or a magnitude that DynamoDB cannot store.
    pub fn parse(text: &str) -> Option<Self> {
        match Self::short(text.as_bytes()) {
            Some((short, length)) if length == text.len() => Some(short),
            _ => Self::any(text.as_bytes()),
        }
    }

    /// The number at the start of the text, and its length: only plain numbers of up to 18 digits, which fit into one
    /// word. `None` for all others.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the number stays in registers")]
    pub(super) fn short(bytes: &[u8]) -> Option<(Self, usize)> {
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let mut coefficient: u64 = 0;
        let mut digits = |from: usize| {
            let mut at = from;
            while let Some(&byte) = bytes.get(at)
                && byte.is_ascii_digit()
                && at < start + 20
            {
                coefficient = coefficient.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                at += 1;
            }
            at
        };
        let point = digits(start);
        let (end, fraction) = if bytes.get(point) == Some(&b'.') {
            let end = digits(point + 1);
            (end, end - point - 1)
        } else {
            (point, 0)
        };
        let figures = point - start + fraction;
        if figures == 0 || figures > 18 {
            return None;
        }
        if coefficient == 0 {
            return Some((Self { negative: false, coefficient: 0, digits: 0, exponent: 0 }, end));
        }
        let mut zeros = 0;
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            zeros += 1;
        }
        let exponent = i32::try_from(zeros).ok()? - i32::try_from(fraction).ok()?;
        let digits = if bytes.get(start) == Some(&b'0') || point == start {
            coefficient.ilog10() + 1
        } else {
            u32::try_from(figures - zeros).ok()?
        };
        Some((Self { negative, coefficient: coefficient.into(), digits, exponent }, end))
    }

    fn any(bytes: &[u8]) -> Option<Self> {
        let negative = bytes.first() == Some(&b'-');
        let mut rest = bytes.strip_prefix(b"-").unwrap_or(bytes);
        let mut coefficient: u128 = 0;
        let mut digits: u32 = 0;
        // Zeros are held back until another digit follows, so that trailing ones never enter the coefficient.
        let mut zeros: u32 = 0;
        let mut fraction: i32 = 0;
        let mut in_fraction = false;
        let mut any = false;
        while let [byte, tail @ ..] = rest {
            match byte {
                b'0' => {
                    any = true;
                    if digits > 0 {
                        zeros = zeros.checked_add(1)?;
                    }
                    fraction += i32::from(in_fraction);
                }
                b'1'..=b'9' => {
                    any = true;
                    digits = digits.checked_add(zeros)?.checked_add(1)?;
                    if digits > MAX_DIGITS {
                        return None;
                    }
                    coefficient = coefficient * 10u128.pow(zeros + 1) + u128::from(byte - b'0');
                    zeros = 0;
                    fraction += i32::from(in_fraction);
                }
                b'.' if !in_fraction => in_fraction = true,
                _ => break,
            }
            rest = tail;
            if fraction > 1_000_000 {
                return None;
            }
        }
        if !any {
            return None;
        }
        let written = match rest {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => parse_exponent(exponent)?,
            _ => return None,
        };
        if coefficient == 0 {
            return Some(Self { negative: false, coefficient: 0, digits: 0, exponent: 0 });
        }
        let exponent = written.checked_sub(fraction)?.checked_add(i32::try_from(zeros).ok()?)?;
        let leading = exponent.checked_add(i32::try_from(digits).ok()?)? - 1;
        EXPONENTS.contains(&leading).then_some(Self { negative, coefficient, digits, exponent })
    }

    /// A sortable key that is equal for equal numbers; its order is not that of the values.
    pub fn identity(&self) -> (bool, u128, i32) {
        (self.negative, self.coefficient, self.exponent)
    }

    /// Digits before the decimal point; 0 for values below 1.
    pub fn integer_digits(&self) -> u32 {
        u32::try_from(i64::from(self.digits) + i64::from(self.exponent)).unwrap_or(0)
    }

    /// Digits after the decimal point; 0 for integers.
    pub fn scale(&self) -> u32 {
        if self.exponent < 0 { self.exponent.unsigned_abs() } else { 0 }
    }

    /// The value, if it is an integer within 64 bits.
    #[inline]
    pub fn to_i64(&self) -> Option<i64> {
        const POWERS: [u64; 20] = {
            let mut powers = [1; 20];
            let mut at = 1;
            while at < powers.len() {
                powers[at] = powers[at - 1] * 10;
                at += 1;
            }
            powers
        };
        // A negative exponent means a fraction, since the coefficient has no trailing zeros.
        let power = POWERS.get(usize::try_from(self.exponent).ok()?)?;
        let magnitude = u64::try_from(self.coefficient).ok()?.checked_mul(*power)?;
        if self.negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
    }

    /// `value × 10^scale` if that is an integer of at most 38 digits.
    #[inline]
    pub fn to_unscaled(&self, scale: u32) -> Option<i128> {
        if self.coefficient == 0 {
            return Some(0);
        }
        let shift = u32::try_from(i64::from(self.exponent) + i64::from(scale)).ok()?;
        if self.digits + shift > MAX_DIGITS {
            return None;
        }
        // At most 38 digits, far below the limit of 128 bits.
        let magnitude = i128::try_from(self.coefficient).ok()?.wrapping_mul(power_of_ten(shift));
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

/// 10 to the given power, at most 38.
pub fn power_of_ten(exponent: u32) -> i128 {
    const POWERS: [i128; MAX_DIGITS as usize + 1] = {
        let mut powers = [1; MAX_DIGITS as usize + 1];
        let mut at = 1;
        while at < powers.len() {
            powers[at] = powers[at - 1] * 10;
            at += 1;
        }
        powers
    };
    POWERS.get(exponent as usize).copied().unwrap_or(i128::MAX)
}

/// Parses `[+-]digits`; anything beyond six digits is out of range anyway.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    let sign = if text.first() == Some(&b'-') { -1 } else { 1 };
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value: i32 = 0;
    for digit in digits {
        value = value * 10 + i32::from(digit - b'0');
        if value > 999_999 {
            return None;
        }
    }
    Some(sign * value)
}

impl fmt::Display for Number {
    /// The canonical text, which is unique for each value: plain digits for up to 38 places on either side of the
    /// point, otherwise scientific notation (`1.5E+100`). It is also a JSON number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let places = self.scale();
        let text = self.coefficient.to_string();
        if self.exponent >= 0 && self.integer_digits() <= MAX_DIGITS {
            let zeros = usize::try_from(self.exponent).unwrap_or(0);
            write!(f, "{text}{:0<zeros$}", "")
        } else if self.exponent < 0 && places <= MAX_DIGITS {
            let places = places as usize;
            let padded = format!("{text:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            write!(f, "{whole}.{fraction}")
        } else {
            let (first, rest) = text.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            let leading = i64::from(self.exponent) + i64::from(self.digits) - 1;
            write!(f, "{first}{point}{rest}E{leading:+}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        Number::parse(text).unwrap_or_else(|| panic!("{text} is a number")).to_string()
    }

    #[test]
    fn one_text_a_value() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.00E5", "0"),
            ("1", "1"),
            ("1.0", "1"),
            ("1E0", "1"),
            ("0010.500", "10.5"),
            ("1E2", "100"),
            ("100", "100"),
            ("-0.5", "-0.5"),
            (".5", "0.5"),
            ("0.0001", "0.0001"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            ("1E+100", "1E+100"),
            ("-12.5e99", "-1.25E+100"),
            ("1E-130", "1E-130"),
            ("9.9999999999999999999999999999999999999E+125", "9.9999999999999999999999999999999999999E+125"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn short_numbers_read_as_all_do(text in "-?[0-9]{0,12}\\.?[0-9]{0,10}") {
            let figures = text.bytes().filter(u8::is_ascii_digit).count();
            let short = Number::short(text.as_bytes());
            prop_assert_eq!(short.is_some(), (1..=18).contains(&figures));
            if let Some((short, length)) = short {
                prop_assert_eq!(length, text.len());
                prop_assert_eq!(Some(short), Number::any(text.as_bytes()));
            }
        }
    }

    #[test]
    fn what_dynamodb_cannot_hold_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "abc",
            "1a",
            "1 ",
            " 1",
            "+1",
            "--1",
            "1e",
            "1e+",
            "0x1",
            "NaN",
            "Infinity",
            "1..2",
            "1E126",
            "1E-131",
            "123456789012345678901234567890123456789",
            "1e99999999999",
        ] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn fits_are_exact() {
        let number = |text: &str| Number::parse(text).unwrap();
        assert_eq!(number("9223372036854775807").to_i64(), Some(i64::MAX));
        assert_eq!(number("-9223372036854775808").to_i64(), Some(i64::MIN));
        assert_eq!(number("9223372036854775808").to_i64(), None);
        assert_eq!(number("19.99").to_i64(), None);
        assert_eq!(number("1e18").to_i64(), Some(1_000_000_000_000_000_000));
        assert_eq!(number("19.99").to_unscaled(9), Some(19_990_000_000));
        assert_eq!(number("0.0000000001").to_unscaled(9), None);
        assert_eq!(number("1e29").to_unscaled(9), None);
        assert_eq!(number("1e28").to_unscaled(9), Some(10i128.pow(37)));
        assert_eq!((number("0.05").integer_digits(), number("0.05").scale()), (0, 2));
        assert_eq!((number("1200").integer_digits(), number("1200").scale()), (4, 0));
    }

    proptest! {
        #[test]
        fn spellings_of_one_value_are_equal(coefficient in 1i128..=10i128.pow(30), exponent in -40i32..=40, zeros in 0usize..5) {
            let plain = Number::parse(&format!("{coefficient}E{exponent}")).unwrap();
            let padded = Number::parse(&format!("{coefficient}{:0<zeros$}E{}", "", exponent - i32::try_from(zeros).unwrap())).unwrap();
            prop_assert_eq!(plain, padded);
            prop_assert_eq!(Number::parse(&plain.to_string()).unwrap(), plain);
        }

        #[test]
        fn integers_agree_with_the_standard_library(value: i64) {
            prop_assert_eq!(Number::parse(&value.to_string()).unwrap().to_i64(), Some(value));
            prop_assert_eq!(Number::parse(&value.to_string()).unwrap().to_string(), value.to_string());
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,60}") {
            if let Some(number) = Number::parse(&text) {
                prop_assert_eq!(Number::parse(&number.to_string()), Some(number));
            }
        }
    }
}
