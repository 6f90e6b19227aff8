//! A pull parser for one line of DynamoDB JSON.
//!
//! It checks what it walks over: a line that got through was well-formed JSON made of well-formed attribute values.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Kind, Number};
use crate::error::{Error, Result};

/// Levels of lists and maps; DynamoDB nests to 32, deeper input is hostile.
///
/// A few more are taken, but not so many that a table's metadata would nest deeper than JSON readers go: a struct takes
/// three levels of it, and serde_json reads 128.
pub const MAX_DEPTH: u32 = 36;
/// The JSON around a value: the line, the item, and the descriptor of what stands innermost.
const AROUND: u32 = 3;

/// Walks over the text of one line.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    /// Starts at the first byte; the text must be UTF-8.
    pub fn new(line: &'a [u8]) -> Result<Self> {
        let text = simdutf8::basic::from_utf8(line).map_err(|_| Error::input("the line is not UTF-8"))?;
        Ok(Self { text, at: 0, depth: 0 })
    }

    /// Where it stands, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The text from an earlier position up to here.
    pub fn since(&self, position: usize) -> &'a str {
        self.text.get(position..self.at).unwrap_or_default()
    }

    fn wrong(&self, what: &str) -> Error {
        Error::input(format!("not DynamoDB JSON: {what} at byte {}", self.at + 1))
    }

    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.wrong(&format!("expected {:?}", char::from(byte))))
        }
    }

    #[inline]
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if found {
            self.at += word.len();
        }
        found
    }

    /// Makes sure that nothing follows.
    pub fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong("text after the end of the record")) }
    }

    /// Enters an object: `{`.
    pub fn begin_object(&mut self) -> Result<()> {
        self.enter()?;
        self.expect(b'{')
    }

    /// The next member's name, the parser standing before its value; `None` when the object has ended.
    /// `first` starts as true and is the caller's to keep.
    #[inline]
    pub fn next_name<'s>(&mut self, first: &mut bool, scratch: &'s mut String) -> Result<Option<&'s str>>
    where
        'a: 's,
    {
        if std::mem::take(first) {
            if self.accept(b'}') {
                self.depth -= 1;
                return Ok(None);
            }
        } else if !self.accept(b',') {
            self.expect(b'}')?;
            self.depth -= 1;
            return Ok(None);
        }
        let name = self.string(scratch)?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// Steps over the beginning of the next member, `"name":` as it is given, if the text has exactly that.
    #[inline]
    pub fn accept_member(&mut self, first: &mut bool, member: &str) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let comma = usize::from(!*first);
        let begins = *first || rest.first() == Some(&b',');
        let found = begins && !member.is_empty() && rest.get(comma..).is_some_and(|r| r.starts_with(member.as_bytes()));
        if found {
            *first = false;
            self.at += comma + member.len();
        }
        found
    }

    /// Enters an array: `[`.
    pub fn begin_array(&mut self) -> Result<()> {
        self.enter()?;
        self.expect(b'[')
    }

    /// Whether the array has another element, the parser standing before it. `first` as in [`Self::next_name`].
    #[inline]
    pub fn next_element(&mut self, first: &mut bool) -> Result<bool> {
        if std::mem::take(first) {
            if self.accept(b']') {
                self.depth -= 1;
                return Ok(false);
            }
            return Ok(true);
        }
        if self.accept(b',') {
            return Ok(true);
        }
        self.expect(b']')?;
        self.depth -= 1;
        Ok(false)
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        // A value of type L or M takes two levels of JSON: the descriptor and its content.
        if self.depth > 2 * MAX_DEPTH + AROUND {
            return Err(Error::input(format!("values are nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    /// A JSON string: borrowed from the line, or decoded into `scratch` if it has escapes.
    #[inline]
    pub fn string<'s>(&mut self, scratch: &'s mut String) -> Result<&'s str>
    where
        'a: 's,
    {
        self.expect(b'"')?;
        let start = self.at;
        let end = plain_end(self.text.as_bytes(), start);
        match self.text.as_bytes().get(end) {
            Some(b'"') => {
                self.at = end + 1;
                self.text.get(start..end).ok_or_else(|| self.wrong("a broken string"))
            }
            Some(b'\\') => {
                self.at = start;
                self.escaped(scratch)?;
                Ok(scratch)
            }
            Some(_) => {
                self.at = end;
                Err(self.wrong("a control character in a string"))
            }
            None => Err(self.wrong("a string without end")),
        }
    }

    /// The rest of a string that has escapes.
    fn escaped(&mut self, out: &mut String) -> Result<()> {
        out.clear();
        loop {
            let end = plain_end(self.text.as_bytes(), self.at);
            out.push_str(self.text.get(self.at..end).unwrap_or_default());
            self.at = end;
            match self.text.as_bytes().get(end) {
                Some(b'"') => {
                    self.at = end + 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at = end + 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.wrong("a control character in a string")),
                None => return Err(self.wrong("a string without end")),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char> {
        let code = self.text.as_bytes().get(self.at).copied();
        self.at += 1;
        Ok(match code {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex4()?;
                let unit = if (0xD800..0xDC00).contains(&high) {
                    let low = if self.literal_here("\\u") { self.hex4()? } else { 0 };
                    if !(0xDC00..0xE000).contains(&low) {
                        return Err(self.wrong("half of a surrogate pair"));
                    }
                    0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                } else {
                    high
                };
                char::from_u32(unit).ok_or_else(|| self.wrong("half of a surrogate pair"))?
            }
            _ => return Err(self.wrong("an unknown escape")),
        })
    }

    fn literal_here(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value =
            digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(|| self.wrong("a broken escape"))?;
        self.at += 4;
        Ok(value)
    }

    /// Steps over any JSON value, checking its form.
    pub fn skip_json(&mut self) -> Result<()> {
        let mut scratch = String::new();
        match self.peek() {
            Some(b'{') => {
                self.begin_object()?;
                let mut first = true;
                while self.next_name(&mut first, &mut scratch)?.is_some() {
                    self.skip_json()?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.begin_array()?;
                let mut first = true;
                while self.next_element(&mut first)? {
                    self.skip_json()?;
                }
                Ok(())
            }
            Some(b'"') => self.string(&mut scratch).map(drop),
            Some(b'-' | b'0'..=b'9') => self.bare_number().map(drop),
            _ if self.literal("true") || self.literal("false") || self.literal("null") => Ok(()),
            _ => Err(self.wrong("expected a value")),
        }
    }

    /// The text of a JSON number.
    pub fn bare_number(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        self.at += length;
        let text = self.since(start);
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.starts_with(|c: char| c.is_ascii_digit()) { Ok(text) } else { Err(self.wrong("expected a number")) }
    }

    /// Whether a string comes next.
    pub fn at_string(&mut self) -> bool {
        self.peek() == Some(b'"')
    }

    /// Whether an object comes next.
    pub fn at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Enters an attribute value, `{"S":`, the parser standing before its content.
    #[inline]
    pub fn descriptor(&mut self) -> Result<Kind> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let usual = match rest {
            [b'{', b'"', b'S', b'"', b':', ..] => Some(Kind::S),
            [b'{', b'"', b'N', b'"', b':', ..] => Some(Kind::N),
            [b'{', b'"', b'M', b'"', b':', ..] => Some(Kind::M),
            [b'{', b'"', b'L', b'"', b':', ..] => Some(Kind::L),
            _ => None,
        };
        if let Some(kind) = usual {
            self.enter()?;
            self.at += 5;
            return Ok(kind);
        }
        if self.peek() != Some(b'{') {
            return Err(self.wrong("expected an attribute value like {\"S\":\"…\"}"));
        }
        self.begin_object()?;
        if self.accept(b'}') {
            return Err(self.wrong("an attribute value without a type descriptor"));
        }
        let mut scratch = String::new();
        let name = self.string(&mut scratch)?;
        let kind = match name {
            "S" => Kind::S,
            "N" => Kind::N,
            "M" => Kind::M,
            "L" => Kind::L,
            "BOOL" => Kind::Bool,
            "NULL" => Kind::Null,
            "B" => Kind::B,
            "SS" => Kind::Ss,
            "NS" => Kind::Ns,
            "BS" => Kind::Bs,
            unknown => {
                let unknown = unknown.to_owned();
                return Err(self.wrong(&format!("unknown type descriptor {unknown:?}")));
            }
        };
        self.expect(b':')?;
        Ok(kind)
    }

    /// Leaves an attribute value: `}`.
    #[inline]
    pub fn close(&mut self) -> Result<()> {
        if self.accept(b'}') {
            self.depth -= 1;
            return Ok(());
        }
        let what =
            if self.peek() == Some(b',') { "an attribute value with two type descriptors" } else { "expected '}'" };
        Err(self.wrong(what))
    }

    /// The content of an N.
    #[inline]
    pub fn number(&mut self, scratch: &mut String) -> Result<Number> {
        if !self.at_string() {
            return Err(self.wrong("an N that is not a string of digits"));
        }
        let text = self.string(scratch)?;
        Number::parse(text).ok_or_else(|| {
            let text: String = text.chars().take(60).collect();
            self.wrong(&format!("{text:?} is not a DynamoDB number (38 digits, 1E-130 to 9.9…E+125)"))
        })
    }

    /// The content of a B, decoded into `out`, which is cleared first.
    pub fn binary(&mut self, scratch: &mut String, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let text = self.string(scratch)?;
        STANDARD.decode_vec(text, out).map_err(|_| self.wrong("a B that is not standard base64"))
    }

    /// Enters the content of an SS, NS or BS, whose elements are of type S, N or B: `[`. A set has elements, each once.
    pub fn begin_set(&mut self, element: Kind) -> Result<()> {
        let mut ahead = self.clone();
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        let (mut first, mut scratch) = (true, String::new());
        ahead.begin_array()?;
        while ahead.next_element(&mut first)? {
            if element == Kind::N {
                numbers.push(ahead.number(&mut scratch)?.identity());
            } else {
                // Standard base64 has one text for the same bytes.
                texts.push(ahead.owned_or_borrowed(&mut scratch)?);
            }
        }
        if texts.is_empty() && numbers.is_empty() {
            return Err(self.wrong("a set without elements"));
        }
        texts.sort_unstable();
        numbers.sort_unstable();
        if texts.windows(2).any(|pair| pair.first() == pair.last())
            || numbers.windows(2).any(|pair| pair.first() == pair.last())
        {
            return Err(self.wrong("a set that has an element twice"));
        }
        self.begin_array()
    }

    /// A string that outlives the scratch.
    fn owned_or_borrowed(&mut self, scratch: &mut String) -> Result<Cow<'a, str>> {
        self.peek();
        let start = self.at + 1;
        self.string(scratch)?;
        let raw = self.text.get(start..self.at.saturating_sub(1)).unwrap_or_default();
        Ok(if raw.contains('\\') { Cow::Owned(std::mem::take(scratch)) } else { Cow::Borrowed(raw) })
    }

    /// The content of a BOOL.
    pub fn boolean(&mut self) -> Result<bool> {
        if self.literal("true") {
            Ok(true)
        } else if self.literal("false") {
            Ok(false)
        } else {
            Err(self.wrong("a BOOL that is neither true nor false"))
        }
    }

    /// The content of a NULL.
    pub fn null(&mut self) -> Result<()> {
        if self.literal("true") { Ok(()) } else { Err(self.wrong("a NULL that is not true")) }
    }

    /// Steps over the content of an attribute value of the given type, checking it.
    pub fn skip_content(&mut self, kind: Kind, scratch: &mut String) -> Result<()> {
        match kind {
            Kind::S => self.string(scratch).map(drop),
            Kind::N => self.number(scratch).map(drop),
            Kind::B => self.binary(scratch, &mut Vec::new()),
            Kind::Bool => self.boolean().map(drop),
            Kind::Null => self.null(),
            Kind::Ss | Kind::Ns | Kind::Bs => {
                let element = match kind {
                    Kind::Ns => Kind::N,
                    Kind::Bs => Kind::B,
                    _ => Kind::S,
                };
                self.begin_set(element)?;
                let mut first = true;
                while self.next_element(&mut first)? {
                    self.skip_content(element, scratch)?;
                }
                Ok(())
            }
            Kind::L => {
                self.begin_array()?;
                let mut first = true;
                while self.next_element(&mut first)? {
                    self.skip_value(scratch)?;
                }
                Ok(())
            }
            Kind::M => {
                self.begin_object()?;
                let mut first = true;
                while self.next_name(&mut first, scratch)?.is_some() {
                    self.skip_value(scratch)?;
                }
                Ok(())
            }
        }
    }

    /// Steps over an attribute value, checking it.
    pub fn skip_value(&mut self, scratch: &mut String) -> Result<()> {
        let kind = self.descriptor()?;
        self.skip_content(kind, scratch)?;
        self.close()
    }
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The position of the first quote, backslash or control character at or after `from`: eight bytes a step.
#[inline]
fn plain_end(bytes: &[u8], from: usize) -> usize {
    let zero = |v: u64| v.wrapping_sub(LOW) & !v;
    let mut at = from;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let Ok(chunk) = chunk.try_into() else { break };
        let word = u64::from_le_bytes(chunk);
        let quote = zero(word ^ (LOW * u64::from(b'"')));
        let backslash = zero(word ^ (LOW * u64::from(b'\\')));
        let control = word.wrapping_sub(LOW * 0x20) & !word;
        let hits = (quote | backslash | control) & HIGH;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skip(line: &str) -> Result<()> {
        let mut parser = Parser::new(line.as_bytes())?;
        parser.skip_value(&mut String::new())?;
        parser.end()
    }

    #[test]
    fn every_descriptor_is_read() {
        for line in [
            r#"{"S":""}"#,
            r#"{"S":"a\"\\\/\b\f\n\r\té😀"}"#,
            r#"{"N":"-1.5e3"}"#,
            r#"{"B":"aGVsbG8="}"#,
            r#"{"BOOL":true}"#,
            r#"{"BOOL":false}"#,
            r#"{"NULL":true}"#,
            r#"{"SS":["a","b"]}"#,
            r#"{"NS":["1","2"]}"#,
            r#"{"BS":["aGVsbG8="]}"#,
            r#"{"L":[]}"#,
            r#" { "L" : [ {"N":"1"} , {"S":"x"} ] } "#,
            r#"{"M":{"a":{"M":{}},"b":{"L":[{"M":{"c":{"BOOL":true}}}]}}}"#,
        ] {
            skip(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn what_is_no_attribute_value_is_refused() {
        for (line, reason) in [
            (r"{}", "without a type descriptor"),
            (r#"{"S":1}"#, "expected '\"'"),
            (r#"{"X":"1"}"#, "unknown type descriptor"),
            (r#"{"S":"a","N":"1"}"#, "two type descriptors"),
            (r#"{"N":1}"#, "not a string of digits"),
            (r#"{"N":"ten"}"#, "not a DynamoDB number"),
            (r#"{"B":"*"}"#, "base64"),
            (r#"{"BOOL":"true"}"#, "neither true nor false"),
            (r#"{"NULL":false}"#, "not true"),
            (r#"{"S":"\ud800"}"#, "surrogate"),
            (r#"{"S":"\udc00"}"#, "surrogate"),
            (r#"{"S":"\x"}"#, "unknown escape"),
            (r#"{"S":"a"#, "without end"),
            (r#"{"S":"a"} x"#, "after the end"),
            (r#"{"L":[{"N":"1"},]}"#, "expected an attribute value"),
            (r#"{"M":{"a":{"N":"1"}"#, "expected '}'"),
            ("{\"S\":\"a\u{1}\"}", "control character"),
            (r#""S""#, "expected an attribute value"),
        ] {
            let error = skip(line).expect_err(line).to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
        assert!(Parser::new(b"\xff").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| format!("{}{}{}", r#"{"L":["#.repeat(levels), r#"{"S":"x"}"#, "]}".repeat(levels));
        skip(&nested(32)).unwrap();
        assert!(skip(&nested(100_000)).unwrap_err().to_string().contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn strings_read_as_serde_json_reads_them(text in any::<String>()) {
            let encoded = serde_json::to_string(&text).unwrap();
            let mut parser = Parser::new(encoded.as_bytes()).unwrap();
            let mut scratch = String::new();
            prop_assert_eq!(parser.string(&mut scratch).unwrap(), text.as_str());
            parser.end().unwrap();
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b':'), Just(b','), Just(b'S'), Just(b'N'), Just(b'L'), Just(b'\\'), any::<u8>()], 0..60)) {
            if let Ok(mut parser) = Parser::new(&bytes) {
                let _ = parser.skip_value(&mut String::new());
                let _ = parser.skip_json();
            }
        }

        #[test]
        fn plain_end_finds_the_first(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(bytes.len());
            prop_assert_eq!(plain_end(&bytes, 0), expected);
        }
    }
}
