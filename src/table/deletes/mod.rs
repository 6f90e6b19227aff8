//! Position deletes: read, cached, indexed by the data files that they apply to, written.

pub mod cache;
pub(crate) mod index;
pub mod positions;
pub mod write;
