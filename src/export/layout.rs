//! Locations of an export's data files, even if it was copied.
//!
//! DynamoDB writes `[prefix/]AWSDynamoDB/<id>/manifest-*.json`, a full export's data to `…/AWSDynamoDB/<id>/data/` and
//! that of all incremental exports to `…/AWSDynamoDB/data/`. A manifest names data files by keys relative to the
//! bucket's root, and its own key too (`manifestFilesS3Key`), so the layout can be applied to wherever the manifest is
//! found.
//!
//! Keys are untrusted. A key is accepted only if
//! - it has no empty, `.` or `..` segment below the prefix, no backslash and no control character, and
//! - it is in the export's own folder or the `data/` next to it: never in another export's.

use crate::error::{Error, Result};
use crate::storage::Location;

pub(super) const AWS: &str = "AWSDynamoDB";
pub(super) const SUMMARY: &str = "manifest-summary.json";
pub(super) const FILES: &str = "manifest-files.json";
pub(super) const STARTED: &str = "_started";

/// Maximum length of a key on S3, in bytes.
const MAX_KEY: usize = 1024;

/// Maps a manifest's keys to the locations of the files.
#[derive(Debug)]
pub(super) struct Layout {
    /// The prefix that a key must have, with a trailing slash.
    prefix: String,
    /// The next part of the key (with a trailing slash; empty: anything), and the folder that contains the rest.
    places: Vec<(String, Location)>,
    root: Location,
    /// Whether the folder has the export's own name.
    named: bool,
}

impl Layout {
    /// `folder` is where the manifest was found, `manifest_key` is its key in the original bucket.
    pub(super) fn new(folder: &Location, manifest_key: &str) -> Result<Self> {
        let refused = |why| wrong("manifestFilesS3Key", manifest_key, why);
        check_characters(manifest_key).map_err(refused)?;
        let Some((own, FILES)) = manifest_key.rsplit_once('/') else {
            return Err(refused("it does not name a manifest-files.json in a folder"));
        };
        // `[prefix/]AWSDynamoDB` and `<id>`. The prefix is only compared; it is as the user gave it to DynamoDB. With a
        // trailing slash the key has two slashes, which copies may not have.
        // its end makes two of them, which copies may not have.
        let shared = own.rsplit_once('/').filter(|(above, _)| above.rsplit('/').next() == Some(AWS));
        let Some((above, id)) = shared else {
            check_segments(manifest_key).map_err(refused)?;
            let places = vec![(String::new(), folder.clone())];
            return Ok(Self { prefix: format!("{own}/"), places, root: folder.clone(), named: false });
        };
        check_segments(id).map_err(refused)?;
        if above.split('/').any(|segment| segment == "..") {
            return Err(refused("it has a .. segment"));
        }
        let mut places = vec![(format!("{id}/"), folder.clone())];
        let mut root = folder.clone();
        let named = folder.file_name() == Some(id);
        // The `data/` of a renamed export is only known if the parent folder has kept its name.
        if let Some(base) = folder.parent()
            && (named || base.file_name() == Some(AWS))
        {
            places.push(("data/".to_owned(), base.join("data")));
            root = base;
        }
        Ok(Self { prefix: format!("{above}/"), places, root, named })
    }

    /// The location of the data file with this key.
    pub(super) fn locate(&self, key: &str) -> Result<Location> {
        check_characters(key).map_err(|why| wrong("dataFileS3Key", key, why))?;
        let inside = key.strip_prefix(&self.prefix);
        if let Err(why) = check_segments(inside.unwrap_or(key)) {
            return Err(wrong("dataFileS3Key", key, why));
        }
        let place =
            |rest: &str| self.places.iter().find_map(|(start, folder)| Some(folder.join(rest.strip_prefix(start)?)));
        inside.and_then(place).ok_or_else(|| {
            wrong("dataFileS3Key", key, &format!("it is outside of the export's own {}", self.prefix)).advice(
                "A copy must keep the layout: AWSDynamoDB/<id>/ with the manifests, and the data beside or below it",
            )
        })
    }

    /// Whether the folder has the export's own name.
    pub(super) fn is_named(&self) -> bool {
        self.named
    }

    /// The folder that contains all files of the export.
    pub(super) fn root(&self) -> &Location {
        &self.root
    }
}

fn wrong(field: &str, key: &str, why: &str) -> Error {
    let shown: String = key.chars().take(200).collect();
    Error::input(format!("{field} {shown:?} is refused: {why}"))
}

