//! Percent-encoding of URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All characters except those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes all characters except those that RFC 3986 calls unreserved.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The reverse of [`encode`]; anything that is not an escape is kept.
pub fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_are_encoded() {
        assert_eq!(encode("a b/c%d\u{1f}é.~_-"), "a%20b%2Fc%25d%1F%C3%A9.~_-");
        for text in ["a b/c%d\u{1f}é", "%", "%zz", "100%25", "é%"] {
            assert_eq!(decode(&encode(text)), text);
        }
        assert_eq!(decode("%1F"), "\u{1f}");
        assert_eq!(decode("a%é%+f"), "a%é%+f");
    }
}
