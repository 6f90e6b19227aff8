//! Records that are superseded by a newer one of the same key: a bitmap of lines per file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bitmaps of lines, by the index of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Superseded(BTreeMap<u64, Vec<u64>>);

impl Superseded {
    /// Marks a line of a file as superseded.
    pub fn add(&mut self, order: u64, line: u64) {
        let (word, bit) = place(line);
        let words = self.0.entry(order).or_default();
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        if let Some(word) = words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether the line is superseded.
    pub fn contains(&self, order: u64, line: u64) -> bool {
        let (word, bit) = place(line);
        self.0.get(&order).and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }
}

/// Index of the word with the line's bit, and the bit.
fn place(line: u64) -> (usize, u64) {
    (usize::try_from(line / 64).unwrap_or(usize::MAX), 1 << (line % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_bit() {
        let mut superseded = Superseded::default();
        let lines = [(0, 1), (0, 63), (0, 64), (3, 1000), (3, 0)];
        for (order, line) in lines {
            superseded.add(order, line);
        }
        for order in 0..5 {
            for line in 0..2000 {
                assert_eq!(superseded.contains(order, line), lines.contains(&(order, line)), "{order}:{line}");
            }
        }
    }
}
