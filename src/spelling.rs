//! Edit distance of names, to suggest what was meant.

/// Maximum number of letters compared per name: suggestions for longer ones help nobody.
const LETTERS: usize = 64;
/// Maximum number of suggestions.
const NAMES: usize = 3;

/// Number of letters to add, drop, change or swap with their neighbour to turn one name into the other, ignoring case.
pub fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().chars().take(LETTERS).collect::<String>();
    strsim::osa_distance(&letters(a), &letters(b))
}

/// Whether a name may be a misspelling of another: one letter in three, two at most; punctuation and case are ignored.
pub fn is_near(a: &str, b: &str) -> bool {
    let bare = |text: &str| text.chars().filter(|c| !"_-. ".contains(*c)).take(LETTERS).collect::<String>();
    let (a, b) = (bare(a), bare(b));
    let far = distance(&a, &b);
    far <= 2 && far * 3 <= a.chars().count().max(b.chars().count())
}

/// A suggestion of similar names, nearest first: `did you mean "a" or "b"?`; `None` if none is similar.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut near: Vec<_> = known.into_iter().filter(|known| is_near(name, known)).collect();
    near.sort_by_cached_key(|known| (distance(name, known), (*known).to_owned()));
    near.dedup();
    let quoted: Vec<String> = near.into_iter().take(NAMES).map(|known| format!("{known:?}")).collect();
    (!quoted.is_empty()).then(|| format!("did you mean {}?", quoted.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "ab", 2),
            ("type", "Type", 0),
            ("tpye", "type", 1),
            ("strng", "string", 1),
            ("strinng", "string", 1),
            ("sTrimg", "string", 1),
            ("uri", "warehouse", 8),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
        assert_eq!(distance(&"x".repeat(100_000), "x"), LETTERS - 1);
    }

    #[test]
    fn near_names_are_suggested() {
        let known = ["customer_id", "order_id", "pk", "sk", "status"];
        for (typed, meant) in [
            ("Customer_ID", Some("did you mean \"customer_id\"?")),
            ("customerId", Some("did you mean \"customer_id\"?")),
            ("oder_id", Some("did you mean \"order_id\"?")),
            ("PK", Some("did you mean \"pk\"?")),
            ("id", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(typed, known).as_deref(), meant, "{typed}");
        }
        let many = did_you_mean("orders", ["orders1", "orders2", "order", "orders3"]).unwrap();
        assert_eq!(many, "did you mean \"order\" or \"orders1\" or \"orders2\"?");
    }
}
