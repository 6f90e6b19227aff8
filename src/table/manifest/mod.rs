//! Manifests: reading, checking, writing, merging, and pruning of unneeded metrics.

pub(crate) mod avro;
pub(crate) mod avro_check;
pub mod merge;
pub(crate) mod prune_metrics;
pub(crate) mod read;
pub(crate) mod write;
