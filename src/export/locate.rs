//! Determines what a user's argument refers to.

use super::layout::{FILES, STARTED, SUMMARY};
use crate::error::{Error, Result};
use crate::storage::{Location, Store};

/// What a user's argument refers to.
pub(crate) enum Found {
    /// A completed export's folder.
    Export(Location),
    /// An export that did not complete, or was copied incompletely.
    Incomplete(Location),
    /// Any other folder, or nothing.
    Other(Location),
}

/// Inspects what the user typed, without listing anything.
pub(crate) async fn look(store: &Store, arg: &str) -> Result<Found> {
    let location = Location::parse(arg)?;
    let named = matches!(location.file_name(), Some(SUMMARY | FILES));
    let folder = location.parent().filter(|_| named).unwrap_or(location);
    if store.exists(&folder.join(SUMMARY)).await? {
        return Ok(Found::Export(folder));
    }
    for sign in [FILES, STARTED] {
        if store.exists(&folder.join(sign)).await? {
            return Ok(Found::Incomplete(folder));
        }
    }
    Ok(Found::Other(folder))
}

/// The error for an incomplete export.
pub(crate) fn incomplete(folder: &Location) -> Error {
    Error::input("the export is incomplete: it has no manifest-summary.json").in_file(folder.to_string()).advice(
        "DynamoDB writes that file last: wait until the export has completed (aws dynamodb describe-export), \
         or copy its folder again",
    )
}
