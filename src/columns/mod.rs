//! Converts attribute values to Arrow columns by a table's schema; rescues values that do not fit.

mod changes;
mod items;
pub(crate) mod key_text;
mod node;
pub(crate) mod presence;
pub(crate) mod record;
mod rescued;

pub use changes::{ChangeBuilder, Changes, DELETED, LINE, ORDER, WRITTEN};
pub use items::ItemBuilder;
pub use rescued::Rescued;
