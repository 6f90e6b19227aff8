//! Output for people: the results of commands as text, escaped for terminals.

pub(crate) mod check;
pub(crate) mod escape;
pub(crate) mod maintenance;
pub(crate) mod printer;
pub(crate) mod report;
pub(crate) mod status;
pub(crate) mod units;
pub(crate) mod verify;
pub(crate) mod windows;
