//! Random tables: attributes of some shape, items that mostly keep to it, windows that bring more.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::KEY;
use super::values::{Item, Number, V};

/// One table's life.
#[derive(Debug, Clone)]
pub struct Case {
    /// The key is the first attribute of each item.
    pub load: Vec<Item>,
    /// Keys, each once a window, with the item's new image, or none where it is gone.
    pub windows: Vec<Vec<(V, Option<Item>)>>,
    /// Load by the schema file of so many of the items.
    pub sample: Option<usize>,
    pub struct_fields: usize,
    /// New attributes become columns.
    pub add: bool,
}

/// What the values of one place have in common.
#[derive(Debug, Clone)]
enum Shape {
    Text,
    Integer,
    Price,
    Number,
    Binary,
    Flag,
    Null,
    Texts,
    Integers,
    Numbers,
    Binaries,
    EmptyList,
    EmptyMap,
    List(Box<Shape>),
    /// A list of one, so that what is deep is not large too.
    One(Box<Shape>),
    /// Fields, each from the load or from the first window on.
    Map(Vec<(String, usize, Shape)>),
    /// A map by many names.
    Wide(Box<Shape>),
    Anything,
}

const NAMES: [&str; 30] = [
    "v",
    "name",
    "Name",
    "NAME",
    "PK",
    "order-id",
    "a b",
    " ",
    "a",
    "a.b",
    "a.element",
    "a.value",
    "x.y.z",
    "select",
    "größe",
    "GRÖSSE",
    "😀",
    "_file",
    "_pos",
    "_FILE",
    "_ddb_rescued",
    "_DDB_rescued",
    "quote\"d",
    "back\\slash",
    "line\nbreak",
    "\u{0}",
    "NULL",
    "M",
    "__deleted",
    "__order",
];
const FIELDS: [&str; 16] =
    ["a", "A", "b", "S", "M", "NULL", "SS", "c d", "e.f", "e", "element", "key", "value", "😀", "_file", ""];

pub fn case() -> impl Strategy<Value = Case> {
    let anything = anything();
    let shape = shape();
    let name = prop_oneof![
        8 => select(NAMES.to_vec()).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| text.chars().take(12).collect()),
        1 => "[a-c.A-C]{1,5}",
    ];
    let name = name.prop_filter("a name", |name: &String| !name.is_empty() && name != KEY);
    let attributes = btree_map(name, (0usize..3, shape), 1..8);
    let styles = (0usize..4, any::<bool>(), select(vec![1usize, 3, 256]));
    (attributes, styles).prop_flat_map(move |(attributes, (style, add, struct_fields))| {
        let image = |window: usize| {
            let values: Vec<_> = attributes
                .iter()
                .map(|(name, (from, shape))| {
                    let from = from.saturating_sub(1);
                    if from > window {
                        return Just(None).boxed();
                    }
                    let name = name.clone();
                    let value = noisy(value(shape, window, &anything), &anything);
                    option::weighted(0.8, value).prop_map(move |v| v.map(|v| (name.clone(), v))).boxed()
                })
                .collect();
            values.prop_map(|values| values.into_iter().flatten().collect::<Item>())
        };
        let load = vec(image(0), 1..14);
        let window = btree_map(0usize..20, option::weighted(0.85, image(1)), 0..8);
        let windows = vec(window, 0..3);
        (load, windows, option::weighted(0.4, 1usize..5), vec(0usize..6, 40)).prop_map(
            move |(load, windows, sample, spellings)| {
                let mut spelled = spellings.into_iter().cycle();
                let mut key = |n: usize| (KEY.to_owned(), key(style, n, spelled.next().unwrap()));
                let mut with_key = |n: usize, item: Item| {
                    let mut all = vec![key(n)];
                    all.extend(item);
                    all
                };
                let load = load.into_iter().enumerate().map(|(n, item)| with_key(n, item)).collect();
                let mut change = |(n, item): (usize, Option<Item>)| match item {
                    Some(item) => {
                        let item = with_key(n, item);
                        (item[0].1.clone(), Some(item))
                    }
                    None => (with_key(n, Vec::new()).remove(0).1, None),
                };
                let windows = windows.into_iter().map(|w| w.into_iter().map(&mut change).collect()).collect();
                Case { load, windows, sample, struct_fields, add }
            },
        )
    })
}

