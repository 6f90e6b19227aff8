//! Truncates bounds so that they stay valid.
//!
//! A lower bound may be lowered and an upper bound raised, but never the reverse: with a bound that is too tight, a
//! reader that prunes by it loses rows, and a merge that misses a row writes it twice.
//! The rules are those of Iceberg Java's `UnicodeUtil` and `BinaryUtil`.

/// The text's first `length` code points, which are never above the text.
pub fn lower_text(text: &str, length: usize) -> &str {
    match text.char_indices().nth(length) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

/// An upper bound of at most `length` code points: the text itself if it is short enough; otherwise its prefix, with
/// the last code point that can be incremented incremented. `None` if none can be.
pub fn upper_text(text: &str, length: usize) -> Option<String> {
    let mut kept = lower_text(text, length).to_owned();
    if kept.len() == text.len() {
        return Some(kept);
    }
    while let Some(last) = kept.pop() {
        if let Some(next) = following(last) {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

/// The next code point that is a character, skipping surrogates.
fn following(c: char) -> Option<char> {
    match c {
        '\u{D7FF}' => Some('\u{E000}'),
        _ => u32::from(c).checked_add(1).and_then(char::from_u32),
    }
}

/// The first `length` bytes, which are never above the value.
pub fn lower_bytes(value: &[u8], length: usize) -> &[u8] {
    value.get(..length).unwrap_or(value)
}

/// An upper bound of at most `length` bytes: a prefix with the last byte that can be incremented incremented. `None` if
/// none can be.
pub fn upper_bytes(value: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut kept = lower_bytes(value, length).to_vec();
    if kept.len() == value.len() {
        return Some(kept);
    }
    while let Some(last) = kept.pop() {
        if let Some(next) = last.checked_add(1) {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_values_are_their_own_bounds() {
        assert_eq!(lower_text("abc", 3), "abc");
        assert_eq!(upper_text("abc", 3).as_deref(), Some("abc"));
        assert_eq!(upper_text("", 3).as_deref(), Some(""));
        assert_eq!(upper_bytes(b"\xff\xff", 2), Some(vec![0xff, 0xff]));
    }

    #[test]
    fn text_is_cut_by_code_points_and_rounded_up() {
        assert_eq!(lower_text("aé😀b", 3), "aé😀");
        assert_eq!(upper_text("aé😀b", 3).as_deref(), Some("aé😁"));
        assert_eq!(upper_text("abcd", 2).as_deref(), Some("ac"));
        assert_eq!(upper_text("a\u{D7FF}x", 2).as_deref(), Some("a\u{E000}"));
        assert_eq!(upper_text("a\u{10FFFF}x", 2).as_deref(), Some("b"));
        assert_eq!(upper_text("\u{10FFFF}\u{10FFFF}x", 2), None);
    }

    #[test]
    fn bytes_are_cut_and_rounded_up() {
        assert_eq!(lower_bytes(b"\x01\x02\x03", 2), b"\x01\x02");
        assert_eq!(upper_bytes(b"\x01\x02\x03", 2), Some(vec![1, 3]));
        assert_eq!(upper_bytes(b"\x01\xff\x03", 2), Some(vec![2]));
        assert_eq!(upper_bytes(b"\xff\xff\x03", 2), None);
    }

    /// Few letters, so that values share prefixes, and all edge cases of code points.
    fn text() -> impl Strategy<Value = String> {
        let letters = [
            'a',
            'b',
            '\0',
            '\u{7f}',
            'é',
            '\u{7ff}',
            '\u{800}',
            '\u{D7FF}',
            '\u{E000}',
            '\u{FFFF}',
            '😀',
            '\u{10FFFF}',
        ];
        prop::collection::vec(prop::sample::select(letters.to_vec()), 0..8).prop_map(|c| c.into_iter().collect())
    }

    proptest! {
        #[test]
        fn text_bounds_hold(value in text(), length in 1_usize..6) {
            let low = lower_text(&value, length);
            prop_assert!(low <= value.as_str() && low.chars().count() <= length);
            if let Some(high) = upper_text(&value, length) {
                prop_assert!(high.as_str() >= value.as_str() && high.chars().count() <= length);
            } else {
                let unraisable = low.chars().all(|c| c == char::MAX);
                prop_assert!(unraisable);
            }
        }

        #[test]
        fn byte_bounds_hold(value in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x7f, 0x80, 0xfe, 0xff]), 0..8), length in 1_usize..6) {
            let low = lower_bytes(&value, length);
            prop_assert!(low <= value.as_slice() && low.len() <= length);
            match upper_bytes(&value, length) {
                Some(high) => prop_assert!(high.as_slice() >= value.as_slice() && high.len() <= length),
                None => prop_assert!(low.iter().all(|b| *b == 0xff)),
            }
        }
    }
}
