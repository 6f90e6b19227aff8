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
            Err(inner) => Error::failed("the merge failed").caused_by(inner.find_root().to_string()),
        },
        other => Error::failed("the merge failed").caused_by(other),
    }
}
