//! What the items of one history look like: key, attributes, and how these change from window to window.

use std::collections::BTreeMap;

use super::random::Random;
use super::values::{Item, Number, V, identity};

/// How values of one place are made.
#[derive(Debug, Clone)]
pub enum Shape {
    Text,
    Integer,
    Price,
    Huge,
    Binary,
    Flag,
    Nothing,
    Texts,
    Integers,
    Prices,
    Binaries,
    List(Box<Shape>),
    /// Fields, each from some window on.
    Map(Vec<(String, usize, Shape)>),
    /// A map by many names.
    Wide(Box<Shape>),
    EmptyMap,
    EmptyList,
    Mixed(Vec<Shape>),
}

#[derive(Debug, Clone)]
pub struct Attribute {
    pub name: String,
    /// The first window that has it; 0 is the full export.
    pub from: usize,
    /// The window after which no new image has it.
    pub until: usize,
    pub presence: u64,
    pub shape: Shape,
}

#[derive(Debug, Clone)]
pub struct Profile {
    pub key: Vec<String>,
    /// All keys that items may have, by identity.
    pub keys: Vec<Vec<V>>,
    pub attributes: Vec<Attribute>,
    /// How often a value is of another shape, from the first window on.
    pub misfits: u64,
    /// Bytes that each item has at least.
    pub ballast: usize,
}

const NAMES: [&str; 18] = [
    "v",
    "name",
    "Name",
    "order-id",
    "a b",
    "x.y",
    "x",
    "select",
    "größe",
    "😀",
    "_file",
    "_ddb_rescued",
    "quote\"d",
    "back\\slash",
    "NULL",
    "value",
    "line\nbreak",
    "e1",
];
const FIELDS: [&str; 9] = ["a", "b", "B", "S", "c d", "e.f", "e", "element", "😀"];

