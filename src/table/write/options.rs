//! Options for writing data files.

use iceberg::spec::{SchemaRef, TableMetadata};
use parquet::schema::types::ColumnPath;

use super::metrics::MetricsConfig;
use crate::table::parquet::chunk::WAITING_LEVELS;
use crate::table::parquet::encoder::WIDE_ROW_GROUP_BYTES;
use crate::table::properties::{DEFAULT_ROW_GROUP_BYTES, Encoding, target_file_bytes};

/// Options for writing data files.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Encoded bytes after which a row group of a data file ends.
    pub row_group_bytes: usize,
    /// Rows after which a row group ends.
    pub row_group_rows: usize,
    /// Bytes of memory after which a row group ends, whatever it will have in the file.
    pub memory_bytes: usize,
    /// How data files are encoded.
    pub encoding: Encoding,
    /// Encoding of delete files.
    pub deletes: Encoding,
    /// Bytes after which a load starts another data file, if the table sets this.
    pub target_bytes: Option<u64>,
    /// The metrics of each column in the manifest entry.
    pub metrics: MetricsConfig,
    /// Columns that get no dictionary ([`plain_columns`](crate::table::parquet::dictionary::plain_columns)).
    pub plain: Vec<ColumnPath>,
}

impl WriteOptions {
    /// The options from the table's properties, for files of the given schema. Unset properties, and those that
    /// [`check_properties`](crate::table::properties::check_properties) refuses, get this crate's defaults.
    pub fn for_table(metadata: &TableMetadata, schema: &SchemaRef) -> Self {
        let properties = metadata.properties();
        let encoding = Encoding::of_data(properties);
        let target_bytes = target_file_bytes(properties).unwrap_or_default();
        let most = target_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        Self {
            row_group_bytes: encoding.row_group_bytes.min(most).max(LEAST_ROW_GROUP_BYTES),
            row_group_rows: DEFAULT_ROW_GROUP_ROWS,
            memory_bytes: usize::MAX,
            encoding,
            deletes: Encoding::of_deletes(properties),
            target_bytes,
            metrics: MetricsConfig::from_properties(properties, schema, Some(metadata.default_sort_order().as_ref())),
            plain: Vec::new(),
        }
    }

    /// Bytes of memory that a writer of batches may hold, with what encoding a row group takes besides its rows.
    pub(crate) fn most_memory(&self) -> usize {
        let rows = self.memory_bytes.min(WIDE_ROW_GROUP_BYTES);
        rows.saturating_add(rows / 2).saturating_add(WAITING_LEVELS)
    }

    /// The same for writers that may each hold so many bytes, if that is more than the default of a row group.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes.max(DEFAULT_ROW_GROUP_BYTES);
        self.row_group_bytes = self.row_group_bytes.min(self.memory_bytes);
        self
    }
}

/// Maximum rows of a row group, so that pruning is possible with small rows too.
pub const DEFAULT_ROW_GROUP_ROWS: usize = 1024 * 1024;

/// Minimum rows of a row group, whatever the properties say: the footer would outweigh the data, and a file can have
/// only 32,767 row groups.
pub(crate) const LEAST_ROW_GROUP_BYTES: usize = 64 << 10;
