//! Compares a table with a full export, key by key.
//!
//! Each item is converted to the row that it would become in the table ([`crate::columns`]), each row of the table is
//! read, and both are converted to one canonical form: sets and maps without order, numbers by value, NULL like a
//! missing value. Only digests of keys and rows are kept, beyond a budget on disk, so memory is bounded. If the sides
//! differ, both are read a second time for the keys and attributes of a few examples.

mod canonical;
mod entries;
pub(crate) mod framing;
mod json;
mod rows;
mod scan;

pub use scan::{Difference, Differences, Verifier};
