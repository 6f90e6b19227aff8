//! Keeps a table's files inside of the table: which folders are its own, who vouches for them, and a storage that refuses
//! all others.

pub(crate) mod allowed;
pub(crate) mod bounds;
pub(crate) mod guarded;
pub(crate) mod place;
