//! Limits the partitions of a load: each has at least one data file per task, and a table of very many small files is
//! useless.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use iceberg::spec::{Literal, PrimitiveLiteral, Struct};

use crate::error::{Error, Result};

/// Maximum number of distinct partitions in a load.
pub const MAX_PARTITIONS: usize = 10_000;

/// Maximum bytes of their values in total: untransformed long texts would be repeated in each manifest entry.
const MAX_BYTES: usize = 64 << 20;

/// Counts the distinct partitions of a load.
#[derive(Debug, Default)]
pub struct DistinctPartitions(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    partitions: HashSet<Struct>,
    bytes: usize,
}

impl DistinctPartitions {
    /// Counts the partitions of a run; an error of kind `Usage` once there are too many.
    pub fn note<'a>(&self, partitions: impl Iterator<Item = &'a Struct>) -> Result<()> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions {
            if seen.partitions.contains(partition) {
                continue;
            }
            seen.bytes += partition.iter().flatten().map(size).sum::<usize>();
            seen.partitions.insert(partition.clone());
            let advice = "Partition by less: bucket(16, …), truncate(…) of fewer characters, or a longer span of time";
            if seen.partitions.len() > MAX_PARTITIONS {
                return Err(Error::usage(format!("the load has more than {MAX_PARTITIONS} partitions")).advice(advice));
            }
            if seen.bytes > MAX_BYTES {
                return Err(Error::usage("the values that the load is partitioned by are too long").advice(advice));
            }
        }
        Ok(())
    }
}

fn size(value: &Literal) -> usize {
    match value {
        Literal::Primitive(PrimitiveLiteral::String(text)) => text.len(),
        Literal::Primitive(PrimitiveLiteral::Binary(bytes)) => bytes.len(),
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_and_no_more() {
        let partitions = DistinctPartitions::default();
        let of = |n: usize| Struct::from_iter([Some(Literal::long(i64::try_from(n).unwrap())), None]);
        for n in 0..MAX_PARTITIONS {
            partitions.note([of(n), of(n / 2)].iter()).unwrap();
        }
        let error = partitions.note([of(MAX_PARTITIONS)].iter()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.message().contains("10000"), "{error}");
    }

    #[test]
    fn long_values_count_more() {
        let partitions = DistinctPartitions::default();
        let long = |n: u8| Struct::from_iter([Some(Literal::string(format!("{n:03}{}", "x".repeat(1 << 20))))]);
        for n in 0..63 {
            partitions.note([long(n)].iter()).unwrap();
        }
        assert!(partitions.note([long(63), long(64)].iter()).is_err());
    }
}
