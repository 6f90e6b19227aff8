//! Keeps a table small and fast: fewer and larger data files, fewer deletes, limited history, no orphans.
//!
//! - [`pick`]: which data files to rewrite, in groups; `rewrite` merges the sorted rows of one group; [`compact`]
//!   commits the result as one `replace` snapshot. Readers see the same rows before and after.
//! - [`retention`]: which snapshots to expire; `expire` removes them, then the files that only they referred to,
//!   which [`reachable`] determines.
//! - [`orphans`]: unreferenced files below the table's location.
//! - [`due`]: when the scheduled `incremental` runs the first two.
//!
//! Nothing here changes rows, the watermark or the schema. A commit requires that main has not moved: other writers
//! win.

pub mod compact;
pub mod due;
pub mod expire;
pub mod orphans;
pub mod pick;
pub mod reachable;
pub mod retention;
mod rewrite;

pub use compact::{Compacted, Compaction, Compactor};
pub use expire::{expire, unreachable};
pub use orphans::{find_orphans, keep_named};
pub use pick::Policy;
pub use retention::{Retention, Wanted};
