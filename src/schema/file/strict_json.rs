//! Strict JSON for files edited by hand: a duplicate name is an error; errors name the position.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::schema::naming::short;
use crate::spelling::distance;

/// Parses JSON, with or without a byte order mark. Errors name line and column.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(error) if error.to_string().starts_with("recursion limit") => {
            Err(Error::usage("the schema file is nested too deeply").caused_by(error))
        }
        Err(error) if text.trim_ascii().is_empty() => {
            Err(Error::usage("the schema file is empty").caused_by(error).advice("Write one with detect-schema"))
        }
        Err(error) => {
            let line = u64::try_from(error.line()).unwrap_or(0);
            Err(Error::usage("the schema file is not proper JSON").on_line(line).caused_by(error))
        }
    }
}

/// The text of a string.
pub(crate) fn text_at<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| wrong_value(value, path, "expected a string", ""))
}

/// Refuses members with other names.
pub(crate) fn only(object: &Map<String, Value>, path: &str, allowed: &[&str]) -> Result<()> {
    let Some(key) = object.keys().find(|key| !allowed.contains(&key.as_str())) else { return Ok(()) };
    let meant = alike(&key.to_lowercase(), allowed.iter().copied());
    let meant = meant.map(|name| format!("did you mean {name}? ")).unwrap_or_default();
    Err(wrong(&member(path, key), "unknown key", &format!("{meant}Allowed are {}", allowed.join(", "))))
}

/// The path of an object's member.
pub(crate) fn member(path: &str, name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty() && name.len() <= 80;
    if plain { format!("{path}.{name}") } else { format!("{path}[{:?}]", short(name)) }
}

/// The error in the schema file: where, and what is allowed.
pub(crate) fn wrong(path: &str, what: &str, allowed: &str) -> Error {
    let error = Error::usage(format!("schema file, {path}: {what}"));
    if allowed.is_empty() { error } else { error.advice(allowed) }
}

/// Like [`wrong`], and shows the value.
pub(crate) fn wrong_value(value: &Value, path: &str, what: &str, allowed: &str) -> Error {
    wrong(path, &format!("{what}, found {}", short(&value.to_string())), allowed)
}

/// A suggestion for a misspelled name.
pub(crate) fn alike<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 40 {
        return None;
    }
    let near = known.into_iter().map(|known| (distance(name, known), known));
    near.filter(|(far, known)| *far <= 2 && *far < known.len() / 2 + 1)
        .min_by_key(|(far, _)| *far)
        .map(|(_, known)| known)
}

/// A value without duplicate names in any object.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(serde::de::Error::custom(format_args!("the name {:?} stands twice", short(&name))));
            }
            let Strict(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood() {
        let known = ["string", "long", "list", "json", "set"];
        for (slip, meant) in
            [("strng", Some("string")), ("lng", Some("long")), ("jsn", Some("json")), ("sett", Some("set"))]
        {
            assert_eq!(alike(slip, known), meant, "{slip}");
        }
        for other in ["", "x", "text", "varchar", &"string".repeat(99)] {
            assert_eq!(alike(other, known), None, "{other}");
        }
        // A text is no name with a slip.
        let long = |letters: usize| "x".repeat(letters);
        assert_eq!(alike(&long(40), [long(39).as_str()]), Some(long(39).as_str()));
        assert_eq!(alike(&long(41), [long(40).as_str()]), None);
    }

    #[test]
    fn the_place_is_named() {
        for (text, expected) in [
            ("{\n \"a\": 1,\n}", "line 3 column 1"),
            ("{\"a\":1,\n\"b\":{\"x\":1,\n \"x\":2}}", "the name \"x\" stands twice at line 3"),
            ("[1,2", "line 1 column 4"),
            ("{\"a\":\"\u{1}\"}", "control character"),
            ("", "is empty"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(
            parse("\u{feff}{\"a\":[1,-2,0.5,null,true,\"\"]}").unwrap().to_string(),
            r#"{"a":[1,-2,0.5,null,true,""]}"#
        );
    }
}
