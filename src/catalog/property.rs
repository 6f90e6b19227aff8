//! Names of catalog properties, which are PyIceberg's: which exist, and which are secret.

use std::collections::BTreeMap;

use crate::aws::access::is_loopback;
use crate::secrets;
use crate::spelling::distance;
use crate::storage::ALLOWED_LOCATIONS;

/// Properties known by their full name.
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

/// Properties known by their prefix: other programs define their names.
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

/// A message about an unknown key, or one that is misspelled; `None` if the key is fine.
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

/// Whether this property is known by its full name.
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

/// Whether the value of this key grants access. Values of similar keys are not shown either, but are not masked in
/// messages that contain them by chance: flags, addresses, names, and headers for other purposes.
fn gives_access(key: &str) -> bool {
    const NOT: [&str; 8] = ["-enabled", "-url", "_url", "-uri", "scope", "client-id", "client_id", "username"];
    const HEADERS: [&str; 6] = ["auth", "cookie", "token", "key", "secret", "password"];
    let key = key.to_lowercase();
    let is_plain = NOT.iter().any(|end| key.ends_with(end));
    match key.strip_prefix("header.") {
        Some(header) => HEADERS.iter().any(|word| header.contains(word)),
        None => is_secret(&key) && !is_plain,
    }
}

/// Whether this is a secret that grants access, or contains one.
pub fn holds_secret(key: &str, value: &str) -> bool {
    // The id of a KMS key is not shown, but grants no access. A warehouse has no user.
    !value.is_empty()
        && key != "warehouse"
        && !key.contains("kms-key")
        && (gives_access(key) || password(value).is_some() || value.contains("password="))
}

/// Registers the secrets in these properties, so that no server's message repeats them.
pub fn remember(properties: &BTreeMap<String, String>) {
    for (key, value) in properties.iter().filter(|(key, value)| holds_secret(key, value)) {
        if let Some(password) = password(value) {
            secrets::remember(password);
        }
        if gives_access(key) {
            secrets::remember(value);
            // `id:secret`, and `Bearer token`.
            for (_, part) in [value.split_once(':'), value.split_once(' ')].into_iter().flatten() {
                secrets::remember(part);
            }
        }
    }
}

/// The password in a URL, as written there.
fn password(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    // It may contain any character, even one that should have been percent-encoded.
    let (user, host) = rest.rsplit_once('@')?;
    let (user, password) = user.split_once(':')?;
    // A word that is part of the address anyway.
    let is_name = password == user || host.rsplit('/').next() == Some(password);
    (!password.is_empty() && !is_name).then_some(password)
}

/// Warnings about secrets that these properties send over a network in clear, one line per server.
pub fn unencrypted(properties: &BTreeMap<String, String>) -> Vec<String> {
    let open = |key: &str| properties.get(key).is_some_and(|url| url.starts_with("http://") && !is_loopback(url));
    let is_true = |key: &str| properties.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    // Credentials for a REST catalog.
    let sign_in: Vec<&str> = properties
        .iter()
        .filter(|(key, value)| !value.is_empty() && is_secret(key))
        .map(|(key, _)| key.as_str())
        .filter(|key| ["token", "credential", "rest.", "auth", "header."].iter().any(|name| key.starts_with(name)))
        .collect();
    let mut said = Vec::new();
    for key in ["uri", "oauth2-server-uri", "auth.oauth2.token_url", "auth.oauth2.token-url"] {
        if open(key) && (!sign_in.is_empty() || is_true("rest.sigv4-enabled")) {
            let what = if sign_in.is_empty() { "requests".to_owned() } else { sign_in.join(", ") };
            said.push(format!("the catalog's {key} is http://: {what} can be read on the way; use https://"));
        }
    }
    for (key, anonymous) in [
        ("s3.endpoint", "s3.anonymous"),
        ("export.s3.endpoint", "export.s3.anonymous"),
        ("glue.endpoint", "glue.anonymous"),
    ] {
        if open(key) && !is_true(anonymous) {
            said.push(format!(
                "{key} is http://: data, key ids and session tokens can be read on the way; use https://"
            ));
        }
    }
    said
}

