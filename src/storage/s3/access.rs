//! What a catalog lends to reach a table: configuration and credentials.

use std::sync::Arc;

use super::config::S3Config;
use super::keys::CredentialsProvider;

/// One way to reach S3.
#[derive(Debug, Clone)]
pub struct S3Access {
    /// How it is reached.
    pub config: S3Config,
    /// Who lends the keys, if not those of the configuration are used.
    pub lender: Option<Arc<dyn CredentialsProvider>>,
}
