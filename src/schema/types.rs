//! Column types: what an attribute's values become, and how they are converted.

use std::fmt;

use super::naming::column_names;
use super::{NumberRange, Observed};
use crate::attribute::{Kind, MAX_DIGITS};

/// Digits after the point that a decimal column has at least, so that prices of tomorrow fit the column of today.
const LEAST_SCALE: u32 = 9;

/// Lists and maps inside of each other that a type describes; DynamoDB has 32 levels. What lies deeper is JSON text.
pub(super) const MAX_NESTING: u32 = 32;

/// What values become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// S as it is.
    String,
    /// N as canonical digits, for numbers that fit no decimal.
    NumberString,
    /// Any value as JSON text, for values with no type in common.
    Json,
    /// Integers within 64 bits.
    Long,
    /// Exact decimals.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// Floats; only where the user asks for it, since it rounds.
    Double,
    /// Instants, to the microsecond.
    Timestamp(TimestampForm),
    /// BOOL.
    Boolean,
    /// B, decoded.
    Binary,
    /// L.
    List(Box<Self>),
    /// SS, NS or BS; a list whose order means nothing.
    Set(Box<Self>),
    /// M by field.
    Struct(Vec<Field>),
    /// M from string to one type.
    Map(Box<Self>),
}

/// How an instant is written in DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampForm {
    /// N: seconds since 1970, with fractions or without.
    Seconds,
    /// N: milliseconds since 1970.
    Milliseconds,
    /// S: an ISO 8601 text as RFC 3339 has it; without an offset it is UTC.
    Iso8601,
}

impl TimestampForm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seconds, Self::Milliseconds, Self::Iso8601];

    /// The name in the schema file and in the table's mapping.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Seconds => "timestamp(seconds)",
            Self::Milliseconds => "timestamp(milliseconds)",
            Self::Iso8601 => "timestamp(iso-8601)",
        }
    }

    /// The form of that name.
    pub fn from_type_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.type_name() == name)
    }
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name in DynamoDB.
    pub name: String,
    /// The name in Iceberg.
    pub column: String,
    /// The type.
    pub ty: ColumnType,
}

impl ColumnType {
    /// The type that holds everything that was seen.
    pub fn of(observed: &Observed) -> Self {
        Self::of_level(observed, 0)
    }

    /// The type that holds the values of one DynamoDB type among those seen.
    pub fn of_kind(observed: &Observed, kind: Kind) -> Self {
        Self::of_kind_at(observed, kind, 0)
    }

    pub(super) fn of_level(observed: &Observed, level: u32) -> Self {
        let mut kinds = observed.kinds().filter(|kind| *kind != Kind::Null);
        match (kinds.next(), kinds.next()) {
            (None, _) => Self::String,
            (Some(kind), None) => Self::of_kind_at(observed, kind, level),
            _ => Self::Json,
        }
    }

    pub(super) fn of_kind_at(observed: &Observed, kind: Kind, level: u32) -> Self {
        let inner = |observed: &Observed| Self::of_level(observed, level + 1);
        match kind {
            Kind::L | Kind::M if level >= MAX_NESTING => Self::Json,
            Kind::S | Kind::Null => Self::String,
            Kind::N => Self::of_numbers(observed.numbers()),
            Kind::B => Self::Binary,
            Kind::Bool => Self::Boolean,
            Kind::Ss => Self::Set(Box::new(Self::String)),
            Kind::Ns => Self::Set(Box::new(Self::of_numbers(observed.set_numbers()))),
            Kind::Bs => Self::Set(Box::new(Self::Binary)),
            Kind::L => Self::List(Box::new(observed.element().map_or(Self::String, inner))),
            Kind::M => match observed.values() {
                Some(values) => Self::Map(Box::new(inner(values))),
                None if observed.fields().is_empty() => Self::Map(Box::new(Self::String)),
                None => {
                    let fields = observed.fields().sorted();
                    let columns = column_names(fields.iter().map(|(name, _)| *name), false);
                    Self::Struct(
                        fields
                            .into_iter()
                            .zip(columns)
                            .map(|((name, observed), column)| Field {
                                name: name.to_owned(),
                                column,
                                ty: inner(observed),
                            })
                            .collect(),
                    )
                }
            },
        }
    }

