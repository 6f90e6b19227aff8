//! Whether a manifest says that its export was filtered.
//!
//! `ExportTableToPointInTime` takes filter, projection and key condition expressions. AWS does not document what the
//! manifest says of them, so any field counts whose name speaks of one, wherever it stands, unless it is empty.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What such a field's name has in it, in small letters.
const WORDS: [&str; 3] = ["filter", "condition", "projection"];

/// The first field of the JSON that says so.
pub(super) fn filter_in(json: &[u8]) -> serde_json::Result<Option<String>> {
    Ok(serde_json::from_slice::<Found>(json)?.filter)
}

/// What matters of any JSON value.
#[derive(Default)]
struct Found {
    /// It says something: it is not null, `false`, or empty all through.
    full: bool,
    /// A field in it that names a filter.
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
