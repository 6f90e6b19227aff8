//! An export that the user names.

use super::layout::{FILES, STARTED, SUMMARY};
use super::manifest::{MAX_FILES, Summary, ion, read_files, read_summary};
use super::prefix::first_below;
use super::{DataFileRef, Export, ExportKind};
use crate::error::{Error, Result};
use crate::storage::{Location, Store};

/// Folders nested deeper than this are not searched for bare files.
const MAX_DEPTH: usize = 32;

/// What a user's argument points at.
pub(super) enum Found {
    /// A completed export's folder.
    Export(Location),
    /// An export that did not complete, or was not copied whole.
    Incomplete(Location),
    /// Any other folder, or nothing.
    Other(Location),
}

/// Looks at what the user typed, without listing anything.
pub(super) async fn look(store: &Store, arg: &str) -> Result<Found> {
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

/// The refusal of an incomplete export.
pub(super) fn incomplete(folder: &Location) -> Error {
    Error::input("the export is incomplete: it has no manifest-summary.json").in_file(folder.to_string()).advice(
        "DynamoDB writes that file last: wait until the export has completed (aws dynamodb describe-export), \
         or copy its folder again",
    )
}

/// Reads the manifests of the export that `arg` names: its folder, or one of the manifests in it.
///
/// Errors are of kind `Input` where the export is incomplete, damaged, of a format that is not read, or none at all.
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

/// Reads the list of files of an export whose summary is known.
pub(super) async fn load(store: &Store, folder: Location, summary: Summary) -> Result<Export> {
    let files = read_files(store, &folder, &summary).await?;
    let Summary { arn, table_arn, table_id, kind, item_count, .. } = summary;
    Ok(Export { arn, table_arn, table_id, kind, item_count, files, location: folder })
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

/// The refusal of older formats, which have a file named `manifest`.
pub(super) fn data_pipeline() -> Error {
    Error::input("exports of AWS Data Pipeline and EMR (a file named \"manifest\") are not supported yet")
        .advice("Make a new export with aws dynamodb export-table-to-point-in-time")
}

/// Takes a folder of bare `*.json` and `*.json.gz` files, recursively, in path order, as a full export without identity.
///
/// An error of kind `Usage` if manifests lie in it: files are never read without the manifest that vouches for them.
pub async fn open_bare(store: &Store, arg: &str) -> Result<Export> {
    let top = Location::parse(arg)?;
    let mut names = Vec::new();
    let mut other = None;
    let mut seen = std::collections::HashSet::new();
    let mut waiting = vec![(top.clone(), String::new(), 0)];
    while let Some((folder, path, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return Err(
                Error::input(format!("folders are nested deeper than {MAX_DEPTH} levels")).in_file(folder.to_string())
            );
        }
        if !folder.is_s3()
            && let Some(real) = store.resolve(&folder).await?
            && !seen.insert(real)
        {
            return Err(Error::input("links make this folder appear twice").in_file(folder.to_string()));
        }
        let Some(listing) = store.list(&folder, None).await? else {
            return Err(Error::input("there is no such folder").in_file(folder.to_string()).advice("Check the path"));
        };
        if let Some(manifest) = [SUMMARY, FILES].into_iter().find(|name| listing.has_file(name)) {
            return Err(Error::usage(format!(
                "--without-manifest is for bare files, but this folder has a {manifest}"
            ))
            .in_file(folder.to_string())
            .advice("Leave --without-manifest away"));
        }
        for file in listing.files {
            let name = file.name.as_str();
            if is_json(name) {
                if names.len() == MAX_FILES {
                    return Err(Error::input(format!("there are more than {MAX_FILES} files")).in_file(top.to_string()));
                }
                names.push(format!("{path}{name}"));
            } else if is_ion(name) {
                return Err(ion().in_file(format!("{path}{name}")));
            } else if name == "manifest" {
                other = Some(data_pipeline().in_file(folder.to_string()));
            }
        }
        for name in listing.folders {
            waiting.push((folder.join(&name), format!("{path}{name}/"), depth + 1));
        }
    }
    if names.is_empty() {
        return Err(other.unwrap_or_else(|| {
            Error::input("there are no *.json or *.json.gz files in or below this folder").in_file(top.to_string())
        }));
    }
    names.sort_unstable();
    let root = store.resolve(&top).await?;
    let mut files = Vec::with_capacity(names.len());
    for (position, name) in (0_u32..).zip(names) {
        let location = top.join(&name);
        if let (Some(root), Some(real)) = (&root, store.resolve(&location).await?)
            && !real.is_within(root)
        {
            return Err(Error::input("the file is a link that leads out of the folder").in_file(name));
        }
        files.push(DataFileRef { location, name, item_count: None, md5: None, position });
    }
    Ok(Export {
        arn: None,
        table_arn: None,
        table_id: None,
        kind: ExportKind::Full { time: None },
        item_count: None,
        files,
        location: top,
    })
}

#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "object keys differ by case")]
fn is_json(name: &str) -> bool {
    name.ends_with(".json") || name.ends_with(".json.gz")
}

/// Whether it is named as files of Amazon Ion exports are.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "object keys differ by case")]
pub(super) fn is_ion(name: &str) -> bool {
    name.ends_with(".ion") || name.ends_with(".ion.gz")
}
