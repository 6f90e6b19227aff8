//! Canonical form of JSON text: names in order, numbers by value, sets without order.

use std::collections::BTreeMap;

use super::framing::sized;
use crate::attribute::{Number, Parser, write_json};
use crate::error::Result;

/// Canonical bytes of a JSON column's text; text that is not JSON stays unchanged.
pub(super) fn canonical(text: &str) -> Vec<u8> {
    let parsed = Parser::new(text.as_bytes()).and_then(|mut parser| {
        let mut out = Vec::with_capacity(text.len());
        value(&mut parser, false, &mut out)?;
        parser.end()?;
        Ok(out)
    });
    parsed.unwrap_or_else(|_| [b"?", text.as_bytes()].concat())
}

/// Canonical bytes of the values in `_ddb_rescued`, by attribute; `None` if another program wrote it.
pub(super) fn rescued(text: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let read = || -> Result<Option<BTreeMap<String, Vec<u8>>>> {
        let mut parser = Parser::new(text.as_bytes())?;
        let (mut first, mut scratch, mut value) = (true, String::new(), String::new());
        let mut found = BTreeMap::new();
        parser.begin_object()?;
        while let Some(name) = parser.next_name(&mut first, &mut scratch)? {
            let name = name.to_owned();
            value.clear();
            write_json(&mut parser, &mut value)?;
            if found.insert(name, canonical(&value)).is_some() {
                return Ok(None);
            }
        }
        parser.end()?;
        Ok(Some(found))
    };
    read().ok().flatten()
}

/// Writes the value at the parser; in a set of numbers, numbers may be strings.
fn value(parser: &mut Parser<'_>, numbers: bool, out: &mut Vec<u8>) -> Result<()> {
    let mut scratch = String::new();
    if parser.at_string() {
        let text = parser.string(&mut scratch)?;
        match Number::parse(text).filter(|_| numbers) {
            Some(number) => tagged(b'n', &number.to_string(), out),
            None => tagged(b's', text, out),
        }
        return Ok(());
    }
    if parser.at_object() {
        return object(parser, false, out);
    }
    if is_array(parser) {
        parser.begin_array()?;
        let mut first = true;
        let mut elements = 0;
        let mut inner = Vec::new();
        while parser.next_element(&mut first)? {
            elements += 1;
            value(parser, false, &mut inner)?;
        }
        out.push(b'a');
        count(elements, out);
        out.extend(inner);
        return Ok(());
    }
    let start = parser.position();
    parser.skip_json()?;
    let text = parser.since(start).trim();
    match Number::parse(text) {
        Some(number) => tagged(b'n', &number.to_string(), out),
        None => tagged(b'l', text, out),
    }
    Ok(())
}

/// Writes the object at the parser. An object with a single field that is named like a set type is a set, unless it is
/// `wrapped` in `{"M":…}`: then it is a map whose only field has that name.
fn object(parser: &mut Parser<'_>, wrapped: bool, out: &mut Vec<u8>) -> Result<()> {
    let mut scratch = String::new();
    let mut first = true;
    let mut fields: Vec<(String, &str)> = Vec::new();
    parser.begin_object()?;
    while let Some(name) = parser.next_name(&mut first, &mut scratch)? {
        let name = name.to_owned();
        let start = parser.position();
        parser.skip_json()?;
        fields.push((name, parser.since(start)));
    }
    fields.sort();
    out.push(b'o');
    count(fields.len(), out);
    let alone = fields.len() == 1 && !wrapped;
    for (name, text) in fields {
        let mut inner = Vec::new();
        let mut parser = Parser::new(text.as_bytes())?;
        match name.as_str() {
            "SS" | "NS" | "BS" if alone && is_array(&parser) => set(&mut parser, name == "NS", &mut inner)?,
            "M" if alone && parser.at_object() => object(&mut parser, true, &mut inner)?,
            _ => value(&mut parser, false, &mut inner)?,
        }
        sized(name.as_bytes(), out);
        sized(&inner, out);
    }
    Ok(())
}

/// Elements ordered by their bytes.
fn set(parser: &mut Parser<'_>, numbers: bool, out: &mut Vec<u8>) -> Result<()> {
    parser.begin_array()?;
    let mut first = true;
    let mut elements = Vec::new();
    while parser.next_element(&mut first)? {
        let mut element = Vec::new();
        value(parser, numbers, &mut element)?;
        elements.push(element);
    }
    elements.sort();
    out.push(b'a');
    count(elements.len(), out);
    for element in elements {
        sized(&element, out);
    }
    Ok(())
}

fn is_array(parser: &Parser<'_>) -> bool {
    parser.clone().begin_array().is_ok()
}

fn tagged(tag: u8, text: &str, out: &mut Vec<u8>) {
    out.push(tag);
    sized(text.as_bytes(), out);
}

fn count(number: usize, out: &mut Vec<u8>) {
    out.extend(u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_the_same() {
        for (a, b) in [
            (r#"{"a":1,"b":[1,2]}"#, r#"{"b":[1.0,2],"a":1E0}"#),
            (r#"{"SS":["a","b"]}"#, r#"{"SS":["b","\u0061"]}"#),
            (r#"{"NS":["1.0","2"]}"#, r#"{"NS":["2","1"]}"#),
            (r#"{"M":{"SS":["a","b"]},"z":1}"#, r#"{"z":1,"M":{"SS":["b","a"]}}"#),
            (r#"{"M":{"M":{"SS":["a","b"]}}}"#, r#"{"M":{"M":{"SS":["b","a"]}}}"#),
            (r#"[{"x":{"BS":["YQ==","Yg=="]}}]"#, r#"[{"x":{"BS":["Yg==","YQ=="]}}]"#),
        ] {
            assert_eq!(canonical(a), canonical(b), "{a} {b}");
        }
        let rescue = |text| rescued(text).unwrap();
        assert_eq!(
            rescue(r#"{"a":{"N":"1.0"},"b":{"SS":["x","y"]},"c":{"M":{"p":{"S":"1"},"q":{"NULL":true}}}}"#),
            rescue(r#"{"c":{"M":{"q":{"NULL":true},"p":{"S":"1"}}},"b":{"SS":["y","x"]},"a":{"N":"1"}}"#)
        );
    }

    #[test]
    fn what_differs_stays_apart() {
        let all = [
            "1",
            r#""1""#,
            "true",
            "null",
            "[]",
            "{}",
            "[1,2]",
            "[2,1]",
            "[[1],2]",
            "[[1,2]]",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"M":{"SS":["a","b"]}}"#,
            r#"{"M":{"SS":["b","a"]}}"#,
            r#"{"SS":["a","b"]}"#,
            r#"{"SS":["a","b"],"z":1}"#,
            r#"{"SS":["b","a"],"z":1}"#,
            r#"{"SS":["1"]}"#,
            r#"{"NS":["1"]}"#,
            "1.00000000000000000000000000000000000001",
            "not json",
            "",
        ];
        let forms: std::collections::BTreeSet<_> = all.iter().map(|text| canonical(text)).collect();
        assert_eq!(forms.len(), all.len());
        assert_eq!(rescued("[]"), None);
        assert_eq!(rescued(r#"{"a":{"S":"x"},"a":{"S":"x"}}"#), None);
        assert_eq!(rescued(r#"{"a":1}"#), None);
    }
}
