//! The second level of the parser: attribute values, `{"S":"…"}`, within JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Kind;
use super::members::Members;
use super::number::Number;
use super::parser::Parser;
use crate::error::{Error, Result};

/// The name of an omitted attribute in messages.
pub const EXCLUDED: &str = "(excluded)";

/// What a value tells about the type of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It is NULL, which counts as missing.
    Null,
    /// It consists only of empty lists and maps, or of ones that contain only NULL and such values.
    Empty,
    /// It determines a type.
    Typed,
}

impl Parser<'_> {
    /// Enters an attribute value, `{"S":`; the parser is then before its content.
    #[inline]
    pub fn descriptor(&mut self) -> Result<Kind> {
        if let Some([b'{', b'"', letter, b'"', b':', ..]) = self.text.as_bytes().get(self.at..) {
            let kind = match letter {
                b'S' => Kind::S,
                b'N' => Kind::N,
                b'M' => Kind::M,
                b'L' => Kind::L,
                b'B' => Kind::B,
                _ => return self.unusual_descriptor(),
            };
            self.enter()?;
            self.at += 5;
            return Ok(kind);
        }
        self.unusual_descriptor()
    }

    #[inline(never)]
    fn unusual_descriptor(&mut self) -> Result<Kind> {
        if self.peek() != Some(b'{') {
            return Err(self.wrong_value("expected an attribute value like {\"S\":\"…\"}"));
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
        Err(self.not_closed())
    }

    #[cold]
    #[inline(never)]
    fn not_closed(&mut self) -> Error {
        let what =
            if self.peek() == Some(b',') { "an attribute value with two type descriptors" } else { "expected '}'" };
        self.wrong(what)
    }

    /// The content of an N.
    #[inline]
    pub fn number(&mut self, scratch: &mut String) -> Result<Number> {
        self.take_number(scratch, |number| number)
    }

    /// Like [`Self::number`], for immediate use: the number is not copied to memory.
    #[inline]
    pub fn take_number<T>(&mut self, scratch: &mut String, take: impl FnOnce(Number) -> T) -> Result<T> {
        if let Some([b'"', content @ ..]) = self.text.as_bytes().get(self.at..)
            && let Some((number, length)) = Number::short(content)
            && content.get(length) == Some(&b'"')
        {
            self.at += length + 2;
            return Ok(take(number));
        }
        self.unusual_number(scratch).map(take)
    }

    #[inline(never)]
    fn unusual_number(&mut self, scratch: &mut String) -> Result<Number> {
        if !self.at_string() {
            return Err(self.wrong_value("an N that is not a string of digits"));
        }
        let text = self.string(scratch)?;
        Number::parse(text).ok_or_else(|| {
            let text = super::parser::short(text);
            self.wrong(&format!("{text:?} is not a DynamoDB number (38 digits, 1E-130 to 9.9…E+125)"))
        })
    }

    /// The content of a B, decoded into `out`, which is cleared first.
    pub fn binary(&mut self, scratch: &mut String, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let text = self.string(scratch)?;
        STANDARD.decode_vec(text, out).map_err(|_| {
            let text = super::parser::short(text);
            self.wrong(&format!("a B that is not standard base64, {text:?},"))
        })
    }

    /// Enters the content of an SS, NS or BS, whose elements are of type S, N or B: `[`. Sets are not empty, and have
    /// no duplicates.
    pub fn begin_set(&mut self, element: Kind) -> Result<()> {
        let mut ahead = self.clone();
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        let (mut first, mut scratch) = (true, String::new());
        ahead.begin_array()?;
        while ahead.next_element(&mut first)? {
            if element == Kind::N {
                numbers.push(ahead.number(&mut scratch)?.identity());
            } else {
                // In standard base64, equal bytes have equal text.
                texts.push(ahead.own_string(&mut scratch)?);
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

    /// The content of a BOOL.
    pub fn boolean(&mut self) -> Result<bool> {
        if self.literal("true") {
            Ok(true)
        } else if self.literal("false") {
            Ok(false)
        } else {
            Err(self.wrong_value("a BOOL that is neither true nor false"))
        }
    }

    /// The content of a NULL.
    pub fn null(&mut self) -> Result<()> {
        if self.literal("true") { Ok(()) } else { Err(self.wrong_value("a NULL that is not true")) }
    }

    /// Skips the content of an attribute value of the given type, and validates it.
    pub fn skip_content(&mut self, kind: Kind, scratch: &mut String) -> Result<()> {
        match kind {
            Kind::S => self.string(scratch).map(drop),
            Kind::N => self.number(scratch).map(drop),
            Kind::B => self.binary(scratch, &mut Vec::new()),
            Kind::Bool => self.boolean().map(drop),
            Kind::Null => self.null(),
            Kind::Ss | Kind::Ns | Kind::Bs => {
                let element = kind.element().unwrap_or(Kind::S);
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
                let mut members = Members::begin(self)?;
                while members.next(self)?.is_some() {
                    self.skip_value(scratch)?;
                }
                Ok(())
            }
        }
    }

    /// Skips an attribute value, and validates it.
    pub fn skip_value(&mut self, scratch: &mut String) -> Result<()> {
        let kind = self.descriptor()?;
        self.skip_content(kind, scratch)?;
        self.close()
    }

    /// Skips the value of an omitted attribute. Errors contain neither its name nor its content.
    pub fn skip_excluded(&mut self, scratch: &mut String) -> Result<()> {
        self.skip_value(scratch).map_err(|_| {
            Error::input("an attribute that is left out of the table is not DynamoDB JSON").of_attribute(EXCLUDED)
        })
    }

    /// What the next value tells about its type. If it is not an attribute value, the result is [`Content::Typed`].
    pub fn content_ahead(&self) -> Content {
        self.clone().content().unwrap_or(Content::Typed)
    }

    fn content(&mut self) -> Result<Content> {
        let content = match self.descriptor()? {
            Kind::Null => {
                self.null()?;
                Content::Null
            }
            Kind::L => {
                self.begin_array()?;
                let mut first = true;
                while self.next_element(&mut first)? {
                    if self.content()? == Content::Typed {
                        return Ok(Content::Typed);
                    }
                }
                Content::Empty
            }
            Kind::M => {
                let (mut first, mut scratch) = (true, String::new());
                self.begin_object()?;
                while self.next_name(&mut first, &mut scratch)?.is_some() {
                    if self.content()? == Content::Typed {
                        return Ok(Content::Typed);
                    }
                }
                Content::Empty
            }
            _ => return Ok(Content::Typed),
        };
        self.close()?;
        Ok(content)
    }
}
