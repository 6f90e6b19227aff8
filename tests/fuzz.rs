//! Fuzzing of everything that is read: no panic, no unbounded memory, the right kind of error, and what is taken means what
//! it says. See `common/mutation.rs` for how to run it for longer.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/mutation.rs"]
mod mutation;

use std::fs;

use ddb_iceberg::attribute::{Number, Parser, write_json};
use ddb_iceberg::columns::{ChangeBuilder, ItemBuilder};
use ddb_iceberg::error::{Error, Kind, Result};
use ddb_iceberg::export;
use ddb_iceberg::schema::{Fields, Limits, Mapping, PartitionTerm, SchemaFile, TableSchema};
use ddb_iceberg::storage::Location;
use ddb_iceberg::storage::Store;
use mutation::Target;
use serde_json::Value;

const LIMITS: Limits = Limits { struct_fields: 8, attributes: 60 };

const VALUES: [&str; 34] = [
    "{\"S\":\"",
    "{\"N\":\"",
    "{\"B\":\"YQ==\"}",
    "{\"BOOL\":true}",
    "{\"NULL\":true}",
    "{\"SS\":[\"",
    "{\"NS\":[\"1\",\"",
    "{\"BS\":[\"YQ==\",\"",
    "{\"L\":[",
    "{\"M\":{\"",
    "\"},",
    "]},",
    "}},",
    "\"pk\":",
    "\"v\":",
    "{\"S\":\"a\"}",
    "{\"N\":\"1.5\"}",
    "{\"M\":{}}",
    "{\"L\":[]}",
    ",",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\\"",
    "NewImage",
    "OldImage",
    "Keys",
    "Metadata",
    "WriteTimestampMicros",
    "true",
    "null",
    "1E+5",
    "-0.0",
    "\u{10FFFF}",
];

/// What an answer is taken for: success, or the message.
fn said<T>(result: &Result<T>) -> String {
    match result {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn kind(error: &Error, expected: Kind) {
    assert_eq!(error.kind(), expected, "{error}");
}

/// A table with columns of every type; what does not fit is rescued.
fn every_type() -> TableSchema {
    let text = r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"s":{"type":"string"},
        "n":{"type":"long"},"d":{"type":"decimal(20,4)"},"f":{"type":"double"},"u":{"type":"number-string"},
        "j":{"type":"json"},"b":{"type":"binary"},"t":{"type":"boolean"},"ss":{"type":{"set":"string"}},
        "ns":{"type":{"set":"long"}},"l":{"type":{"list":"long"}},"m":{"type":{"map":"long"}},
        "at":{"type":"timestamp(seconds)"},"when":{"type":"timestamp(iso-8601)"},
        "st":{"type":{"struct":{"a":{"type":"long"},"b":{"type":{"list":"string"}}}}},"x":{"exclude":true}}}"#;
    let file = SchemaFile::parse(text).unwrap_or_else(|error| panic!("{error}"));
    TableSchema::create(&file, &file.key).unwrap()
}

/// The attributes of an item: the line of a full export without what stands around them.
#[test]
fn items() {
    let table = every_type();
    Target { name: "item", cases: 15_000, words: &VALUES }.run(|bytes| {
        let mut fields = Fields::default();
        let observed = Parser::new(bytes).and_then(|mut parser| {
            fields.observe_item(&mut parser, &LIMITS, &mut String::new())?;
            parser.end()
        });
        let mut builder = ItemBuilder::new(&table, LIMITS).unwrap();
        let appended = Parser::new(bytes).and_then(|mut parser| {
            builder.append(&mut parser)?;
            parser.end()
        });
        let skipped = Parser::new(bytes).and_then(|mut parser| {
            builder.skip(&mut parser)?;
            parser.end()
        });
        for error in [&observed, &appended, &skipped].into_iter().filter_map(|result| result.as_ref().err()) {
            kind(error, Kind::Input);
        }
        if appended.is_ok() {
            assert!(skipped.is_ok(), "appended, and not skipped: {}", said(&skipped));
            assert!(fields.len() >= LIMITS.attributes || observed.is_ok(), "appended: {}", said(&observed));
            assert_eq!(builder.finish().unwrap().num_rows(), 1);
        }
        if skipped.is_ok() {
            serde_json::from_slice::<Value>(bytes).unwrap_or_else(|error| panic!("taken, and no JSON: {error}"));
        }
        if observed.is_ok() && appended.is_ok() {
            fits_its_own_table(bytes, &fields);
        }
        format!("{} | {} | {}", said(&observed), said(&appended), builder.take_rescued().len())
    });
}

