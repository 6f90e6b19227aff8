//! The schema file: reading, writing, and hints.

pub(crate) mod hints;
pub(crate) mod schema_file;
pub(crate) mod strict_json;
