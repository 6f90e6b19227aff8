//! Detects from a manifest whether its export was filtered.
//!
//! `ExportTableToPointInTime` accepts filter, projection and key condition expressions. AWS does not document how the
//! manifest records them, so any non-empty field with such a name counts, at any depth.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Parts of the names of such fields, in lower case.
const WORDS: [&str; 3] = ["filter", "condition", "projection"];

/// The first such field in the JSON.
pub(super) fn filter_in(json: &[u8]) -> serde_json::Result<Option<String>> {
    Ok(serde_json::from_slice::<Found>(json)?.filter)
}

/// The relevant information about any JSON value.
#[derive(Default)]
struct Found {
    /// Whether it is not empty: not null, not `false`, and not made of empty values only.
    full: bool,
    /// A field in it whose name refers to a filter.
    filter: Option<String>,
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl Any {
    fn scalar(full: bool) -> Found {
        Found { full, filter: None }
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Self::scalar(false))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Found, E> {
        Ok(Self::scalar(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Self::scalar(true))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Found, E> {
        Ok(Self::scalar(value > 0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Self::scalar(true))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(Self::scalar(!text.trim().is_empty()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Found, A::Error> {
        let mut all = Found::default();
        while let Some(element) = elements.next_element::<Found>()? {
            all.full |= element.full;
            all.filter = all.filter.or(element.filter);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found, A::Error> {
        let mut all = Found::default();
        while let Some(name) = members.next_key::<String>()? {
            if all.filter.is_some() {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = members.next_value::<Found>()?;
            all.full |= value.full;
            let lower = name.to_lowercase();
            let speaks = value.full && WORDS.iter().any(|word| lower.contains(word));
            all.filter = if speaks { Some(name.chars().take(80).collect()) } else { value.filter };
        }
        Ok(all)
    }
}