/// The table that an item suggests takes the item whole.
fn fits_its_own_table(bytes: &[u8], fields: &Fields) {
    let key = vec!["pk".to_owned()];
    let file = SchemaFile::suggest(&key, 1, fields);
    let text = file.to_text();
    let mut read = SchemaFile::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    // What is suggested is nobody's word before it comes from a file.
    read.attributes.iter_mut().for_each(|attribute| attribute.named = None);
    assert_eq!(read, file, "{text}");
    let table = TableSchema::create(&file, &key).unwrap();
    let mut builder = ItemBuilder::new(&table, LIMITS).unwrap();
    builder.append(&mut Parser::new(bytes).unwrap()).unwrap();
    // All but what is nothing but empty lists and maps, which has no type.
    let rescued = builder.take_rescued();
    assert_eq!(rescued.values, rescued.undecided, "not taken whole: {text}");
    assert_eq!(rescued.is_empty(), builder.take_new().is_empty(), "{text}");
    assert!(rescued.is_empty() || text.contains("undecided"), "{text}");
    assert_eq!(builder.finish().unwrap().num_rows(), 1);
    assert_eq!(Mapping::parse(&table.mapping.to_text()).unwrap(), table.mapping);
}

/// One attribute value, as text for a JSON column.
#[test]
fn values() {
    Target { name: "value", cases: 30_000, words: &VALUES }.run(|bytes| {
        let mut out = String::new();
        let written = Parser::new(bytes).and_then(|mut parser| {
            write_json(&mut parser, &mut out)?;
            parser.end()
        });
        let skipped = Parser::new(bytes).and_then(|mut parser| {
            parser.skip_value(&mut String::new())?;
            parser.end()
        });
        assert_eq!(written.is_ok(), skipped.is_ok(), "{} | {}", said(&written), said(&skipped));
        match &written {
            Ok(()) => drop(serde_json::from_str::<Value>(&out).unwrap_or_else(|error| panic!("{out}: {error}"))),
            Err(error) => kind(error, Kind::Input),
        }
        said(&written)
    });
}

/// Lines of an incremental export.
#[test]
fn changes() {
    let table = every_type();
    Target { name: "change", cases: 15_000, words: &VALUES }.run(|bytes| {
        let mut builder = ChangeBuilder::new(&table, LIMITS).unwrap();
        let result = builder.append(bytes, 1).and_then(|()| builder.finish(0));
        match &result {
            Ok(batch) => assert_eq!(batch.num_rows(), 1),
            Err(error) => kind(error, Kind::Input),
        }
        said(&result)
    });
}

/// `[-]digits[.digits][e[+-]digits]` by hand: sign, digits without zeros around them, power of ten.
fn by_hand(text: &str) -> Option<(bool, String, i64)> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = rest.find(['e', 'E']).map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
    let exponent = match exponent {
        None => 0,
        Some(text) => {
            let (sign, digits) = match text.as_bytes() {
                [b'-', ..] => (-1, &text[1..]),
                [b'+', ..] => (1, &text[1..]),
                _ => (1, text),
            };
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            // Past all limits is past all limits.
            let digits = digits.trim_start_matches('0');
            sign * if digits.len() > 7 { 10_000_000 } else { digits.parse().unwrap_or(0) }
        }
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let exponent = exponent - i64::try_from(fraction.len()).unwrap();
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some((false, String::new(), 0));
    }
    let exponent = exponent + i64::try_from(significant.len() - trimmed.len()).unwrap();
    let leading = exponent + i64::try_from(trimmed.len()).unwrap() - 1;
    (trimmed.len() <= 38 && (-130..=125).contains(&leading)).then(|| (negative, trimmed.to_owned(), exponent))
}

