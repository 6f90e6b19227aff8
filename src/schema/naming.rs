//! Column names: the attribute's own wherever Iceberg and its readers can tell columns apart by it.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

/// The column that keeps what fits no other.
pub const RESCUED: &str = "_ddb_rescued";

/// Names that Iceberg's metadata columns have (spec, "Reserved Field IDs").
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

/// The column names of attributes, or of a struct's fields, in the order given.
///
/// Names that differ by case only, that clash once Iceberg flattens nested names with dots, or that are reserved: the
/// bytewise smallest keeps its name where it can, the others get `__` and 8 hex digits of the name's SHA-256. The result
/// depends on the set of names only, so it is the same from run to run.
pub fn column_names<'a>(names: impl IntoIterator<Item = &'a str>, top_level: bool) -> Vec<String> {
    add_column_names(names, top_level, &BTreeSet::new())
}

/// As [`column_names`], beside columns that exist and keep their names.
pub(super) fn add_column_names<'a>(
    names: impl IntoIterator<Item = &'a str>,
    top_level: bool,
    existing: &BTreeSet<String>,
) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let sorted: BTreeSet<&str> = names.iter().copied().collect();
    let mut taken: BTreeSet<String> = existing.iter().map(|name| fold(name)).collect();
    let mut columns = BTreeMap::new();
    for name in &sorted {
        let lower = fold(name);
        let reserved = top_level && (is_reserved(name) || lower == RESCUED);
        let column = if reserved || taken.contains(&lower) || clashes(&lower, &taken) || name.is_empty() {
            with_digest(name)
        } else {
            (*name).to_owned()
        };
        taken.insert(fold(&column));
        columns.insert(*name, column);
    }
    names.iter().map(|name| columns.get(name).cloned().unwrap_or_default()).collect()
}

/// Whether Iceberg has a metadata column of that name.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&fold(name).as_str())
}

/// A name without its case: two names that fold alike are one name to a reader that ignores case.
///
/// Character by character as Java's `equalsIgnoreCase`, by which Spark finds columns: `K` and the Kelvin sign, `s` and the
/// long `ſ` are alike, `ß` and `ss` are not. Characters do not depend on their neighbours, as they do in `to_lowercase`.
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

/// A name for a message: the beginning of a long one.
pub(super) fn short(name: &str) -> String {
    match name.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// Whether a dotted name could be another's nested field, or another's dotted name a field of this one.
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
        assert_eq!(column_names(names, true), names);
    }

    #[test]
    fn the_smallest_of_case_twins_keeps_its_name() {
        let columns = column_names(["name", "Name", "NAME"], true);
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
            let columns = column_names([one, other], true);
            assert_eq!(columns.iter().filter(|c| c.contains("__")).count(), 1, "{columns:?}");
        }
        for (one, other) in [("ß", "ss"), ("ß", "SS"), ("e", "é"), ("é", "e\u{301}"), ("a", "а")] {
            assert_eq!(column_names([one, other], true), [one, other]);
        }
        // The last sigma of a word has a small letter of its own.
        let columns = column_names(["ΑΣ", "ΑΣ.Β", "ας.γ"], true);
        assert_eq!(columns.iter().filter(|c| c.contains("__")).count(), 2, "{columns:?}");
    }

    #[test]
    fn dotted_names_do_not_meet_nested_ones() {
        let columns = column_names(["a", "a.b", "a.element"], true);
        assert_eq!(columns[0], "a");
        assert!(columns[1].starts_with("a.b__") && columns[2].starts_with("a.element__"), "{columns:?}");
    }

    #[test]
    fn reserved_names_are_taken_only_at_the_top() {
        assert!(column_names(["_file"], true)[0].starts_with("_file__"));
        assert!(column_names([RESCUED], true)[0].starts_with("_ddb_rescued__"));
        assert_eq!(column_names(["_file"], false), ["_file"]);
    }

    #[test]
    fn existing_columns_keep_their_names() {
        let existing = BTreeSet::from(["name".to_owned()]);
        assert!(add_column_names(["Name"], true, &existing)[0].starts_with("Name__"));
    }
}
