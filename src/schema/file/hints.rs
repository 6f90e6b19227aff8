//! Hints about what deserves a look before a table is created. They change no type.

use std::collections::BTreeMap;
use std::fmt;

use crate::attribute::Kind;
use crate::schema::naming::{RESCUED, column_names, field_names, fold, is_reserved, short};
use crate::schema::observed::{Fields, Limits, Observed};
use crate::schema::types::{ColumnType, TimestampForm};

/// Seconds since 1970 of 2001-01-01 and of 2100-01-01.
const LIKELY_SECONDS: std::ops::RangeInclusive<i64> = 978_307_200..=4_102_444_800;

/// A hint about an attribute, or about a nested value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The attribute. For nested values a path: `a.field`, `a[]` for a list's elements, `a{}` for a map's values.
    pub place: String,
    /// What was noticed.
    pub kind: HintKind,
}

/// What deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HintKind {
    /// Types without a common type, and how often each was seen.
    MixedTypes(Vec<(Kind, u64)>),
    /// The name differs from another only in case.
    CaseTwin {
        /// The other name.
        of: String,
        /// The column's name instead.
        column: String,
    },
    /// The name is reserved by Iceberg, or is that of a nested column with dots.
    Renamed {
        /// The column's name instead.
        column: String,
    },
    /// Numbers that no decimal column can hold.
    WideNumbers,
    /// Every value could be a timestamp.
    LikelyTimestamp(TimestampForm),
    /// All values are NULL.
    NullOnly,
    /// All values are empty lists and maps, or NULL.
    EmptyOnly,
    /// A struct with nearly as many fields as allowed.
    ManyFields {
        /// Its number of fields.
        fields: usize,
        /// The maximum number of fields.
        limit: usize,
    },
    /// Too many fields for a struct.
    FieldsAsMap {
        /// The maximum number of fields.
        limit: usize,
    },
    /// Only a few of the items have it.
    Rare {
        /// Number of items that have it.
        present: u64,
        /// Number of all items.
        items: u64,
    },
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.kind {
            HintKind::MixedTypes(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{} ({count})", kind.name())).collect();
                write!(f, "{} have nothing in common: the column holds JSON text", kinds.join(" and "))
            }
            HintKind::CaseTwin { of, column } => {
                write!(f, "differs from {:?} by case only: the column is {:?}", short(of), short(column))
            }
            HintKind::Renamed { column } => {
                write!(f, "the name is not free in Iceberg: the column is {:?}", short(column))
            }
            HintKind::WideNumbers => {
                f.write_str("numbers too wide for long and decimal: the column holds their digits")
            }
            HintKind::LikelyTimestamp(form) => write!(f, "could be instants: the type would be {:?}", form.type_name()),
            HintKind::NullOnly => f.write_str("never anything but NULL: no column before its type is known"),
            HintKind::EmptyOnly => f.write_str(
                "nothing but empty lists and maps: no column before its type is known, they are kept in _ddb_rescued",
            ),
            HintKind::ManyFields { fields, limit } => write!(
                f,
                "{fields} fields, a struct has up to {limit}: if they are data rather than names, the type should be a map"
            ),
            HintKind::FieldsAsMap { limit } => write!(f, "more than {limit} fields: a map"),
            HintKind::Rare { present, items } => write!(f, "in {present} of {items} items only"),
        }
    }
}

/// Hints about the attributes of this many items with this key, in attribute order.
pub fn hints(key: &[String], items: u64, fields: &Fields, limits: &Limits) -> Vec<Hint> {
    let mut found = Vec::new();
    of_fields(fields, "", Some((key, items)), limits, &mut found);
    found
}

