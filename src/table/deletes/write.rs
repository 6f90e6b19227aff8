//! Writes position deletes: one delete file per partition.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use iceberg::metadata_columns::{delete_file_path_field, delete_file_pos_field};
use iceberg::spec::{DataFile, Schema, SchemaRef, Struct};
use tokio::runtime::Handle;

use super::positions::Positions;
use crate::error::{Error, Result};
use crate::table::write::data_file::DataFileWriter;
use crate::table::write::locations::DataPaths;
use crate::table::write::options::WriteOptions;

/// Rows of a batch; paths are long.
const BATCH_ROWS: usize = 8192;

/// The columns of a position delete file, with their reserved field ids.
static SCHEMA: LazyLock<std::result::Result<SchemaRef, String>> = LazyLock::new(|| {
    Schema::builder()
        .with_fields([delete_file_path_field().clone(), delete_file_pos_field().clone()])
        .build()
        .map(Arc::new)
        .map_err(|e| e.to_string())
});

/// Rows to delete, all in data files of one partition of one spec.
#[derive(Debug, Clone)]
pub struct DeleteGroup {
    /// The spec of the data files.
    pub spec_id: i32,
    /// The partition of the data files.
    pub partition: Struct,
    /// Paths, byte for byte as in the manifest, and positions counted from 0; in any order.
    pub files: Vec<(String, Vec<u64>)>,
}

/// Writes one position delete file per group, and returns each with its spec id; a group without positions yields none.
/// Synchronous: for a blocking thread. If a file fails, those written before are deleted.
///
/// Files are sorted by path and position, have untruncated bounds and no sort order id, and reference the data file if
/// there is only one.
pub fn write_position_deletes(
    file_io: &FileIO,
    handle: &Handle,
    paths: &DataPaths,
    task: u32,
    groups: Vec<DeleteGroup>,
    options: &WriteOptions,
) -> Result<Vec<(i32, DataFile)>> {
    let mut written: Vec<(i32, DataFile)> = Vec::with_capacity(groups.len());
    for group in groups {
        let spec_id = group.spec_id;
        match write_group(file_io, handle, paths, task, group, options) {
            Ok(Some(file)) => written.push((spec_id, file)),
            Ok(None) => {}
            Err(error) => {
                for (_, file) in &written {
                    if let Err(error) = handle.block_on(file_io.delete(file.file_path())) {
                        tracing::debug!(location = file.file_path(), %error, "an unused file was left behind");
                    }
                }
                return Err(error);
            }
        }
    }
    Ok(written)
}

fn write_group(
    file_io: &FileIO,
    handle: &Handle,
    paths: &DataPaths,
    task: u32,
    group: DeleteGroup,
    options: &WriteOptions,
) -> Result<Option<DataFile>> {
    let mut by_path: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (path, positions) in group.files {
        if !positions.is_empty() {
            by_path.entry(path).or_default().extend(positions);
        }
    }
    let Some(first) = by_path.keys().next() else { return Ok(None) };
    let only = (by_path.len() == 1).then(|| first.clone());
    let schema = SCHEMA.as_ref().map_err(|e| Error::failed(format!("no schema for position deletes: {e}")))?;
    let mut writer = DataFileWriter::create_deletes(
        file_io,
        handle,
        paths.delete_file(task),
        schema,
        group.spec_id,
        group.partition,
        only,
        options,
    )?;
    let arrow_schema = Arc::new(schema_to_arrow_schema(schema)?);
    for (path, positions) in by_path {
        for chunk in Positions::new(positions).as_slice().chunks(BATCH_ROWS) {
            let values = chunk.iter().map(|p| i64::try_from(*p)).collect::<std::result::Result<Vec<_>, _>>();
            let values = values.map_err(|_| Error::failed("a row position is too large").in_file(&path))?;
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(path.as_str(), chunk.len()))),
                Arc::new(Int64Array::from(values)),
            ];
            writer.write(&RecordBatch::try_new(Arc::clone(&arrow_schema), columns)?)?;
        }
    }
    writer.finish().map(Some)
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
