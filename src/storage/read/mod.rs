//! Reading from storage: what is kept for a second reading, memory for what is inflated, chunks ahead of the reader, and
//! how much may be read whole.

pub(crate) mod cache;
pub(crate) mod chunks;
pub(crate) mod inflate_budget;
pub(crate) mod limits;
