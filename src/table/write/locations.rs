//! Locations of new files of a table.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use iceberg::spec::TableMetadata;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The property that sets the folder of data files, instead of `<location>/data`.
pub const DATA_PATH: &str = "write.data.path";
/// The property that sets the folder of metadata files, instead of `<location>/metadata`.
pub const METADATA_PATH: &str = "write.metadata.path";

/// Whether data files are spread over many folders, from which S3 serves them faster.
pub const OBJECT_STORAGE: &str = "write.object-storage.enabled";
/// An older name of the property for the folder of spread data files.
pub const OBJECT_PATH: &str = "write.object-storage.path";
/// An older name of the property for the folder of data files.
pub const FOLDER_PATH: &str = "write.folder-storage.path";

/// Names for the data and delete files of one operation; unique across all operations. Processes that share an operation
/// each have tasks of their own, whose numbers are part of the names.
///
/// Names have no partition folders: in Iceberg, a file's partition is in its manifest entry, not in its path.
#[derive(Debug, Serialize, Deserialize)]
pub struct DataPaths {
    folder: String,
    /// Whether each file is in a folder named by its hash.
    spread: bool,
    operation: Uuid,
    #[serde(skip, default = "first")]
    next: AtomicU64,
}

impl DataPaths {
    /// Names below the table's data folder.
    pub fn new(metadata: &TableMetadata) -> Self {
        let spread = spreads(metadata.properties());
        Self { folder: data_folder(metadata), spread, operation: Uuid::new_v4(), next: first() }
    }

    /// A name for a data file written by the given task.
    pub fn data_file(&self, task: u32) -> String {
        format!("{}.parquet", self.stem(task))
    }

    /// A name for a position delete file written by the given task.
    pub fn delete_file(&self, task: u32) -> String {
        format!("{}-deletes.parquet", self.stem(task))
    }

    fn stem(&self, task: u32) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{task:05}-{}-{n:05}", self.operation);
        if self.spread {
            format!("{}/{}/{name}", self.folder, hashed(&name))
        } else {
            format!("{}/{name}", self.folder)
        }
    }
}

/// The number of the first file.
fn first() -> AtomicU64 {
    AtomicU64::new(1)
}

/// Folders for a name, as in Iceberg Java's `ObjectStoreLocationProvider`: 20 bits, three times four and once eight.
fn hashed(name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let bits = format!("{:020b}", hasher.finish() & 0xF_FFFF);
    let (first, rest) = bits.split_at(4);
    let (second, rest) = rest.split_at(4);
    let (third, last) = rest.split_at(4);
    format!("{first}/{second}/{third}/{last}")
}

/// The folder of data files, without a trailing slash: `write.data.path` or its older names, otherwise
/// `<location>/data`.
pub fn data_folder(metadata: &TableMetadata) -> String {
    data_path(metadata.properties()).map_or_else(|| below(metadata, "data"), str::to_owned)
}

/// The folder of manifests and metadata files, without a trailing slash: `write.metadata.path`, otherwise
/// `<location>/metadata`.
pub fn metadata_folder(metadata: &TableMetadata) -> String {
    match metadata.properties().get(METADATA_PATH).map(|path| path.trim_end_matches('/')) {
        Some(path) if !path.is_empty() => path.to_owned(),
        _ => below(metadata, "metadata"),
    }
}

fn below(metadata: &TableMetadata, folder: &str) -> String {
    format!("{}/{folder}", metadata.location().trim_end_matches('/'))
}

/// The folder of data files that a property sets, without a trailing slash.
pub(crate) fn data_path(properties: &HashMap<String, String>) -> Option<&str> {
    let given =
        |name: &str| properties.get(name).map(|path| path.trim_end_matches('/')).filter(|path| !path.is_empty());
    let old = if spreads(properties) { given(OBJECT_PATH) } else { None };
    given(DATA_PATH).or(old).or_else(|| given(FOLDER_PATH))
}

/// Whether data files are to be spread over many folders.
pub(crate) fn spreads(properties: &HashMap<String, String>) -> bool {
    properties.get(OBJECT_STORAGE).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
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
    fn files_are_spread_over_folders_where_the_table_wants_that() {
        let properties = HashMap::from([
            (OBJECT_STORAGE.to_owned(), "true".to_owned()),
            (OBJECT_PATH.to_owned(), "s3://spread/o".to_owned()),
        ]);
        let metadata = fixture::metadata("s3://b/t", properties);
        let paths = DataPaths::new(&metadata);
        let folders: HashSet<_> = (0..50)
            .map(|task| {
                let path = paths.data_file(task);
                let parts: Vec<&str> = path.strip_prefix("s3://spread/o/").unwrap().split('/').collect();
                assert_eq!(parts.iter().map(|part| part.len()).take(4).collect::<Vec<_>>(), [4, 4, 4, 8]);
                assert!(parts.len() == 5 && parts[..4].concat().chars().all(|c| "01".contains(c)), "{path}");
                parts[..4].join("/")
            })
            .collect();
        assert!(folders.len() > 40);
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
        let nothing = [DATA_PATH, METADATA_PATH].map(|name| (name.to_owned(), "/".to_owned()));
        let metadata = fixture::metadata("s3://b/t/", nothing.into());
        assert_eq!(
            (data_folder(&metadata), metadata_folder(&metadata)),
            ("s3://b/t/data".into(), "s3://b/t/metadata".into())
        );
    }

    #[test]
    fn an_empty_property_moves_nothing() {
        for empty in ["", "/"] {
            let properties = [DATA_PATH, METADATA_PATH].map(|name| (name.to_owned(), empty.to_owned()));
            let metadata = fixture::metadata("s3://b/t", properties.into());
            assert_eq!(metadata_folder(&metadata), "s3://b/t/metadata");
            assert_eq!(data_folder(&metadata), "s3://b/t/data");
        }
    }
}
