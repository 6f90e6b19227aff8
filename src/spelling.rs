//! How far one name is from another, to guess what was meant.

/// Letters compared of each name: a guess for a longer one helps nobody.
const LETTERS: usize = 64;

/// Letters to add, drop, change or swap with their neighbour until one name is the other; case does not count.
pub fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().chars().take(LETTERS).collect::<Vec<char>>();
    let (a, b) = (letters(a), letters(b));
    let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX - 1);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
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
}
