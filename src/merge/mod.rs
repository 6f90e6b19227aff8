//! The newest change of each key, where its old row lies, what to write and what to delete.

mod apply;
mod changes;
mod deletes;
mod images;
mod locate;
mod plan;
pub(crate) mod planner;
pub(crate) mod policy;
mod rewrite;
mod sort;
mod superseded;
pub mod window;
mod work;

pub use plan::{Evolution, Plan, Removed, RowCounts};
pub use planner::Planner;
pub use policy::{NewAttributes, WriteMode};
