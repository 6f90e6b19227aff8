//! Locations: a local path or an S3 object, as one canonical string.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const FILE: &str = "file://";
const S3: &str = "s3://";

/// An absolute location: `file:///abs/path` or `s3://bucket/key`, never percent-encoded, without a trailing slash.
///
/// Local paths are normalised lexically (`.`, `..`, repeated slashes); S3 keys are unchanged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location(String);

impl Location {
    /// Parses a location from a user or a file: a plain path (relative to the working directory), `file:///…`,
    /// `file:/…` or `s3://…` (also `s3a://`, `s3n://`). Anything else is an error of kind `Usage`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("{text:?} is not a location: {why}"));
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        if text.contains('\0') {
            return Err(wrong("it has a NUL character"));
        }
        if let Some(rest) = crate::storage::s3::strip_scheme(text) {
            let rest = rest.trim_end_matches('/');
            if rest.is_empty() || rest.starts_with('/') {
                return Err(wrong("the bucket's name is missing"));
            }
            return Ok(Self(format!("{S3}{rest}")));
        }
        let path = match text.strip_prefix("file:") {
            None => text,
            Some(rest) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if !path.starts_with('/') {
                    return Err(wrong("file: needs an absolute path, as in file:///data/orders"));
                }
                path
            }
        };
        if path.len() == text.len()
            && let Some(why) = not_a_path(text)
        {
            return Err(wrong(why));
        }
        if path.starts_with('/') {
            return Ok(Self::of_segments(path));
        }
        let cwd =
            std::env::current_dir().map_err(|e| Error::failed("the working directory cannot be read").caused_by(e))?;
        let Some(cwd) = cwd.to_str() else {
            return Err(wrong("the working directory's name is not UTF-8; give an absolute path"));
        };
        Ok(Self::of_segments(&format!("{cwd}/{path}")))
    }

    fn of_segments(path: &str) -> Self {
        let mut segments = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                name => segments.push(name),
            }
        }
        Self(format!("{FILE}/{}", segments.join("/")))
    }

    /// A location below this one. `relative` is appended unchanged: names from input must be checked before.
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        let base = self.0.strip_suffix('/').unwrap_or(&self.0);
        match relative.trim_matches('/') {
            "" => self.clone(),
            relative => Self(format!("{base}/{relative}")),
        }
    }

    /// A location in this one's folder without a name on S3: two slashes precede it.
    #[must_use]
    pub fn join_nameless(&self, relative: &str) -> Self {
        Self(format!("{}//{relative}", self.0))
    }

    /// The parent folder; `None` at the root of a file system or bucket.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.split()?;
        Some(Self(if parent == FILE { format!("{FILE}/") } else { parent.to_owned() }))
    }

    /// The last segment; `None` at the root of a file system or bucket.
    pub fn file_name(&self) -> Option<&str> {
        self.split().map(|(_, name)| name)
    }

    fn split(&self) -> Option<(&str, &str)> {
        let (parent, name) = self.0.rsplit_once('/')?;
        (!name.is_empty() && parent.len() + 1 > S3.len()).then_some((parent, name))
    }

    /// Whether `self` is `folder` or below it.
    pub fn is_within(&self, folder: &Self) -> bool {
        match self.0.strip_prefix(folder.0.strip_suffix('/').unwrap_or(&folder.0)) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => self == folder,
        }
    }

    /// The whole URI, as written into tables and catalogs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an S3 location.
    pub fn is_s3(&self) -> bool {
        self.0.starts_with(S3)
    }

    /// The bucket of an S3 location.
    pub fn bucket(&self) -> Option<&str> {
        self.0.strip_prefix(S3).map(|rest| rest.split_once('/').map_or(rest, |(bucket, _)| bucket))
    }

    /// The key of an S3 location; empty at the bucket's root.
    pub fn key(&self) -> Option<&str> {
        self.0.strip_prefix(S3).map(|rest| rest.split_once('/').map_or("", |(_, key)| key))
    }

    /// The path of a local location.
    pub fn local_path(&self) -> Option<PathBuf> {
        self.0.strip_prefix(FILE).map(PathBuf::from)
    }
}

