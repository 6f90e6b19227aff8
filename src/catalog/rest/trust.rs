//! What is taken of a server's word. It may say how its own interface is to be used, and lend keys; it may not send the user's
//! secrets elsewhere, choose where requests with the user's keys go, or run the user's programs.
//!
//! What is not taken is told, and allowed by name: whoever wants it gives the same property in the configuration.

use std::collections::BTreeMap;

use reqwest::Url;

use super::lending::{KEY_ID, SECRET, is_identity};
use super::wire::CatalogConfig;
use crate::error::{Error, Result};

type Map = BTreeMap<String, String>;

/// Of a catalog's configuration, whatever else is in it.
const OF_CATALOG: [&str; 7] = ["prefix", "namespace-separator", "warehouse", "token", "scope", "audience", "resource"];
/// The same, by how they begin: properties of new tables.
const OF_TABLES: [&str; 2] = ["table-default.", "table-override."];
/// What belongs to keys that are lent: taken with them only.
const WITH_KEYS: [&str; 15] = [
    KEY_ID,
    SECRET,
    "s3.session-token",
    "s3.session-token-expires-at-ms",
    "s3.endpoint",
    "s3.region",
    "client.region",
    "s3.path-style-access",
    "s3.force-virtual-addressing",
    "s3.sse.type",
    "s3.sse.key",
    "s3.server-side-encryption",
    "s3.sse-kms-key-id",
    "s3.signer",
    "s3.remote-signing-enabled",
];
/// Taken without keys too: names of regions, and what only leads to an error.
const WITHOUT_KEYS: [&str; 4] = ["s3.region", "client.region", "s3.signer", "s3.remote-signing-enabled"];
/// Where they would change what this program does, the user is told that they are not taken.
const FOLLOWED: [&str; 8] = ["s3.", "client.", "rest.", "header.", "auth.", "ssl.", "credential", "oauth2-server-uri"];

/// The user's properties, with what is taken of the server's defaults below and of its overrides above.
///
/// Errors: [`Kind::Failed`](crate::error::Kind::Failed) if the server names another server for itself.
pub(super) fn of_catalog(user: &Map, config: CatalogConfig) -> Result<Map> {
    let CatalogConfig { defaults, overrides, .. } = config;
    let given = |map: BTreeMap<String, Option<String>>| -> Map {
        map.into_iter().filter_map(|(key, value)| Some((key, value?))).filter(|(_, value)| !value.is_empty()).collect()
    };
    let (defaults, overrides) = (given(defaults), given(overrides));
    let uri = user.get("uri").map_or("", String::as_str);
    let mut refused = Vec::new();
    let mut taken = |map: Map, is_override: bool| -> Result<Map> {
        let mut of_s3 = Map::new();
        let mut taken = Map::new();
        for (key, value) in map {
            // Where the user has said the same, or what goes before it, there is nothing to tell.
            let is_idle = user.get(&key).is_some_and(|own| *own == value || !is_override);
            if OF_CATALOG.contains(&key.as_str()) || OF_TABLES.iter().any(|family| key.starts_with(family)) {
                taken.insert(key, value);
            } else if key == "uri" {
                if is_override && !is_same_server(uri, &value) {
                    return Err(elsewhere(uri, &value));
                }
                taken.insert(key, value);
            } else if key == "oauth2-server-uri" {
                let own = user.get(&key).is_some_and(|own| is_same_server(own, &value));
                if own || !value.contains("://") || is_same_server(uri, &value) {
                    taken.insert(key, value);
                } else if !is_idle {
                    refused.push(key);
                }
            } else if key.starts_with("s3.") || key.starts_with("client.") {
                of_s3.insert(key, value);
            } else if !is_idle && FOLLOWED.iter().any(|name| key.starts_with(name)) {
                refused.push(key);
            }
        }
        let (lent, left) = of_storage(&of_s3);
        let lends = lent.contains_key(KEY_ID);
        taken.extend(lent.into_iter().filter(|(key, _)| lends || user.get(key).is_none_or(String::is_empty)));
        refused.extend(left.into_iter().filter(|key| user.get(key) != of_s3.get(key)));
        Ok(taken)
    };
    let mut merged = taken(defaults, false)?;
    let overrides = taken(overrides, true)?;
    if user.keys().any(|key| is_identity(key)) {
        // The user's own keys stay, and then nothing comes with the server's.
        merged.retain(|key, _| !WITH_KEYS.contains(&key.as_str()) || WITHOUT_KEYS.contains(&key.as_str()));
    }
    merged.extend(user.iter().map(|(key, value)| (key.clone(), value.clone())));
    if overrides.contains_key(KEY_ID) {
        merged.retain(|key, _| !is_identity(key));
    }
    merged.extend(overrides);
    tell("the catalog's configuration", refused);
    Ok(merged)
}

/// Of what a server says of storage: with keys what belongs to them, else next to nothing. Second, the names of what
/// was left out and would have been followed.
pub(super) fn of_storage(given: &Map) -> (Map, Vec<String>) {
    let lends = [KEY_ID, SECRET].iter().all(|key| given.get(*key).is_some_and(|value| !value.is_empty()));
    let is_taken = |key: &str, value: &str| {
        if lends { WITH_KEYS.contains(&key) } else { WITHOUT_KEYS.contains(&key) && is_plain(value) }
    };
    let (taken, left): (Map, Map) =
        given.iter().map(|(k, v)| (k.clone(), v.clone())).partition(|(key, value)| is_taken(key, value));
    (taken, left.into_keys().collect())
}

