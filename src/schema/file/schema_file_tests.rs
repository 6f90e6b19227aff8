use serde_json::json;

use super::*;
use crate::attribute::Parser;
use crate::schema::observed::Limits;

const FILE: &str = r#"{"version":1,"key":["pk"],"items":3,"attributes":{
    "pk":{"seen":{"S":3},"type":"string"},
    "Pk":{"column":"Pk__x","type":"decimal(10, 2)"},
    "tags":{"type":{"set":"long"}},
    "rows":{"type":{"list":{"struct":{"a b":{"column":"ab","type":"json"},"n":{"type":{"map":"binary"}}}}}},
    "secret":{"exclude":true}}}"#;

#[test]
fn what_is_written_is_read() {
    let file = SchemaFile::parse(FILE).unwrap();
    assert_eq!(file.attributes.len(), 5);
    assert_eq!(file.attributes[1].target, Target::Column(ColumnType::Decimal { precision: 10, scale: 2 }));
    assert_eq!(file.attributes[4].target, Target::Exclude);
    assert_eq!(SchemaFile::parse(&file.to_text()).unwrap(), file);
}

#[test]
fn the_plain_form_is_read() {
    let file = SchemaFile::parse(r#"{"product_id":"S","quantity":"N"}"#).unwrap();
    assert!(file.needs_observation());
    assert_eq!(file.attributes[1].target, Target::Observe(Kind::N));
}

#[test]
fn errors_name_the_path_and_what_is_allowed() {
    for (text, expected) in [
        ("[]", "$: expected an object"),
        ("{\n\"version\":1,\n", "not proper JSON"),
        (r#"{"version":2,"attributes":{}}"#, "$.version: expected 1"),
        (r#"{"version":1,"attributes":{},"more":1}"#, "$.more: unknown key"),
        (r#"{"version":1}"#, "$.attributes: expected an object"),
        (r#"{"version":1,"key":["a"],"attributes":{}}"#, "$.key: \"a\" is no attribute"),
        (r#"{"version":1,"key":["a"],"attributes":{"a":{"type":"boolean"}}}"#, "a key cannot be of type boolean"),
        (r#"{"version":1,"attributes":{"a":{"type":"text"}}}"#, "$.attributes[\"a\"].type: unknown type \"text\""),
        (r#"{"version":1,"attributes":{"a":{"type":"decimal(39,1)"}}}"#, "unknown type \"decimal(39,1)\""),
        (
            r#"{"version":1,"attributes":{"a":{"type":{"set":"boolean"}}}}"#,
            "$.attributes[\"a\"].type.set: a set cannot hold boolean",
        ),
        (r#"{"version":1,"attributes":{"a":{"type":{"struct":{}}}}}"#, "a struct without fields"),
        (
            r#"{"version":1,"attributes":{"a":{"type":{"struct":{"x":{"type":"long"},"X":{"type":"long"}}}}}}"#,
            "differ by case only",
        ),
        (r#"{"version":1,"attributes":{"a":{}}}"#, "neither `type` nor `exclude`"),
        (r#"{"version":1,"key":["a","a"],"attributes":{"a":{"type":"string"}}}"#, "$.key: the same attribute twice"),
        (r#"{"version":1,"items":null,"attributes":{}}"#, "$.items: expected a count"),
        (r#"{"version":1,"attributes":{"a":{"type":"strng"}}}"#, "did you mean string? Allowed are string, long"),
        (r#"{"version":1,"attributes":{"a":{"type":"Long"}}}"#, "did you mean long?"),
        (r#"{"version":1,"attributes":{"a":{"type":"varchar"}}}"#, "did you mean string?"),
        (r#"{"version":1,"attributes":{"a":{"type":"timestamp"}}}"#, "did you mean timestamp(seconds), "),
        (r#"{"version":1,"attributes":{"a":{"type":"timestamp(second)"}}}"#, "did you mean timestamp(seconds)?"),
        (r#"{"version":1,"attributes":{"a":{"type":"decimal(10,11)"}}}"#, "P digits, 1 to 38, of which S"),
        (r#"{"version":1,"attributes":{"a":{"type":"decimal(010,1)"}}}"#, "unknown type"),
        (r#"{"version":1,"attributes":{"a":{"type":"list"}}}"#, "it takes what is inside: {\"list\":…}"),
        (r#"{"version":1,"attributes":{"a":{"type":{"lst":"long"}}}}"#, "did you mean list?"),
        (r#"{"version":1,"attributes":{"a":{"type":{"list":"long","map":"long"}}}}"#, "exactly one member"),
        (r#"{"version":1,"attributes":{"a":{"type":{}}}}"#, "exactly one member"),
        (r#"{"version":1,"attributes":{"a":{"type":17}}}"#, "$.attributes[\"a\"].type: expected a type"),
        (r#"{"version":1,"attributes":{"a":{"exclude":true,"type":"strin"}}}"#, "did you mean string?"),
        (
            r#"{"version":1,"attributes":{"a":{"colum":"b","type":"long"}}}"#,
            "$.attributes[\"a\"].colum: unknown key. did you mean column?",
        ),
        (
            r#"{"version":1,"attributes":{"a":{"type":"long"},"a":{"type":"long"}}}"#,
            "the name \"a\" stands twice at line 1",
        ),
        (
            r#"{"version":1,"attributes":{"a":{"type":{"struct":{"x":{"type":"long"},"x":{"type":"long"}}}}}}"#,
            "stands twice",
        ),
        (r#"{"version":1,"attributes":{"a":{"column":"_FILE","type":"long"}}}"#, "no name for a column"),
        (r#"{"version":1,"attributes":{"a":{"column":"_Ddb_rescued","type":"long"}}}"#, "no name for a column"),
        (
            r#"{"version":1,"attributes":{"a":{"type":{"struct":{"x y":{"type":"lng"}}}}}}"#,
            "$.attributes[\"a\"].type.struct[\"x y\"].type: unknown type",
        ),
        (
            r#"{"version":1,"attributes":{"a":{"type":{"struct":{"k":{"type":"long"},"b":{"column":"\u212a","type":"long"}}}}}}"#,
            "differ by case only",
        ),
        (
            r#"{"version":1,"key":["a"],"attributes":{"a":{"type":"timestamp(seconds)"}}}"#,
            "a key cannot be of type timestamp(seconds)",
        ),
        (r#"{"a":"S","b":"X"}"#, "$.b: expected a DynamoDB type"),
    ] {
        let error = SchemaFile::parse(text).expect_err(text);
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
}

/// The longest types that observation gives are read back.
#[test]
fn types_nest_to_32_levels() {
    for (open, close) in [(r#"{"struct":{"f":{"type":"#, "}}}"), (r#"{"list":"#, "}"), (r#"{"map":"#, "}")] {
        let nested = |levels: usize| {
            let ty = format!("{}\"long\"{}", open.repeat(levels), close.repeat(levels));
            SchemaFile::parse(&format!(r#"{{"version":1,"attributes":{{"a":{{"type":{ty}}}}}}}"#))
        };
        let file = nested(32).unwrap();
        assert_eq!(SchemaFile::parse(&file.to_text()).unwrap(), file);
        assert!(nested(33).unwrap_err().to_string().contains("deeper than 32 levels"));
        assert!(nested(5000).unwrap_err().to_string().contains("too deeply"));
    }
    let mut observed = crate::schema::observed::Fields::default();
    for levels in [34, 3] {
        let value =
            format!(r#"{}{{"NS":["1"]}}{}"#, r#"{"M":{"f":{"L":["#.repeat(levels / 2), "]}}}".repeat(levels / 2));
        let mut parser = crate::attribute::Parser::new(value.as_bytes()).unwrap();
        observed
            .observe(
                &format!("a{levels}"),
                &mut parser,
                &crate::schema::observed::Limits::default(),
                &mut String::new(),
            )
            .unwrap();
    }
    let file = SchemaFile::suggest(&[], 1, &observed);
    let mut read = SchemaFile::parse(&file.to_text()).unwrap();
    // What is suggested is nobody's word before it comes from a file.
    assert!(read.attributes.iter_mut().all(|attribute| attribute.named.take() == Some(Named::Type)));
    assert_eq!(read, file);
    assert_eq!(file.to_text().matches("json").count(), 1);
}

#[test]
fn ten_thousand_attributes_and_any_name() {
    let names = ["", " ", "a.b", "\"", "\n", "\0", "😀", "`", "\u{7f}"].map(str::to_owned);
    let names = names.into_iter().chain([std::iter::repeat_n('x', 60_000).collect()]);
    let attributes = names.chain((0..10_000).map(|n| format!("n{n}"))).map(|name| Attribute {
        name,
        seen: Vec::new(),
        column: None,
        target: Target::Column(ColumnType::Json),
        named: Some(Named::Type),
    });
    let file = SchemaFile { key: Vec::new(), items: None, attributes: attributes.collect() };
    assert_eq!(SchemaFile::parse(&file.to_text()).unwrap(), file);
}

#[test]
fn timestamps_are_written_as_they_are_read() {
    let text = r#"{"version":1,"attributes":{"a":{"type":"timestamp(seconds)"},"b":{"type":{"list":"timestamp(milliseconds)"}},
        "c":{"type":{"map":{"set":"timestamp(iso-8601)"}}}}}"#;
    let file = SchemaFile::parse(text).unwrap();
    assert_eq!(
        file.attributes[0].target,
        Target::Column(ColumnType::Timestamp(crate::schema::types::TimestampForm::Seconds))
    );
    assert_eq!(SchemaFile::parse(&file.to_text()).unwrap(), file);
}

/// The plain form has the type that was seen most, and NULL only where there was nothing else.
#[test]
fn the_plain_form_says_what_was_seen_most() {
    let mut fields = Fields::default();
    for item in [
        r#"{"pk":{"S":"1"},"a":{"N":"1"},"b":{"NULL":true},"c":{"NULL":true}}"#,
        r#"{"pk":{"S":"2"},"a":{"N":"1"},"b":{"NULL":true},"c":{"NULL":true}}"#,
        r#"{"pk":{"S":"3"},"a":{"S":"x"},"b":{"BOOL":true},"c":{"NULL":true}}"#,
    ] {
        let mut parser = Parser::new(item.as_bytes()).unwrap();
        fields.observe_item(&mut parser, &Limits::default(), &mut String::new()).unwrap();
    }
    let plain = SchemaFile::suggest(&["pk".to_owned()], 3, &fields).to_plain_text();
    let plain: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(plain, json!({"pk": "S", "a": "N", "b": "BOOL", "c": "NULL"}));
}
