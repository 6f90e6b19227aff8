//! Parquet files: opening them, and encoding rows in a given order.

pub(crate) mod batches;
pub(crate) mod chunk;
pub(crate) mod dictionary;
pub(crate) mod encoder;
pub(crate) mod min_max;
pub(crate) mod ranges;
pub(crate) mod reader;
pub(crate) mod schema;
pub mod truncate;
