//! Reading from storage: a cache for files that are read twice, a memory budget for inflating, read-ahead, and limits
//! of files that are read whole.

pub(crate) mod cache;
pub(crate) mod chunks;
pub(crate) mod inflate_budget;
pub(crate) mod limits;
