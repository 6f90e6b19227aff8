//! Reads an export's data files: verified lines, read-ahead, and sharing between threads.

pub(crate) mod ahead;
pub(crate) mod lines;
pub(crate) mod sharing;
pub(crate) mod split;
pub(crate) mod whole;
