//! Execution of a command: stores, supervision, progress, logs.

pub(crate) mod check;
pub(crate) mod command;
pub(crate) mod configure;
pub(crate) mod logs;
pub(crate) mod progress;
pub(crate) mod stores;
pub(crate) mod supervision;
pub(crate) mod tidy;