impl Profile {
    pub fn new(random: &mut Random, kinds: &[&'static str], windows: usize, keys: usize, ballast: usize) -> Self {
        let mut names: Vec<String> = NAMES.iter().map(|n| (*n).to_owned()).collect();
        random.shuffle(&mut names);
        let key: Vec<String> = match random.range(0, 3) {
            0 => names.drain(..kinds.len()).collect(),
            _ => ["pk", "sk"][..kinds.len()].iter().map(|n| (*n).to_owned()).collect(),
        };
        let count = random.range(3, 10);
        let attributes = names.drain(..count).map(|name| {
            let from = if random.percent(60) { 0 } else { random.range(0, windows + 1) };
            Attribute {
                name,
                from,
                until: if random.percent(15) { from + random.range(0, windows) } else { usize::MAX },
                presence: *random.pick(&[100, 90, 60, 30]),
                shape: shape(random, windows, 0),
            }
        });
        let attributes = attributes.collect();
        let styles: Vec<usize> = kinds.iter().map(|_| random.range(0, 4)).collect();
        let parts: Vec<Vec<V>> = kinds
            .iter()
            .zip(&styles)
            .map(|(kind, style)| {
                let wanted = if kinds.len() == 1 { keys } else { (keys / 4).max(3) };
                let mut found = BTreeMap::new();
                for n in 0..wanted {
                    let part = key_part(random, kind, *style, n);
                    found.insert(identity(&part), part);
                }
                found.into_values().collect()
            })
            .collect();
        let mut all: Vec<Vec<V>> = match parts.as_slice() {
            [one] => one.iter().map(|part| vec![part.clone()]).collect(),
            [one, two] => one.iter().flat_map(|a| two.iter().map(|b| vec![a.clone(), b.clone()])).collect(),
            _ => panic!("a key has one or two parts"),
        };
        random.shuffle(&mut all);
        all.truncate(keys);
        Self { key, keys: all, attributes, misfits: *random.pick(&[0, 3, 10]), ballast }
    }

    /// The parts of a key, numbers spelled in some way.
    pub fn spelled(random: &mut Random, key: &[V]) -> Vec<V> {
        let spell = |part: &V| match part {
            V::N(text) if random.percent(50) => V::N(Number::read(text).spelled(random.range(0, 6))),
            other => other.clone(),
        };
        key.iter().map(spell).collect()
    }

    /// A new image of the item with this key.
    pub fn item(&self, random: &mut Random, key: &[V], window: usize) -> Item {
        let mut item: Item = self.key.iter().cloned().zip(Self::spelled(random, key)).collect();
        for attribute in &self.attributes {
            if window < attribute.from || window > attribute.until || !random.percent(attribute.presence) {
                continue;
            }
            let value = self.value(random, &attribute.shape, window);
            item.push((attribute.name.clone(), value));
        }
        if self.ballast > 0 {
            let text: String = (0..self.ballast).map(|_| char::from(b'a' + (random.next() % 26) as u8)).collect();
            item.push(("ballast".to_owned(), V::S(text)));
        }
        random.shuffle(&mut item);
        item
    }

    fn value(&self, random: &mut Random, shape: &Shape, window: usize) -> V {
        if random.percent(5) {
            return V::Null;
        }
        if window > 0 && random.percent(self.misfits) {
            let other = match random.range(0, 3) {
                0 => shape_of_leaf(random),
                1 => Shape::Huge,
                _ => Shape::List(Box::new(shape_of_leaf(random))),
            };
            return make(random, &other, window);
        }
        match shape {
            Shape::List(element) => {
                let len = random.range(0, 4);
                V::L((0..len).map(|_| self.value(random, element, window)).collect())
            }
            Shape::Map(fields) => {
                let mut map = Vec::new();
                for (name, from, shape) in fields {
                    if window >= *from && random.percent(80) {
                        map.push((name.clone(), self.value(random, shape, window)));
                    }
                }
                random.shuffle(&mut map);
                V::M(map)
            }
            leaf => make(random, leaf, window),
        }
    }
}

fn shape_of_leaf(random: &mut Random) -> Shape {
    match random.range(0, 10) {
        0 | 1 => Shape::Text,
        2 | 3 => Shape::Integer,
        4 => Shape::Price,
        5 => Shape::Binary,
        6 => Shape::Flag,
        7 => Shape::Texts,
        8 => Shape::Integers,
        _ => [Shape::Prices, Shape::Binaries, Shape::Huge, Shape::Nothing][random.range(0, 4)].clone(),
    }
}

fn shape(random: &mut Random, windows: usize, depth: usize) -> Shape {
    if depth > 2 || random.percent(50) {
        return shape_of_leaf(random);
    }
    match random.range(0, 10) {
        0..=2 => Shape::List(Box::new(shape(random, windows, depth + 1))),
        3..=6 => {
            let mut names: Vec<&str> = FIELDS.to_vec();
            random.shuffle(&mut names);
            names.truncate(random.range(1, 5));
            let field = |name: &&str| {
                let from = if random.percent(60) { 0 } else { random.range(0, windows + 1) };
                ((*name).to_owned(), from, shape(random, windows, depth + 1))
            };
            Shape::Map(names.iter().map(field).collect())
        }
        7 => Shape::Wide(Box::new(shape_of_leaf(random))),
        8 => [Shape::EmptyMap, Shape::EmptyList][random.range(0, 2)].clone(),
        _ => Shape::Mixed(vec![shape_of_leaf(random), shape(random, windows, depth + 1)]),
    }
}

/// A value of exactly this shape, without NULLs and misfits.
fn make(random: &mut Random, shape: &Shape, window: usize) -> V {
    let distinct = |random: &mut Random, make: &dyn Fn(&mut Random) -> String| {
        let mut all: Vec<String> = (0..random.range(1, 4)).map(|_| make(random)).collect();
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|text| seen.insert(text.clone()));
        all
    };
    match shape {
        Shape::Text => V::S(text(random)),
        Shape::Integer => V::N(integer(random)),
        Shape::Price => V::N(price(random)),
        Shape::Huge => V::N(
            (*random.pick(&[
                "1E100",
                "9223372036854775808",
                "1E-130",
                "-12.5e99",
                "1E30",
                "0.00000000001",
                "12345678901234567890123456789012345678",
            ]))
            .to_owned(),
        ),
        Shape::Binary => V::B(bytes(random)),
        Shape::Flag => V::Bool(random.percent(50)),
        Shape::Nothing => V::Null,
        Shape::Texts => V::Ss(distinct(random, &text)),
        Shape::Integers => V::Ns(distinct(random, &|r| r.range(0, 100).to_string())),
        Shape::Prices => V::Ns(distinct(random, &|r| format!("{}.5", r.range(0, 100)))),
        Shape::Binaries => V::Bs((0..random.range(1, 3)).map(|n| [bytes(random), vec![n as u8]].concat()).collect()),
        Shape::List(element) => V::L((0..random.range(0, 4)).map(|_| make(random, element, window)).collect()),
        Shape::Map(fields) => V::M(
            fields.iter().filter(|f| window >= f.1).map(|(n, _, s)| (n.clone(), make(random, s, window))).collect(),
        ),
        Shape::Wide(inner) => {
            let from = random.range(0, 20);
            V::M((from..from + random.range(0, 3)).map(|n| (format!("w{n}"), make(random, inner, window))).collect())
        }
        Shape::EmptyMap => V::M(Vec::new()),
        Shape::EmptyList => V::L(Vec::new()),
        Shape::Mixed(shapes) => {
            let shape = random.pick(shapes).clone();
            make(random, &shape, window)
        }
    }
}

