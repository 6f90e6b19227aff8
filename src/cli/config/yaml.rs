//! Parses a configuration file's YAML into keys with text values.
//!
//! Every scalar is kept as written: `0123` stays `0123`. The file's size and structure are untrusted: aliases, which
//! multiply the content of a small file, are refused, and nesting is limited. Nothing here recurses.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

/// Maximum nesting of keys; a catalog's property has three or four levels.
const MAX_DEPTH: usize = 32;

/// Keys in lower case, as in PyIceberg.
pub type Map = BTreeMap<String, Node>;

/// A value without a type.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A scalar, as written.
    Text(String),
    /// Keys with values.
    Map(Map),
    /// A list, or something tagged.
    Other,
}

/// Why a text is not a valid configuration. It never quotes the text, which may contain secrets.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The error.
    pub why: &'static str,
    /// The position, from 1.
    pub line: u64,
}

/// A collection that is being parsed.
enum Open {
    /// Its entries, and the key whose value is pending.
    Map(Map, Option<String>),
    /// A list or a tagged map: only its end matters.
    Ignored,
}

/// Parses one document; `None` if it is empty.
pub fn parse(text: &str) -> Result<Option<Map>, Refused> {
    let (mut open, mut root, mut documents) = (Vec::new(), None, 0);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| Refused { why: "this is not YAML", line: e.marker().line() as u64 })?;
        let refused = |why| Refused { why, line: span.start.line() as u64 };
        let node = match event {
            Event::Alias(_) => return Err(refused("aliases (*name) are not read: write the value out")),
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(refused("a second document begins here: a configuration is one"));
                }
                continue;
            }
            Event::Scalar(text, style, _, tag) => match tag {
                Some(tag) if !is_text(&tag) => Node::Other,
                _ if open.is_empty() && style == ScalarStyle::Plain && is_null(&text) => continue,
                _ => Node::Text(text.into_owned()),
            },
            Event::MappingStart(..) | Event::SequenceStart(..) if open.len() == MAX_DEPTH => {
                return Err(refused("this is nested too deeply for a configuration"));
            }
            Event::MappingStart(_, None) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::MappingStart(_, Some(_)) | Event::SequenceStart(..) => {
                open.push(Open::Ignored);
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::Map(map, _)) => Node::Map(map),
                _ => Node::Other,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(node),
            Some(Open::Ignored) => {}
            Some(Open::Map(map, waiting)) => match (waiting.take(), node) {
                (Some(key), value) => {
                    if map.insert(key, value).is_some() {
                        return Err(refused("a key stands here for the second time"));
                    }
                }
                (None, Node::Text(key)) => *waiting = Some(key.to_lowercase()),
                (None, _) => return Err(refused("a key is not a text")),
            },
        }
    }
    match root {
        None => Ok(None),
        Some(Node::Map(map)) if map.is_empty() => Ok(None),
        Some(Node::Map(map)) => Ok(Some(map)),
        Some(_) => Err(Refused { why: "this is not a configuration: it has no keys", line: 1 }),
    }
}

/// Whether the tag is `!!str` or `!`: the value is text in any case.
fn is_text(tag: &Tag) -> bool {
    (tag.is_yaml_core_schema() && tag.suffix == "str") || (tag.handle.is_empty() && tag.suffix == "!")
}

fn is_null(text: &str) -> bool {
    text.is_empty() || text == "~" || text.eq_ignore_ascii_case("null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Refused {
        parse(text).unwrap_err()
    }

    #[test]
    fn scalars_are_text_and_lists_are_nothing() {
        let map =
            parse("a: 0123\nB: ~\nc:\nd: [1, {e: 2}]\nf: !x 1\ng: !!str 1e3\nh: {I: \"x: y\"}\n").unwrap().unwrap();
        let text = |text: &str| Node::Text(text.to_owned());
        assert_eq!(map["a"], text("0123"));
        assert_eq!((&map["b"], &map["c"]), (&text("~"), &text("")));
        assert_eq!((&map["d"], &map["f"]), (&Node::Other, &Node::Other));
        assert_eq!(map["g"], text("1e3"));
        assert_eq!(map["h"], Node::Map(Map::from([("i".to_owned(), text("x: y"))])));
        for nothing in ["", "# nothing\n", "---\n", "~", "null", "{}"] {
            assert_eq!(parse(nothing), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn what_multiplies_or_nests_without_end_is_refused_with_its_line() {
        let bomb: Vec<String> = (1..20).map(|n| format!("k{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1)).collect();
        let bomb = bomb.concat();
        let found = refused(&format!("k0: &a0 x\n{bomb}"));
        assert!(found.why.contains("alias") && found.line == 2, "{found:?}");
        assert!(refused("a: &x {b: 1}\nc:\n  <<: *x\n").why.contains("alias"));
        for deep in ["[".repeat(500_000), "- ".repeat(500_000), "{a: ".repeat(250_000), "? ".repeat(500_000)] {
            assert!(parse(&deep).is_err());
        }
        let nested = |depth: usize| format!("{}x{}", "{a: ".repeat(depth), "}".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(refused(&nested(MAX_DEPTH + 1)).why.contains("nested"));
    }

    #[test]
    fn a_key_has_one_value_and_a_file_one_document() {
        assert_eq!(refused("a: 1\nA: 2\n").line, 2);
        assert_eq!(refused("a: 1\n---\nb: 2\n").line, 2);
        assert!(refused("[a]: 1\n").why.contains("key"));
        assert!(refused("just text").why.contains("no keys"));
        assert_eq!(refused("a: \"x\n").why, "this is not YAML");
    }
}
