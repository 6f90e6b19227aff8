//! Attribute values into Arrow columns, against a table's schema; what does not fit is rescued.

mod changes;
mod items;
mod node;
mod rescued;
mod taken;

pub use changes::{ChangeBuilder, Changes, DELETED, LINE, ORDER, WRITTEN};
pub use items::ItemBuilder;
pub use rescued::Rescued;