/// Tells what was not taken.
pub(super) fn tell(whose: &str, mut refused: Vec<String>) {
    refused.sort_unstable();
    refused.dedup();
    if !refused.is_empty() {
        tracing::warn!(
            "{whose} sets {}, which a server may not; if that is right, set it in your own configuration",
            refused.join(", ")
        );
    }
}

/// A region's name or the like, and nothing that could change a host's name.
fn is_plain(value: &str) -> bool {
    value.len() <= 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether an address is of the same server, and not less well protected.
fn is_same_server(own: &str, other: &str) -> bool {
    let (Ok(own), Ok(other)) = (Url::parse(own), Url::parse(other)) else { return false };
    let has_password = !other.username().is_empty() || other.password().is_some();
    let is_upgrade = own.scheme() == "http" && other.scheme() == "https" && own.port().is_none();
    own.host_str() == other.host_str()
        && !has_password
        && (own.scheme() == other.scheme() && own.port_or_known_default() == other.port_or_known_default()
            || is_upgrade && other.port().is_none())
}

fn elsewhere(uri: &str, named: &str) -> Error {
    let named = crate::catalog::property::shown("uri", named);
    Error::failed(format!("the catalog names another server for itself: {named}"))
        .in_file(crate::catalog::property::shown("uri", uri))
        .advice("Nothing was sent there. If that is right, give it as the catalog's uri")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Map {
        entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn merged(user: &[(&str, &str)], defaults: &[(&str, &str)], overrides: &[(&str, &str)]) -> Result<Map> {
        let given = |entries: &[(&str, &str)]| map(entries).into_iter().map(|(k, v)| (k, Some(v))).collect();
        let config = CatalogConfig { defaults: given(defaults), overrides: given(overrides), endpoints: None };
        of_catalog(&map(&[&[("uri", "https://h/api")], user].concat()), config)
    }

    #[test]
    fn another_server_is_refused() {
        for (own, other, same) in [
            ("https://h/api", "https://h/other", true),
            ("https://h/api", "https://H:443/x", true),
            ("http://h:80/api", "http://h/x", true),
            ("http://h/api", "https://h/x", true),
            ("https://h/api", "http://h/x", false),
            ("https://h/api", "https://h.evil/x", false),
            ("https://h/api", "https://h:8443/x", false),
            ("http://h:8181/api", "https://h/x", false),
            ("https://h/api", "https://me@h/x", false),
            ("https://h/api", "//h/x", false),
            ("https://h/api", "file:///x", false),
        ] {
            assert_eq!(is_same_server(own, other), same, "{own} {other}");
        }
        assert!(merged(&[], &[], &[("uri", "https://evil/api")]).is_err());
        assert!(merged(&[], &[], &[("uri", "http://h/api")]).is_err());
        assert_eq!(merged(&[], &[], &[("uri", "https://h/x")]).unwrap()["uri"], "https://h/x");
        // The user's own word goes before a default.
        assert_eq!(merged(&[], &[("uri", "https://evil/x")], &[]).unwrap()["uri"], "https://h/api");
        let oauth = "oauth2-server-uri";
        assert!(!merged(&[], &[(oauth, "https://evil/t")], &[(oauth, "https://evil/t")]).unwrap().contains_key(oauth));
        let own = [(oauth, "https://login/t")];
        assert_eq!(merged(&own, &[], &[(oauth, "https://evil/t")]).unwrap()[oauth], "https://login/t");
        assert_eq!(merged(&own, &[], &[(oauth, "https://login/u")]).unwrap()[oauth], "https://login/u");
        assert_eq!(merged(&[], &[(oauth, "v1/oauth/tokens")], &[]).unwrap()[oauth], "v1/oauth/tokens");
    }

    #[test]
    fn nothing_that_acts_is_taken_without_keys() {
        let bad = [
            ("s3.endpoint", "http://evil"),
            ("s3.profile-name", "p"),
            ("s3.role-arn", "r"),
            ("s3.proxy-uri", "http://evil"),
            ("client.profile-name", "p"),
            ("client.region", "x.evil/"),
            ("s3.access-key-id", "A"),
            ("header.authorization", "x"),
            ("rest.sigv4-enabled", "true"),
            ("auth.type", "basic"),
            ("ssl.cabundle", "/x"),
            ("credential", "x"),
            ("allowed-locations", "/"),
            ("type", "sql"),
        ];
        let user = map(&[("uri", "https://h/api")]);
        assert_eq!(merged(&[], &bad, &bad).unwrap(), user);
        let good = [("prefix", "p"), ("table-default.x", "1"), ("client.region", "eu-west-1"), ("token", "t")];
        let found = merged(&[], &[], &[&bad[..4], &good].concat()).unwrap();
        assert_eq!(found, map(&[&[("uri", "https://h/api")][..], &good].concat()));
    }

    #[test]
    fn keys_bring_what_belongs_to_them_and_replace_the_users() {
        let own = [("s3.access-key-id", "MINE"), ("s3.secret-access-key", "m"), ("s3.profile-name", "p")];
        let keys = [(KEY_ID, "A"), (SECRET, "s"), ("s3.endpoint", "http://e"), ("s3.proxy-uri", "http://evil")];
        let found = merged(&own, &[], &keys).unwrap();
        assert_eq!(found, map(&[&[("uri", "https://h/api")][..], &keys[..3]].concat()));
        assert_eq!(merged(&own, &keys, &[]).unwrap(), map(&[&[("uri", "https://h/api")][..], &own].concat()));
    }
}
