//! Where an export's data files lie, when it may have been copied.
//!
//! DynamoDB writes `[prefix/]AWSDynamoDB/<id>/manifest-*.json`, a full export's data to `…/AWSDynamoDB/<id>/data/` and all
//! incremental ones' to `…/AWSDynamoDB/data/`. A manifest names data files by keys relative to the bucket's root, and
//! its own key too (`manifestFilesS3Key`), so the layout can be carried over to wherever the manifest is found.
//!
//! Keys are untrusted. A key is taken only if
//! - it has no empty, `.` or `..` segment, no backslash and no control character, and
//! - it lies in the export's own folder or the `data/` beside it: never in another export's.

use crate::error::{Error, Result};
use crate::storage::Location;

pub(super) const AWS: &str = "AWSDynamoDB";
pub(super) const SUMMARY: &str = "manifest-summary.json";
pub(super) const FILES: &str = "manifest-files.json";
pub(super) const STARTED: &str = "_started";

/// Longest key that S3 takes, in bytes.
const MAX_KEY: usize = 1024;

/// Maps a manifest's keys to where the files are.
#[derive(Debug)]
pub(super) struct Layout {
    /// What a key must start with, with a last slash.
    prefix: String,
    /// What replaces it.
    base: Location,
    /// Where below it files may lie: any of these (with a last slash); empty: anywhere.
    allowed: Vec<String>,
}

impl Layout {
    /// `folder` is where the manifest was found, `manifest_key` where it stood in its bucket.
    pub(super) fn new(folder: &Location, manifest_key: &str) -> Result<Self> {
        check_key(manifest_key).map_err(|why| wrong("manifestFilesS3Key", manifest_key, why))?;
        let Some((own, FILES)) = manifest_key.rsplit_once('/') else {
            return Err(wrong(
                "manifestFilesS3Key",
                manifest_key,
                "it does not name a manifest-files.json in a folder",
            ));
        };
        // `[prefix/]AWSDynamoDB` and `<id>`.
        let shared = own.rsplit_once('/').filter(|(above, _)| above.rsplit('/').next() == Some(AWS));
        if let Some((above, id)) = shared
            && folder.file_name() == Some(id)
            && let Some(base) = folder.parent()
        {
            let allowed = vec![format!("{id}/"), "data/".to_owned()];
            return Ok(Self { prefix: format!("{above}/"), base, allowed });
        }
        Ok(Self { prefix: format!("{own}/"), base: folder.clone(), allowed: Vec::new() })
    }

    /// Where the data file of this key is.
    pub(super) fn locate(&self, key: &str) -> Result<Location> {
        check_key(key).map_err(|why| wrong("dataFileS3Key", key, why))?;
        let inside = key.strip_prefix(&self.prefix);
        let inside = inside.filter(|rest| self.allowed.is_empty() || self.allowed.iter().any(|a| rest.starts_with(a)));
        let Some(inside) = inside else {
            return Err(wrong("dataFileS3Key", key, &format!("it is outside of the export's own {}", self.prefix))
                .advice("A copy must keep the layout: AWSDynamoDB/<id>/ with the manifests, and the data beside or below it"));
        };
        Ok(self.base.join(inside))
    }

    /// The folder that holds all files of the export.
    pub(super) fn root(&self) -> &Location {
        &self.base
    }
}

fn wrong(field: &str, key: &str, why: &str) -> Error {
    let shown: String = key.chars().take(200).collect();
    Error::input(format!("{field} {shown:?} is refused: {why}"))
}

fn check_key(key: &str) -> Result<(), &'static str> {
    if key.len() > MAX_KEY {
        return Err("it is longer than a key can be");
    }
    if key.chars().any(|c| c == '\\' || c.is_control()) {
        return Err("it has a backslash or a control character");
    }
    if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("it has an empty, . or .. segment");
    }
    Ok(())
}

