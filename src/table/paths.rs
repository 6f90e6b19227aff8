//! Where new files of a table go.

use std::sync::atomic::{AtomicU64, Ordering};

use iceberg::spec::TableMetadata;
use uuid::Uuid;

/// The property that moves data files out of `<location>/data`.
pub const DATA_PATH: &str = "write.data.path";
/// The property that moves metadata files out of `<location>/metadata`.
pub const METADATA_PATH: &str = "write.metadata.path";

/// Names for the data and delete files of one operation; no two are equal, in this operation or any other.
///
/// Partition folders are left out: in Iceberg a file's partition is in its manifest entry, not in its path.
#[derive(Debug)]
pub struct DataPaths {
    folder: String,
    operation: Uuid,
    next: AtomicU64,
}

impl DataPaths {
    /// Names below the table's data folder.
    pub fn new(metadata: &TableMetadata) -> Self {
        Self { folder: data_folder(metadata), operation: Uuid::new_v4(), next: AtomicU64::new(1) }
    }

    /// A name for a data file that the given task writes.
    pub fn data_file(&self, task: u32) -> String {
        format!("{}.parquet", self.stem(task))
    }

    /// A name for a position delete file that the given task writes.
    pub fn delete_file(&self, task: u32) -> String {
        format!("{}-deletes.parquet", self.stem(task))
    }

    fn stem(&self, task: u32) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}/{task:05}-{}-{n:05}", self.folder, self.operation)
    }
}

/// The folder of data files, without a last slash: `write.data.path`, else `<location>/data`.
pub fn data_folder(metadata: &TableMetadata) -> String {
    folder(metadata, DATA_PATH, "data")
}

/// The folder of manifests and metadata files, without a last slash: `write.metadata.path`, else `<location>/metadata`.
pub fn metadata_folder(metadata: &TableMetadata) -> String {
    folder(metadata, METADATA_PATH, "metadata")
}

fn folder(metadata: &TableMetadata, property: &str, below: &str) -> String {
    match metadata.properties().get(property) {
        Some(path) if !path.trim_end_matches('/').is_empty() => path.trim_end_matches('/').to_owned(),
        _ => format!("{}/{below}", metadata.location().trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::table::fixture;

    #[test]
    fn names_are_unique_and_below_the_table() {
        let metadata = fixture::metadata("file:///w/ns/t/", HashMap::new());
        let paths = DataPaths::new(&metadata);
        let names: HashSet<_> = (0..100).flat_map(|task| [paths.data_file(task), paths.delete_file(task)]).collect();
        assert_eq!(names.len(), 200);
        assert!(names.iter().all(|name| name.starts_with("file:///w/ns/t/data/000") && name.ends_with(".parquet")));
        assert_ne!(DataPaths::new(&metadata).data_file(0), DataPaths::new(&metadata).data_file(0));
    }

    #[test]
    fn properties_move_the_folders() {
        let properties = HashMap::from([
            (DATA_PATH.to_owned(), "s3://other/d/".to_owned()),
            (METADATA_PATH.to_owned(), "s3://other/m".to_owned()),
        ]);
        let metadata = fixture::metadata("s3://b/t", properties);
        assert_eq!(data_folder(&metadata), "s3://other/d");
        assert_eq!(metadata_folder(&metadata), "s3://other/m");
    }
}
