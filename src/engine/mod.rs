//! DataFusion: sessions within a memory budget, sources for plans, and its errors as ours.

pub(crate) mod failure;
pub(crate) mod session;
pub(crate) mod source;
