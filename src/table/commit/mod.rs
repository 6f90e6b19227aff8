//! One change of a table: its snapshot, summary and requirements, and the transaction that commits it.

pub mod partitioning;
pub(crate) mod requirements;
pub(crate) mod retry;
pub(crate) mod schema_history;
pub mod snapshot;
pub mod summary;
pub mod transaction;
