//! Rows in the order of their key.

pub(crate) mod keys;
pub(crate) mod order;
