//! Sorts rows by key.

use arrow::row::Rows;

use crate::error::{Error, Result};

/// The rows' positions, ordered by their bytes.
///
/// Keys tend to have a common prefix. The eight bytes after it decide nearly every comparison, without accessing the
/// keys themselves, which are scattered in memory.
pub(crate) fn order_of(rows: &Rows) -> Result<Vec<u32>> {
    let count = u32::try_from(rows.num_rows()).map_err(|_| Error::failed("more than 2^32 rows in one run"))?;
    let first = rows.iter().next().map_or(&[][..], |row| row.data());
    let shared = rows
        .iter()
        .fold(first.len(), |shared, row| first.iter().zip(row.data()).take(shared).take_while(|(a, b)| a == b).count());
    let mut order: Vec<(u64, u32)> = rows.iter().map(|row| prefix(row.data(), shared)).zip(0..count).collect();
    let rest = |n: u32| rows.row(n as usize);
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| rest(a.1).data().cmp(rest(b.1).data())));
    Ok(order.into_iter().map(|(_, n)| n).collect())
}

/// Eight bytes from `start` on as a number with the same order; missing ones count as zero.
fn prefix(bytes: &[u8], start: usize) -> u64 {
    let mut eight = [0; 8];
    for (to, from) in eight.iter_mut().zip(bytes.iter().skip(start)) {
        *to = *from;
    }
    u64::from_be_bytes(eight)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, StringArray};
    use arrow::datatypes::DataType;
    use arrow::row::{RowConverter, SortField};

    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_keys() {
        // Alike at first, of all lengths, some of them the beginning of others, some with zeros.
        let random = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        for alike in ["", "customer#"] {
            let keys: Vec<String> = (0..3000u64)
                .map(|n| {
                    format!(
                        "{alike}{}{}",
                        &"\0\0ab12345678"[..usize::try_from(random(n) % 12).unwrap()],
                        random(n + 7) % 50
                    )
                })
                .collect();
            let column: ArrayRef = Arc::new(StringArray::from(keys.clone()));
            let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).unwrap();
            let rows = converter.convert_columns(&[column]).unwrap();
            let order = order_of(&rows).unwrap();
            let sorted: Vec<&String> = order.iter().map(|n| &keys[*n as usize]).collect();
            let mut expected: Vec<&String> = keys.iter().collect();
            expected.sort();
            assert_eq!(sorted, expected);
            assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
        }
        let none = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
        assert!(order_of(&none.empty_rows(0, 0)).unwrap().is_empty());
    }
}
