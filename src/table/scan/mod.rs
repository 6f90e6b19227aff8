//! The live content of a table: data files with the deletes that apply to them, keys with positions, rows.

pub mod key_filter;
pub mod keys;
pub mod partition_filter;
pub mod plan;
pub mod rows;
