use proptest::prelude::*;

use super::*;

fn skip(line: &str) -> Result<()> {
    let mut parser = Parser::new(line.as_bytes())?;
    parser.skip_value(&mut String::new())?;
    parser.end()
}

#[test]
fn every_descriptor_is_read() {
    for line in [
        r#"{"S":""}"#,
        r#"{"S":"a\"\\\/\b\f\n\r\té😀"}"#,
        r#"{"N":"-1.5e3"}"#,
        r#"{"B":"aGVsbG8="}"#,
        r#"{"BOOL":true}"#,
        r#"{"BOOL":false}"#,
        r#"{"NULL":true}"#,
        r#"{"SS":["a","b"]}"#,
        r#"{"NS":["1","2"]}"#,
        r#"{"BS":["aGVsbG8="]}"#,
        r#"{"L":[]}"#,
        r#" { "L" : [ {"N":"1"} , {"S":"x"} ] } "#,
        r#"{"M":{"a":{"M":{}},"b":{"L":[{"M":{"c":{"BOOL":true}}}]}}}"#,
    ] {
        skip(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn what_is_no_attribute_value_is_refused() {
    for (line, reason) in [
        (r"{}", "without a type descriptor"),
        (r#"{"S":1}"#, "expected '\"'"),
        (r#"{"X":"1"}"#, "unknown type descriptor"),
        (r#"{"S":"a","N":"1"}"#, "two type descriptors"),
        (r#"{"N":1}"#, "not a string of digits"),
        (r#"{"N":"ten"}"#, "not a DynamoDB number"),
        (r#"{"B":"*"}"#, "base64"),
        (r#"{"BOOL":"true"}"#, "neither true nor false"),
        (r#"{"NULL":false}"#, "not true"),
        (r#"{"S":"\ud800"}"#, "surrogate"),
        (r#"{"S":"\udc00"}"#, "surrogate"),
        (r#"{"S":"\x"}"#, "unknown escape"),
        (r#"{"S":"a"#, "without end"),
        (r#"{"S":"a"} x"#, "after the end"),
        (r#"{"L":[{"N":"1"},]}"#, "expected an attribute value"),
        (r#"{"M":{"a":{"N":"1"}"#, "expected '}'"),
        ("{\"S\":\"a\u{1}\"}", "control character"),
        (r#""S""#, "expected an attribute value"),
    ] {
        let error = skip(line).expect_err(line).to_string();
        assert!(error.contains(reason), "{line}: {error}");
    }
    assert!(Parser::new(b"\xff").is_err());
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("{}{}{}", r#"{"L":["#.repeat(levels), r#"{"S":"x"}"#, "]}".repeat(levels));
    skip(&nested(32)).unwrap();
    assert!(skip(&nested(100_000)).unwrap_err().to_string().contains("nested deeper"));
}

proptest! {
    #[test]
    fn strings_read_as_serde_json_reads_them(text in any::<String>()) {
        let encoded = serde_json::to_string(&text).unwrap();
        let mut parser = Parser::new(encoded.as_bytes()).unwrap();
        let mut scratch = String::new();
        prop_assert_eq!(parser.string(&mut scratch).unwrap(), text.as_str());
        parser.end().unwrap();
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b':'), Just(b','), Just(b'S'), Just(b'N'), Just(b'L'), Just(b'\\'), any::<u8>()], 0..60)) {
        if let Ok(mut parser) = Parser::new(&bytes) {
            let _ = parser.skip_value(&mut String::new());
            let _ = parser.skip_json();
        }
    }
}
