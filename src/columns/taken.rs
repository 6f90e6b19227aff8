//! Which columns a row has had a value for, found in constant time whatever their number.

/// Which of some columns have their value of the row.
#[derive(Debug)]
pub(super) struct Taken {
    /// The row, counted from the first that was ever begun.
    row: u64,
    /// The last row that each column took a value of.
    rows: Vec<u64>,
}

impl Taken {
    pub fn of(columns: usize) -> Self {
        Self { row: 0, rows: vec![0; columns] }
    }

    pub fn begin_row(&mut self) {
        self.row += 1;
    }

    /// Whether the column had no value of the row; from here on it has.
    #[inline]
    pub fn take(&mut self, column: usize) -> bool {
        self.rows.get_mut(column).is_some_and(|row| std::mem::replace(row, self.row) != self.row)
    }

    pub fn has(&self, column: usize) -> bool {
        self.rows.get(column).is_some_and(|row| *row == self.row)
    }

    /// The columns that have no value of the row.
    pub fn missing<'a, T>(&self, columns: &'a mut [T]) -> impl Iterator<Item = &'a mut T> {
        let row = self.row;
        columns.iter_mut().zip(&self.rows).filter(move |(_, last)| **last != row).map(|(column, _)| column)
    }
}
