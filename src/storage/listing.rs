//! The listing of one level of a folder.

use std::fmt::Debug;

use crate::time::Time;

/// A file in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The last segment of its path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, if the backend reports it.
    pub modified: Option<Time>,
}

/// The listing of one level of a folder; both lists are sorted bytewise by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of the folders, without a trailing slash.
    pub folders: Vec<String>,
    /// The files.
    pub files: Vec<FileEntry>,
    /// Whether there is a folder without a name, as on S3 for keys with two slashes ([`Location::join_nameless`](crate::storage::Location::join_nameless)).
    pub nameless: bool,
}

impl Listing {
    /// Whether the folder contains a file with this name.
    pub fn has_file(&self, name: &str) -> bool {
        self.files.binary_search_by(|f| f.name.as_str().cmp(name)).is_ok()
    }
}
