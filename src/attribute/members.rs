//! The members of a map, whose names are distinct in DynamoDB.

use std::borrow::Cow;

use super::parser::Parser;
use crate::error::{Error, Result};

/// Maximum number of names that are compared one by one, without allocation.
const FEW: usize = 8;

/// Iterates over the members of a map. A duplicate name is an error, at the map's end at the latest.
#[derive(Debug)]
pub struct Members<'a> {
    first: bool,
    few: [&'a str; FEW],
    len: usize,
    /// All names, once there are more than a few.
    many: Vec<Cow<'a, str>>,
}

impl<'a> Members<'a> {
    /// Enters the map: `{`.
    pub fn begin(parser: &mut Parser<'a>) -> Result<Self> {
        parser.begin_object()?;
        Ok(Self { first: true, few: [""; FEW], len: 0, many: Vec::new() })
    }

    /// The next member's name, with the parser before its value; `None` at the end of the map.
    pub fn next(&mut self, parser: &mut Parser<'a>) -> Result<Option<Cow<'a, str>>> {
        let Some(name) = parser.next_own_name(&mut self.first)? else {
            self.many.sort_unstable();
            return match self.many.windows(2).find(|pair| pair.first() == pair.last()) {
                Some(pair) => Err(twice(pair.first().map_or("", AsRef::as_ref))),
                None => Ok(None),
            };
        };
        match (&name, self.few.get_mut(self.len)) {
            (Cow::Borrowed(text), Some(free)) if self.many.is_empty() => {
                *free = *text;
                if self.few.iter().take(self.len).any(|known| known == text) {
                    return Err(twice(text));
                }
                self.len += 1;
            }
            _ => {
                if self.many.is_empty() {
                    self.many.extend(self.few.iter().take(self.len).copied().map(Cow::Borrowed));
                }
                self.many.push(name.clone());
            }
        }
        Ok(Some(name))
    }
}

/// The error for a duplicate name in one map.
#[cold]
pub fn twice(name: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    Error::input(format!("the name {name:?} stands twice in one map"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(map: &str) -> Result<Vec<String>> {
        let mut parser = Parser::new(map.as_bytes())?;
        let mut members = Members::begin(&mut parser)?;
        let mut names = Vec::new();
        while let Some(name) = members.next(&mut parser)? {
            parser.skip_json()?;
            names.push(name.into_owned());
        }
        parser.end()?;
        Ok(names)
    }

    #[test]
    fn a_name_that_stands_twice_is_found_wherever_it_stands() {
        for count in [1, 2, 7, 8, 9, 40] {
            let all: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
            let text = |names: &[String]| {
                let members: Vec<_> = names.iter().map(|name| format!("\"{name}\":{{}}")).collect();
                format!("{{{}}}", members.join(", "))
            };
            assert_eq!(names(&text(&all)).unwrap(), all);
            for twin in &all {
                // An escape is another spelling of the same name.
                for spelling in [twin.clone(), twin.replacen('n', "\\u006e", 1)] {
                    let mut doubled = all.clone();
                    doubled.push(spelling);
                    for _ in 0..2 {
                        let error = names(&text(&doubled)).expect_err("a name stands twice").to_string();
                        assert!(error.contains(&format!("{twin:?} stands twice")), "{error}");
                        doubled.reverse();
                    }
                }
            }
        }
        assert_eq!(names("{}").unwrap(), Vec::<String>::new());
    }
}
