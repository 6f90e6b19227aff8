//! Partitions of rows.

pub(crate) mod key;
pub(crate) mod limit;
pub mod partitioner;
pub(crate) mod transform;
