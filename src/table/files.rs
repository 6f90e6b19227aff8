//! A table's live files.

use std::sync::Arc;

use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{DataFile, PrimitiveLiteral};
use serde::{Deserialize, Serialize};

use super::file_serde;

/// A data file of the current snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LiveFile {
    /// The manifest entry's data file.
    #[serde(with = "file_serde")]
    pub file: DataFile,
    /// The partition spec of its partition.
    pub spec_id: i32,
    /// Its data sequence number.
    pub sequence_number: i64,
    /// The position delete files that may contain its positions.
    pub deletes: Vec<Arc<LiveDeleteFile>>,
    /// The manifest that lists it.
    pub manifest: Arc<str>,
}

impl LiveFile {
    /// A data file that no manifest lists yet: nothing deletes from it.
    pub fn unlisted(file: DataFile) -> Self {
        Self { file, spec_id: 0, sequence_number: 0, deletes: Vec::new(), manifest: "".into() }
    }
}

/// A position delete file of the current snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LiveDeleteFile {
    /// The manifest entry's data file.
    #[serde(with = "file_serde")]
    pub file: DataFile,
    /// The partition spec of its partition.
    pub spec_id: i32,
    /// Its data sequence number.
    pub sequence_number: i64,
    /// The manifest that lists it.
    pub manifest: Arc<str>,
}

impl LiveDeleteFile {
    /// The data file to which all its positions belong, if the manifest names a single one: by `referenced_data_file`,
    /// or by equal bounds of the path.
    pub fn only_path(&self) -> Option<String> {
        self.file.referenced_data_file().or_else(|| {
            let (lower, upper) = self.path_bounds();
            lower.filter(|lower| upper == Some(*lower)).map(str::to_owned)
        })
    }

    /// Whether it may contain positions of the data file with this path.
    pub fn may_reference(&self, path: &str) -> bool {
        if let Some(only) = self.file.referenced_data_file() {
            return only == path;
        }
        let (lower, upper) = self.path_bounds();
        lower.is_none_or(|lower| lower <= path) && upper.is_none_or(|upper| path <= upper)
    }

    fn path_bounds(&self) -> (Option<&str>, Option<&str>) {
        fn text(bound: Option<&iceberg::spec::Datum>) -> Option<&str> {
            match bound.map(iceberg::spec::Datum::literal) {
                Some(PrimitiveLiteral::String(text)) => Some(text),
                _ => None,
            }
        }
        let id = RESERVED_FIELD_ID_DELETE_FILE_PATH;
        (text(self.file.lower_bounds().get(&id)), text(self.file.upper_bounds().get(&id)))
    }
}
