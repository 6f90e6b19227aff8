//! DataFusion: how plans are run, sources for plans, and its errors as ours.

pub(crate) mod failure;
pub(crate) mod session;
pub(crate) mod source;
