//! Access to AWS that S3, Glue and the REST catalog share: settings, credentials, HTTP, and how failures are worded.

pub(crate) mod access;
pub(crate) mod answer_limit;
pub(crate) mod failure;
pub(crate) mod properties;
