//! Converts DataFusion's errors to ours.

use std::sync::Arc;

use datafusion::common::DataFusionError;

use crate::error::Error;

/// Converts DataFusion's errors; one of ours that passed through is unwrapped.
pub(crate) fn convert(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::failed("the merge failed").caused_by(other),
        },
        DataFusionError::Context(_, inner) => convert(*inner),
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => convert(inner),
            Err(inner) => match inner.find_root() {
                DataFusionError::ResourcesExhausted(what) => exhausted(what),
                root => Error::failed("the merge failed").caused_by(root.to_string()),
            },
        },
        DataFusionError::ResourcesExhausted(what) => exhausted(&what),
        other => Error::failed("the merge failed").caused_by(other),
    }
}

fn exhausted(what: &str) -> Error {
    Error::failed(format!("the merge ran out of memory: {what}")).advice("Raise --memory-limit")
}