fn text(random: &mut Random) -> String {
    match random.range(0, 8) {
        0 => String::new(),
        1 => "größe \"quoted\"\n\t\\ 😀\u{10FFFF}".to_owned(),
        2 => format!("{}{}", "same start ".repeat(8), random.range(0, 50)),
        3 => random.range(0, 100).to_string(),
        _ => format!("text {}", random.range(0, 1000)),
    }
}

fn integer(random: &mut Random) -> String {
    match random.range(0, 10) {
        0 => i64::MAX.to_string(),
        1 => i64::MIN.to_string(),
        2 => "1E18".to_owned(),
        3 => "-0".to_owned(),
        _ => random.range(0, 1000).to_string(),
    }
}

fn price(random: &mut Random) -> String {
    match random.range(0, 6) {
        0 => "19.99".to_owned(),
        1 => "-0.05".to_owned(),
        2 => random.range(0, 100).to_string(),
        3 => "123456789012345678.123456789".to_owned(),
        _ => format!("{}.{:02}", random.range(0, 500), random.range(0, 100)),
    }
}

fn bytes(random: &mut Random) -> Vec<u8> {
    match random.range(0, 4) {
        0 => Vec::new(),
        1 => vec![0xff; random.range(15, 20)],
        _ => (0..random.range(1, 20)).map(|_| random.next() as u8).collect(),
    }
}

fn key_part(random: &mut Random, kind: &str, style: usize, n: usize) -> V {
    match kind {
        "S" => V::S(match style {
            0 => format!("k{n}"),
            // The start is longer than what Parquet keeps of a value in its statistics, and than what a bound keeps.
            1 => format!("{}{n}", "the very same start of every key ".repeat(3)),
            2 => {
                let letters = ["a", "\u{7f}", "é", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "😀", "\u{10FFFF}", "\""];
                let len = if random.percent(20) { 100 } else { random.range(1, 30) };
                (0..len).map(|_| *random.pick(&letters)).collect()
            }
            _ => match random.range(0, 3) {
                0 => format!("{}{n}", "x".repeat(1000)),
                1 => n.to_string(),
                _ => format!(" {n} "),
            },
        }),
        "N" => V::N(match style {
            0 => n.to_string(),
            1 => match n {
                0 => i64::MAX.to_string(),
                1 => i64::MIN.to_string(),
                _ => (n as i64 * 7919 - 100_000).to_string(),
            },
            2 => format!("{}.{:02}", n as i64 / 3 - 5, n % 100),
            _ => match n % 4 {
                0 => format!("{n}E+90"),
                1 => format!("-{n}.5E-90"),
                2 => n.to_string(),
                _ => format!("{n}.125"),
            },
        }),
        "B" => V::B(match style {
            0 => format!("key {n}").into_bytes(),
            1 => [vec![0xff; 40], (n as u16).to_be_bytes().to_vec()].concat(),
            2 => [vec![0x00; 70], (n as u16).to_be_bytes().to_vec()].concat(),
            _ => (0..random.range(1, 24)).map(|_| random.next() as u8).collect(),
        }),
        other => panic!("{other} is no key type"),
    }
}
