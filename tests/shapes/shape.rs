//! Items of many shapes: their keys and the rest of their attributes, by number and version, as DynamoDB JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::random::Random;

/// What keys look like. Numbers are spread over the whole range of keys, so that neighbours lie in different places.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// A number.
    Number,
    /// A UUID as text.
    Uuid,
    /// A UUID, and a ULID as sort key: many items a partition key.
    UuidUlid,
    /// 1 to 300 bytes, and a number with a fraction or an exponent as sort key.
    Binary,
    /// Text of so many characters, which differ at the end, and a sort key of half as many.
    Long(usize),
}

/// What an item has besides its key.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// A usual order: numbers, texts, a list of structs, a nested struct, 0.7 KB.
    Plain,
    /// Nothing.
    KeyOnly,
    /// `each` of `possible` attributes: numbers, texts, booleans, binary values.
    Sparse { possible: usize, each: usize },
    /// A list of structs that have `each` of `possible` fields.
    Events { events: usize, each: usize, possible: usize },
    /// Texts of `length` characters, each one of `values`.
    FewValues { columns: usize, length: usize, values: usize },
    /// One text of so many characters that don't compress.
    Text(usize),
    /// One text of so many characters, all the same.
    Compressible(usize),
    /// Texts of 40 characters that don't compress, so many.
    Flat(usize),
    /// Structs in structs, so many levels of two fields.
    Nested(usize),
    /// In each version so many attributes that no older one has.
    Growing { each: usize },
}

/// A table of items that look like this.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub keys: Keys,
    pub body: Body,
    pub partition_by: Option<&'static str>,
}

impl Shape {
    pub const fn new(name: &'static str, keys: Keys, body: Body) -> Self {
        Self { name, keys, body, partition_by: None }
    }

    pub const fn partitioned(mut self, by: &'static str) -> Self {
        self.partition_by = Some(by);
        self
    }

