//! What the items of an export look like.

pub(crate) mod observe;
