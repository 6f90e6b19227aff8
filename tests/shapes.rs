//! Memory, and cost by bytes, whatever items look like: every command on tables of many shapes.
//!
//! `cargo test` plays each shape with few items. All of it, with larger tables, more limits and the table of
//! `docs/performance.md`: `cargo test --release --test shapes -- --ignored --nocapture --test-threads 1`.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "shapes/full.rs"]
mod full_matrix;
#[path = "common/program.rs"]
mod program;
#[path = "common/random.rs"]
mod random;
#[path = "common/reader.rs"]
mod reader;
#[path = "shapes/scene.rs"]
mod scene;
#[path = "shapes/shape.rs"]
mod shape;

use scene::{DEFAULT_LIMIT, Scene};
use shape::{Body, Keys, Shape};

/// Shapes that took more than the limit once, and a usual one.
pub const SHAPES: [Shape; 17] = [
    Shape::new("plain", Keys::Uuid, Body::Plain),
    Shape::new("number keys only", Keys::Number, Body::KeyOnly),
    Shape::new("UUID and ULID only", Keys::UuidUlid, Body::KeyOnly),
    Shape::new("binary keys, flat", Keys::Binary, Body::Flat(20)),
    Shape::new("keys of 300 characters only", Keys::Long(200), Body::KeyOnly),
    Shape::new("keys of 2,000 characters", Keys::Long(1330), Body::KeyOnly),
    Shape::new("10 of 200 attributes", Keys::Uuid, Body::Sparse { possible: 200, each: 10 }),
    Shape::new("10 of 1,000 attributes", Keys::Number, Body::Sparse { possible: 1_000, each: 10 }),
    Shape::new("10 of 10,000 attributes", Keys::Uuid, Body::Sparse { possible: 10_000, each: 10 }),
    Shape::new("10 events, 5 of 20 fields", Keys::Uuid, Body::Events { events: 10, each: 5, possible: 20 }),
    Shape::new("10 events, 5 of 100 fields", Keys::UuidUlid, Body::Events { events: 10, each: 5, possible: 100 }),
    Shape::new("200 events, 2 of 100 fields", Keys::Number, Body::Events { events: 200, each: 2, possible: 100 }),
    Shape::new("20 texts of 8 values", Keys::Uuid, Body::FewValues { columns: 20, length: 100, values: 8 }),
    Shape::new("texts of 350 KB", Keys::Number, Body::Text(350_000)),
    Shape::new("2 KB that compress", Keys::Uuid, Body::Compressible(2_000)),
    Shape::new("structs 15 deep", Keys::Uuid, Body::Nested(15)),
    Shape::new("100 columns, 1,000 partitions", Keys::Number, Body::Flat(100)).partitioned("bucket(1000, pk)"),
];

/// Plays shapes of about so many bytes of JSON, and compares each command's memory with the limit.
fn small(name: &str, bytes: u64) {
    let shape = SHAPES.into_iter().find(|shape| shape.name == name).unwrap();
    let mut scene = Scene::new(shape, bytes, 3, &[]);
    scene.play();
    let over: Vec<_> = scene.costs.iter().filter(|cost| cost.peak > DEFAULT_LIMIT).collect();
    assert!(over.is_empty(), "{name}: more than {DEFAULT_LIMIT} MiB: {over:?}");
}

macro_rules! shapes {
    ($($test:ident: $name:literal, $megabytes:literal;)*) => {
        $(#[test] fn $test() { small($name, $megabytes * 1_000_000) })*

        #[test]
        fn every_shape_is_played() {
            assert_eq!([$($name),*].as_slice(), SHAPES.map(|shape| shape.name).as_slice());
        }
    };
}

shapes! {
    plain: "plain", 8;
    number_keys: "number keys only", 4;
    two_keys: "UUID and ULID only", 8;
    binary_keys: "binary keys, flat", 8;
    keys_of_300_characters: "keys of 300 characters only", 16;
    keys_of_2000_characters: "keys of 2,000 characters", 40;
    few_of_200_attributes: "10 of 200 attributes", 6;
    few_of_1000_attributes: "10 of 1,000 attributes", 5;
    few_of_10000_attributes: "10 of 10,000 attributes", 2;
    events: "10 events, 5 of 20 fields", 8;
    wide_events: "10 events, 5 of 100 fields", 6;
    many_wide_events: "200 events, 2 of 100 fields", 6;
    few_values: "20 texts of 8 values", 30;
    large_texts: "texts of 350 KB", 50;
    compressible: "2 KB that compress", 30;
    nested: "structs 15 deep", 6;
    many_partitions: "100 columns, 1,000 partitions", 8;
}
