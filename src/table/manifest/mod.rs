//! Manifests: read, written, many merged as few, and metrics pruned that nobody asked for.

pub(crate) mod avro;
pub(crate) mod avro_check;
pub mod merge;
pub(crate) mod prune_metrics;
pub(crate) mod read;
pub(crate) mod write;
