//! Configuration: `.pyiceberg.yaml`, environment variables and options, as properties of a catalog.

pub(crate) mod exposed;
pub(crate) mod settings;
pub(crate) mod yaml;