fn check_characters(key: &str) -> Result<(), &'static str> {
    if key.len() > MAX_KEY {
        return Err("it is longer than a key can be");
    }
    if key.chars().any(|c| c == '\\' || c.is_control()) {
        return Err("it has a backslash or a control character");
    }
    Ok(())
}

fn check_segments(key: &str) -> Result<(), &'static str> {
    if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("it has an empty, . or .. segment");
    }
    Ok(())
}

/// The milliseconds in a folder's name, if it is an export's id, `<13-14 digit milliseconds>-<8 hex>`.
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
            // In the original layout, below another root, and without its prefix.
            ("s3://b/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/data/x.gz", some("s3://b/p/q/AWSDynamoDB/data/x.gz")),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/ID/data/x.gz", some("/d/p/q/AWSDynamoDB/ID/data/x.gz")),
            ("/d/AWSDynamoDB/ID", "p/q/AWSDynamoDB/data/x.gz", some("/d/AWSDynamoDB/data/x.gz")),
            // Only the `<id>` folder, or with `data/` next to it.
            ("/d/ID", "p/q/AWSDynamoDB/ID/data/x.gz", some("/d/ID/data/x.gz")),
            ("/d/ID", "p/q/AWSDynamoDB/data/x.gz", some("/d/data/x.gz")),
            ("/d/ID", "p/q/AWSDynamoDB/other/x.gz", None),
            // Renamed: only files below it.
            ("/d/monday", "p/q/AWSDynamoDB/ID/data/x.gz", some("/d/monday/data/x.gz")),
            ("/d/monday", "p/q/AWSDynamoDB/data/x.gz", None),
            ("/d/AWSDynamoDB/monday", "p/q/AWSDynamoDB/data/x.gz", some("/d/AWSDynamoDB/data/x.gz")),
            ("/d/AWSDynamoDB/monday", "p/q/AWSDynamoDB/ID/data/x.gz", some("/d/AWSDynamoDB/monday/data/x.gz")),
            ("/d/AWSDynamoDB/monday", "p/q/AWSDynamoDB/monday/data/x.gz", None),
            // Another prefix.
            ("/d/p/q/AWSDynamoDB/ID", "AWSDynamoDB/data/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/AWSDynamoDB/data/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDBx/data/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "etc/passwd", None),
            // Another export's.
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/01768386924001-d339e52d/data/x.gz", None),
            // A folder whose name only starts like the export's.
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/IDx/data/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/IDx.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/ID", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/datax/x.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/data.gz", None),
            ("/d/p/q/AWSDynamoDB/ID", "p/q/AWSDynamoDB/data", None),
            ("/d/ID", "p/q/AWSDynamoDB/IDx/data/x.gz", None),
            ("/d/ID", "p/q/AWSDynamoDB/data-old/x.gz", None),
            ("/d/monday", "p/q/AWSDynamoDB/IDx/data/x.gz", None),
            ("/d/AWSDynamoDB/monday", "p/q/AWSDynamoDB/datax/x.gz", None),
        ] {
            assert_eq!(at(folder, manifest, key), expected, "{folder} {key}");
        }
        // Prefixes as typed: a local copy has one slash where the key has two.
        for prefix in ["p//", "/p/", "./p/", "p/./q/", "//"] {
            let manifest = format!("{prefix}AWSDynamoDB/ID/manifest-files.json");
            for folder in ["s3://b/p//AWSDynamoDB", "/d/p/AWSDynamoDB"] {
                let data = format!("{prefix}AWSDynamoDB/data/x.gz");
                assert_eq!(
                    at(&format!("{folder}/ID"), &manifest, &data),
                    some(&format!("{folder}/data/x.gz")),
                    "{prefix}"
                );
                for rest in ["data//x", "/data/x", "data/../../x", "./data/x"] {
                    assert_eq!(at(&format!("{folder}/ID"), &manifest, &format!("{prefix}AWSDynamoDB/{rest}")), None);
                }
            }
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
        for manifest in [
            "manifest-files.json",
            "../manifest-files.json",
            "a/b/other.json",
            "/a/manifest-files.json",
            "",
            "../AWSDynamoDB/x/manifest-files.json",
            "AWSDynamoDB/../manifest-files.json",
            "AWSDynamoDB//manifest-files.json",
        ] {
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
