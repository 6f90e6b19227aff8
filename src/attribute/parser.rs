//! A pull parser for one line of DynamoDB JSON.
//!
//! It validates everything that it passes: a line that was parsed is well-formed JSON with well-formed attribute
//! values.

use std::borrow::Cow;

use super::member_prefix::Opening;
use super::scan::plain_end;
use crate::error::{Error, Result};

/// Maximum nesting of lists and maps; DynamoDB allows 32 levels, deeper input is hostile.
///
/// A few more levels are accepted, but a table's metadata must not nest deeper than JSON readers allow: a struct takes
/// three levels of it, and serde_json reads 128.
pub const MAX_DEPTH: u32 = 36;
/// JSON nesting around a value: the line, the item, and the descriptor of the innermost value.
const AROUND: u32 = 3;

/// Walks over the text of one line.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: u32,
}

impl<'a> Parser<'a> {
    /// Starts at the first byte; the text must be UTF-8.
    pub fn new(line: &'a [u8]) -> Result<Self> {
        let text = simdutf8::basic::from_utf8(line).map_err(|_| Error::input("the line is not UTF-8"))?;
        Ok(Self { text, at: 0, depth: 0 })
    }

    /// The current position, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The text from an earlier position to the current one.
    pub fn since(&self, position: usize) -> &'a str {
        self.text.get(position..self.at).unwrap_or_default()
    }

    #[cold]
    #[inline(never)]
    pub(super) fn wrong(&self, what: &str) -> Error {
        Error::input(format!("not DynamoDB JSON: {what} at byte {}", self.at + 1))
    }

    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        match self.text.as_bytes().get(self.at) {
            Some(&byte) if byte > b' ' => Some(byte),
            _ => self.peek_behind_space(),
        }
    }

    /// Exports have no white space between tokens, but may have.
    #[cold]
    #[inline(never)]
    fn peek_behind_space(&mut self) -> Option<u8> {
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
    pub(super) fn expect(&mut self, byte: u8) -> Result<()> {
        if self.accept(byte) { Ok(()) } else { Err(self.expected(byte)) }
    }

    #[cold]
    #[inline(never)]
    fn expected(&self, byte: u8) -> Error {
        let what = format!("expected {:?}", char::from(byte));
        if byte == b'"' { self.wrong_value(&what) } else { self.wrong(&what) }
    }

    /// Like [`Self::wrong`], and shows the next value. Nested values are not shown, since they may contain anything.
    #[cold]
    #[inline(never)]
    pub(super) fn wrong_value(&self, what: &str) -> Error {
        let mut ahead = self.clone();
        let found = match ahead.peek() {
            None => "the end".to_owned(),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "a list".to_owned(),
            Some(_) => {
                let start = ahead.at;
                let whole = ahead.skip_json().is_ok();
                let length = if whole { ahead.at - start } else { 1 };
                short(self.text.get(start..start + length).unwrap_or("…"))
            }
        };
        self.wrong(&format!("{what}, found {found}"))
    }

    #[inline]
    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if found {
            self.at += word.len();
        }
        found
    }

    /// Checks that nothing follows.
    pub fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong("text after the end of the record")) }
    }

    /// Enters an object: `{`.
    pub fn begin_object(&mut self) -> Result<()> {
        self.enter()?;
        self.expect(b'{')
    }

    /// The next member's name, with the parser before its value; `None` at the end of the object.
    /// `first` is initially true, and kept by the caller.
    #[inline]
    pub fn next_name<'s>(&mut self, first: &mut bool, scratch: &'s mut String) -> Result<Option<&'s str>>
    where
        'a: 's,
    {
        if !self.more_members(first)? {
            return Ok(None);
        }
        let name = self.string(scratch)?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// Like [`Self::next_name`]; the name is borrowed from the line unless it has escapes.
    #[inline]
    pub(super) fn next_own_name(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>> {
        if !self.more_members(first)? {
            return Ok(None);
        }
        let name = self.own_string(&mut String::new())?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    #[inline]
    fn more_members(&mut self, first: &mut bool) -> Result<bool> {
        if std::mem::take(first) {
            if self.accept(b'}') {
                self.depth -= 1;
                return Ok(false);
            }
        } else if !self.accept(b',') {
            self.expect(b'}')?;
            self.depth -= 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// Skips the start of the next member, if the text has exactly this.
    #[inline]
    pub fn accept_member(&mut self, first: &mut bool, opening: &Opening) -> bool {
        let found = opening.stands_at(self.text.as_bytes(), self.at, *first);
        if found {
            self.at += opening.length() - usize::from(*first);
            *first = false;
        }
        found
    }

    /// Leaves an object that ends here, but not one that has just started.
    #[inline]
    pub(super) fn accept_end(&mut self, first: bool) -> bool {
        let found = !first && self.text.as_bytes().get(self.at) == Some(&b'}');
        if found {
            self.at += 1;
            self.depth -= 1;
        }
        found
    }

    /// Enters an array: `[`.
    pub fn begin_array(&mut self) -> Result<()> {
        self.enter()?;
        self.expect(b'[')
    }

    /// Whether the array has another element; the parser is then before it. `first` as in [`Self::next_name`].
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

    #[inline]
    pub(super) fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        // A value of type L or M takes two levels of JSON: the descriptor and its content.
        if self.depth > 2 * MAX_DEPTH + AROUND { Err(too_deep()) } else { Ok(()) }
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

    /// Like [`Self::string`]; the result outlives the scratch.
    pub(super) fn own_string(&mut self, scratch: &mut String) -> Result<Cow<'a, str>> {
        self.peek();
        let start = self.at + 1;
        self.string(scratch)?;
        let raw = self.text.get(start..self.at.saturating_sub(1)).unwrap_or_default();
        Ok(if raw.contains('\\') { Cow::Owned(std::mem::take(scratch)) } else { Cow::Borrowed(raw) })
    }

    /// Parses the rest of a string that has escapes.
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

    /// Parses an escape after the backslash.
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

    /// Skips any JSON value, and validates it.
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

    /// Whether `null` comes next.
    pub fn at_null(&mut self) -> bool {
        self.clone().literal("null")
    }

    /// Whether an object comes next.
    pub fn at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }
}

/// A value for a message; long ones are truncated.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cold]
#[inline(never)]
fn too_deep() -> Error {
    Error::input(format!("values are nested deeper than {MAX_DEPTH} levels"))
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
