//! Column types: the types of converted attribute values.

use std::fmt;

use super::naming::field_names;
use super::observed::{NumberRange, Observed};
use crate::attribute::{Kind, MAX_DIGITS};

/// Minimum number of digits after the point in a decimal column, so that future prices fit the column.
const LEAST_SCALE: u32 = 9;

/// Maximum nesting of lists and maps in a type; DynamoDB allows 32 levels. Deeper values become JSON text.
pub(super) const MAX_NESTING: u32 = 32;

/// The type of converted values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// Unknown: only NULL and empty lists and maps were observed. It stands for a whole column or for a struct field,
    /// which is only added once the type is known.
    Undecided,
    /// S, unchanged.
    String,
    /// N as canonical digits, for numbers that fit no decimal.
    NumberString,
    /// Any value as JSON text, for values without a common type.
    Json,
    /// Integers within 64 bits.
    Long,
    /// Exact decimals.
    Decimal {
        /// Total number of digits, 1 to 38.
        precision: u32,
        /// Number of digits after the point.
        scale: u32,
    },
    /// Floats; only on the user's request, since they round.
    Double,
    /// Timestamps in microseconds.
    Timestamp(TimestampForm),
    /// BOOL.
    Boolean,
    /// B, decoded.
    Binary,
    /// L.
    List(Box<Self>),
    /// SS, NS or BS; a list whose order has no meaning.
    Set(Box<Self>),
    /// M by field.
    Struct(Vec<Field>),
    /// M as a map from string to one type.
    Map(Box<Self>),
}

/// The representation of a timestamp in DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampForm {
    /// N: seconds since 1970, with or without a fraction.
    Seconds,
    /// N: milliseconds since 1970.
    Milliseconds,
    /// S: an ISO 8601 string in the form of RFC 3339; without an offset it is UTC.
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

    /// The representation with that name.
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

impl Field {
    /// An observed field. If its type is unknown, it gets its name once it is known, next to the fields that exist
    /// then.
    pub(super) fn seen(name: &str, column: String, ty: ColumnType) -> Self {
        let column = if ty == ColumnType::Undecided { name.to_owned() } else { column };
        Self { name: name.to_owned(), column, ty }
    }
}

impl ColumnType {
    /// The type that holds all observed values.
    pub fn of(observed: &Observed) -> Self {
        Self::of_level(observed, 0)
    }

    /// The type that holds the observed values of one DynamoDB type.
    pub fn of_kind(observed: &Observed, kind: Kind) -> Self {
        Self::of_kind_at(observed, kind, 0)
    }

    pub(super) fn of_level(observed: &Observed, level: u32) -> Self {
        let kinds = observed.kinds().filter(|kind| *kind != Kind::Null);
        let mut types = kinds.map(|kind| Self::of_kind_at(observed, kind, level));
        let Some(first) = types.next() else { return Self::Undecided };
        let Some(second) = types.next() else { return first };
        // Empty lists and empty maps together still determine no type.
        if first == second && first == Self::Undecided { first } else { Self::Json }
    }

    pub(super) fn of_kind_at(observed: &Observed, kind: Kind, level: u32) -> Self {
        let inner = |observed: &Observed| Self::of_level(observed, level + 1);
        let nested = |ty: Self, around: fn(Box<Self>) -> Self| match ty {
            Self::Undecided => Self::Undecided,
            _ if level >= MAX_NESTING => Self::Json,
            ty => around(Box::new(ty)),
        };
        match kind {
            Kind::Null => Self::Undecided,
            // Named in the flat form but in no item: it may be long or decimal.
            Kind::N | Kind::Ns if observed.count(kind) == 0 => Self::Undecided,
            Kind::S => Self::String,
            Kind::N => Self::of_numbers(observed.numbers()),
            Kind::B => Self::Binary,
            Kind::Bool => Self::Boolean,
            Kind::Ss => Self::Set(Box::new(Self::String)),
            Kind::Ns => Self::Set(Box::new(Self::of_numbers(observed.set_numbers()))),
            Kind::Bs => Self::Set(Box::new(Self::Binary)),
            Kind::L => nested(observed.element().map_or(Self::Undecided, inner), Self::List),
            Kind::M => {
                if let Some(values) = observed.values() {
                    return nested(inner(values), Self::Map);
                }
                let fields = observed.fields().sorted();
                let columns = field_names(fields.iter().map(|(name, _)| *name));
                let fields = fields
                    .into_iter()
                    .zip(columns)
                    .map(|((name, observed), column)| Field::seen(name, column, inner(observed)));
                let fields: Vec<Field> = fields.collect();
                match fields.iter().all(|field| field.ty == Self::Undecided) {
                    true => Self::Undecided,
                    false if level >= MAX_NESTING => Self::Json,
                    false => Self::Struct(fields),
                }
            }
        }
    }

