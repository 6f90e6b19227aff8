//! Column names: the attribute's own wherever Iceberg and its readers can distinguish columns by it.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

/// The column of rescued values.
pub const RESCUED: &str = "_ddb_rescued";

/// Names of Iceberg's metadata columns (spec, "Reserved Field IDs").
const RESERVED: [&str; 9] = [
    "_file",
    "_pos",
    "_deleted",
    "_spec_id",
    "_partition",
    "_row_id",
    "_last_updated_sequence_number",
    "_change_type",
    "_change_ordinal",
];

/// The column names of a table's attributes, in the order given.
///
/// Some names differ only in case, clash once Iceberg flattens nested names with dots, or are reserved. Of these, the
/// key's names are kept, then the bytewise smallest where possible; the others get `__` and 8 hex digits of the name's
/// SHA-256. The result depends only on the key and the set of names, so it is the same in every run.
pub fn column_names<'a>(key: &[String], names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    own_names(key, names, true)
}

/// The column names of a struct's fields, in the order given, by the same rule.
pub(super) fn field_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    own_names(&[], names, false)
}

fn own_names<'a>(first: &[String], names: impl IntoIterator<Item = &'a str>, top_level: bool) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let (mut before, mut sorted): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| first.iter().any(|other| other == *name));
    before.sort_unstable_by_key(|name| first.iter().position(|other| other == name));
    sorted.sort_unstable();
    let mut taken = Taken::default();
    let in_order = before.into_iter().chain(sorted);
    let columns: BTreeMap<&str, String> = in_order.map(|name| (name, taken.take(name, name, top_level))).collect();
    names.iter().map(|name| columns.get(name).cloned().unwrap_or_default()).collect()
}

/// Names of sibling columns or fields.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeSet<String>);

impl Taken {
    pub(super) fn of<'a>(existing: impl IntoIterator<Item = &'a String>) -> Self {
        Self(existing.into_iter().map(|name| fold(name)).collect())
    }

    /// Takes the wanted name of an attribute; if it is not free, the attribute's own with a digest.
    pub(super) fn take(&mut self, wanted: &str, attribute: &str, top_level: bool) -> String {
        let lower = fold(wanted);
        let reserved = top_level && (is_reserved(wanted) || lower == RESCUED);
        let column = if reserved || wanted.is_empty() || self.0.contains(&lower) || clashes(&lower, &self.0) {
            with_digest(attribute)
        } else {
            wanted.to_owned()
        };
        self.0.insert(fold(&column));
        column
    }
}

/// Whether Iceberg has a metadata column with this name.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&fold(name).as_str())
}

/// A name folded for case: names that fold alike are the same to a reader that ignores case.
///
/// Character by character, like Java's `equalsIgnoreCase`, by which Spark finds columns: `K` equals the Kelvin sign,
/// and `s` the long `ſ`, but `ß` does not equal `ss`. Characters do not depend on their neighbours, as they do in
/// `to_lowercase`.
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            let single = if upper.len() == 1 { upper.next() } else { None };
            let upper = single.unwrap_or(c);
            upper.to_lowercase().next().unwrap_or(upper)
        })
        .collect()
}

/// A name for a message; long ones are truncated.
pub(super) fn short(name: &str) -> String {
    match name.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// Whether a dotted name could be another's nested field, or the reverse.
fn clashes(lower: &str, taken: &BTreeSet<String>) -> bool {
    let below_another =
        lower.match_indices('.').any(|(dot, _)| lower.get(..dot).is_some_and(|head| taken.contains(head)));
    let prefix = format!("{lower}.");
    let above_another = taken.range(prefix.clone()..).next().is_some_and(|next| next.starts_with(&prefix));
    below_another || above_another
}

fn with_digest(name: &str) -> String {
    format!("{name}__{}", digest(name))
}

/// 8 hex digits of the text's SHA-256.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(4).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stay() {
        let names = ["order-id", "a b", "select", "größe", "😀", "x.y"];
        assert_eq!(column_names(&[], names), names);
    }

    #[test]
    fn the_smallest_of_case_twins_keeps_its_name() {
        let columns = column_names(&[], ["name", "Name", "NAME"]);
        assert_eq!(columns[2], "NAME");
        assert!(columns[0].starts_with("name__") && columns[1].starts_with("Name__"), "{columns:?}");
        assert_eq!(columns[0].len(), "name__".len() + 8);
        assert_ne!(columns[0].to_lowercase(), columns[1].to_lowercase());
    }

    #[test]
    fn case_is_that_of_unicode() {
        for (one, other) in
            [("k", "\u{212a}"), ("s", "ſ"), ("µ", "μ"), ("ΟΔΟΣ", "οδος"), ("é", "É"), ("i", "İ"), ("ı", "I")]
        {
            let columns = column_names(&[], [one, other]);
            assert_eq!(columns.iter().filter(|c| c.contains("__")).count(), 1, "{columns:?}");
        }
        for (one, other) in [("ß", "ss"), ("ß", "SS"), ("e", "é"), ("é", "e\u{301}"), ("a", "а")] {
            assert_eq!(column_names(&[], [one, other]), [one, other]);
        }
        // A sigma at the end of a word has its own lower-case letter.
        let columns = column_names(&[], ["ΑΣ", "ΑΣ.Β", "ας.γ"]);
        assert_eq!(columns.iter().filter(|c| c.contains("__")).count(), 2, "{columns:?}");
    }

    #[test]
    fn dotted_names_do_not_meet_nested_ones() {
        let columns = column_names(&[], ["a", "a.b", "a.element"]);
        assert_eq!(columns[0], "a");
        assert!(columns[1].starts_with("a.b__") && columns[2].starts_with("a.element__"), "{columns:?}");
    }

    #[test]
    fn reserved_names_are_taken_only_at_the_top() {
        assert!(column_names(&[], ["_file"])[0].starts_with("_file__"));
        assert!(column_names(&[], [RESCUED])[0].starts_with("_ddb_rescued__"));
        assert_eq!(field_names(["_file"]), ["_file"]);
    }

    #[test]
    fn existing_columns_keep_their_names() {
        let mut taken = Taken::of(&["name".to_owned()]);
        assert!(taken.take("Name", "Name", true).starts_with("Name__"));
        // A name that was wanted for another attribute.
        assert_eq!(taken.take("other", "x", true), "other");
        assert!(taken.take("OTHER", "y", true).starts_with("y__"));
    }

    #[test]
    fn names_of_the_key_stay() {
        let key = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (key, other) in [
            (key(&["pk"]), "PK"),
            (key(&["a.b"]), "a"),
            (key(&["k"]), "\u{212a}"),
            (key(&["a"]), "a.b"),
            (key(&["x", "pk"]), "PK"),
        ] {
            let names: Vec<&str> = key.iter().map(String::as_str).chain([other]).collect();
            let columns = column_names(&key, names.iter().copied());
            assert_eq!(columns[..key.len()], key);
            assert_eq!(columns[key.len()], with_digest(other));
        }
        // If two keys clash, the partition key keeps its name.
        assert_eq!(column_names(&key(&["id", "ID"]), ["ID", "id"]), [with_digest("ID").as_str(), "id"]);
    }
}
