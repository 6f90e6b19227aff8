//! The properties of S3 credentials in a REST server's responses.

use crate::storage::strip_scheme;

pub(crate) const KEY_ID: &str = "s3.access-key-id";

pub(crate) const SECRET: &str = "s3.secret-access-key";

pub(crate) const TOKEN: &str = "s3.session-token";

pub(crate) const EXPIRES: &str = "s3.session-token-expires-at-ms";

/// Properties that identify the caller; they never come from different sources.
const IDENTITY: [&str; 11] = [
    KEY_ID,
    SECRET,
    TOKEN,
    EXPIRES,
    "s3.profile-name",
    "s3.role-arn",
    "s3.role-session-name",
    "s3.anonymous",
    "s3.signer",
    "s3.signer.uri",
    "s3.remote-signing-enabled",
];

/// Whether credentials with this prefix are for S3; some servers set none, or only "s3".
pub(crate) fn is_of_s3(prefix: &str) -> bool {
    prefix.is_empty() || prefix == "s3" || strip_scheme(prefix).is_some()
}

pub(crate) fn is_identity(key: &str) -> bool {
    IDENTITY.iter().any(|name| *name == key || name.strip_prefix("s3.") == key.strip_prefix("client."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_for_s3_or_for_another_store() {
        for (prefix, of_s3) in [
            ("", true),
            ("s3", true),
            ("s3://b/w", true),
            ("s3a://b/w", true),
            ("gs://b/w", false),
            ("abfss://c@a/w", false),
            ("s3x", false),
        ] {
            assert_eq!(is_of_s3(prefix), of_s3, "{prefix}");
        }
    }
}
