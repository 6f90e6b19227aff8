//! Percent-encoding, as URLs have it.

use std::fmt::Write as _;

/// Encodes all but what RFC 3986 calls unreserved.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The reverse of [`encode`]; what is no escape stays.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let escape = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escape.unwrap_or(*byte));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
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
