//! The schema file: reading and writing it, and hints on what deserves a look.

pub(crate) mod hints;
pub(crate) mod schema_file;
pub(crate) mod strict_json;
