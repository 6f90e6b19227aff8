//! A window of an incremental export.

use std::fmt;

use crate::time::{self, Time};

/// The time range of a window, start inclusive, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Start, inclusive.
    pub from: Time,
    /// End, exclusive.
    pub to: Time,
}

impl Window {
    pub(crate) fn touches(&self, other: &Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", time::format(self.from), time::format(self.to))
    }
}
