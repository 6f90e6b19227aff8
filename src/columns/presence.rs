//! Tracks which columns and other names a row has had a value for, in constant time whatever their number.

use hashbrown::HashMap;

/// Tracks which columns have a value in the current row.
#[derive(Debug)]
pub(crate) struct RowPresence {
    /// The current row, counted from the first one.
    row: u64,
    /// The last row with a value, by column.
    rows: Vec<u64>,
    /// The same for names without a column. Old names are evicted when there are more than `most`.
    strangers: HashMap<Box<str>, u64>,
    most: usize,
}

/// Maximum number of names without a column that are remembered across rows.
const STRANGERS: usize = 1000;

impl RowPresence {
    pub fn of(columns: usize) -> Self {
        Self { row: 0, rows: vec![0; columns], strangers: HashMap::new(), most: STRANGERS }
    }

    pub fn begin_row(&mut self) {
        self.row += 1;
    }

    /// Whether the column had no value in the row; marks it as having one.
    #[inline]
    pub fn take(&mut self, column: usize) -> bool {
        self.rows.get_mut(column).is_some_and(|row| std::mem::replace(row, self.row) != self.row)
    }

    /// Whether a name without a column did not occur in the row; marks it as occurring.
    pub fn take_stranger(&mut self, name: &str) -> bool {
        if let Some(row) = self.strangers.get_mut(name) {
            return std::mem::replace(row, self.row) != self.row;
        }
        if self.strangers.len() >= self.most {
            let row = self.row;
            self.strangers.retain(|_, last| *last == row);
            self.most = STRANGERS.max(self.strangers.len() * 2);
        }
        self.strangers.insert(name.into(), self.row);
        true
    }

    pub fn has(&self, column: usize) -> bool {
        self.rows.get(column).is_some_and(|row| *row == self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_known_for_the_row_however_many_there_are() {
        let mut taken = RowPresence::of(0);
        for row in 0..5 {
            taken.begin_row();
            let names: Vec<String> = (0..3 * STRANGERS).map(|n| format!("{}", n + row % 2 * STRANGERS)).collect();
            assert!(names.iter().all(|name| taken.take_stranger(name)));
            assert!(!names.iter().any(|name| taken.take_stranger(name)));
            // It doubles, so that each is looked at few times.
            assert!(row > 0 || taken.most == 4 * STRANGERS, "{}", taken.most);
            assert!(taken.strangers.len() <= taken.most && taken.most <= 6 * STRANGERS);
        }
        taken.begin_row();
        assert!(taken.take_stranger("x") && !taken.take_stranger("x"));
    }
}