/// The n-th key; numbers in some spelling.
fn key(style: usize, n: usize, spelling: usize) -> V {
    let number = |text: String| V::N(Number::read(&text).spelled(spelling));
    match style {
        0 => V::S(format!("key {n}")),
        1 => number(format!("{}", n * 100)),
        2 => number(format!("{n}.5E95")),
        _ => V::B(vec![0xff; n]),
    }
}

fn shape() -> BoxedStrategy<Shape> {
    use Shape::*;
    let leaf = select(vec![
        Text, Integer, Price, Number, Binary, Flag, Null, Texts, Integers, Numbers, Binaries, EmptyList, EmptyMap,
        Anything,
    ]);
    let tree = leaf.prop_recursive(7, 40, 4, |inner| {
        let fields = subsequence(FIELDS.to_vec(), 0..5).prop_flat_map({
            let inner = inner.clone();
            move |names| {
                let names: Vec<_> = names.into_iter().map(|n| (Just(n.to_owned()), 0usize..2, inner.clone())).collect();
                names.prop_map(Map)
            }
        });
        prop_oneof![
            2 => inner.clone().prop_map(|shape| List(Box::new(shape))),
            3 => fields,
            1 => inner.prop_map(|shape| Wide(Box::new(shape))),
        ]
    });
    // DynamoDB nests to 32 levels.
    let deep =
        (tree.clone(), vec(any::<bool>(), 6..20)).prop_map(|(tree, levels)| {
            levels.into_iter().fold(tree, |inner, list| {
                if list { One(Box::new(inner)) } else { Map(vec![("a".to_owned(), 0, inner)]) }
            })
        });
    prop_oneof![9 => tree, 1 => deep].boxed()
}

fn value(shape: &Shape, window: usize, anything: &BoxedStrategy<V>) -> BoxedStrategy<V> {
    match shape {
        Shape::Text => text().prop_map(V::S).boxed(),
        Shape::Integer => integer().prop_map(V::N).boxed(),
        Shape::Price => price().prop_map(V::N).boxed(),
        Shape::Number => number().prop_map(V::N).boxed(),
        Shape::Binary => bytes().prop_map(V::B).boxed(),
        Shape::Flag => any::<bool>().prop_map(V::Bool).boxed(),
        Shape::Null => Just(V::Null).boxed(),
        Shape::Texts => set(text()).prop_map(V::Ss).boxed(),
        Shape::Integers => numbers(integer()).boxed(),
        Shape::Numbers => numbers(number()).boxed(),
        Shape::Binaries => vec(bytes(), 1..4).prop_map(|list| V::Bs(distinct(list))).boxed(),
        Shape::EmptyList => Just(V::L(Vec::new())).boxed(),
        Shape::EmptyMap => Just(V::M(Vec::new())).boxed(),
        Shape::List(element) => vec(noisy(value(element, window, anything), anything), 0..4).prop_map(V::L).boxed(),
        Shape::One(element) => noisy(value(element, window, anything), anything).prop_map(|v| V::L(vec![v])).boxed(),
        Shape::Map(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .filter(|(_, from, _)| *from <= window)
                .map(|(name, _, shape)| {
                    let name = name.clone();
                    option::weighted(0.8, noisy(value(shape, window, anything), anything))
                        .prop_map(move |v| v.map(|v| (name.clone(), v)))
                })
                .collect();
            fields.prop_shuffle().prop_map(|fields| V::M(fields.into_iter().flatten().collect())).boxed()
        }
        Shape::Wide(inner) => btree_map("w[0-9]{1,2}", noisy(value(inner, window, anything), anything), 0..5)
            .prop_map(|map| V::M(map.into_iter().collect()))
            .boxed(),
        Shape::Anything => anything.clone(),
    }
}

