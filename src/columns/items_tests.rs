use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int64Type};

use super::*;
use crate::schema::SchemaFile;

fn builder() -> ItemBuilder {
    let file = SchemaFile::parse(
        r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"long"},
        "price":{"type":"decimal(38,9)"},"s":{"type":"string"},"tags":{"type":{"set":"long"}},
        "m":{"type":{"struct":{"a":{"type":"long"},"b":{"type":{"list":"string"}}}}},
        "any":{"type":"json"},"map":{"type":{"map":"binary"}},"secret":{"exclude":true}}}"#,
    )
    .unwrap();
    ItemBuilder::new(&TableSchema::create(&file, &file.key).unwrap(), Limits::default()).unwrap()
}

fn append(builder: &mut ItemBuilder, item: &str) -> Result<()> {
    let mut parser = Parser::new(item.as_bytes())?;
    builder.append(&mut parser)?;
    parser.end()
}

#[test]
fn values_land_in_their_columns() {
    let mut b = builder();
    append(
        &mut b,
        r#"{"s":{"S":"x"},"pk":{"N":"1.0"},"price":{"N":"19.99"},"tags":{"NS":["3","2"]},"secret":{"S":"no"},
        "m":{"M":{"b":{"L":[{"S":"q"},{"NULL":true}]}}},"any":{"L":[{"N":"1"}]},"map":{"M":{"k":{"B":"aGk="}}}}"#,
    )
    .unwrap();
    append(&mut b, r#"{"pk":{"N":"2"},"s":{"NULL":true}}"#).unwrap();
    let batch = b.finish().unwrap();
    assert_eq!(batch.num_rows(), 2);
    let column = |name: &str| batch.column_by_name(name).unwrap().clone();
    assert_eq!(column("pk").as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(column("price").as_primitive::<Decimal128Type>().value(0), 19_990_000_000);
    assert!(
        column("s").is_null(1)
            && column("m").is_null(1)
            && column("map").is_null(1)
            && column("_ddb_rescued").is_null(0)
    );
    assert_eq!(column("tags").as_list::<i32>().value(0).as_primitive::<Int64Type>().values(), &[3, 2]);
    assert_eq!(column("any").as_string::<i32>().value(0), "[1]");
    let m = column("m");
    assert!(m.as_struct().column_by_name("a").unwrap().is_null(0));
    assert_eq!(m.as_struct().column_by_name("b").unwrap().as_list::<i32>().value(0).len(), 2);
}

/// Up to all nines a decimal takes a number; the power of ten above them is rescued, and stops the command in a key.
#[test]
fn a_number_fits_a_decimal_up_to_the_last_nine() {
    for (precision, scale) in [
        (1, 0),
        (1, 1),
        (2, 1),
        (5, 2),
        (9, 0),
        (10, 9),
        (18, 0),
        (18, 18),
        (19, 5),
        (28, 10),
        (37, 1),
        (38, 0),
        (38, 9),
        (38, 38),
    ] {
        let ty = format!("decimal({precision},{scale})");
        let file = SchemaFile::parse(&format!(
            r#"{{"version":1,"key":["pk","sk"],"attributes":{{"pk":{{"type":"string"}},"sk":{{"type":"{ty}"}},
            "d":{{"type":"{ty}"}},"l":{{"type":{{"list":"{ty}"}}}},"s":{{"type":{{"set":"{ty}"}}}},
            "m":{{"type":{{"struct":{{"d":{{"type":"{ty}"}}}}}}}}}}}}"#
        ))
        .unwrap();
        let table = TableSchema::create(&file, &file.key).unwrap();
        let nines = "9".repeat(precision as usize);
        let (whole, fraction) = nines.split_at((precision - scale) as usize);
        let most =
            format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole }).trim_end_matches('.').to_owned();
        let unscaled = 10_i128.pow(precision) - 1;
        let above = format!("1E{}", i64::from(precision) - i64::from(scale));
        for sign in ["", "-"] {
            for (number, value) in [(format!("{sign}{most}"), Some(unscaled)), (format!("{sign}{above}"), None)] {
                let value = value.map(|value| if sign.is_empty() { value } else { -value });
                let mut b = ItemBuilder::new(&table, Limits::default()).unwrap();
                let n = format!(r#"{{"N":"{number}"}}"#);
                let item = format!(
                    r#"{{"pk":{{"S":"a"}},"sk":{{"N":"0"}},"d":{n},"l":{{"L":[{n}]}},"s":{{"NS":["{number}"]}},"m":{{"M":{{"d":{n}}}}}}}"#
                );
                append(&mut b, &item).unwrap();
                let rescued = if value.is_none() { vec!["d", "l", "m", "s"] } else { Vec::new() };
                assert!(b.take_rescued().values.keys().eq(&rescued), "{number} in {ty}");
                let batch = b.finish().unwrap();
                let column = |name: &str| batch.column_by_name(name).unwrap().clone();
                let held =
                    |array: &dyn Array| array.is_valid(0).then(|| array.as_primitive::<Decimal128Type>().value(0));
                assert_eq!(held(&column("d")), value, "{number} in {ty}");
                assert_eq!(held(column("m").as_struct().column(0)), value, "{number} in {ty}");
                for name in ["l", "s"] {
                    let list = column(name);
                    let elements = list.as_list::<i32>().values().clone();
                    assert!(value.is_none() || held(&elements) == value, "{number} in {name} of {ty}");
                }
                let key = append(&mut b, &format!(r#"{{"pk":{{"S":"a"}},"sk":{n}}}"#));
                assert_eq!(key.is_ok(), value.is_some(), "{number} as a key of {ty}");
            }
        }
    }
}

#[test]
fn a_number_fits_a_long_up_to_its_ends() {
    for (number, value) in [
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("-9223372036854775808", Some(i64::MIN)),
        ("-9223372036854775809", None),
        ("1E18", Some(10_i64.pow(18))),
        ("1E19", None),
        ("-1E19", None),
        ("9.223372036854775807E18", Some(i64::MAX)),
        ("0.1E1", Some(1)),
        ("0.1", None),
    ] {
        let mut b = builder();
        append(&mut b, &format!(r#"{{"pk":{{"N":"1"}},"m":{{"M":{{"a":{{"N":"{number}"}}}}}}}}"#)).unwrap();
        assert_eq!(b.take_rescued().values.is_empty(), value.is_some(), "{number}");
        let batch = b.finish().unwrap();
        let m = batch.column_by_name("m").unwrap();
        let a = m.as_struct().column_by_name("a").unwrap().as_primitive::<Int64Type>();
        assert_eq!(a.is_valid(0).then(|| a.value(0)), value, "{number}");
        assert_eq!(append(&mut b, &format!(r#"{{"pk":{{"N":"{number}"}}}}"#)).is_ok(), value.is_some(), "{number}");
    }
}

#[test]
fn what_does_not_fit_is_rescued_and_the_rest_kept() {
    let mut b = builder();
    append(
        &mut b,
        r#"{"pk":{"N":"1"},"price":{"S":"free"},"m":{"M":{"a":{"N":"7"},"new":{"S":"y"}}},"extra":{"SS":["a"]}}"#,
    )
    .unwrap();
    let rescued = b.take_rescued();
    assert_eq!(rescued.values, BTreeMap::from([("price".into(), 1), ("m".into(), 1), ("extra".into(), 1)]));
    assert!(rescued.undecided.is_empty());
    let new = b.take_new();
    assert_eq!(new.attributes(), ["extra"]);
    let batch = b.finish().unwrap();
    let rescued = batch.column_by_name("_ddb_rescued").unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!(rescued, r#"{"price":{"S":"free"},"m":{"M":{"a":{"N":"7"},"new":{"S":"y"}}},"extra":{"SS":["a"]}}"#);
    let m = batch.column_by_name("m").unwrap();
    assert_eq!(m.as_struct().column_by_name("a").unwrap().as_primitive::<Int64Type>().value(0), 7);
}

#[test]
fn what_waits_for_a_type_is_kept_and_null_is_nothing() {
    let mut b = builder();
    append(
        &mut b,
        r#"{"pk":{"N":"1"},"l":{"L":[{"NULL":true},{"M":{}}]},"n":{"NULL":true},"m":{"M":{"a":{"N":"7"},"e":{"M":{}},"n":{"NULL":true}}}}"#,
    )
    .unwrap();
    append(&mut b, r#"{"pk":{"N":"2"},"n":{"NULL":true},"m":{"M":{"n":{"NULL":true}}},"any":{"L":[]},"map":{"M":{}}}"#)
        .unwrap();
    append(&mut b, r#"{"pk":{"N":"3"},"m":{"M":{"e":{"M":{}},"n":{"S":"x"}}},"l":{"L":[{"NULL":true},{"N":"1"}]}}"#)
        .unwrap();
    let rescued = b.take_rescued();
    assert_eq!(rescued.values, BTreeMap::from([("l".into(), 2), ("m".into(), 2)]));
    assert_eq!(rescued.undecided, BTreeMap::from([("l".into(), 1), ("m".into(), 1)]));
    let batch = b.finish().unwrap();
    let texts = batch.column_by_name("_ddb_rescued").unwrap().as_string::<i32>().clone();
    assert_eq!(
        texts.value(0),
        r#"{"l":{"L":[{"NULL":true},{"M":{}}]},"m":{"M":{"a":{"N":"7"},"e":{"M":{}},"n":{"NULL":true}}}}"#
    );
    assert!(texts.is_null(1));
}

#[test]
fn a_name_that_stands_twice_is_refused_wherever_a_map_is_read() {
    let twins = [
        r#"{"M":{"x":{"N":"1"},"y":{"N":"2"},"x":{"N":"1"}}}"#,
        r#"{"M":{"x":{"NULL":true},"\u0078":{"NULL":true}}}"#,
        r#"{"L":[{"M":{"y":{"M":{"a":{"S":""},"a":{"S":""}}}}}]}"#,
    ];
    // A struct, a map, JSON, a column of another type, one that there is none of.
    for name in ["m", "map", "any", "s", "new"] {
        for twin in twins {
            for item in [
                format!(r#"{{"pk":{{"N":"1"}},"{name}":{twin}}}"#),
                format!(r#"{{"pk":{{"N":"1"}},"{name}":{{"M":{{"b":{twin}}}}}}}"#),
            ] {
                let error = append(&mut builder(), &item).expect_err(&item);
                let expected = format!("stands twice in one map (attribute \"{name}\")");
                assert!(error.to_string().contains(&expected), "{item}: {error}");
            }
        }
    }
    for item in [
        r#"{"pk":{"N":"1"},"new":{"N":"1"},"new":{"N":"1"}}"#,
        r#"{"pk":{"N":"1"},"new":{"NULL":true},"n\u0065w":{"NULL":true}}"#,
        r#"{"pk":{"N":"1"},"secret":{"N":"1"},"secret":{"N":"1"}}"#,
    ] {
        let error = append(&mut builder(), item).expect_err(item).to_string();
        assert!(error.contains("stands twice in one item") && !error.contains("secret"), "{error}");
        let skipped = builder().skip(&mut Parser::new(item.as_bytes()).unwrap()).expect_err(item).to_string();
        assert!(skipped.contains("stands twice in one item") && !skipped.contains("secret"), "{skipped}");
    }
    let error = append(&mut builder(), &format!(r#"{{"pk":{{"N":"1"}},"secret":{}}}"#, twins[0])).unwrap_err();
    assert!(error.to_string().contains("(excluded)"), "{error}");
}

#[test]
fn bad_items_are_refused_with_the_attribute() {
    for (item, expected) in [
        (r#"{"s":{"S":"x"}}"#, "no value for its key (attribute \"pk\")"),
        (r#"{"pk":{"NULL":true}}"#, r#"does not fit the table's key column: {"NULL":true} (attribute "pk")"#),
        (r#"{"pk":{"N":"1.5"}}"#, r#"does not fit the table's key column: {"N":"1.5"} (attribute "pk")"#),
        (r#"{"pk": {"S" : "1"} }"#, r#"does not fit the table's key column: {"S" : "1"} (attribute "pk")"#),
        (r#"{"pk":{"N":"1"},"pk":{"N":"1"}}"#, "stands twice"),
        (r#"{"pk":{"N":"1"},"m":{"M":{"a":{"N":"1"},"a":{"N":"1"}}}}"#, "stands twice"),
        (r#"{"pk":{"N":"1"},"s":{"S":1}}"#, "(attribute \"s\")"),
        (
            r#"{"pk":{"N":"1"},"map":{"M":{"k":{"B":""},"j":{"B":""},"k":{"B":""}}}}"#,
            "twice in one map (attribute \"map\")",
        ),
        (r#"{"pk":{"N":"1"},"tags":{"NS":["1","2","1.0"]}}"#, "an element twice"),
        (r#"{"pk":{"N":"1"},"tags":{"NS":[]}}"#, "without elements"),
        (r#"{"pk":{"N":"1"},"new":{"SS":["a","\u0061"]}}"#, "an element twice"),
        (r#"{"pk":{"N":"1"},"any":{"BS":["YQ==","YQ=="]}}"#, "an element twice"),
    ] {
        let error = append(&mut builder(), item).expect_err(item);
        assert_eq!(error.kind(), crate::error::Kind::Input);
        assert!(error.to_string().contains(expected), "{item}: {error}");
    }
    for value in [r#"{"S":1}"#, r#"{"N":"hidden"}"#, r#"{"hidden":1}"#, r#"{"L":[{"N":"hidden"}]}"#] {
        let error = append(&mut builder(), &format!(r#"{{"pk":{{"N":"1"}},"secret":{value}}}"#)).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Input);
        assert!(!error.to_string().contains("secret") && !error.to_string().contains("hidden"), "{error}");
    }
}

/// Lists whose elements have few of many fields take what their elements take.
#[test]
fn what_lists_and_maps_take_is_counted() {
    let fields: Vec<String> =
        (0..100).map(|k| format!(r#""f{k}":{{"type":"{}"}}"#, ["long", "string"][k % 2])).collect();
    let types: [(&str, &str); 2] = [
        (r#"{"list":{"struct":{FIELDS}}}"#, r#"{"L":[ELEMENTS]}"#),
        (r#"{"map":{"struct":{FIELDS}}}"#, r#"{"M":{ELEMENTS}}"#),
    ];
    for (ty, value) in types {
        let ty = ty.replace("FIELDS", &fields.join(","));
        let text =
            format!(r#"{{"version":1,"key":["pk"],"attributes":{{"pk":{{"type":"long"}},"v":{{"type":{ty}}}}}}}"#);
        let file = SchemaFile::parse(&text).unwrap();
        let mut b = ItemBuilder::new(&TableSchema::create(&file, &file.key).unwrap(), Limits::default()).unwrap();
        for n in 0..200 {
            let element = |e: usize| format!(r#"{{"M":{{"f{}":{{"N":"{e}"}}}}}}"#, (e * 2) % 100);
            let elements: Vec<String> = if value.contains('[') {
                (0..30).map(element).collect()
            } else {
                (0..30).map(|e| format!(r#""k{e}":{}"#, element(e))).collect()
            };
            let value = value.replace("ELEMENTS", &elements.join(","));
            append(&mut b, &format!(r#"{{"pk":{{"N":"{n}"}},"v":{value}}}"#)).unwrap();
        }
        let counted = b.memory();
        let column = b.finish().unwrap().column(1).to_data().get_slice_memory_size().unwrap();
        assert!(counted >= column * 9 / 10 && counted <= column * 2, "{counted} for {column}");
        assert!(b.memory() == 0);
    }
}

/// Columns and fields that have a value now and then are null everywhere else, wherever that is.
#[test]
fn what_is_absent_is_null_where_it_is() {
    let mut b = builder();
    let (has_s, has_a, has_b) = (|n: usize| n % 7 == 3, |n: usize| n % 5 == 1, |n: usize| n % 10 == 6);
    for _ in 0..2 {
        for n in 0..100 {
            let s = if has_s(n) { r#""s":{"S":"x"},"# } else { "" };
            let m = match (has_a(n), has_b(n)) {
                (true, false) => format!(r#""m":{{"M":{{"a":{{"N":"{n}"}}}}}},"#),
                (true, true) => format!(r#""m":{{"M":{{"b":{{"L":[]}},"a":{{"N":"{n}"}}}}}},"#),
                _ if n % 2 == 0 => r#""m":{"M":{}},"#.to_owned(),
                _ => String::new(),
            };
            append(&mut b, &format!(r#"{{{s}{m}"pk":{{"N":"{n}"}}}}"#)).unwrap();
        }
        let batch = b.finish().unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let m = column("m");
        let (m, a) = (m.as_struct().clone(), m.as_struct().column_by_name("a").unwrap().clone());
        for n in 0..100 {
            assert_eq!(column("s").is_valid(n), has_s(n));
            assert_eq!(m.is_valid(n), has_a(n) || n % 2 == 0);
            assert_eq!(a.is_valid(n), has_a(n));
            assert!(!has_a(n) || a.as_primitive::<Int64Type>().value(n) == i64::try_from(n).unwrap());
            assert_eq!(m.column_by_name("b").unwrap().is_valid(n), has_a(n) && has_b(n));
            assert!(column("price").is_null(n) && column("map").is_null(n) && column("tags").is_null(n));
        }
    }
}

#[test]
fn a_set_in_a_column_of_another_set_is_rescued() {
    let file = SchemaFile::parse(
        r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"long"},"n":{"type":{"set":"long"}},
        "s":{"type":{"set":"string"}},"b":{"type":{"set":"binary"}},"f":{"type":"boolean"}}}"#,
    )
    .unwrap();
    let table = TableSchema::create(&file, &file.key).unwrap();
    let values = [("n", r#"{"NS":["1"]}"#), ("s", r#"{"SS":["1"]}"#), ("b", r#"{"BS":["MQ=="]}"#)];
    for (name, _) in values {
        for (own, value) in values {
            let mut b = ItemBuilder::new(&table, Limits::default()).unwrap();
            append(&mut b, &format!(r#"{{"pk":{{"N":"1"}},"{name}":{value},"f":{{"BOOL":true}}}}"#)).unwrap();
            assert_eq!(b.take_rescued().values.contains_key(name), own != name, "{value} in {name}");
            let batch = b.finish().unwrap();
            assert_eq!(batch.column_by_name(name).unwrap().is_null(0), own != name, "{value} in {name}");
            assert!(batch.column_by_name("f").unwrap().as_boolean().value(0));
        }
    }
}

/// What is left out may be anything that is a value, and is checked no less in an old image.
#[test]
fn an_excluded_value_is_checked_and_told_of_without_its_name() {
    for value in [r#"{"S":1}"#, r#"{"N":"hidden"}"#, r#"{"L":[{"N":"hidden"}]}"#] {
        let item = format!(r#"{{"pk":{{"N":"1"}},"secret":{value}}}"#);
        let error = builder().skip(&mut Parser::new(item.as_bytes()).unwrap()).unwrap_err().to_string();
        assert!(error.contains("(excluded)") && !error.contains("secret") && !error.contains("hidden"), "{error}");
    }
}