    /// Whether a table has a column or field for it.
    pub(super) fn is_made(&self) -> bool {
        match self {
            Self::Undecided => false,
            Self::List(inner) | Self::Map(inner) => inner.is_made(),
            Self::Struct(fields) => fields.iter().any(|field| field.ty.is_made()),
            _ => true,
        }
    }

    /// Whether it, or a nested field, is unknown.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Undecided => true,
            Self::List(inner) | Self::Map(inner) => inner.is_open(),
            Self::Struct(fields) => fields.iter().any(|field| field.ty.is_open()),
            _ => false,
        }
    }

    /// The type with unknown parts replaced by observed types, where possible.
    #[must_use]
    pub(super) fn decided_by(self, observed: &Observed) -> Self {
        self.decided_at(Some(observed), 0)
    }

    fn decided_at(self, observed: Option<&Observed>, level: u32) -> Self {
        match self {
            Self::Undecided => observed.map_or(Self::Undecided, |observed| Self::of_level(observed, level)),
            Self::List(inner) if inner.is_open() => {
                Self::List(Box::new(inner.decided_at(observed.and_then(Observed::element), level + 1)))
            }
            Self::Map(inner) if inner.is_open() => {
                let values = observed.map(Observed::any_value);
                Self::Map(Box::new(inner.decided_at(values.as_ref(), level + 1)))
            }
            Self::Struct(mut fields) => {
                for field in &mut fields {
                    let ty = std::mem::replace(&mut field.ty, Self::Undecided);
                    let seen = observed.and_then(|observed| observed.fields().get(&field.name));
                    field.ty = ty.decided_at(seen, level + 1);
                }
                Self::Struct(fields)
            }
            ty => ty,
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
    /// In readable notation: `list<struct<sku: string, qty: long>>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecided => f.write_str("undecided"),
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
    use crate::attribute::parser::Parser;
    use crate::schema::observed::Limits;

    fn of(values: &[&str]) -> String {
        let mut observed = Observed::default();
        for value in values {
            let mut parser = Parser::new(value.as_bytes()).unwrap();
            observed.observe(&mut parser, &Limits::default(), &mut String::new()).unwrap();
        }
        ColumnType::of(&observed).to_string()
    }

    #[test]
    fn what_is_not_known_yet_is_found_wherever_it_is() {
        let inside = |inner: &dyn Fn(ColumnType) -> ColumnType| {
            [ColumnType::Long, ColumnType::Undecided].map(|ty| (inner(ty.clone()).is_made(), inner(ty).is_open()))
        };
        let field = |ty: ColumnType| Field::seen("a", "a".to_owned(), ty);
        let both = |ty: ColumnType| ColumnType::Struct(vec![field(ty), field(ColumnType::Undecided)]);
        let list = |ty: ColumnType| ColumnType::List(Box::new(ty));
        assert_eq!(inside(&|ty| ty), [(true, false), (false, true)]);
        assert_eq!(inside(&list), [(true, false), (false, true)]);
        assert_eq!(inside(&|ty| ColumnType::Map(Box::new(list(ty)))), [(true, false), (false, true)]);
        assert_eq!(inside(&|ty| ColumnType::Struct(vec![field(ty)])), [(true, false), (false, true)]);
        assert_eq!(inside(&both), [(true, true), (false, true)]);
    }

    /// Also inside of a list, it ends where new types do.
    #[test]
    fn what_is_decided_later_lies_as_deep_as_what_was_seen_at_first() {
        let text = format!("{}{{\"S\":\"\"}}{}", r#"{"L":["#.repeat(34), "]}".repeat(34));
        let mut observed = Observed::default();
        observed.observe(&mut Parser::new(text.as_bytes()).unwrap(), &Limits::default(), &mut String::new()).unwrap();
        let mut open = ColumnType::Undecided;
        for _ in 0..3 {
            assert_eq!(open.clone().decided_by(&observed).to_string(), of(&[text.as_str()]));
            open = ColumnType::List(Box::new(open));
        }
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
            (&[r#"{"NULL":true}"#], "undecided"),
            (&[r#"{"SS":["a"]}"#], "set<string>"),
            (&[r#"{"NS":["1","2"]}"#], "set<long>"),
            (&[r#"{"NS":["1","2.5"]}"#], "set<decimal(38,9)>"),
            (&[r#"{"BS":[""]}"#], "set<binary>"),
            (&[r#"{"L":[]}"#], "undecided"),
            (&[r#"{"L":[{"NULL":true},{"NULL":true}]}"#], "undecided"),
            (&[r#"{"L":[]}"#, r#"{"M":{}}"#], "undecided"),
            (&[r#"{"L":[{"L":[]},{"M":{}}]}"#], "undecided"),
            (&[r#"{"L":[]}"#, r#"{"M":{}}"#, r#"{"S":""}"#], "json"),
            (&[r#"{"L":[{"L":[]},{"L":[{"M":{}},{"NULL":true}]}]}"#], "undecided"),
            (&[r#"{"L":[{"L":[]},{"L":[{"S":""}]}]}"#], "list<list<string>>"),
            (&[r#"{"L":[{"M":{"a":{"NULL":true},"b":{"N":"1"}}}]}"#], "list<struct<a: undecided, b: long>>"),
            (&[r#"{"L":[]}"#, r#"{"L":[{"N":"1"}]}"#], "list<long>"),
            (&[r#"{"L":[{"N":"1"},{"S":"a"}]}"#], "list<json>"),
            (&[r#"{"M":{}}"#], "undecided"),
            (&[r#"{"M":{"a":{"NULL":true},"b":{"M":{"c":{"L":[]}}}}}"#], "undecided"),
            (&[r#"{"M":{"b":{"S":""}}}"#, r#"{"M":{"a":{"N":"1"}}}"#], "struct<a: long, b: string>"),
            (&[r#"{"S":"1"}"#, r#"{"N":"1"}"#], "json"),
            (&[r#"{"L":[]}"#, r#"{"SS":["a"]}"#], "json"),
            (&[r#"{"L":[]}"#, r#"{"M":{"a":{"N":"1"}}}"#], "json"),
            (&[r#"{"M":{}}"#, r#"{"L":[{"N":"1"}]}"#], "json"),
        ] {
            assert_eq!(of(values), expected, "{values:?}");
        }
        let wide: Vec<_> = (0..257).map(|n| format!(r#"{{"M":{{"f{n}":{{"N":"{n}"}}}}}}"#)).collect();
        assert_eq!(of(&wide.iter().map(String::as_str).collect::<Vec<_>>()), "map<string, long>");
        let wide: Vec<_> = (0..257).map(|n| format!(r#"{{"M":{{"f{n}":{{"L":[]}}}}}}"#)).collect();
        assert_eq!(of(&wide.iter().map(String::as_str).collect::<Vec<_>>()), "undecided");
        // The nesting limit of exports.
        let deep = |inner: &str| format!("{}{inner}{}", r#"{"L":["#.repeat(34), "]}".repeat(34));
        assert_eq!(of(&[&deep("")]), "undecided");
        assert_eq!(of(&[&deep(r#"{"S":"x"}"#)]), format!("{}json{}", "list<".repeat(32), ">".repeat(32)));
    }
}