/// The value as it may be shown: secrets, and user names and passwords in URIs, as `***`.
pub fn shown(key: &str, value: &str) -> String {
    if is_secret(key) {
        return "***".to_owned();
    }
    // A password may contain any character, even one that should have been percent-encoded: everything up to the last @
    // may belong to it. A warehouse has none, and a path may contain an @.
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
        // Two slips in a short word are another word.
        assert_eq!(unknown("ura").unwrap(), "there is no catalog property \"ura\"; did you mean \"uri\"?");
        assert_eq!(unknown("urxy").unwrap(), "there is no catalog property \"urxy\"");
        // Of a family, and more than a slip away from what is known.
        assert_eq!(unknown("ssl.client.certificate"), None);
    }

    /// What gives access is struck out of messages; what is only not shown may be in them by chance.
    #[test]
    fn what_gives_access_is_known_from_what_only_looks_like_it() {
        for (key, value) in [
            ("token", "hush"),
            ("credential", "id:hush"),
            ("s3.secret-access-key", "hush"),
            ("header.Authorization", "Bearer hush"),
            ("header.X-Api-Key", "hush"),
            ("uri", "postgresql://me:hush@host/db"),
            ("uri", "Driver=x;password=hush"),
        ] {
            assert!(holds_secret(key, value), "{key}={value}");
        }
        for (key, value) in [
            ("token", ""),
            ("warehouse", "s3://me:hush@bucket/x"),
            ("s3.sse-kms-key-id", "alias/mine"),
            ("token-refresh-enabled", "true"),
            ("auth.oauth2.token_url", "https://h/t"),
            ("oauth2.credential-uri", "https://h/t"),
            ("token.scope", "catalog"),
            ("auth.basic.username", "me"),
            ("header.X-Custom", "plain"),
            ("uri", "https://lake.example/api"),
            ("s3.region", "eu-west-1"),
        ] {
            assert!(!holds_secret(key, value), "{key}={value}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_what_stands_before_the_last_at() {
        for (url, found) in [
            ("postgresql://me:hush@host/db", Some("hush")),
            ("postgresql://me:h@u:sh@host/db", Some("h@u:sh")),
            ("postgresql://me:@host/db", None),
            ("postgresql://me@host/db", None),
            ("postgresql://host/db", None),
            ("me:hush@host", None),
            // A word that stands in the address anyway.
            ("postgresql://me:me@host/db", None),
            ("postgresql://me:db@host/db", None),
            ("postgresql://me:host@host/db", Some("host")),
        ] {
            assert_eq!(password(url), found, "{url}");
        }
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
    fn what_goes_over_a_network_in_clear_is_told_once_a_server() {
        let said = |entries: &[(&str, &str)]| {
            unencrypted(&entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).join("\n")
        };
        for (entries, told) in [
            (&[("uri", "http://lake.example/api"), ("token", "hush")][..], "the catalog's uri is http://: token "),
            (&[("uri", "http://10.0.0.1"), ("credential", "a:hush")], "the catalog's uri is http://: credential "),
            (&[("uri", "http://127.evil.example"), ("header.Authorization", "hush")], "header.Authorization can"),
            (&[("uri", "http://localhost.evil.example"), ("token", "hush")], "uri is http://"),
            (
                &[("uri", "https://h"), ("credential", "hush"), ("oauth2-server-uri", "http://h/t")],
                "the catalog's oauth2-server-uri",
            ),
            (&[("s3.endpoint", "http://minio:9000"), ("s3.access-key-id", "A")], "s3.endpoint is http://"),
            (&[("s3.endpoint", "http://minio:9000")], "s3.endpoint is http://"),
        ] {
            let said = said(entries);
            assert!(said.contains(told) && said.lines().count() == 1 && !said.contains("hush"), "{entries:?}: {said}");
        }
        for entries in [
            &[("uri", "https://lake.example"), ("token", "hush")][..],
            &[("uri", "http://lake.example")],
            &[("uri", "http://lake.example"), ("token", "")],
            &[("uri", "http://lake.example"), ("glue.secret-access-key", "hush")],
            &[("uri", "http://localhost:8181/x"), ("token", "hush")],
            &[("uri", "http://127.0.0.1:8181"), ("token", "hush")],
            &[("uri", "http://[::1]:8181"), ("token", "hush")],
            &[("s3.endpoint", "http://127.0.0.1:9000"), ("s3.access-key-id", "A")],
            &[("s3.endpoint", "http://minio:9000"), ("s3.anonymous", "true")],
        ] {
            assert_eq!(said(entries), "", "{entries:?}");
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
