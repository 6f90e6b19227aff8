//! DynamoDB's values as the model has them, written with nothing of the crate's own reading.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// An attribute value; numbers as they are spelled, maps in the order in which they are written.
#[derive(Debug, Clone, PartialEq)]
pub enum V {
    S(String),
    N(String),
    B(Vec<u8>),
    Bool(bool),
    Null,
    Ss(Vec<String>),
    Ns(Vec<String>),
    Bs(Vec<Vec<u8>>),
    L(Vec<V>),
    M(Vec<(String, V)>),
}

/// An item, attributes in the order in which they are written.
pub type Item = Vec<(String, V)>;

impl V {
    pub fn kind(&self) -> &'static str {
        match self {
            V::S(_) => "S",
            V::N(_) => "N",
            V::B(_) => "B",
            V::Bool(_) => "BOOL",
            V::Null => "NULL",
            V::Ss(_) => "SS",
            V::Ns(_) => "NS",
            V::Bs(_) => "BS",
            V::L(_) => "L",
            V::M(_) => "M",
        }
    }

    /// What stands behind the descriptor.
    fn content(&self) -> Value {
        match self {
            V::S(text) | V::N(text) => json!(text),
            V::B(bytes) => json!(STANDARD.encode(bytes)),
            V::Bool(value) => json!(value),
            V::Null => json!(true),
            V::Ss(list) | V::Ns(list) => json!(list),
            V::Bs(list) => list.iter().map(|bytes| json!(STANDARD.encode(bytes))).collect(),
            V::L(list) => list.iter().map(V::dynamodb_json).collect(),
            V::M(fields) => item_json(fields),
        }
    }

    /// As an export has it.
    pub fn dynamodb_json(&self) -> Value {
        let mut object = Map::new();
        object.insert(self.kind().to_owned(), self.content());
        Value::Object(object)
    }

    /// As a column of values without a common type has it.
    pub fn plain_json(&self) -> String {
        match self {
            V::S(text) => json!(text).to_string(),
            V::N(text) => Number::read(text).canonical(),
            V::Bool(value) => value.to_string(),
            V::Null => "null".to_owned(),
            V::B(_) | V::Ss(_) | V::Bs(_) => self.dynamodb_json().to_string(),
            V::Ns(list) => {
                let numbers: Vec<_> = list.iter().map(|text| Number::read(text).canonical()).collect();
                json!({ "NS": numbers }).to_string()
            }
            V::L(list) => format!("[{}]", list.iter().map(V::plain_json).collect::<Vec<_>>().join(",")),
            V::M(fields) => {
                let inner: Vec<_> = fields.iter().map(|(n, v)| format!("{}:{}", json!(n), v.plain_json())).collect();
                let text = format!("{{{}}}", inner.join(","));
                let descriptors = ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"];
                match fields.as_slice() {
                    [(name, _)] if descriptors.contains(&name.as_str()) => format!("{{\"M\":{text}}}"),
                    _ => text,
                }
            }
        }
    }
}

pub fn item_json(item: &Item) -> Value {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), value.dynamodb_json())).collect())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// `±digits × 10^exponent`, without zeros at either end; zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Number {
    pub fn read(text: &str) -> Self {
        let negative = text.starts_with('-');
        let text = text.trim_start_matches(['-', '+']);
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.parse::<i64>().unwrap() - fraction.len() as i64;
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0').to_owned();
        let zeros = all.len() - all.trim_end_matches('0').len();
        if digits.is_empty() {
            return Self { negative: false, digits, exponent: 0 };
        }
        Self { negative, digits, exponent: exponent + zeros as i64 }
    }

    /// Digits before the point.
    pub fn integer_digits(&self) -> i64 {
        (self.digits.len() as i64 + self.exponent).max(0)
    }

    /// Digits after the point.
    pub fn scale(&self) -> i64 {
        (-self.exponent).max(0)
    }

    pub fn to_long(&self) -> Option<i64> {
        if self.exponent < 0 || self.integer_digits() > 19 {
            return None;
        }
        self.plain().parse().ok()
    }

    /// Whether decimal(38, scale) holds it.
    pub fn fits_decimal(&self, scale: i64) -> bool {
        self.scale() <= scale && (self.digits.is_empty() || self.digits.len() as i64 + self.exponent + scale <= 38)
    }

    /// All digits, no exponent.
    pub fn plain(&self) -> String {
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let sign = if self.negative { "-" } else { "" };
        if self.exponent >= 0 {
            return format!("{sign}{}{}", self.digits, "0".repeat(self.exponent as usize));
        }
        let places = self.scale() as usize;
        let padded = format!("{:0>width$}", self.digits, width = places + 1);
        let (whole, fraction) = padded.split_at(padded.len() - places);
        format!("{sign}{whole}.{fraction}")
    }

    /// One text for one value.
    pub fn canonical(&self) -> String {
        if (self.exponent >= 0 && self.integer_digits() <= 38) || (self.exponent < 0 && self.scale() <= 38) {
            return self.plain();
        }
        let sign = if self.negative { "-" } else { "" };
        let (first, rest) = self.digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}E{:+}", self.exponent + self.digits.len() as i64 - 1)
    }

    /// The n-th spelling of the same value.
    pub fn spelled(&self, n: usize) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.digits.is_empty() {
            return ["0", "0.0", "-0", "0E5", "0.00E-3"][n % 5].to_owned();
        }
        let digits = &self.digits;
        match n % 6 {
            0 => self.canonical(),
            1 => format!("{sign}{digits}E{}", self.exponent),
            2 => format!("{sign}{digits}.0e{:+}", self.exponent),
            3 => format!("{sign}{digits}00E{}", self.exponent - 2),
            4 => format!("{sign}0.{digits}E{}", self.exponent + digits.len() as i64),
            _ if self.scale() > 0 => format!("{}00", self.plain()),
            _ if self.integer_digits() < 30 => format!("{}.000", self.plain()),
            _ => self.canonical(),
        }
    }
}

/// What makes a key part what it is: numbers are equal by value.
pub fn identity(part: &V) -> String {
    match part {
        V::S(text) => format!("S {text}"),
        V::N(text) => format!("N {}", Number::read(text).canonical()),
        V::B(bytes) => format!("B {}", hex(bytes)),
        other => panic!("{other:?} is no key"),
    }
}
