//! AWS access shared by S3, Glue and the REST catalog: settings, credentials, HTTP, and error messages.

pub(crate) mod access;
pub(crate) mod answer_limit;
pub(crate) mod failure;
pub(crate) mod properties;
