//! Sorts rows by key.

pub(crate) mod keys;
pub(crate) mod order;
