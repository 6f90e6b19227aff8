//! Keeping a table small and quick: fewer and fuller data files, fewer deletes, no more history than is wanted, no stray files.
//!
//! - [`pick`]: which data files are worth rewriting, in groups; [`rewrite`] merges the sorted rows of one group; [`compact`]
//!   makes one `replace` snapshot of it. A reader sees the same rows before and after.
//! - [`retention`]: which snapshots may go; [`expire`] removes them, then the files that only they named; [`reachable`] tells
//!   which these are.
//! - [`orphans`]: files below the table's location that nothing names.
//! - [`due`]: when the scheduled `incremental` does the first two by itself.
//!
//! Nothing here changes rows, the watermark or the schema. A commit requires that main has not moved: other writers win.

pub mod compact;
pub mod due;
pub mod expire;
pub mod orphans;
pub mod pick;
pub mod reachable;
pub mod retention;
mod rewrite;

pub use compact::{Compacted, Compaction, Compactor};
pub use expire::{Expired, expire, unreachable};
pub use orphans::{Orphans, find_orphans, keep_named};
pub use pick::Policy;
pub use retention::{Retention, Wanted};
