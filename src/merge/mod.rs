//! Merges a window: the newest change of each key, the location of its old row, the files to write and to remove.
//!
//! [`window`] commits what `planner` plans: `changes` are read and sorted (`sort`), `apply` finds their old rows
//! (`locate`) and has `images`, `deletes` or rewritten files (`rewrite`) written.

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