#[test]
fn numbers() {
    let words = ["e", "E", "+", "-", ".", "0", "00000000", "1", "9", "125", "130", "E-130", "e+125", "38", "999999"];
    Target { name: "number", cases: 200_000, words: &words }.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
        let expected = by_hand(text);
        let number = Number::parse(text);
        let found = number.map(|number| {
            let (negative, coefficient, exponent) = number.identity();
            let digits = if coefficient == 0 { String::new() } else { coefficient.to_string() };
            (negative, digits, i64::from(exponent))
        });
        assert!(found == expected || is_zero_of_a_wild_power(text), "{text:?}: {found:?}, {expected:?}");
        let Some(number) = number else { return "none".to_owned() };
        let shown = number.to_string();
        assert_eq!(Number::parse(&shown), Some(number), "{text:?} is shown as {shown:?}");
        assert_eq!(number.to_i64().map(i128::from), number.to_unscaled(0).filter(|n| i64::try_from(*n).is_ok()));
        if let Some(value) = number.to_i64() {
            assert_eq!(Number::parse(&value.to_string()), Some(number));
        }
        format!("{} {}", number.integer_digits(), number.scale().min(40))
    });
}

/// Zero with an exponent past all limits is refused, like any number with one.
fn is_zero_of_a_wild_power(text: &str) -> bool {
    let power =
        text.find(['e', 'E']).map(|at| text[at + 1..].trim_start_matches(['-', '+']).trim_start_matches('0').len());
    power.is_some_and(|digits| digits > 6)
}

#[test]
fn schema_files() {
    let words = [
        "\"version\":1",
        "\"key\":[\"pk\"]",
        "\"attributes\":{",
        "\"type\":",
        "\"seen\":{\"S\":1}",
        "\"column\":\"",
        "\"exclude\":true",
        "\"items\":",
        "{\"list\":",
        "{\"set\":",
        "{\"map\":",
        "{\"struct\":{",
        "\"decimal(38,9)\"",
        "\"long\"",
        "\"json\"",
        "\"timestamp(seconds)\"",
        "\"number-string\"",
        "\"_ddb_rescued\"",
        "\"S\"",
        "}",
        "]",
        "\\u0061",
    ];
    Target { name: "schema-file", cases: 15_000, words: &words }.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
        let file = match SchemaFile::parse(text) {
            Ok(file) => file,
            Err(error) => {
                kind(&error, Kind::Usage);
                return error.to_string();
            }
        };
        let written = file.to_text();
        if !file.needs_observation() {
            let again = SchemaFile::parse(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(again, file, "{written}");
        }
        let file = file.with_observations(&Fields::default());
        match TableSchema::create(&file, &file.key) {
            Ok(table) => {
                ItemBuilder::new(&table, LIMITS).unwrap();
                let property = table.mapping.to_text();
                let again = TableSchema::of_table(table.schema.clone(), Some(&property)).unwrap();
                assert_eq!(again.mapping, table.mapping);
                "a table".to_owned()
            }
            Err(error) => {
                kind(&error, Kind::Usage);
                format!("no table: {error}")
            }
        }
    });
}