    pub fn key_names(&self) -> &'static [&'static str] {
        match self.keys {
            Keys::Number | Keys::Uuid => &["pk"],
            Keys::UuidUlid | Keys::Binary | Keys::Long(_) => &["pk", "sk"],
        }
    }

    /// The key's attributes, without braces.
    fn key(&self, n: u64) -> String {
        let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        match self.keys {
            Keys::Number => format!(r#""pk":{{"N":"{n}"}}"#),
            Keys::Uuid => format!(r#""pk":{{"S":"{}"}}"#, uuid(spread)),
            Keys::UuidUlid => {
                let customer = (n / 7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                format!(r#""pk":{{"S":"{}"}},"sk":{{"S":"01{spread:024X}"}}"#, uuid(customer))
            }
            Keys::Binary => {
                let mut random = Random::new(n);
                let mut bytes: Vec<u8> = (0..=n % 300).map(|_| random.next().to_le_bytes()[0]).collect();
                bytes.extend(n.to_be_bytes());
                let sign = if n.is_multiple_of(3) { "-" } else { "" };
                let end = ["", ".5", "E3"][usize::try_from(n % 3).unwrap()];
                format!(r#""pk":{{"B":"{}"}},"sk":{{"N":"{sign}{n}{end}"}}"#, STANDARD.encode(bytes))
            }
            Keys::Long(length) => {
                format!(
                    r#""pk":{{"S":"{}{spread:016x}"}},"sk":{{"S":"{}{n}"}}"#,
                    "p".repeat(length),
                    "s".repeat(length / 2)
                )
            }
        }
    }

    /// The item of this number in this version; other versions have other values.
    fn image(&self, n: u64, version: u64) -> String {
        let mut text = self.key(n);
        let random = &mut Random::new(n.wrapping_mul(1_000_003).wrapping_add(version));
        let _ = write!(text, r#","version":{{"N":"{version}"}}"#);
        match self.body {
            Body::KeyOnly => {}
            Body::Plain => plain(&mut text, random, n),
            Body::Sparse { possible, each } => {
                for place in distinct(random, possible, each) {
                    let _ = write!(text, r#","a{place}":{}"#, scalar(random, place));
                }
            }
            Body::Events { events, each, possible } => {
                text.push_str(r#","events":{"L":["#);
                for event in 0..events {
                    let fields: Vec<String> = distinct(random, possible, each)
                        .into_iter()
                        .map(|place| format!(r#""f{place}":{}"#, scalar(random, place)))
                        .collect();
                    let comma = if event == 0 { "" } else { "," };
                    let _ = write!(text, r#"{comma}{{"M":{{{}}}}}"#, fields.join(","));
                }
                text.push_str("]}");
            }
            Body::FewValues { columns, length, values } => {
                for column in 0..columns {
                    let letter = char::from(b'a' + u8::try_from(random.below(values) % 26).unwrap());
                    let _ = write!(text, r#","t{column}":{{"S":"{}"}}"#, letter.to_string().repeat(length));
                }
            }
            Body::Text(length) => {
                let _ = write!(text, r#","text":{{"S":"{}"}}"#, noise(random, length));
            }
            Body::Compressible(length) => {
                let _ = write!(text, r#","text":{{"S":"{}"}}"#, "compress me ".repeat(length / 12));
            }
            Body::Flat(columns) => {
                for column in 0..columns {
                    let _ = write!(text, r#","t{column}":{{"S":"{}"}}"#, noise(random, 40));
                }
            }
            Body::Growing { each } => {
                for place in 0..each {
                    let _ = write!(text, r#","v{version}_{place}":{{"N":"{n}"}}"#);
                }
            }
            Body::Nested(levels) => {
                for level in 0..levels {
                    let _ = write!(text, r#","m{level}":{{"M":{{"n{level}":{{"N":"{}"}}"#, random.below(1_000_000));
                }
                text.push_str(&"}}".repeat(levels));
            }
        }
        text
    }

    /// A line of a full export.
    pub fn item(&self, n: u64, version: u64) -> String {
        format!(r#"{{"Item":{{{}}}}}"#, self.image(n, version))
    }

    /// A line of an incremental export: the item's new version, or its end.
    pub fn change(&self, n: u64, version: Option<u64>, micros: u64) -> String {
        let image = version.map(|version| format!(r#","NewImage":{{{}}}"#, self.image(n, version)));
        format!(
            r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"{micros}"}}}},"Keys":{{{}}}{}}}"#,
            self.key(n),
            image.unwrap_or_default()
        )
    }

    /// About how many bytes so many items have as lines of a full export.
    pub fn bytes_of(&self, items: u64) -> u64 {
        let sample: usize = (0..50).map(|n| self.item(n * 977, 0).len() + 1).sum();
        items * sample as u64 / 50
    }

    /// About how many items have so many bytes.
    pub fn items_of(&self, bytes: u64) -> u64 {
        (bytes * 1000 / self.bytes_of(1000)).max(64)
    }
}

fn uuid(n: u64) -> String {
    let tail = n.rotate_left(29) ^ 0xA5A5_5A5A_C3C3_3C3C;
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        n >> 32,
        n >> 16 & 0xFFFF,
        n >> 4 & 0xFFF,
        tail >> 52,
        tail & 0xFFFF_FFFF_FFFF
    )
}

fn plain(text: &mut String, random: &mut Random, n: u64) {
    let status = random.pick(&["PENDING", "PAID", "SHIPPED", "DELIVERED", "CANCELLED"]);
    let _ = write!(
        text,
        r#","status":{{"S":"{status}"}},"created_at":{{"N":"{}"}},"total":{{"N":"{}.{:02}"}},"gift":{{"BOOL":{}}},"items":{{"L":["#,
        1_700_000_000_000 + n * 37,
        random.below(1000),
        random.below(100),
        random.percent(10),
    );
    for line in 0..=random.below(4) {
        let _ = write!(
            text,
            r#"{}{{"M":{{"sku":{{"S":"SKU-{:06}"}},"qty":{{"N":"{}"}},"name":{{"S":"{}"}}}}}}"#,
            if line == 0 { "" } else { "," },
            random.below(100_000),
            random.range(1, 10),
            noise(random, 18),
        );
    }
    let _ = write!(
        text,
        r#"]}},"address":{{"M":{{"street":{{"S":"{}"}},"zip":{{"S":"{:05}"}},"geo":{{"M":{{"lat":{{"N":"{}.{}"}}}}}}}}}}"#,
        noise(random, 20),
        random.below(100_000),
        random.below(90),
        random.below(1_000_000),
    );
    if random.percent(50) {
        let _ = write!(text, r#","tags":{{"SS":["a{}","b{}"]}}"#, random.below(300), random.below(300));
    }
}

/// A value of the attribute or field with this number, which always has the same type.
fn scalar(random: &mut Random, place: usize) -> String {
    match place % 4 {
        0 => format!(r#"{{"N":"{}"}}"#, random.below(1_000_000_000)),
        1 => {
            let length = random.below(40);
            format!(r#"{{"S":"{}"}}"#, noise(random, length))
        }
        2 => format!(r#"{{"BOOL":{}}}"#, random.percent(50)),
        _ => format!(r#"{{"B":"{}"}}"#, STANDARD.encode(random.next().to_le_bytes())),
    }
}

/// `each` different numbers below `possible`, at random.
fn distinct(random: &mut Random, possible: usize, each: usize) -> Vec<usize> {
    let start = random.below(possible);
    let step = possible / each.min(possible);
    (0..each.min(possible))
        .map(|k| (start + k * step + random.below(step)) % possible)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn noise(random: &mut Random, length: usize) -> String {
    let mut text = String::with_capacity(length + 8);
    while text.len() < length {
        let mut word = random.next();
        for _ in 0..12 {
            text.push(char::from(b"abcdefghijklmnopqrstuvwxyz012345"[usize::try_from(word & 31).unwrap()]));
            word >>= 5;
        }
    }
    text.truncate(length);
    text
}
