//! Export formats that are not supported.

use crate::error::Error;

/// The error for Ion data.
pub(crate) fn ion() -> Error {
    Error::input("Amazon Ion exports are not supported yet")
        .advice("Ask for DYNAMODB_JSON: aws dynamodb export-table-to-point-in-time --export-format DYNAMODB_JSON …")
}

/// Whether its name is that of an Amazon Ion export's file.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "object keys differ by case")]
pub(crate) fn is_ion(name: &str) -> bool {
    name.ends_with(".ion") || name.ends_with(".ion.gz")
}

#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "object keys differ by case")]
pub(crate) fn is_json(name: &str) -> bool {
    name.ends_with(".json") || name.ends_with(".json.gz")
}

/// The error for older formats, which have a file named `manifest`.
pub(crate) fn data_pipeline() -> Error {
    Error::input("exports of AWS Data Pipeline and EMR (a file named \"manifest\") are not supported yet")
        .advice("Make a new export with aws dynamodb export-table-to-point-in-time")
}
