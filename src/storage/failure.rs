//! Error messages for the operating system's errors, and errors that pass through iceberg's traits.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::Error;

/// The error for a path. `action` continues "cannot …", as in "read the file".
pub(super) fn os(path: &Path, action: &str, error: io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => Some("Check the permissions of the file and of the folders above it"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("Free some space there and run again"),
        ErrorKind::ReadOnlyFilesystem => Some("The file system is mounted read-only; write somewhere else"),
        ErrorKind::NotFound => Some("Check the path"),
        ErrorKind::AlreadyExists => Some("Files are never overwritten; another run may be writing there"),
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            Some("Too many files are open: use fewer --threads or raise the limit (ulimit -n)")
        }
        _ => None,
    };
    let failed = Error::failed(format!("cannot {action}")).in_file(path.display().to_string()).caused_by(error);
    match advice {
        Some(advice) => failed.advice(advice),
        None => failed,
    }
}

/// Wraps an error for iceberg's traits; `Error::from(iceberg::Error)` unwraps it.
pub fn into_iceberg(error: Error) -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, error.message().to_owned()).with_source(error)
}
