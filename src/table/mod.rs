//! Iceberg tables as this crate needs them: live files, key positions, new files with exact bounds, snapshots.
//!
//! - [`scan`]: the data files of main's current snapshot with the delete files that apply to them, keys with positions, rows.
//! - [`deletes`]: position deletes, read, cached, indexed by data file, and written.
//! - [`manifest`]: manifest lists and manifests, read, written, merged, without metrics that nobody asked for.
//! - [`partition`]: the partition of a row.
//! - [`parquet`]: Parquet files, read in batches of measured size, and encoded in another order than rows stand in.
//! - `write`: data files, counted and bounded from the rows themselves.
//! - [`commit`]: one change: snapshot, summary, requirements, and the transaction that commits it.
//! - [`columns`], [`properties`], [`watermark`]: what a table's metadata says of its columns, of how files are written, and of
//!   the time up to which it is complete.
//!
//! Functions on one file are synchronous and take a runtime handle: they belong on blocking threads. Planning is async.
//! Only [`commit::transaction`] commits, through the catalog.
//!
//! The `iceberg` crate's own planning is not used for changes, since it drops spec ids and sequence numbers. Its
//! Parquet writer is not used, since it takes a file's bounds from statistics that may be truncated.

pub mod properties;
pub mod watermark;

pub use commit::requirements::base_requirements;
pub use commit::snapshot::{BuiltSnapshot, SnapshotBuilder};
pub use deletes::cache::DeleteCache;
pub use deletes::positions::{PositionCursor, Positions, read_positions};
pub use deletes::write::{DeleteGroup, write_position_deletes};
pub use files::{LiveDeleteFile, LiveFile};
pub use manifest::read::manifests;
pub(crate) use manifest::read::{CONCURRENT_MANIFESTS, read_entries, read_manifest_list};
pub use open::{check_supported, check_writable};
pub use parquet::dictionary::plain_columns;
pub use partition::key::PartitionKey;
pub use partition::partitioner::{PartitionRows, Partitioner, conform};
pub use properties::{check_properties, target_file_bytes, unfollowed};
pub use scan::key_filter::KeyFilter;
pub use scan::keys::{KeyFile, POSITION_COLUMN, scan_keys};
pub use scan::partition_filter::PartitionFilter;
pub use scan::plan::{LiveTable, live_files, live_files_bounded_by, live_table};
pub(crate) use scan::rows::FileRows;
pub use scan::rows::{Footprint, footprint, row_stream, scan_rows};
pub use write::closing::ClosingFiles;
pub use write::data_file::DataFileWriter;
pub use write::locations::DataPaths;
pub use write::metrics::{MetricsConfig, MetricsMode};
pub use write::options::WriteOptions;

pub mod columns;
pub mod commit;
pub mod deletes;
pub(crate) mod file_serde;
pub(crate) mod files;
#[cfg(test)]
mod fixture;
pub mod manifest;
pub(crate) mod open;
pub mod parquet;
pub mod partition;
pub mod scan;
pub mod write;
