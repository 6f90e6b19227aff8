//! Access to a table that a catalog vends: configuration and credentials.

use std::sync::Arc;

use super::config::S3Config;
use super::keys::CredentialsProvider;

/// One way to access S3.
#[derive(Debug, Clone)]
pub struct S3Access {
    /// The configuration.
    pub config: S3Config,
    /// The source of keys, unless those of the configuration are used.
    pub lender: Option<Arc<dyn CredentialsProvider>>,
}
