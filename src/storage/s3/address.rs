//! Bucket and key of an `s3://` location.

use std::fmt;

use crate::error::{Error, Result};

/// How S3 locations may begin; Hadoop's two old schemes mean the same objects.
const SCHEMES: [&str; 3] = ["s3://", "s3a://", "s3n://"];

/// What follows the scheme of an S3 location; `None` if it is another kind of location.
pub(crate) fn strip_scheme(location: &str) -> Option<&str> {
    SCHEMES.iter().find_map(|scheme| location.strip_prefix(scheme))
}

/// One object, or (with an empty key) a bucket. Keys are taken as they are, never decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub bucket: String,
    pub key: String,
}

impl Address {
    /// Reads `s3://bucket/key`, or that of a bucket.
    pub fn parse(location: &str) -> Result<Self> {
        let wrong = || Error::usage(format!("{location:?} is not a location in S3")).advice("Write s3://bucket/key");
        let (bucket, key) =
            strip_scheme(location).map(|rest| rest.split_once('/').unwrap_or((rest, ""))).ok_or_else(wrong)?;
        // What the name of a bucket (or of an access point) has, so that a host name can't be made of anything else.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if bucket.is_empty() || bucket.len() > 255 || !bucket.chars().all(fits) {
            return Err(wrong());
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// As [`parse`](Self::parse), but only an object's.
    pub fn object(location: &str) -> Result<Self> {
        let address = Self::parse(location)?;
        if address.key.is_empty() {
            return Err(Error::usage(format!("{location} is a bucket, not an object in one")));
        }
        Ok(address)
    }

    /// What the keys below this folder begin with: nothing for a bucket.
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
