//! Reading objects: whether they are there, ranges of them, listings.

pub(crate) mod head;
pub(crate) mod list;
pub(crate) mod object;