/// Now and then NULL, or something else altogether.
fn noisy(value: BoxedStrategy<V>, anything: &BoxedStrategy<V>) -> BoxedStrategy<V> {
    prop_oneof![60 => value, 3 => Just(V::Null), 1 => anything.clone()].boxed()
}

/// Any value at all.
fn anything() -> BoxedStrategy<V> {
    let leaf = prop_oneof![
        text().prop_map(V::S),
        number().prop_map(V::N),
        bytes().prop_map(V::B),
        any::<bool>().prop_map(V::Bool),
        Just(V::Null),
        set(text()).prop_map(V::Ss),
        numbers(number()),
        vec(bytes(), 1..3).prop_map(|list| V::Bs(distinct(list))),
    ];
    leaf.prop_recursive(6, 30, 4, |inner| {
        let named = btree_map(select(FIELDS.to_vec()), inner.clone(), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(V::L),
            named.prop_map(|map| V::M(map.into_iter().map(|(name, v)| (name.to_owned(), v)).collect())),
        ]
    })
    .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,5}",
        "[0-9]{1,3}",
        any::<String>(),
        Just("größe \"quoted\"\n\t\\ \u{0}\u{1f}\u{7f}\u{2028}😀\u{10FFFF}".to_owned()),
        Just("{\"B\":\"\"}".to_owned()),
    ]
    .boxed()
}

fn bytes() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![3 => vec(any::<u8>(), 0..20), 1 => vec(Just(0xffu8), 15..20)].boxed()
}

fn spelled(value: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    (value, 0usize..12).prop_map(|(text, n)| if n < 6 { text } else { Number::read(&text).spelled(n) }).boxed()
}

fn integer() -> BoxedStrategy<String> {
    let known = ["0", "-0", "1.0", "1E2", "100", "9223372036854775807", "-9223372036854775808", "1E18"];
    spelled(prop_oneof![
        3 => (-1000i64..1000).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => select(known.to_vec()).prop_map(str::to_owned),
    ])
}

fn price() -> BoxedStrategy<String> {
    spelled(
        (any::<bool>(), 0u32..100_000, 0u32..10_000)
            .prop_map(|(minus, whole, part)| format!("{}{whole}.{part:04}", if minus { "-" } else { "" })),
    )
}

/// All that DynamoDB takes: 38 digits, 1E-130 to 9.99…E+125.
fn number() -> BoxedStrategy<String> {
    let known = [
        "1E-130",
        "-1E-130",
        "9.9999999999999999999999999999999999999E+125",
        "-9.9999999999999999999999999999999999999E+125",
        "99999999999999999999999999999999999999",
        "0.99999999999999999999999999999999999999",
        "9223372036854775808",
        "-0",
        "0E-100",
        "1.0",
        "1E2",
        "19.99",
    ];
    spelled(prop_oneof![
        3 => price(),
        1 => integer(),
        2 => ("-?[1-9][0-9]{0,36}[1-9]", -40i32..40).prop_map(|(digits, exponent)| format!("{digits}E{exponent}")),
        1 => ("-?[1-9]\\.[0-9]{0,36}[1-9]", -130i32..=125).prop_map(|(digits, exponent)| format!("{digits}E{exponent}")),
        1 => select(known.to_vec()).prop_map(str::to_owned),
    ])
}

fn set(element: BoxedStrategy<String>) -> BoxedStrategy<Vec<String>> {
    vec(element, 1..4).prop_map(distinct).boxed()
}

/// A set has no two numbers of the same value.
fn numbers(element: BoxedStrategy<String>) -> BoxedStrategy<V> {
    let by_value = |list: Vec<String>| {
        let all: BTreeMap<String, String> =
            list.into_iter().map(|text| (Number::read(&text).canonical(), text)).collect();
        V::Ns(all.into_values().collect())
    };
    vec(element, 1..4).prop_map(by_value).boxed()
}

fn distinct<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut all = Vec::new();
    for one in list {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}
