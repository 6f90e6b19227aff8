//! Which columns, and which other names, a row has had a value for, found in constant time whatever their number.

use hashbrown::HashMap;

/// Which of some columns have their value of the row.
#[derive(Debug)]
pub(crate) struct RowPresence {
    /// The row, counted from the first that was ever begun.
    row: u64,
    /// The last row that each column took a value of.
    rows: Vec<u64>,
    /// The same of names that have no column. Old ones are forgotten when there are more than `most`.
    strangers: HashMap<Box<str>, u64>,
    most: usize,
}

/// Names without a column that are remembered from row to row.
const STRANGERS: usize = 1000;

impl RowPresence {
    pub fn of(columns: usize) -> Self {
        Self { row: 0, rows: vec![0; columns], strangers: HashMap::new(), most: STRANGERS }
    }

    pub fn begin_row(&mut self) {
        self.row += 1;
    }

    /// Whether the column had no value of the row; from here on it has.
    #[inline]
    pub fn take(&mut self, column: usize) -> bool {
        self.rows.get_mut(column).is_some_and(|row| std::mem::replace(row, self.row) != self.row)
    }

    /// Whether the row had nothing of a name that has no column; from here on it has.
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
