//! The newest change of each key, where its old row lies, what to write and what to delete.

mod changes;
mod deletes;
mod engine;
mod images;
mod locate;
mod plan;
mod rewrite;
mod work;

pub use changes::NewAttributesPolicy;
pub use engine::Engine;
pub(crate) use engine::{BatchStream, convert, streams};
pub use plan::{Plan, Planner, Removal};
