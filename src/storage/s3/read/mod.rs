//! Reading objects: existence, ranges, listings.

pub(crate) mod head;
pub(crate) mod list;
pub(crate) mod object;
