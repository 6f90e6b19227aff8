//! What tasks that write data files share.

use iceberg::spec::TableMetadataRef;
use serde::{Deserialize, Serialize};

use super::locations::DataPaths;
use super::options::WriteOptions;
use crate::error::Result;
use crate::schema::TableSchema;
use crate::table::columns::sort_order_by_key;

/// A table that data files are written for, as a value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WriteSpec {
    /// The table's metadata: specs, sort order, properties.
    pub metadata: TableMetadataRef,
    /// The columns of the files.
    pub table: TableSchema,
    /// Names of the files.
    pub paths: DataPaths,
    /// Bytes of memory that the writer of a file may hold.
    pub writer_bytes: usize,
}

impl WriteSpec {
    /// Files of the table with this metadata and these columns.
    pub fn new(metadata: TableMetadataRef, table: TableSchema, writer_bytes: usize) -> Self {
        let paths = DataPaths::new(&metadata);
        Self { metadata, table, paths, writer_bytes }
    }

    /// Options for writing the files.
    pub fn options(&self) -> WriteOptions {
        WriteOptions::for_table(&self.metadata, &self.table.schema).within(self.writer_bytes)
    }

    /// The table's sort order, if it is the key.
    pub fn sort_order_id(&self) -> Result<Option<i32>> {
        sort_order_by_key(&self.metadata, &self.table)
    }
}