/// Why a string that looks like a URI is not a local path: data meant for a server would go to a folder with that name.
fn not_a_path(text: &str) -> Option<&'static str> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    match scheme.to_ascii_lowercase().as_str() {
        _ if !is_scheme => None,
        "s3" | "s3a" | "s3n" => Some("write s3://bucket/path, or ./s3:… for a local folder of that name"),
        "http" | "https" => Some(
            "a web address is none; write s3://bucket/path, and give an S3-compatible server as the property s3.endpoint",
        ),
        _ if rest.starts_with('/') => Some("only local paths, file:// and s3:// are known"),
        _ => None,
    }
}

impl fmt::Display for Location {
    /// For display: a local path, or the S3 URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_prefix(FILE).unwrap_or(&self.0))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn parse(text: &str) -> String {
        Location::parse(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn local_forms_are_one() {
        for text in ["/a/b", "/a/b/", "//a//b", "/a/./b", "/a/x/../b", "/../a/b", "file:///a/b", "file:/a/b/"] {
            assert_eq!(parse(text), "file:///a/b", "{text}");
        }
        assert_eq!(parse("/"), "file:///");
        assert_eq!(parse("/a%20b/ü ?#"), "file:///a%20b/ü ?#");
        let cwd = std::env::current_dir().unwrap();
        assert_eq!(parse("x/../y"), format!("file://{}/y", cwd.display()));
        assert_eq!(parse("."), format!("file://{}", cwd.display()));
        assert_eq!(parse("./odd:name"), format!("file://{}/odd:name", cwd.display()));
    }

    #[test]
    fn s3_keys_stay_as_they_are() {
        assert_eq!(parse("s3://b"), "s3://b");
        assert_eq!(parse("s3://b/"), "s3://b");
        assert_eq!((parse("s3a://b/k"), parse("s3n://b/k")), ("s3://b/k".to_owned(), "s3://b/k".to_owned()));
        let location = Location::parse("s3://b/p/../q//r/").unwrap();
        assert_eq!(location.as_str(), "s3://b/p/../q//r");
        assert!(location.is_s3());
        assert_eq!((location.bucket(), location.key()), (Some("b"), Some("p/../q//r")));
        assert_eq!(location.local_path(), None);
        assert_eq!(Location::parse("s3://b").unwrap().key(), Some(""));
    }

    #[test]
    fn other_schemes_are_usage_errors() {
        let wrong = ["", "http://a/b", "s3b://b/k", "gs://b", "file:a", "file://host/a", "s3://", "s3:///k", "a\0b"];
        let nearly =
            ["s3:/lake", "s3:lake", "S3://lake/x", "s3a:/lake", "HTTPS:/a", "gs:/lake", "hdfs:///x", "abfs:/x"];
        for text in wrong.into_iter().chain(nearly) {
            assert_eq!(Location::parse(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
        let said = |text: &str| Location::parse(text).unwrap_err().to_string();
        assert!(said("s3:/lake").contains("s3://bucket/path"), "{}", said("s3:/lake"));
        assert!(said("https://s3.example.com/b").contains("s3.endpoint"));
        for name in ["./s3:/lake", "/data/s3:/lake", "orders:2026", "a b:/c", "10:15/x"] {
            assert!(Location::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn walking_up_and_down() {
        let a = Location::parse("/a").unwrap();
        assert_eq!(a.join("b/c").as_str(), "file:///a/b/c");
        assert_eq!(a.join("").as_str(), "file:///a");
        assert_eq!(a.join("b").parent(), Some(a.clone()));
        assert_eq!(a.file_name(), Some("a"));
        let root = a.parent().unwrap();
        assert_eq!((root.as_str(), root.parent(), root.file_name()), ("file:///", None, None));
        assert_eq!(root.join("a"), a);
        assert_eq!(root.to_string(), "/");
        let bucket = Location::parse("s3://b").unwrap();
        assert_eq!((bucket.parent(), bucket.file_name()), (None, None));
        assert_eq!(bucket.join("k").parent(), Some(bucket.clone()));
        assert_eq!(bucket.join("k").to_string(), "s3://b/k");
        assert_eq!(a.join("b").to_string(), "/a/b");
    }

    #[test]
    fn within_is_by_segment() {
        let at = |text| Location::parse(text).unwrap();
        assert!(at("/a/b").is_within(&at("/a")));
        assert!(at("/a").is_within(&at("/a")));
        assert!(at("/a").is_within(&at("/")));
        assert!(!at("/ab").is_within(&at("/a")));
        assert!(!at("/").is_within(&at("/a")));
        assert!(!at("s3://bb/k").is_within(&at("s3://b")));
    }
}
