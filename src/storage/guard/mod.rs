//! Confines a table to its own files: which folders belong to it, who vouches for them, and a storage that refuses all
//! others.

pub(crate) mod allowed;
pub(crate) mod bounds;
pub(crate) mod guarded;
pub(crate) mod place;
