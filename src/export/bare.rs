//! Opens full exports that the user names: by their manifests, or as a folder of bare data files.

use super::formats::{data_pipeline, ion, is_ion, is_json};
use super::layout::{FILES, SUMMARY};
use super::manifest::MAX_FILES;
use super::open::open;
use super::{DataFileRef, Export, ExportKind};
use crate::error::{Error, Result};
use crate::storage::{Location, Store};

/// Treats a folder of bare `*.json` and `*.json.gz` files, read recursively in path order, as a full export without
/// identity.
///
/// An error of kind `Usage` if it contains manifests: files are never read without their manifest if they have one.
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

/// Folders nested deeper than this are not searched for bare files.
const MAX_DEPTH: usize = 32;

/// Opens an export that must be a full one.
pub async fn open_full(store: &Store, arg: &str, without_manifest: bool) -> Result<Export> {
    let export = if without_manifest { open_bare(store, arg).await? } else { open(store, arg).await? };
    match export.kind() {
        ExportKind::Full { .. } => Ok(export),
        ExportKind::Incremental { .. } => Err(Error::input("this is an incremental export, a full one is needed")
            .in_file(export.location().to_string())
            .advice("Apply incremental exports with `ddb-iceberg incremental`")),
    }
}
