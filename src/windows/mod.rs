//! Decides which windows are applied in which order, where and why that stops, and which window to export next.
//!
//! All decisions are in [`choose`], for `incremental`, its dry run and `status`.

mod chain;
mod choose;
#[cfg(test)]
mod choose_tests;
mod found;
mod next;
mod refusal;
mod seen;
pub(crate) mod window;

pub use choose::{Allow, Choice, Due, Why};
pub use found::{Found, discover, holder};
pub use next::{REACH, export_command, exportable};