/// `top` is set for the attributes themselves: the key, and the number of items.
fn of_fields(fields: &Fields, path: &str, top: Option<(&[String], u64)>, limits: &Limits, found: &mut Vec<Hint>) {
    let sorted = fields.sorted();
    let names = sorted.iter().map(|(name, _)| *name);
    let columns = top.map_or_else(|| field_names(names.clone()), |(key, _)| column_names(key, names.clone()));
    // Names that are kept, by the form in which they clash with those that are not.
    let kept = names.zip(&columns).filter(|(name, column)| name == column);
    let first: BTreeMap<String, &str> = kept.map(|(name, _)| (fold(name), name)).collect();
    for ((name, observed), column) in sorted.into_iter().zip(columns) {
        let place = format!("{path}{}", short(name));
        let twin = first.get(&fold(name)).copied().unwrap_or(name);
        if column != name {
            let reserved = top.is_some() && (is_reserved(name) || fold(name) == RESCUED);
            let kind = if twin == name || reserved {
                HintKind::Renamed { column }
            } else {
                HintKind::CaseTwin { of: twin.to_owned(), column }
            };
            found.push(Hint { place: place.clone(), kind });
        }
        of_values(observed, &place, limits, found);
        if let Some((_, items)) = top
            && items >= 1000
            && observed.total() <= items / 1000
        {
            found.push(Hint { place, kind: HintKind::Rare { present: observed.total(), items } });
        }
    }
}

fn of_values(observed: &Observed, place: &str, limits: &Limits, found: &mut Vec<Hint>) {
    let mut note = |kind| found.push(Hint { place: place.to_owned(), kind });
    let kinds: Vec<Kind> = observed.kinds().filter(|kind| *kind != Kind::Null).collect();
    if ColumnType::of(observed) == ColumnType::Undecided {
        return note(if kinds.is_empty() { HintKind::NullOnly } else { HintKind::EmptyOnly });
    }
    match kinds.as_slice() {
        [Kind::N] => {
            if matches!(ColumnType::of(observed), ColumnType::NumberString) {
                note(HintKind::WideNumbers);
            } else if let Some(form) = likely(observed) {
                note(HintKind::LikelyTimestamp(form));
            }
        }
        [Kind::S] if observed.instants_only() => note(HintKind::LikelyTimestamp(TimestampForm::Iso8601)),
        [Kind::L] => {
            if let Some(element) = observed.element() {
                of_values(element, &format!("{place}[]"), limits, found);
            }
        }
        [Kind::M] => {
            if let Some(values) = observed.values() {
                note(HintKind::FieldsAsMap { limit: limits.struct_fields });
                of_values(values, &format!("{place}{{}}"), limits, found);
            } else {
                let fields = observed.fields().len();
                if fields > limits.struct_fields / 4 * 3 {
                    note(HintKind::ManyFields { fields, limit: limits.struct_fields });
                }
                of_fields(observed.fields(), &format!("{place}."), None, limits, found);
            }
        }
        [_] => {}
        _ => note(HintKind::MixedTypes(kinds.iter().map(|kind| (*kind, observed.count(*kind))).collect())),
    }
}

