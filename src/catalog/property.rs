//! Names of catalog properties, which are PyIceberg's: which exist, which are secret.

use crate::spelling::distance;
use crate::storage::ALLOWED_LOCATIONS;

/// Known by its full name.
const NAMES: &[&str] = &[
    "type",
    "uri",
    "warehouse",
    // SQL
    "echo",
    "pool_pre_ping",
    "init_catalog_tables",
    "schema_version",
    // REST
    "credential",
    "token",
    "scope",
    "audience",
    "resource",
    "prefix",
    "oauth2-server-uri",
    "auth",
    "ssl",
    "snapshot-loading-mode",
    "vended-credentials-enabled",
    "view-endpoints-supported",
    "rest.sigv4-enabled",
    "rest.signing-region",
    "rest.signing-name",
    "rest.authorization-url",
    "ssl.cabundle",
    "ssl.client.cert",
    "ssl.client.key",
    // Glue
    "glue.id",
    "glue.endpoint",
    "glue.region",
    "glue.profile-name",
    "glue.access-key-id",
    "glue.secret-access-key",
    "glue.session-token",
    "glue.role-arn",
    "glue.role-session-name",
    "glue.skip-archive",
    "glue.max-retries",
    "glue.retry-mode",
    "glue.skip-name-validation",
    "glue.lakeformation-enabled",
    // AWS
    "client.region",
    "client.access-key-id",
    "client.secret-access-key",
    "client.session-token",
    "client.profile-name",
    "client.role-arn",
    "client.role-session-name",
    // shared
    "py-catalog-impl",
    "py-io-impl",
    "namespace-separator",
    "location",
    ALLOWED_LOCATIONS,
    "downcast-ns-timestamp-to-us-on-write",
    // S3
    "s3.endpoint",
    "s3.access-key-id",
    "s3.secret-access-key",
    "s3.session-token",
    "s3.role-session-name",
    "s3.role-arn",
    "s3.signer",
    "s3.signer.uri",
    "s3.signer.endpoint",
    "s3.resolve-region",
    "s3.region",
    "s3.proxy-uri",
    "s3.connect-timeout",
    "s3.request-timeout",
    "s3.retry.num-retries",
    "s3.retry.min-wait-ms",
    "s3.retry.max-wait-ms",
    "s3.force-virtual-addressing",
    "s3.path-style-access",
    "s3.retry-strategy-impl",
    "s3.anonymous",
    "s3.profile-name",
    "s3.sse.type",
    "s3.sse.key",
    "s3.sse.md5",
    "s3.server-side-encryption",
    "s3.sse-kms-key-id",
    "s3.acl",
    "s3.remote-signing-enabled",
];

/// Known by their beginning: other people's words, not ours to list.
const FAMILIES: &[&str] = &[
    "header.",
    "auth.",
    "ssl.",
    "rest.",
    "client.",
    "dynamodb.",
    "gcs.",
    "gs.",
    "adls.",
    "hdfs.",
    "hf.",
    "hive.",
    "jdbc.",
    "table-default.",
    "table-override.",
];

/// What is said of a key that does not exist, or that is one slip of the keyboard from one that does: `None` if it is fine.
pub fn unknown(key: &str) -> Option<String> {
    let bare = key.strip_prefix("export.").filter(|rest| rest.starts_with("s3.")).unwrap_or(key);
    if NAMES.contains(&bare) {
        return None;
    }
    let lower = bare.to_lowercase();
    let nearest = NAMES.iter().map(|name| (distance(&lower, name), name)).min();
    let slip = nearest.is_some_and(|(edits, name)| edits <= 1 && name.contains('.'));
    if !slip && FAMILIES.iter().any(|family| bare.len() > family.len() && bare.starts_with(family)) {
        return None;
    }
    Some(match nearest {
        Some((0..=2, name)) if name.len() > 3 => {
            let prefix = key.strip_suffix(bare).unwrap_or_default();
            format!("there is no catalog property {key:?}; did you mean {:?}?", format!("{prefix}{name}"))
        }
        Some((0..=1, name)) => format!("there is no catalog property {key:?}; did you mean {name:?}?"),
        _ => format!("there is no catalog property {key:?}"),
    })
}

