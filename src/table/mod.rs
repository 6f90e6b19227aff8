//! Iceberg tables as this crate needs them: live files, key positions, new files with exact bounds, snapshots.
//!
//! - `scan`: the live data files of main's current snapshot, each with the delete files that apply to it; the key
//!   columns and positions of a data file; its rows in the table's current columns; which data files cannot contain a
//!   key.
//! - `deletes`: position deletes, read, cached and written.
//! - `manifest`: manifests and manifest lists, checked, read without unneeded metrics, written and merged.
//! - `parquet`: Parquet files read, and rows encoded in an order other than the one in which they are stored.
//! - `write`: data files, whose counts and bounds are computed from the rows; where they go, and how they are written.
//! - `commit`: one change of a table: manifests, manifest list, summary, requirements, and its transaction.
//! - `partition`: the partition of a row.
//! - `properties`: table properties that define how files are written.
//! - `watermark`: the time up to which the table is complete, and the properties that record it.
//!
//! Functions on one file are synchronous and take a runtime handle: they belong on blocking threads. Planning is async.
//! Only a catalog can commit a change.
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
pub use scan::rows::{row_bytes, row_stream, scan_rows};
pub use write::closing::ClosingFiles;
pub use write::data_file::DataFileWriter;
pub use write::locations::DataPaths;
pub use write::metrics::{MetricsConfig, MetricsMode};
pub use write::options::WriteOptions;

pub mod columns;
pub mod commit;
pub mod deletes;
pub(crate) mod files;
#[cfg(test)]
mod fixture;
pub mod manifest;
pub(crate) mod open;
pub mod parquet;
pub mod partition;
pub mod scan;
pub mod write;
