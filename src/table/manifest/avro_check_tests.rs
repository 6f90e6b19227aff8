use std::fmt::Write as _;
use std::io::Write as _;

use super::*;
use crate::table::manifest::avro::put_number;

/// An Avro file of one block that says to have so many values.
fn file(schema: &str, codec: &str, count: i64, stored: &[u8]) -> Bytes {
    let mut avro = b"Obj\x01".to_vec();
    put_number(&mut avro, 2);
    for (key, value) in [("avro.schema", schema), ("avro.codec", codec)] {
        put_sized(&mut avro, key.as_bytes()).unwrap();
        put_sized(&mut avro, value.as_bytes()).unwrap();
    }
    put_number(&mut avro, 0);
    avro.extend_from_slice(&[7; SYNC]);
    put_number(&mut avro, count);
    put_sized(&mut avro, stored).unwrap();
    avro.extend_from_slice(&[7; SYNC]);
    avro.into()
}

fn record(ty: &str) -> String {
    format!(r#"{{"type":"record","name":"e","fields":[{{"name":"x","type":{ty}}}]}}"#)
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    [snap::raw::Encoder::new().compress_vec(bytes).unwrap(), crc.sum().to_be_bytes().to_vec()].concat()
}

#[test]
fn each_codec_is_read_and_what_comes_out_is_the_same() {
    let values = [2, b'a', 4, b'b', b'c'];
    let schema = record(r#""string""#);
    let plain = file(&schema, "null", 2, &values);
    let all: [(&str, Vec<u8>); 3] = [
        ("deflate", deflated(&values)),
        ("snappy", snappy(&values)),
        ("zstandard", zstd::encode_all(&values[..], 1).unwrap()),
    ];
    assert_eq!(checked(plain.clone()).unwrap(), plain);
    for (codec, stored) in all {
        let read = checked(file(&schema, codec, 2, &stored)).unwrap();
        let decoded: Vec<String> = apache_read(&read);
        assert_eq!(decoded, ["a", "bc"], "{codec}");
    }
}

/// Its values as text, by walking it again.
fn apache_read(avro: &[u8]) -> Vec<String> {
    let mut input = Input { rest: avro };
    Header::read(&mut input).unwrap();
    let count = input.number().unwrap();
    let mut block = Input { rest: input.sized().unwrap() };
    (0..count).map(|_| String::from_utf8(block.sized().unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let most = usize::try_from(most_inflated()).unwrap();
    let text = r#""string""#;
    let mut zeros = vec![0; most + 2];
    let said = |avro: Bytes| checked(avro).unwrap_err().to_string();
    // Many short values, as a file may have, but too many of them.
    let count = i64::try_from(zeros.len()).unwrap();
    for (codec, stored) in [
        ("deflate", deflated(&zeros)),
        ("zstandard", zstd::encode_all(&zeros[..], 1).unwrap()),
        ("snappy", snappy(&zeros)),
    ] {
        let said = said(file(&record(text), codec, count, &stored));
        assert!(said.contains("inflates to more, and at most 128 MiB"), "{codec}: {said}");
    }
    zeros.truncate(9);
    // A length of snappy's that says 4 GiB.
    let damaged = "the file is damaged, or no Avro file";
    let said_of = |schema: &str, codec: &str, count: i64, stored: &[u8]| said(file(schema, codec, count, stored));
    assert!(
        said_of(&record(text), "snappy", 1, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0]).contains("inflates to more")
    );
    // Counts and lengths that are not so.
    for count in [-1, 10, i64::MAX, i64::MIN] {
        assert!(said_of(&record(text), "null", count, &zeros).contains(damaged), "{count}");
    }
    let mut long = Vec::new();
    put_number(&mut long, 1 << 60);
    for ty in [text, r#""bytes""#, r#"{"type":"array","items":"long"}"#, r#"{"type":"map","values":"null"}"#] {
        assert!(said_of(&record(ty), "null", 1, &long).contains(damaged), "{ty}");
    }
    assert!(
        said_of(&record(r#"{"type":"fixed","name":"f","size":1152921504606846976}"#), "null", 1, &zeros)
            .contains(damaged)
    );
    // Values that take no bytes, in number, and by doubling.
    let nulls = vec![r#"{"name":"n","type":"null"}"#; 2000].join(",");
    let wide = format!(r#"{{"type":"record","name":"e","fields":[{{"name":"x","type":"int"}},{nulls}]}}"#);
    assert!(said_of(&wide, "null", 9, &zeros).contains(damaged));
    let mut doubled =
        r#"{"name":"a0","type":{"type":"record","name":"r0","fields":[{"name":"x","type":"null"}]}}"#.to_owned();
    for n in 1..40 {
        let (a, b) = (n - 1, n);
        let _ = write!(
            doubled,
            r#",{{"name":"a{b}","type":{{"type":"record","name":"r{b}","fields":[{{"name":"x","type":"r{a}"}},{{"name":"y","type":"r{a}"}}]}}}}"#
        );
    }
    let doubled = format!(r#"{{"type":"record","name":"e","fields":[{{"name":"x","type":"int"}},{doubled}]}}"#);
    assert!(said_of(&doubled, "null", 9, &zeros).contains(damaged));
    assert!(said_of(&record(r#"["null","e"]"#), "null", 1, &zeros).contains(damaged), "it has itself in it");
}

#[test]
fn types_may_be_named_again() {
    let fixed = r#"{"type":"fixed","name":"f","namespace":"n.s","size":2}"#;
    let schema = format!(
        r#"{{"type":"record","name":"e","fields":[{{"name":"x","type":{fixed}}},{{"name":"y","type":["null","n.s.f"]}},{{"name":"z","type":{{"type":{{"type":"long","logicalType":"x"}}}}}}]}}"#
    );
    assert!(checked(file(&schema, "null", 2, &[1, 1, 2, 2, 2, 8, 1, 1, 0, 8])).is_ok());
}

/// A value may have 64 parts, and 8 more for each byte that it takes at least.
#[test]
fn parts_are_bounded_by_bytes() {
    let nulls = |count: usize, more: Vec<Shape>| Shape::Record((0..count).map(|_| Shape::Null).chain(more).collect());
    let two = || vec![Shape::Number, Shape::Sized];
    let fixed = || vec![Shape::Fixed(2)];
    let nested = || vec![Shape::Record(two())];
    // The record itself is a part too.
    let more: [&dyn Fn() -> Vec<Shape>; 3] = [&two, &fixed, &nested];
    for (most, more) in [64 + 16 - 3, 64 + 16 - 2, 64 + 16 - 4].into_iter().zip(more) {
        for (count, sane) in [(most, true), (most + 1, false)] {
            let value = || nulls(count, more());
            assert_eq!(value().is_sane(), sane, "{count}");
            assert_eq!(Shape::Array(Box::new(value())).is_sane(), sane, "{count}");
            assert_eq!(Shape::Map(Box::new(value())).is_sane(), sane, "{count}");
            // Whatever they lie in.
            let list = || Shape::Array(Box::new(value()));
            for outer in [
                Shape::Record(vec![Shape::Number, list()]),
                Shape::Union(vec![Shape::Number, list()]),
                Shape::Bounds(vec![Shape::Null, list()]),
                Shape::Map(Box::new(Shape::Record(vec![list()]))),
            ] {
                assert_eq!(outer.is_sane(), sane, "{count}");
            }
        }
    }
    // Of a union, the branch of the most parts counts.
    let union = |count: usize| nulls(0, vec![Shape::Number, Shape::Union(vec![Shape::Null, nulls(count, Vec::new())])]);
    assert!(union(64 + 8 + 8 - 4).is_sane() && !union(64 + 8 + 8 - 3).is_sane());
    assert!(!Shape::Array(Box::new(Shape::Null)).is_sane() && !Shape::Array(Box::new(nulls(3, Vec::new()))).is_sane());
    assert!(Shape::Map(Box::new(Shape::Null)).is_sane(), "its keys take bytes");
}

#[test]
fn snappy_may_take_all_that_is_left() {
    let text = b"text text text text";
    let mut stored = snap::raw::Encoder::new().compress_vec(text).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(text);
    stored.extend(crc.sum().to_be_bytes());
    let mut left = text.len() as u64;
    assert_eq!(inflate(Codec::Snappy, &stored, &mut left).as_deref(), Some(&text[..]));
    assert_eq!(left, 0);
    let mut left = text.len() as u64 - 1;
    assert_eq!((inflate(Codec::Snappy, &stored, &mut left), left), (None, 0));
}

#[test]
fn a_block_may_take_all_that_is_left() {
    for codec in [Codec::Null, Codec::Deflate, Codec::Zstandard, Codec::Snappy] {
        let bytes = b"0123456789";
        let stored = match codec {
            Codec::Null => bytes.to_vec(),
            Codec::Deflate => deflated(bytes),
            Codec::Zstandard => zstd::encode_all(&bytes[..], 1).unwrap(),
            Codec::Snappy => snappy(bytes),
        };
        for (before, after) in [(11, Some(1)), (10, Some(0)), (9, None)] {
            let mut left = before;
            let inflated = inflate(codec, &stored, &mut left);
            assert_eq!(inflated.is_some(), after.is_some(), "{codec:?}");
            assert_eq!(left, after.unwrap_or(0), "{codec:?}");
        }
    }
}

#[test]
fn values_take_bytes_for_the_work_they_make() {
    let record = |some: Vec<Shape>, nulls: usize| {
        Shape::Record(some.into_iter().chain(std::iter::repeat_with(|| Shape::Null).take(nulls)).collect())
    };
    let numbers = || vec![Shape::Number, Shape::Number];
    let long = || Shape::Union(vec![Shape::Null, record(vec![Shape::Sized], 68)]);
    // A record, its fields, and 64 and 8 more for each byte that it takes at least.
    for (shape, is_sane) in [
        (record(vec![Shape::Number], 70), true),
        (record(vec![Shape::Number], 71), false),
        (record(numbers(), 77), true),
        (record(numbers(), 78), false),
        (record(vec![Shape::Fixed(5)], 102), true),
        (record(vec![Shape::Fixed(5)], 103), false),
        (record(vec![record(numbers(), 0)], 76), true),
        (record(vec![record(numbers(), 0)], 77), false),
        (record(vec![], 1), false),
        // The longest branch of a union counts.
        (record(vec![Shape::Union(vec![Shape::Null, Shape::Number])], 69), true),
        (record(vec![long()], 0), true),
        (record(vec![long()], 1), false),
        // Of arrays and maps each item must be so.
        (Shape::Map(Box::new(Shape::Null)), true),
        (Shape::Map(Box::new(record(vec![], 63))), true),
        (Shape::Map(Box::new(record(vec![], 64))), false),
        (Shape::Map(Box::new(record(numbers(), 77))), true),
        (Shape::Map(Box::new(record(numbers(), 78))), false),
        (Shape::Array(Box::new(record(numbers(), 77))), true),
        (Shape::Array(Box::new(record(numbers(), 78))), false),
        (Shape::Map(Box::new(Shape::Array(Box::new(record(numbers(), 78))))), false),
        (record(vec![Shape::Number, Shape::Array(Box::new(record(numbers(), 78)))], 0), false),
        (record(vec![Shape::Number, Shape::Array(Box::new(record(numbers(), 77)))], 0), true),
        (Shape::Union(vec![Shape::Null, Shape::Map(Box::new(record(numbers(), 78)))]), false),
    ] {
        assert_eq!(shape.is_sane(), is_sane, "{} values of {} bytes at least", shape.parts(), shape.least());
    }
}
