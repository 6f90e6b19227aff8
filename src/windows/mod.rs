//! Which windows are applied and in which order, where that stops and why, and which window to export next.
//!
//! [`choose`] alone decides, for `incremental`, its dry run and `status`.

mod chain;
mod choose;
#[cfg(test)]
mod choose_tests;
mod found;
mod next;
mod refusal;
mod seen;
pub(crate) mod window;

pub use choose::{Allow, Choice, Due, Skipped, Stop, Unseen, Why, choose};
pub use found::{Found, discover, holder};
pub use next::{REACH, export_command, exportable};
pub use seen::Seen;
pub use window::Window;
