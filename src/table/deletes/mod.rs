//! Position deletes: reading, caching, writing, and an index by data file.

pub mod cache;
pub(crate) mod index;
pub mod positions;
pub mod write;
