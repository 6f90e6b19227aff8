//! Attribute values into Arrow columns, against a table's schema; what does not fit is rescued.

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
