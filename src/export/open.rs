//! Opens an export that the user names.

use super::Export;
use super::discover::first_below;
use super::formats::data_pipeline;
use super::locate::{Found, incomplete, look};
use super::manifest::{load, read_summary};
use crate::error::{Error, Result};
use crate::storage::{Location, Store};

/// Reads the manifests of the export that `arg` names: its folder, or one of the manifests in it.
///
/// Errors are of kind `Input` if the export is incomplete, damaged, of an unsupported format, or not an export.
pub async fn open(store: &Store, arg: &str) -> Result<Export> {
    match look(store, arg).await? {
        Found::Export(folder) => {
            let summary = read_summary(store, &folder).await?.check(&folder)?;
            load(store, folder, summary).await
        }
        Found::Incomplete(folder) => Err(incomplete(&folder)),
        Found::Other(folder) => Err(not_an_export(store, &folder).await?),
    }
}

async fn not_an_export(store: &Store, folder: &Location) -> Result<Error> {
    let named = |e: Error| e.in_file(folder.to_string());
    let Some(listing) = store.list(folder, None).await? else {
        return Ok(named(Error::input("there is no such folder").advice("Check the path")));
    };
    if listing.has_file("manifest") {
        return Ok(named(data_pipeline()));
    }
    let error = named(Error::input("this folder is not an export: it has no manifest-summary.json"));
    Ok(match first_below(store, folder).await? {
        Some(below) => error.advice(format!("An export lies below it: {below}")),
        None => error.advice("For a folder of bare data files without manifests, add --without-manifest"),
    })
}