/// Whether this is one of the properties that are known by their full names.
pub fn is_name(key: &str) -> bool {
    NAMES.contains(&key)
}

/// Whether the value of this key must not be shown.
pub fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 10] = [
        "token",
        "credential",
        "secret",
        "password",
        "access-key",
        "passphrase",
        "authorization",
        "private",
        "sse.key",
        "kms-key",
    ];
    let key = key.to_lowercase();
    WORDS.iter().any(|word| key.contains(word))
        || key.starts_with("header.")
        || (key.starts_with("auth") && key != "auth.type")
        || key.ends_with("account-key")
        || key.ends_with("sas")
        || key.ends_with("connection-string")
}

/// The value as it may be shown: secrets as `***`, user names and passwords in URIs too.
pub fn shown(key: &str, value: &str) -> String {
    if is_secret(key) {
        return "***".to_owned();
    }
    // A password may have any character in it, even where it should have been percent-encoded: all up to the last @ may be
    // one. A warehouse has none, and a path may have an @.
    let mask = |text: &str| match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => text.to_owned(),
    };
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if key.rsplit(['.', '-']).next() == Some("uri") => (String::new(), value),
        None => return value.to_owned(),
    };
    let rest = if key == "warehouse" {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        format!("{}{path}", mask(authority))
    } else {
        mask(rest)
    };
    match rest.split_once('?') {
        Some((path, _)) => format!("{scheme}{path}?***"),
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_named() {
        for (typed, meant) in [
            ("tpye", "type"),
            ("url", "uri"),
            ("warehous", "warehouse"),
            ("s3.acess-key-id", "s3.access-key-id"),
            ("glue.skip-archiv", "glue.skip-archive"),
            ("export.s3.endpiont", "export.s3.endpoint"),
            ("glue.regoin", "glue.region"),
            ("rest.sigv4-enable", "rest.sigv4-enabled"),
            ("oauth2-server-url", "oauth2-server-uri"),
            ("creditential", "credential"),
        ] {
            let said = unknown(typed).unwrap();
            assert!(said.ends_with(&format!("did you mean {meant:?}?")), "{said}");
        }
        assert_eq!(unknown("colour").unwrap(), "there is no catalog property \"colour\"");
    }

    #[test]
    fn known_keys_are_known() {
        for key in ["type", "uri", "s3.region", "export.s3.region", "header.X-Y", "glue.id", "rest.sigv4-enabled"] {
            assert_eq!(unknown(key), None, "{key}");
        }
        for key in ["export.type", "header.", "export.", "", "TYPE"] {
            assert!(unknown(key).is_some(), "{key}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for key in [
            "token",
            "credential",
            "s3.secret-access-key",
            "s3.session-token",
            "s3.access-key-id",
            "auth.basic.password",
        ] {
            assert_eq!(shown(key, "hush"), "***", "{key}");
        }
        assert_eq!(shown("header.Authorization", "Bearer hush"), "***");
        assert_eq!(shown("uri", "postgresql+psycopg2://me:hush@host/db"), "postgresql+psycopg2://***@host/db");
        assert_eq!(shown("uri", "postgresql://me:hu/sh?hush#@host:1/db"), "postgresql://***@host:1/db");
        assert_eq!(shown("uri", "me:hush@host/db"), "***@host/db");
        assert_eq!(shown("s3.proxy-uri", "http://me:hush@proxy:1"), "http://***@proxy:1");
        assert_eq!(shown("auth", "{'client': 'hush'}"), "***");
        assert_eq!(shown("auth.type", "oauth2"), "oauth2");
        assert_eq!(shown("warehouse", "s3://bucket/a@b"), "s3://bucket/a@b");
        assert_eq!(shown("uri", "http://h/p?password=hush"), "http://h/p?***");
        assert_eq!(shown("uri", "sqlite:////tmp/catalog.db"), "sqlite:////tmp/catalog.db");
        assert_eq!(shown("warehouse", "/data/warehouse"), "/data/warehouse");
    }
}
