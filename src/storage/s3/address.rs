//! Bucket and key of an `s3://` location.

use std::fmt;

use crate::error::{Error, Result};

/// Schemes of S3 locations; Hadoop's two old ones mean the same objects.
const SCHEMES: [&str; 3] = ["s3://", "s3a://", "s3n://"];

/// The part of an S3 location after the scheme; `None` for other locations.
pub(crate) fn strip_scheme(location: &str) -> Option<&str> {
    SCHEMES.iter().find_map(|scheme| location.strip_prefix(scheme))
}

/// One object, or (with an empty key) a bucket. Keys are used unchanged, never decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub bucket: String,
    pub key: String,
}

impl Address {
    /// Parses `s3://bucket/key`, or the address of a bucket.
    pub fn parse(location: &str) -> Result<Self> {
        let wrong = || Error::usage(format!("{location:?} is not a location in S3")).advice("Write s3://bucket/key");
        let (bucket, key) =
            strip_scheme(location).map(|rest| rest.split_once('/').unwrap_or((rest, ""))).ok_or_else(wrong)?;
        // The characters of bucket (or access point) names, so that no other host name can be formed.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if bucket.is_empty() || bucket.len() > 255 || !bucket.chars().all(fits) {
            return Err(wrong());
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Like [`parse`](Self::parse), but only for objects.
    pub fn object(location: &str) -> Result<Self> {
        let address = Self::parse(location)?;
        if address.key.is_empty() {
            return Err(Error::usage(format!("{location} is a bucket, not an object in one")));
        }
        Ok(address)
    }

    /// The prefix of the keys below this folder: empty for a bucket.
    pub fn folder(&self) -> String {
        match self.key.trim_end_matches('/') {
            "" => String::new(),
            key => format!("{key}/"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "s3://{}", self.bucket),
            key => write!(f, "s3://{}/{key}", self.bucket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn buckets_and_keys() {
        for scheme in SCHEMES {
            let address = Address::object(&format!("{scheme}my-bucket.x/a b/../ü%20//c")).unwrap();
            assert_eq!((address.bucket.as_str(), address.key.as_str()), ("my-bucket.x", "a b/../ü%20//c"));
            assert_eq!(address.to_string(), "s3://my-bucket.x/a b/../ü%20//c");
        }
        assert_eq!(Address::parse("s3://b").unwrap().folder(), "");
        assert_eq!(Address::parse("s3://b/p/").unwrap().folder(), "p/");
        for text in
            ["s3:///k", "s3://", "s3://b", "s3://b/", "/b/k", "s3://b@h/k", "s3://b?x/k", "s3://b#/k", "s3://b\\c/k"]
        {
            assert_eq!(Address::object(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
    }
}
