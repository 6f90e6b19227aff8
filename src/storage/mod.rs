//! `s3://` and local locations behind iceberg's public `Storage` trait: exports and tables share one client stack.

/// Handle to the storage backends; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}