/// Whether whole numbers are all timestamps of this century, as seconds or as milliseconds.
fn likely(observed: &Observed) -> Option<TimestampForm> {
    let numbers = observed.numbers();
    let (least, greatest) = numbers.span.filter(|_| !numbers.beyond_long)?;
    let within = |unit: i64| LIKELY_SECONDS.contains(&(least / unit)) && LIKELY_SECONDS.contains(&(greatest / unit));
    if within(1) {
        Some(TimestampForm::Seconds)
    } else if within(1000) {
        Some(TimestampForm::Milliseconds)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::parser::Parser;

    fn of(items: &[&str]) -> Vec<String> {
        let limits = Limits { struct_fields: 4, ..Limits::default() };
        let mut fields = Fields::default();
        for item in items {
            let mut parser = Parser::new(item.as_bytes()).unwrap();
            fields.observe_item(&mut parser, &limits, &mut String::new()).unwrap();
        }
        hints(&["pk".to_owned()], items.len() as u64, &fields, &limits).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn plain_attributes_need_no_look() {
        assert!(
            of(&[
                r#"{"a":{"S":"x"},"b":{"N":"1"},"c":{"M":{"d":{"L":[{"BOOL":true}]}}},"e":{"NULL":true}}"#,
                r#"{"e":{"N":"12.5"}}"#
            ])
            .is_empty()
        );
    }

    #[test]
    fn what_deserves_a_look() {
        for (items, expected) in [
            (
                &[r#"{"a":{"S":"x"}}"#, r#"{"a":{"N":"1"}}"#][..],
                &["a: S (1) and N (1) have nothing in common: the column holds JSON text"][..],
            ),
            (
                &[r#"{"name":{"S":"x"},"Name":{"S":"y"}}"#],
                &[r#"name: differs from "Name" by case only: the column is "name__82a3537f""#],
            ),
            (
                &[r#"{"_file":{"S":"x"}}"#],
                &[r#"_file: the name is not free in Iceberg: the column is "_file__62e9b8e5""#],
            ),
            (&[r#"{"a":{"N":"1E100"}}"#], &["a: numbers too wide for long and decimal: the column holds their digits"]),
            (&[r#"{"a":{"N":"1768386096"}}"#], &[r#"a: could be instants: the type would be "timestamp(seconds)""#]),
            (
                &[r#"{"a":{"N":"1768386096366"}}"#],
                &[r#"a: could be instants: the type would be "timestamp(milliseconds)""#],
            ),
            (&[r#"{"a":{"N":"1768386096"}}"#, r#"{"a":{"N":"7"}}"#], &[]),
            (&[r#"{"a":{"N":"1768386096"}}"#, r#"{"a":{"N":"1768386096.5"}}"#], &[]),
            (
                &[r#"{"a":{"S":"2026-01-14T10:20:00Z"}}"#, r#"{"a":{"NULL":true}}"#],
                &[r#"a: could be instants: the type would be "timestamp(iso-8601)""#],
            ),
            (&[r#"{"a":{"S":"2026-01-14T10:20:00Z"}}"#, r#"{"a":{"S":"today"}}"#], &[]),
            (&[r#"{"a":{"NULL":true}}"#], &["a: never anything but NULL: no column before its type is known"]),
            (
                &[r#"{"a":{"L":[{"NULL":true}]}}"#, r#"{"a":{"L":[{"M":{"b":{"NULL":true}}}]}}"#],
                &[
                    "a: nothing but empty lists and maps: no column before its type is known, they are kept in _ddb_rescued",
                ],
            ),
            (
                &[r#"{"a":{"M":{"b":{"NULL":true},"c":{"S":""}}}}"#],
                &["a.b: never anything but NULL: no column before its type is known"],
            ),
            (
                &[r#"{"pk":{"S":"x"},"PK":{"S":"y"}}"#],
                &[r#"PK: differs from "pk" by case only: the column is "PK__fcab7fcc""#],
            ),
            (
                &[r#"{"a":{"L":[{"M":{"at":{"N":"1768386096"}}}]}}"#],
                &[r#"a[].at: could be instants: the type would be "timestamp(seconds)""#],
            ),
            (
                &[r#"{"a":{"M":{"1":{"S":""},"2":{"S":""},"3":{"S":""},"4":{"S":""}}}}"#],
                &["a: 4 fields, a struct has up to 4: if they are data rather than names, the type should be a map"],
            ),
            (
                &[r#"{"a":{"M":{"1":{"S":""},"2":{"S":""},"3":{"S":""},"4":{"S":""},"5":{"N":"1"}}}}"#],
                &[
                    "a: more than 4 fields: a map",
                    "a{}: S (4) and N (1) have nothing in common: the column holds JSON text",
                ],
            ),
        ] {
            assert_eq!(of(items), expected, "{items:?}");
        }
        assert!(of(&[r#"{"a":{"M":{"1":{"S":""},"2":{"S":""},"3":{"S":""}}}}"#]).is_empty(), "few enough fields");
        let nameless = of(&[r#"{"":{"S":"x"}}"#]);
        assert!(nameless.len() == 1 && nameless[0].contains("the name is not free in Iceberg"), "{nameless:?}");
    }

    /// One in a thousand, once there are a thousand.
    #[test]
    fn what_few_items_have_is_told() {
        let told = |items: usize, present: usize| {
            let all: Vec<&str> = (0..items)
                .map(|n| if n < present { r#"{"a":{"S":""},"b":{"S":""}}"# } else { r#"{"a":{"S":""}}"# })
                .collect();
            of(&all).len()
        };
        for (items, present, hints) in [(1000, 1, 1), (999, 1, 0), (1000, 2, 0), (2000, 2, 1), (2000, 3, 0)] {
            assert_eq!(told(items, present), hints, "{present} of {items}");
        }
    }
}
