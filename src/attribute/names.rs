//! An index of names, fast if names come in the same order as last time.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::member_prefix::Opening;
use super::parser::Parser;
use crate::error::Result;

/// A growing list of distinct names, found by name.
///
/// Items of one table tend to list their attributes in the same order. So the name that followed last time is compared
/// with the text first; only if that fails is a name read and hashed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Box<str>>", into = "Vec<Box<str>>")]
pub struct NameIndex {
    names: Vec<Box<str>>,
    /// As the start of a member.
    openings: Vec<Option<Opening>>,
    positions: HashMap<Box<str>, usize>,
    /// The name that followed each name last time; in the first place, the first name.
    after: Vec<usize>,
    /// The index in `after` of the next guess.
    last: usize,
}

/// The name of a member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member<'s> {
    /// A known name, by its index.
    Known(usize),
    /// An unknown name.
    New(&'s str),
}

impl NameIndex {
    /// The next member of the object at the parser, which is then before its value; `None` at the end of the object.
    /// `first` and `scratch` as in [`Parser::next_name`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what comes back stays in registers")]
    pub fn next_member<'s, 'a: 's>(
        &mut self,
        parser: &mut Parser<'a>,
        first: &mut bool,
        scratch: &'s mut String,
    ) -> Result<Option<Member<'s>>> {
        if parser.accept_end(*first) {
            return Ok(None);
        }
        let guess = self.after.get(self.last).copied().unwrap_or(usize::MAX);
        if let Some(Some(opening)) = self.openings.get(guess)
            && parser.accept_member(first, opening)
        {
            self.last = guess + 1;
            return Ok(Some(Member::Known(guess)));
        }
        self.next_unforeseen(parser, first, scratch)
    }

    #[inline(never)]
    fn next_unforeseen<'s, 'a: 's>(
        &mut self,
        parser: &mut Parser<'a>,
        first: &mut bool,
        scratch: &'s mut String,
    ) -> Result<Option<Member<'s>>> {
        let Some(name) = parser.next_name(first, scratch)? else { return Ok(None) };
        let Some(found) = self.position(name) else { return Ok(Some(Member::New(name))) };
        self.follow(found);
        Ok(Some(Member::Known(found)))
    }

    /// Records that this name came next.
    fn follow(&mut self, position: usize) {
        if let Some(after) = self.after.get_mut(self.last) {
            *after = position;
        }
        self.last = position + 1;
    }

    /// The position of a name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// Adds or finds a name; returns its position.
    pub fn insert(&mut self, name: &str) -> usize {
        if let Some(found) = self.position(name) {
            return found;
        }
        let position = self.names.len();
        self.names.push(name.into());
        self.openings.push(Opening::of(name));
        self.positions.insert(name.into(), position);
        self.after.resize(position + 2, usize::MAX);
        self.follow(position);
        position
    }

    /// An object starts: its first name is probably the same as last time.
    pub fn restart(&mut self) {
        self.last = 0;
    }

    /// The name at a position; empty if there is none.
    pub fn name(&self, position: usize) -> &str {
        self.names.get(position).map_or("", |name| name)
    }

    /// The names in order of position.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl From<NameIndex> for Vec<Box<str>> {
    fn from(index: NameIndex) -> Self {
        index.names
    }
}

impl From<Vec<Box<str>>> for NameIndex {
    fn from(names: Vec<Box<str>>) -> Self {
        names.iter().map(|name| &**name).collect()
    }
}

impl<'a> FromIterator<&'a str> for NameIndex {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let mut index = Self::default();
        for name in names {
            index.insert(name);
        }
        index.restart();
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(index: &mut NameIndex, object: &str) -> Result<Vec<String>> {
        let (mut first, mut scratch, mut found) = (true, String::new(), Vec::new());
        let mut parser = Parser::new(object.as_bytes())?;
        parser.begin_object()?;
        index.restart();
        while let Some(member) = index.next_member(&mut parser, &mut first, &mut scratch)? {
            found.push(match member {
                Member::Known(n) => format!("{n}"),
                Member::New(name) => name.to_owned(),
            });
            parser.skip_json()?;
        }
        parser.end()?;
        Ok(found)
    }

    #[test]
    fn names_are_found_in_any_order() {
        let mut index: NameIndex = ["a", "b", "q\"\\", "a\":1,\"b", "ü"].into_iter().collect();
        for (object, expected) in [
            (r#"{"a":1,"b":2,"\u00fc":3}"#, vec!["0", "1", "4"]),
            (r#"{"a":1,"b":2,"ü":3}"#, vec!["0", "1", "4"]),
            (r#"{"b":1,"a":2,"x":0,"a":3}"#, vec!["1", "0", "x", "0"]),
            (r#" { "b" : 1 , "a" : 2 , "x" : 0 , "a" : 3 } "#, vec!["1", "0", "x", "0"]),
            (r#"{"b":1,"a":2,"x":0,"a":3}"#, vec!["1", "0", "x", "0"]),
            (r#"{"q\"\\":1,"a\":1,\"b":2}"#, vec!["2", "3"]),
            (r#"{"q\"\\":1,"a":1,"b":2}"#, vec!["2", "0", "1"]),
            (r#"{"q\"\\":1,"a\":1,\"b":2}"#, vec!["2", "3"]),
            ("{}", vec![]),
        ] {
            assert_eq!(members(&mut index, object).unwrap(), expected, "{object}");
        }
        assert_eq!((index.insert("x"), index.insert("b"), index.len()), (5, 1, 6));
        assert_eq!(members(&mut index, r#"{"x":1,"a":2}"#).unwrap(), ["5", "0"]);
        assert_eq!(index.name(5), "x");
    }

    #[test]
    fn names_of_every_length_are_found() {
        for length in 0..80 {
            let (name, near) = ("n".repeat(length), format!("{}m", "n".repeat(length)));
            let mut index: NameIndex = [name.as_str(), near.as_str()].into_iter().collect();
            for more in 0..40 {
                let rest = "1".repeat(more + 1);
                let object = format!(r#"{{"{name}":1,"{near}":2,"{name}":{rest}}}"#);
                assert_eq!(members(&mut index, &object).unwrap(), ["0", "1", "0"], "{object}");
                let object = format!(r#"{{"{near}":1,"{name}":2,"{near}":{rest}}}"#);
                assert_eq!(members(&mut index, &object).unwrap(), ["1", "0", "1"], "{object}");
            }
        }
    }

    #[test]
    fn a_broken_object_is_an_error_whatever_was_expected() {
        let mut index: NameIndex = ["a", "b"].into_iter().collect();
        for object in
            [r#"{"a":1"b":2}"#, r#"{,"a":1}"#, r#"{"a":1,,"b":2}"#, r#"{"a"1}"#, r#"{"a":1,"b:2}"#, r#"{"a":1"#]
        {
            members(&mut index, r#"{"a":1,"b":2}"#).unwrap();
            assert!(members(&mut index, object).is_err(), "{object}");
        }
    }
}
