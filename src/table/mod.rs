//! The Iceberg table as this crate needs it: what is live, which keys lie where, new files with true bounds, a snapshot.
//!
//! - [`live`]: the data files of main's current snapshot, each with the delete files that apply to it;
//!   [`manifest_trim`]: manifests without the metrics that nobody asked for.
//! - [`keys`]: key columns and positions of one data file, rows already deleted left out.
//! - [`rows`]: all rows of a data file in the table's current columns.
//! - [`deletes`], [`delete_cache`], [`delete_write`]: position deletes, read and written.
//! - [`write`], [`describe`], [`metrics`], [`bounds`]: data files, counted and bounded from the rows themselves; [`chunk`]: their columns, encoded
//!   in another order of rows than they stand in.
//! - [`snapshot`], [`summary`]: manifests, manifest list and summary of one change; [`manifest_merge`]: many manifests as few.
//! - [`partition`]: which partition rows belong to; [`prune`], [`sought`]: which data files cannot hold a key, by
//!   their partitions, and by their bounds.
//! - [`paths`]: where new files go; [`properties`]: how a table wants them written.
//! - [`watermark`]: up to which time the table is complete, and the properties that say so.
//!
//! Functions over one file are synchronous and take a runtime handle: they belong on blocking threads. Planning
//! (`live`, `snapshot`) is async. Nothing in here commits; a change becomes true in the catalog.
//!
//! The `iceberg` crate's own planning is not used for changes, since it drops spec ids and sequence numbers, and its Parquet
//! writer is not used, since it takes a file's bounds from statistics that may be truncated.

mod avro_check;
pub mod bounds;
mod chunk;
pub mod delete_cache;
pub mod delete_write;
pub mod deletes;
mod describe;
mod dictionary;
mod encoder;
mod extremes;
pub mod keys;
pub mod live;
pub mod manifest_merge;
mod manifest_trim;
pub mod metrics;
mod parquet_file;
mod parquet_schema;
pub mod partition;
pub mod paths;
mod pending;
pub mod properties;
pub mod prune;
pub mod rows;
mod sink;
pub mod snapshot;
pub mod sought;
pub mod summary;
mod transform;
pub mod watermark;
pub mod write;

pub use delete_cache::DeleteCache;
pub use delete_write::{DeleteGroup, write_position_deletes};
pub use deletes::{PositionCursor, Positions, read_positions};
pub use dictionary::plain_columns;
pub use keys::{KeyFile, POSITION_COLUMN, scan_keys};
pub use live::manifests;
pub(crate) use live::{CONCURRENT_MANIFESTS, read_entries, read_manifest_list};
pub use live::{
    LiveDeleteFile, LiveFile, LiveTable, PartitionKey, check_supported, check_writable, live_files,
    live_files_bounded_by, live_table,
};
pub use metrics::{MetricsConfig, MetricsMode};
pub use partition::{PartitionRows, Partitioner, conform};
pub use paths::DataPaths;
pub use pending::PendingFiles;
pub use properties::{check_properties, target_file_bytes, unfollowed};
pub use prune::KeyPartitions;
pub use rows::{row_bytes, row_stream, scan_rows};
pub use snapshot::{BuiltSnapshot, SnapshotBuilder, base_requirements};
pub use sought::SoughtKeys;
pub use write::{DataFileWriter, WriteOptions};

#[cfg(test)]
mod fixture;
