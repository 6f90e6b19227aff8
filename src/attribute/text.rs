//! Attribute values as plain JSON text, for columns whose values have no common type.

use std::fmt::Write as _;

use super::Kind;
use super::members::Members;
use super::parser::Parser;
use crate::error::Result;

/// Writes the attribute value at the parser as JSON: `"abc"`, `12.5`, `[1,2]`, so that `"1"` and `1` remain distinct.
///
/// Types that JSON does not have keep their descriptor: `{"B":"…"}`, `{"SS":[…]}`. A map with one field that is named
/// like a descriptor is wrapped in `{"M":…}`, so that it cannot be mistaken for one. Numbers are written canonically.
pub fn write_json(parser: &mut Parser<'_>, out: &mut String) -> Result<()> {
    let kind = parser.descriptor()?;
    write_json_content(kind, parser, out)?;
    parser.close()
}

/// Like [`write_json`], for a parser that has already read the descriptor.
pub fn write_json_content(kind: Kind, parser: &mut Parser<'_>, out: &mut String) -> Result<()> {
    let mut scratch = String::new();
    match kind {
        Kind::S => write_string(parser.string(&mut scratch)?, out),
        Kind::N => {
            let _ = write!(out, "{}", parser.number(&mut scratch)?);
        }
        Kind::Bool => out.push_str(if parser.boolean()? { "true" } else { "false" }),
        Kind::Null => {
            parser.null()?;
            out.push_str("null");
        }
        Kind::B => {
            out.push_str("{\"B\":");
            write_element(kind, parser, &mut scratch, out)?;
            out.push('}');
        }
        Kind::Ss | Kind::Ns | Kind::Bs => {
            let element = kind.element().unwrap_or(Kind::S);
            parser.begin_set(element)?;
            let _ = write!(out, "{{\"{}\":[", kind.name());
            let (mut first, mut comma) = (true, "");
            while parser.next_element(&mut first)? {
                out.push_str(comma);
                comma = ",";
                write_element(element, parser, &mut scratch, out)?;
            }
            out.push_str("]}");
        }
        Kind::L => {
            parser.begin_array()?;
            out.push('[');
            let mut first = true;
            let mut comma = "";
            while parser.next_element(&mut first)? {
                out.push_str(comma);
                comma = ",";
                write_json(parser, out)?;
            }
            out.push(']');
        }
        Kind::M => {
            let mut members = Members::begin(parser)?;
            let start = out.len();
            out.push('{');
            let mut comma = "";
            let mut fields = 0usize;
            let mut like_descriptor = false;
            while let Some(name) = members.next(parser)? {
                fields += 1;
                like_descriptor = Kind::from_name(&name).is_some();
                out.push_str(comma);
                comma = ",";
                write_string(&name, out);
                out.push(':');
                write_json(parser, out)?;
            }
            out.push('}');
            if fields == 1 && like_descriptor {
                out.insert_str(start, "{\"M\":");
                out.push('}');
            }
        }
    }
    Ok(())
}

/// Writes a scalar inside a descriptor: a string, whatever its type.
fn write_element(kind: Kind, parser: &mut Parser<'_>, scratch: &mut String, out: &mut String) -> Result<()> {
    match kind {
        Kind::N => {
            let _ = write!(out, "\"{}\"", parser.number(scratch)?);
        }
        Kind::B => {
            let start = parser.position();
            parser.skip_content(kind, scratch)?;
            out.push_str(parser.since(start).trim());
        }
        _ => write_string(parser.string(scratch)?, out),
    }
    Ok(())
}

/// Writes a JSON string.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &str) -> String {
        let mut out = String::new();
        let mut parser = Parser::new(value.as_bytes()).unwrap();
        write_json(&mut parser, &mut out).unwrap();
        parser.end().unwrap();
        out
    }

    #[test]
    fn types_stay_apart() {
        for (value, expected) in [
            (r#"{"S":"1"}"#, r#""1""#),
            (r#"{"N":"1.50"}"#, "1.5"),
            (r#"{"NULL":true}"#, "null"),
            (r#"{"BOOL":false}"#, "false"),
            (r#"{"B":"aGVsbG8="}"#, r#"{"B":"aGVsbG8="}"#),
            (r#"{"NS":["1","2"]}"#, r#"{"NS":["1","2"]}"#),
            (r#"{"NS": [ "2E0" , "1.0","-0.50"]}"#, r#"{"NS":["2","1","-0.5"]}"#),
            (r#"{"SS": ["\u0061" , "b\"c"]}"#, r#"{"SS":["a","b\"c"]}"#),
            (r#"{"BS":[ "aGk=","" ]}"#, r#"{"BS":["aGk=",""]}"#),
            (r#"{"L":[{"N":"1"},{"S":"a\"b"}]}"#, r#"[1,"a\"b"]"#),
            (r#"{"M":{"B":{"S":"x"}}}"#, r#"{"M":{"B":"x"}}"#),
            (r#"{"M":{"B":{"S":"x"},"c":{"N":"2"}}}"#, r#"{"B":"x","c":2}"#),
            (r#"{"M":{"M":{"M":{}}}}"#, r#"{"M":{"M":{}}}"#),
            (r#"{"M":{}}"#, "{}"),
        ] {
            assert_eq!(json(value), expected);
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        for value in [
            r#"{"M":{"a":{"N":"1"},"a":{"N":"2"}}}"#,
            r#"{"M":{"a":{"N":"1"},"\u0061":{"N":"1"}}}"#,
            r#"{"L":[{"M":{"b":{"M":{"":{"S":"x"},"":{"S":"x"}}}}}]}"#,
        ] {
            let error = write_json(&mut Parser::new(value.as_bytes()).unwrap(), &mut String::new()).expect_err(value);
            assert!(error.to_string().contains("stands twice in one map"), "{error}");
        }
    }
}