/// Whether a folder's name is an export's id, `<13-14 digit milliseconds>-<8 hex>`; gives the milliseconds.
pub(super) fn id_milliseconds(name: &str) -> Option<i64> {
    let (digits, hex) = name.split_once('-')?;
    let right = matches!(digits.len(), 13 | 14)
        && digits.bytes().all(|b| b.is_ascii_digit())
        && hex.len() == 8
        && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if right { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const ID: &str = "01768386924000-d339e52d";

    fn layout(folder: &str, key: &str) -> Layout {
        Layout::new(&Location::parse(folder).unwrap(), key).unwrap()
    }

    fn locate(folder: &str, manifest: &str, key: &str) -> Option<String> {
        match layout(folder, &manifest.replace("ID", ID)).locate(&key.replace("ID", ID)) {
            Ok(location) => Some(location.to_string().replace(ID, "ID")),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Input);
                None
            }
        }
    }

    #[test]
    fn copies_keep_their_layout() {
        let at = |folder: &str, manifest: &str, key: &str| locate(&folder.replace("ID", ID), manifest, key);
        let manifest = "p/q/AWSDynamoDB/ID/manifest-files.json";
        let some = |s: &str| Some(s.to_owned());
        for (folder, key, expected) in [
            // As it was written, below another root, and without its prefix.
            ("s3://b/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/data/x.gz", some("s3://b/p/q/AWSDynamoDB/data/x.gz")),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/ID/data/x.gz", some("/d/p/q/AWSDynamoDB/ID/data/x.gz")),
            ("/d/AWSDynamoDB/ID", "p/q/AWSDynamoDB/data/x.gz", some("/d/AWSDynamoDB/data/x.gz")),
            // Only the `<id>` folder, or it and `data/` beside it.
            ("/d/ID", "p/q/AWSDynamoDB/ID/data/x.gz", some("/d/ID/data/x.gz")),
            ("/d/ID", "p/q/AWSDynamoDB/data/x.gz", some("/d/data/x.gz")),
            ("/d/ID", "p/q/AWSDynamoDB/other/x.gz", None),
            // Renamed: only what lies below it.
            ("/d/monday", "p/q/AWSDynamoDB/ID/data/x.gz", some("/d/monday/data/x.gz")),
            ("/d/monday", "p/q/AWSDynamoDB/data/x.gz", None),
            // Another prefix.
            ("/d/p/q/AWSDynamoDB/ID", "AWSDynamoDB/data/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/AWSDynamoDB/data/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDBx/data/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "etc/passwd", None),
            // Another export's.
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/01768386924001-d339e52d/data/x.gz", None),
        ] {
            assert_eq!(at(folder, manifest, key), expected, "{folder} {key}");
        }
        let bare = "AWSDynamoDB/ID/manifest-files.json";
        assert_eq!(at("/d/AWSDynamoDB/ID", bare, "AWSDynamoDB/data/x"), some("/d/AWSDynamoDB/data/x"));
    }

    #[test]
    fn tricks_with_keys_are_refused() {
        let manifest = "AWSDynamoDB/ID/manifest-files.json";
        for key in [
            "AWSDynamoDB/../../etc/passwd",
            "AWSDynamoDB/data/..",
            "AWSDynamoDB/./data/x",
            "AWSDynamoDB//data/x",
            "/AWSDynamoDB/data/x",
            "AWSDynamoDB/data/",
            "AWSDynamoDB/data/..\\..\\x",
            "AWSDynamoDB/data/x\0.gz",
            "AWSDynamoDB/data/x\n.gz",
            "s3://other/AWSDynamoDB/data/x",
            "file:///etc/passwd",
            "AWSDynamoDB",
            "",
        ] {
            assert_eq!(locate(&format!("/d/AWSDynamoDB/{ID}"), manifest, key), None, "{key:?}");
        }
        let long = format!("AWSDynamoDB/data/{}", "x".repeat(1100));
        assert_eq!(locate(&format!("/d/AWSDynamoDB/{ID}"), manifest, &long), None);
        let folder = Location::parse("/d/x").unwrap();
        for manifest in
            ["manifest-files.json", "../manifest-files.json", "a/b/other.json", "/a/manifest-files.json", ""]
        {
            assert_eq!(Layout::new(&folder, manifest).unwrap_err().kind(), Kind::Input, "{manifest:?}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(id_milliseconds(ID), Some(1_768_386_924_000));
        assert_eq!(id_milliseconds("1768386924000-d339e52d"), Some(1_768_386_924_000));
        for name in
            ["data", "176838692400-d339e52d", "01768386924000-d339e52", "01768386924000-d339e52g", "01768386924000"]
        {
            assert_eq!(id_milliseconds(name), None, "{name}");
        }
    }
}
