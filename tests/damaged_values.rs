//! Values that DynamoDB cannot have written: exit 3 with file, line and attribute, from every command, and nothing is
//! committed.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::fs;

use exports::{ExportWriter, data_files};
use program::{Site, full, put, simple, window};

/// Values as they stand in a file, and what the message says.
const WRONG: [(&str, &str); 58] = [
    (r#"{"B":"a"}"#, "base64"),
    (r#"{"B":"YQ"}"#, "base64"),
    (r#"{"B":"YR=="}"#, "base64"),
    (r#"{"B":"Y Q="}"#, "base64"),
    (r#"{"B":"_-8="}"#, "base64"),
    (r#"{"B":1}"#, "expected"),
    (r#"{"BS":["YQ==","?"]}"#, "base64"),
    (r#"{"BOOL":"true"}"#, "BOOL"),
    (r#"{"BOOL":1}"#, "BOOL"),
    (r#"{"BOOL":null}"#, "BOOL"),
    (r#"{"NULL":false}"#, "NULL"),
    (r#"{"NULL":null}"#, "NULL"),
    (r#"{"NULL":"true"}"#, "NULL"),
    (r#"{"S":1}"#, "expected"),
    (r#"{"S":null}"#, "expected"),
    (r#"{"S":["a"]}"#, "expected"),
    (r#"{"N":1}"#, "N that is not a string"),
    (r#"{"N":""}"#, "not a DynamoDB number"),
    (r#"{"N":"1e"}"#, "not a DynamoDB number"),
    (r#"{"N":"1e+"}"#, "not a DynamoDB number"),
    (r#"{"N":"+1"}"#, "not a DynamoDB number"),
    (r#"{"N":"0x1"}"#, "not a DynamoDB number"),
    (r#"{"N":"NaN"}"#, "not a DynamoDB number"),
    (r#"{"N":"Infinity"}"#, "not a DynamoDB number"),
    (r#"{"N":" 1"}"#, "not a DynamoDB number"),
    (r#"{"N":"1 "}"#, "not a DynamoDB number"),
    (r#"{"N":"1,5"}"#, "not a DynamoDB number"),
    (r#"{"N":"--1"}"#, "not a DynamoDB number"),
    (r#"{"N":"1.2.3"}"#, "not a DynamoDB number"),
    (r#"{"N":"123456789012345678901234567890123456789"}"#, "not a DynamoDB number"),
    (r#"{"N":"1E126"}"#, "not a DynamoDB number"),
    (r#"{"N":"1E-131"}"#, "not a DynamoDB number"),
    (r#"{"N":"١"}"#, "not a DynamoDB number"),
    (r#"{"SS":[]}"#, "without elements"),
    (r#"{"NS":[]}"#, "without elements"),
    (r#"{"BS":[]}"#, "without elements"),
    (r#"{"SS":["a","b","a"]}"#, "an element twice"),
    (r#"{"SS":["a","\u0061"]}"#, "an element twice"),
    (r#"{"NS":["1","1.0"]}"#, "an element twice"),
    (r#"{"BS":["YQ==","YQ=="]}"#, "an element twice"),
    (r#"{"SS":["a",1]}"#, "expected"),
    (r#"{"SS":"a"}"#, "expected"),
    (r#"{"NS":["one"]}"#, "not a DynamoDB number"),
    (r#"{"L":[{"N":"x"}]}"#, "not a DynamoDB number"),
    (r#"{"L":{"N":"1"}}"#, "expected"),
    (r#"{"L":["a"]}"#, "expected an attribute value"),
    (r#"{"M":{"a":{"B":"?"}}}"#, "base64"),
    (r#"{"M":{"a":"b"}}"#, "expected an attribute value"),
    (r#"{"M":[]}"#, "expected"),
    (r"{}", "without a type descriptor"),
    (r#"{"S":"a","N":"1"}"#, "two type descriptors"),
    (r#"{"S":"a","S":"a"}"#, "two type descriptors"),
    (r#"{"s":"a"}"#, "unknown type descriptor"),
    (r#"{"String":"a"}"#, "unknown type descriptor"),
    (r#""a""#, "expected an attribute value"),
    (r"null", "expected an attribute value"),
    (r#"{"S":"\ud83d"}"#, "half of a surrogate pair"),
    (r#"{"S":"\ude00\ud83d"}"#, "half of a surrogate pair"),
];

/// An export whose last file ends with a line in which `v`, or `rest` besides it, is damaged.
fn export(incremental: bool, attributes: &str) -> ExportWriter {
    let line = |n: i64| if incremental { put(&format!("k{n}"), n) } else { simple(&format!("k{n}"), n) };
    let bad = if incremental {
        let meta = r#""Metadata":{"WriteTimestampMicros":{"N":"1768386096366933"}},"Keys":{"pk":{"S":"bad"}}"#;
        format!(r#"{{{meta},"NewImage":{{"pk":{{"S":"bad"}},{attributes}}}}}"#)
    } else {
        format!(r#"{{"Item":{{"pk":{{"S":"bad"}},{attributes}}}}}"#)
    };
    let files = [vec![line(1)], vec![line(2), line(3), bad]];
    if incremental { window(0, 15).files(files) } else { full(0).files(files) }
}

/// One site for all commands: what is refused leaves no trace.
struct Judge {
    site: Site,
}

impl Judge {
    /// With a column `v` of type long, and whatever columns this has.
    fn new(columns: &str) -> Self {
        let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
        let typed = format!(r#"{{"version":1,"key":["pk"],"attributes":{{"pk":{{"type":"string"}},{columns}}}}}"#);
        fs::write(site.path().join("schema.json"), typed).unwrap();
        Self { site }
    }

    fn refuses(&self, attributes: &str, attribute: Option<&str>, expected: &str) {
        let site = &self.site;
        let full = export(false, attributes).write(site.bucket());
        let window = export(true, attributes).write(site.bucket());
        let (full_path, window_path) = (full.to_str().unwrap(), window.to_str().unwrap());
        let before = site.table_files();
        for (arguments, folder) in [
            (&["detect-schema", full_path, "--key", "pk", "--format", "json"][..], &full),
            (&["full-load", full_path, "--key", "pk", "--table", "shop.new", "--format", "json"], &full),
            (&["full-load", full_path, "--schema", "schema.json", "--table", "shop.new", "--format", "json"], &full),
            (&["incremental", window_path, "--table", program::TABLE, "--format", "json"], &window),
        ] {
            let run = site.plain(arguments).expect(3);
            let file = data_files(site.bucket(), folder).pop().unwrap();
            let name = file.strip_prefix(site.bucket()).unwrap().to_str().unwrap();
            let error = &run.report["error"];
            assert_eq!((&error["file"], &error["line"]), (&name.into(), &3.into()), "{attributes}: {}", run.message());
            assert_eq!(error["attribute"].as_str(), attribute, "{attributes}: {}", run.message());
            assert!(run.message().contains(expected), "{attributes}: {}", run.message());
            assert_eq!(site.table_files(), before, "{attributes}");
        }
        fs::remove_dir_all(site.bucket()).unwrap();
        fs::create_dir(site.bucket()).unwrap();
    }
}

/// Into a column that would take them, into one of another type, and where there is no column.
#[test]
fn values_of_every_type() {
    for columns in [r#""v":{"type":"long"}"#, r#""v":{"type":"json"}"#] {
        let judge = Judge::new(columns);
        for (value, expected) in WRONG {
            let nested = format!(r#"{{"M":{{"x":{{"L":[{value}]}}}}}}"#);
            judge.refuses(&format!(r#""v":{value}"#), Some("v"), expected);
            if columns.contains("json") {
                judge.refuses(&format!(r#""unknown":{nested}"#), Some("unknown"), expected);
            }
        }
    }
}

/// Into the very columns that such values have.
#[test]
fn values_in_columns_of_their_type() {
    let columns = r#""b":{"type":"binary"},"t":{"type":"boolean"},"s":{"type":"string"},"ss":{"type":{"set":"string"}},
        "ns":{"type":{"set":"long"}},"bs":{"type":{"set":"binary"}},"l":{"type":{"list":"long"}},"m":{"type":{"map":"binary"}},
        "d":{"type":"double"},"u":{"type":"number-string"},"at":{"type":"timestamp(seconds)"}"#;
    let judge = Judge::new(columns);
    for (value, expected) in WRONG {
        let kind = value.get(2..).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let name = match kind {
            "B" => "b",
            "BOOL" => "t",
            "S" => "s",
            "SS" => "ss",
            "NS" => "ns",
            "BS" => "bs",
            "L" => "l",
            "M" => "m",
            "N" => ["d", "u", "at"][value.len() % 3],
            _ => continue,
        };
        judge.refuses(&format!(r#""{name}":{value}"#), Some(name), expected);
    }
}

#[test]
fn names_and_lines() {
    let judge = Judge::new(r#""v":{"type":"long"},"m":{"type":{"map":"long"}}"#);
    for (attributes, attribute, expected) in [
        (r#""v":{"N":"1"},"\ud83d":{"S":"x"}"#, None, "half of a surrogate pair"),
        (r#""v":{"N":"1"},"m":{"M":{"\udc00":{"N":"1"}}}"#, Some("m"), "half of a surrogate pair"),
        (r#""v":{"N":"1"},"x":{"S":"a	b"}"#, Some("x"), "control character"),
        (r#""v":{"N":"1"},"x":{"S":"\x"}"#, Some("x"), "escape"),
        (r#""v":{"N":"1"},"x":{"S":"a"}}}}"#, None, "after the end"),
    ] {
        judge.refuses(attributes, attribute, expected);
    }
}

/// The manifest's checksum is right: it was exported so.
#[test]
fn bytes_that_are_no_utf8() {
    let site = Site::new();
    let folder = site.path().join("bare");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.json"), b"{\"Item\":{\"pk\":{\"S\":\"a\"}}}\n{\"Item\":{\"pk\":{\"S\":\"\xff\"}}}\n")
        .unwrap();
    for arguments in [
        &["detect-schema", "bare", "--format", "json"][..],
        &["full-load", "bare", "--table", "a.b", "--key", "pk", "--format", "json"],
    ] {
        let run = site.plain(&[arguments, &["--without-manifest"]].concat()).expect(3);
        assert_eq!(
            (&run.report["error"]["file"], &run.report["error"]["line"]),
            (&"a.json".into(), &2.into()),
            "{}",
            run.message()
        );
        assert!(run.message().contains("UTF-8"), "{}", run.message());
    }
}
