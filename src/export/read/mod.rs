//! Reading an export's data files: lines that are checked as they come, files read ahead, and both shared between threads.

pub(crate) mod ahead;
pub(crate) mod lines;
pub(crate) mod sharing;
pub(crate) mod split;
pub(crate) mod whole;