/// The table property `ddb-iceberg.schema`, which any writer may have changed.
#[test]
fn mapping_properties() {
    let schema = every_type().schema;
    let words = [
        "\"version\":1",
        "\"key\":[",
        "\"fields\":{\"1\":",
        "\"name\":\"",
        "\"type\":\"list\"",
        "\"excluded\":[",
        "\"2\":",
    ];
    Target { name: "mapping", cases: 15_000, words: &words }.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
        let result = TableSchema::of_table(schema.clone(), Some(text)).and_then(|table| {
            assert_eq!(Mapping::parse(&table.mapping.to_text()).unwrap(), table.mapping);
            table.key_fields()?;
            let mut builder = ItemBuilder::new(&table, LIMITS)?;
            let item = r#"{"pk":{"S":"a"},"n":{"N":"1"},"st":{"M":{"a":{"N":"1"}}},"new":{"L":[]}}"#;
            builder.append(&mut Parser::new(item.as_bytes())?)?;
            assert_eq!(builder.finish()?.num_rows(), 1);
            ChangeBuilder::new(&table, LIMITS).map(|_| ())
        });
        if let Err(error) = &result {
            assert!(matches!(error.kind(), Kind::Failed | Kind::Input), "{error}");
        }
        said(&result)
    });
}

#[test]
fn partition_terms_and_locations() {
    let words =
        ["bucket(", "truncate(4, ", "year(", "identity(", "\"", ")", ",", "s3://", "file:///", "../", "//", "%2e"];
    Target { name: "term", cases: 50_000, words: &words }.run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
        let location = Location::parse(text);
        match &location {
            Ok(location) => assert_eq!(&Location::parse(location.as_str()).unwrap(), location, "{text:?}"),
            Err(error) => kind(error, Kind::Usage),
        }
        let term = PartitionTerm::parse(text);
        if let Err(error) = &term {
            kind(error, Kind::Usage);
        }
        format!("{} | {}", said(&location), said(&term))
    });
}

/// Both manifests in one input, with a line `---` between them. Whatever they say, the files lie inside of the export.
#[test]
fn manifests() {
    const ID: &str = "01768386924000-d339e52d";
    let words = [
        "\n---\n",
        "\"itemCount\":",
        "\"md5Checksum\":\"c2c8Ly/xdhzeH92qunsAvQ==\"",
        "\"dataFileS3Key\":\"",
        "AWSDynamoDB/",
        "01768386924000-d339e52d/",
        "data/",
        "../",
        "%2e%2e/",
        "\\\\",
        "\\u0000",
        "\\u002e\\u002e/",
        "manifest-files.json",
        "\"exportType\":\"INCREMENTAL_EXPORT\"",
        "\"exportFromTime\":\"2026-01-14T10:20:00Z\"",
        "\"exportToTime\":\"",
        "\"outputView\":\"NEW_IMAGE\"",
        "null",
        ".ion.gz",
        "+09:00",
    ];
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("AWSDynamoDB").join(ID);
    fs::create_dir_all(&folder).unwrap();
    let own = Location::parse(folder.to_str().unwrap()).unwrap();
    let shared = own.parent().unwrap().join("data");
    let store = Store::local();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    Target { name: "manifest", cases: 4_000, words: &words }.run(|bytes| {
        let at = bytes.windows(5).position(|five| five == b"\n---\n").unwrap_or(bytes.len());
        for (name, part) in [("summary", bytes.get(..at)), ("files", bytes.get(at + 5..))] {
            let path = folder.join(format!("manifest-{name}.json"));
            // Some file systems sync a file that is written over.
            let _ = fs::remove_file(&path);
            fs::write(path, part.unwrap_or_default()).unwrap();
        }
        let opened = runtime.block_on(export::open(&store, folder.to_str().unwrap()));
        match &opened {
            Ok(export) => {
                for file in export.files() {
                    let location = &file.location;
                    assert!(location.is_within(&own) || location.is_within(&shared), "{location} is read");
                    assert_eq!(&Location::parse(location.as_str()).unwrap(), location, "it means another place");
                }
            }
            // A name that is too long for the file system is the machine's failure.
            Err(error) if error.to_string().contains("too long") => {}
            Err(error) => kind(error, Kind::Input),
        }
        said(&opened).replace(root.path().to_str().unwrap(), "")
    });
}

/// All of it together stays small; this runs in the same process.
#[test]
fn memory_stays_small() {
    std::thread::sleep(std::time::Duration::from_secs(1));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(str::trim);
    let peak = peak.and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1024;
    assert!(peak < 512, "{peak} MiB");
}
