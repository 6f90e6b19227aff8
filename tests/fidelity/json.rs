//! JSON with its numbers as they are written and its objects in order, so that nothing is lost while reading it.

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

pub fn parse(text: &str) -> Json {
    let (value, rest) = value(text);
    assert!(rest.trim().is_empty(), "{rest:?} after the end of {text:?}");
    value
}

fn value(text: &str) -> (Json, &str) {
    let text = text.trim_start();
    for (word, meaning) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
        if let Some(rest) = text.strip_prefix(word) {
            return (meaning, rest);
        }
    }
    match text.chars().next().unwrap_or_else(|| panic!("the JSON ends early")) {
        '"' => {
            let (text, rest) = string(text);
            (Json::Text(text), rest)
        }
        '[' => {
            let mut list = Vec::new();
            let mut rest = text[1..].trim_start();
            while !rest.starts_with(']') {
                let (element, after) = value(rest);
                list.push(element);
                rest = next(after, ']');
            }
            (Json::List(list), &rest[1..])
        }
        '{' => {
            let mut fields: Vec<(String, Json)> = Vec::new();
            let mut rest = text[1..].trim_start();
            while !rest.starts_with('}') {
                let (name, after) = string(rest);
                let after = after.trim_start().strip_prefix(':').unwrap_or_else(|| panic!("no colon in {text:?}"));
                let (field, after) = value(after);
                assert!(fields.iter().all(|(other, _)| *other != name), "{name:?} twice in {text:?}");
                fields.push((name, field));
                rest = next(after, '}');
            }
            (Json::Object(fields), &rest[1..])
        }
        _ => {
            let end = text.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(text.len());
            let digits = &text[..end];
            digits.parse::<f64>().unwrap_or_else(|_| panic!("{text:?} is no JSON"));
            (Json::Number(digits.to_owned()), &text[end..])
        }
    }
}

/// Past the comma, or before the end.
fn next(rest: &str, end: char) -> &str {
    let rest = rest.trim_start();
    match rest.strip_prefix(',') {
        Some(more) => {
            assert!(!more.trim_start().starts_with(end), "a comma before the end");
            more.trim_start()
        }
        None => {
            assert!(rest.starts_with(end), "neither comma nor end: {rest:?}");
            rest
        }
    }
}

fn string(text: &str) -> (String, &str) {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (serde_json::from_str(&text[..=at]).unwrap(), &text[at + 1..]),
            _ => {}
        }
    }
    panic!("a string without end: {text:?}");
}
