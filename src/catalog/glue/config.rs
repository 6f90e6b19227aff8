//! Configuration for connecting to Glue, with PyIceberg's names (its page "Configuration", section Glue Catalog), and
//! two from Iceberg's Java implementation.

use std::collections::BTreeMap;

use crate::aws::access::AwsAccess;
use crate::aws::properties::Properties;
use crate::error::Result;

/// Default number of attempts, as in PyIceberg.
const ATTEMPTS: u32 = 10;

/// How to connect to Glue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GlueConfig {
    pub(super) access: AwsAccess,
    /// The Data Catalog: an account number. Default: the caller's own account.
    pub(super) id: Option<String>,
    /// Whether Glue does not archive previous versions of a table entry. It keeps a limited number of them, then
    /// refuses commits.
    pub(super) skip_archive: bool,
    /// Maximum number of attempts per request.
    pub(super) attempts: u32,
    /// Whether names that Athena does not accept are passed on to Glue.
    pub(super) any_name: bool,
}

impl GlueConfig {
    /// Reads `glue.*`, and `client.*` for what is not set. Other properties are ignored.
    pub(super) fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let properties = Properties::new(properties, "");
        if properties.flag("glue.lakeformation-enabled")? == Some(true) {
            return Err(properties.wrong(
                "glue.lakeformation-enabled",
                "asks for credentials of Lake Formation, which is not supported",
            )
            .advice("Without it Lake Formation's permissions count too, but files are read and written by the caller's own role"));
        }
        let attempts = properties.number("glue.max-retries", 100)?.map_or(ATTEMPTS, |attempts| attempts.max(1));
        Ok(Self {
            access: AwsAccess::read(&properties, "glue")?,
            id: properties.get(&["glue.id"]),
            skip_archive: properties.flag("glue.skip-archive")?.unwrap_or(true),
            attempts,
            any_name: properties.flag("glue.skip-name-validation")?.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn glue_is_stronger_than_client() {
        let read = GlueConfig::from_properties(&map(&[
            ("glue.id", "0123"),
            ("glue.endpoint", "http://localhost:1/"),
            ("glue.region", "eu-west-1"),
            ("client.region", "eu-north-1"),
            ("client.access-key-id", "AKIA"),
            ("client.secret-access-key", "hush"),
            ("glue.session-token", "hush-token"),
            ("client.role-arn", "arn:aws:iam::1:role/r"),
            ("glue.skip-archive", "false"),
            ("glue.max-retries", "0"),
            ("s3.region", "other"),
        ]))
        .unwrap();
        assert_eq!(read.access.endpoint.as_deref(), Some("http://localhost:1"));
        assert_eq!(read.access.region.as_deref(), Some("eu-west-1"));
        let keys = read.access.keys.as_ref().unwrap();
        assert_eq!(
            (keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()),
            ("AKIA", "hush", Some("hush-token"))
        );
        assert_eq!((read.id.as_deref(), read.skip_archive, read.attempts), (Some("0123"), false, 1));
        let debug = format!("{read:?}");
        assert!(!debug.contains("hush") && !debug.contains("AKIA"), "{debug}");
        let plain = GlueConfig::from_properties(&BTreeMap::new()).unwrap();
        assert!(plain.skip_archive && !plain.any_name && plain.id.is_none());
    }

    #[test]
    fn nonsense_is_a_usage_error_without_the_value() {
        for (key, value) in [
            ("glue.endpoint", "hush"),
            ("glue.access-key-id", "hush"),
            ("glue.secret-access-key", "hush"),
            ("glue.skip-archive", "hush"),
            ("glue.max-retries", "-1"),
            ("glue.max-retries", "hush"),
            ("glue.lakeformation-enabled", "true"),
        ] {
            let error = GlueConfig::from_properties(&map(&[(key, value)])).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{key}");
            let text = error.to_string();
            assert!(!text.contains("hush") && text.contains("glue."), "{text}");
        }
    }
}