    fn of_numbers(range: NumberRange) -> Self {
        if !range.beyond_long {
            return Self::Long;
        }
        if range.integer_digits + range.scale > MAX_DIGITS {
            return Self::NumberString;
        }
        let scale = range.scale.max(LEAST_SCALE).min(MAX_DIGITS - range.integer_digits);
        Self::Decimal { precision: MAX_DIGITS, scale }
    }

    /// Whether a key column can have it: keys are S, N or B.
    pub fn is_key(&self) -> bool {
        matches!(self, Self::String | Self::NumberString | Self::Long | Self::Decimal { .. } | Self::Binary)
    }
}

impl fmt::Display for ColumnType {
    /// As a person would write it: `list<struct<sku: string, qty: long>>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::NumberString => f.write_str("number-string"),
            Self::Json => f.write_str("json"),
            Self::Long => f.write_str("long"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Double => f.write_str("double"),
            Self::Timestamp(form) => f.write_str(form.type_name()),
            Self::Boolean => f.write_str("boolean"),
            Self::Binary => f.write_str("binary"),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Set(element) => write!(f, "set<{element}>"),
            Self::Map(value) => write!(f, "map<string, {value}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (n, field) in fields.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", field.column, field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Parser;
    use crate::schema::Limits;

    fn of(values: &[&str]) -> String {
        let mut observed = Observed::default();
        for value in values {
            let mut parser = Parser::new(value.as_bytes()).unwrap();
            observed.observe(&mut parser, &Limits::default(), &mut String::new()).unwrap();
        }
        ColumnType::of(&observed).to_string()
    }

    #[test]
    fn the_table_of_types() {
        for (values, expected) in [
            (&[r#"{"S":"a"}"#][..], "string"),
            (&[r#"{"N":"1"}"#, r#"{"N":"-9223372036854775808"}"#], "long"),
            (&[r#"{"N":"1"}"#, r#"{"N":"19.99"}"#], "decimal(38,9)"),
            (&[r#"{"N":"9223372036854775808"}"#], "decimal(38,9)"),
            (&[r#"{"N":"0.00000000001"}"#], "decimal(38,11)"),
            (&[r#"{"N":"1E33"}"#], "decimal(38,4)"),
            (&[r#"{"N":"1E37"}"#], "decimal(38,0)"),
            (&[r#"{"N":"1E38"}"#], "number-string"),
            (&[r#"{"N":"1E30"}"#, r#"{"N":"1E-10"}"#], "number-string"),
            (&[r#"{"B":""}"#], "binary"),
            (&[r#"{"BOOL":true}"#, r#"{"NULL":true}"#], "boolean"),
            (&[r#"{"NULL":true}"#], "string"),
            (&[r#"{"SS":["a"]}"#], "set<string>"),
            (&[r#"{"NS":["1","2"]}"#], "set<long>"),
            (&[r#"{"NS":["1","2.5"]}"#], "set<decimal(38,9)>"),
            (&[r#"{"BS":[""]}"#], "set<binary>"),
            (&[r#"{"L":[]}"#], "list<string>"),
            (&[r#"{"L":[]}"#, r#"{"L":[{"N":"1"}]}"#], "list<long>"),
            (&[r#"{"L":[{"N":"1"},{"S":"a"}]}"#], "list<json>"),
            (&[r#"{"M":{}}"#], "map<string, string>"),
            (&[r#"{"M":{"b":{"S":""}}}"#, r#"{"M":{"a":{"N":"1"}}}"#], "struct<a: long, b: string>"),
            (&[r#"{"S":"1"}"#, r#"{"N":"1"}"#], "json"),
            (&[r#"{"L":[]}"#, r#"{"SS":["a"]}"#], "json"),
        ] {
            assert_eq!(of(values), expected, "{values:?}");
        }
        let wide: Vec<_> = (0..257).map(|n| format!(r#"{{"M":{{"f{n}":{{"N":"{n}"}}}}}}"#)).collect();
        assert_eq!(of(&wide.iter().map(String::as_str).collect::<Vec<_>>()), "map<string, long>");
    }
}
