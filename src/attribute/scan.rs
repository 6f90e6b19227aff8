//! Finds the end of plain text in a JSON string.

/// The position of the first quote, backslash or control character at or after `from`: eight bytes per step.
#[inline]
pub(super) fn plain_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let hits = special(u64::from_le_bytes(*word));
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(tail.len())
}

/// The highest bit of each special byte; bits above the first may be wrong.
#[inline]
fn special(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // A quote is swapped with a space, so that all special characters are below it.
    let turned = word ^ (EACH * 0x02);
    let quote_or_control = turned.wrapping_sub(EACH * 0x21) & !turned;
    let other = word ^ (EACH * u64::from(b'\\'));
    let backslash = other.wrapping_sub(EACH) & !other;
    (quote_or_control | backslash) & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn plain_end_finds_the_first(
            plain in prop::collection::vec(any::<u8>().prop_filter("plain", |b| *b >= 0x20 && !b"\"\\".contains(b)), 0..100),
            rest in prop::collection::vec(any::<u8>(), 0..40),
            from in 0usize..100,
        ) {
            let bytes = [plain, rest].concat();
            let from = from.min(bytes.len());
            let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
            let expected = bytes[from..].iter().position(special).map_or(bytes.len(), |at| from + at);
            prop_assert_eq!(plain_end(&bytes, from), expected);
        }
    }
}
