//! Selects the settings that are accepted from a server. It may define how to use its own interface, and vend keys. It
//! may not send the user's secrets elsewhere, choose where requests with the user's keys go, or run the user's
//! programs.
//!
//! Rejected settings are reported by name; to allow one, the user sets the same property in the configuration.

use std::collections::BTreeMap;

use reqwest::Url;

use super::storage_keys::{KEY_ID, SECRET, is_identity};
use super::wire::CatalogConfig;
use crate::catalog::property;
use crate::error::{Error, Result};

type Map = BTreeMap<String, String>;

/// Always accepted from a catalog's configuration.
const OF_CATALOG: [&str; 4] = ["prefix", "namespace-separator", "warehouse", "token"];
/// Settings for requesting a token: accepted only if the user leaves the sign-in to the server.
const OF_SIGNING_IN: [&str; 4] = ["scope", "audience", "resource", SIGN_IN];
const SIGN_IN: &str = "oauth2-server-uri";
/// Also accepted from a catalog's configuration, by prefix: properties of new tables.
const OF_TABLES: [&str; 2] = ["table-default.", "table-override."];
/// Settings of vended keys: accepted only together with them.
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
/// Also accepted without keys: names of regions, and settings that only lead to an error.
const WITHOUT_KEYS: [&str; 4] = ["s3.region", "client.region", "s3.signer", "s3.remote-signing-enabled"];
/// If these would change this program's behaviour, the user is told that they are rejected.
const FOLLOWED: [&str; 5] = ["rest.", "header.", "auth.", "ssl.", "credential"];

/// The user's properties combined with a server's configuration.
pub(super) struct Merged {
    /// The user's properties, with the accepted defaults of the server below and its accepted overrides above them.
    pub properties: Map,
    /// The server's S3 settings, for locations for which it vends keys: endpoint, region, path style.
    pub with_keys: Map,
}

/// Selects the accepted settings of a server's configuration.
///
/// Errors: [`Kind::Failed`](crate::error::Kind::Failed) if the server names another server for itself.
pub(super) fn of_catalog(user: &Map, config: CatalogConfig) -> Result<Merged> {
    let user: Map = user.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut judge = Judge { uri: user.get("uri").map_or("", String::as_str), user: &user, refused: Vec::new() };
    let (defaults, of_defaults) = judge.taken(config.defaults, false)?;
    let (overrides, of_overrides) = judge.taken(config.overrides, true)?;
    tell("the catalog's configuration", judge.refused);
    let mut with_keys = of_defaults;
    with_keys.extend(of_overrides);

    let mut properties = defaults;
    properties.extend(user.iter().map(|(key, value)| (key.clone(), value.clone())));
    properties.extend(overrides);
    // The server's own keys, with the locations for which they are valid. The user's own keys are kept.
    if keys_in(&with_keys) && !user.keys().any(|key| is_identity(key)) {
        properties.extend(with_keys.clone());
    }
    with_keys.retain(|key, _| !is_identity(key));
    Ok(Merged { properties, with_keys })
}

/// Processes the settings of a server.
struct Judge<'a> {
    uri: &'a str,
    user: &'a Map,
    refused: Vec<String>,
}

impl Judge<'_> {
    /// The accepted settings, and the S3 settings.
    fn taken(&mut self, given: BTreeMap<String, Option<String>>, is_override: bool) -> Result<(Map, Map)> {
        let (mut taken, mut of_s3) = (Map::new(), Map::new());
        for (key, value) in given {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let own = self.user.get(&key);
            let name = key.as_str();
            if OF_CATALOG.contains(&name) || OF_TABLES.iter().any(|family| key.starts_with(family)) {
                taken.insert(key, value);
            } else if name == "uri" {
                if is_override && !is_same_server(self.uri, &value) {
                    return Err(elsewhere(self.uri, &value));
                }
                taken.insert(key, value);
            } else if OF_SIGNING_IN.contains(&name) {
                let is_of_server = !value.contains("://") || is_same_server(self.uri, &value);
                let is_free = own.is_none() && !self.user.contains_key(SIGN_IN);
                if is_free && (name != SIGN_IN || is_of_server) {
                    taken.insert(key, value);
                } else if is_override && own != Some(&value) {
                    self.refused.push(key);
                }
            } else if key.starts_with("s3.") || key.starts_with("client.") {
                of_s3.insert(key, value);
            } else if own != Some(&value) && (is_override || own.is_none()) {
                // For names defined by other programs, only the prefix is reported.
                self.refused
                    .extend(FOLLOWED.iter().find(|name| key.starts_with(**name)).map(|name| format!("{name}*")));
            }
        }
        let (lent, left) = of_storage(&of_s3);
        // Settings that belong to keys may apply to the keys of a table.
        let alone = left.into_iter().filter(|key| !WITH_KEYS.contains(&key.as_str()));
        self.refused.extend(alone.filter(|key| self.user.get(key) != of_s3.get(key)));
        // Without keys, the user's setting takes precedence.
        let is_free = |key: &String| WITHOUT_KEYS.contains(&key.as_str()) && !self.user.contains_key(key);
        let plain = lent.iter().filter(|(key, value)| is_free(key) && is_plain(value));
        taken.extend(plain.map(|(key, value)| (key.clone(), value.clone())));
        of_s3.retain(|key, _| WITH_KEYS.contains(&key.as_str()));
        Ok((taken, of_s3))
    }
}

fn keys_in(given: &Map) -> bool {
    [KEY_ID, SECRET].iter().all(|key| given.get(*key).is_some_and(|value| !value.is_empty()))
}

/// The accepted storage settings of a server: with keys, those that belong to them; otherwise almost none. Second, the
/// names of the rejected ones, as far as this program knows them.
pub(super) fn of_storage(given: &Map) -> (Map, Vec<String>) {
    let lends = keys_in(given);
    let is_taken = |key: &str, value: &str| {
        if lends { WITH_KEYS.contains(&key) } else { WITHOUT_KEYS.contains(&key) && is_plain(value) }
    };
    let (taken, left): (Map, Map) =
        given.iter().map(|(k, v)| (k.clone(), v.clone())).partition(|(key, value)| is_taken(key, value));
    (taken, left.into_keys().filter(|key| property::is_name(key)).collect())
}

/// Reports what was rejected.
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

/// A region's name or similar, without anything that could change a host's name.
fn is_plain(value: &str) -> bool {
    value.len() <= 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether an address belongs to the same server, and is not less secure.
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
    let named = property::shown("uri", named);
    Error::failed(format!("the catalog names another server for itself: {named}"))
        .in_file(property::shown("uri", uri))
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
        Ok(of_catalog(&map(&[&[("uri", "https://h/api")], user].concat()), config)?.properties)
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
            ("http://h:8181/api", "http://h/x", false),
            ("https://h/api", "//h/x", false),
            ("https://h/api", "file:///x", false),
            ("http://h/api", "ftp://h/x", false),
        ] {
            assert_eq!(is_same_server(own, other), same, "{own} {other}");
        }
        assert!(merged(&[], &[], &[("uri", "https://evil/api")]).is_err());
        assert!(merged(&[], &[], &[("uri", "http://h/api")]).is_err());
        assert_eq!(merged(&[], &[], &[("uri", "https://h/x")]).unwrap()["uri"], "https://h/x");
        // The user's own setting takes precedence over a default.
        assert_eq!(merged(&[], &[("uri", "https://evil/x")], &[]).unwrap()["uri"], "https://h/api");
    }

    #[test]
    fn a_secret_is_sent_where_the_user_says() {
        let oauth = "oauth2-server-uri";
        assert!(!merged(&[], &[(oauth, "https://evil/t")], &[(oauth, "https://evil/t")]).unwrap().contains_key(oauth));
        assert_eq!(merged(&[], &[(oauth, "v1/oauth/tokens")], &[]).unwrap()[oauth], "v1/oauth/tokens");
        assert_eq!(merged(&[], &[], &[(oauth, "https://h/t"), ("scope", "s")]).unwrap()["scope"], "s");
        let own = [(oauth, "https://login/t")];
        let user = map(&[("uri", "https://h/api"), own[0]]);
        for other in ["https://evil/t", "https://login/u", "https://h/t", "t"] {
            assert_eq!(merged(&own, &[], &[(oauth, other)]).unwrap(), user, "{other}");
        }
        // Tokens from the user's login server are for the addresses that the user sets.
        for key in ["scope", "audience", "resource"] {
            assert_eq!(merged(&own, &[(key, "all")], &[(key, "all")]).unwrap(), user, "{key}");
            assert_eq!(merged(&[(key, "mine")], &[(key, "all")], &[(key, "all")]).unwrap()[key], "mine");
        }
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
    fn keys_bring_what_belongs_to_them_and_leave_the_users_alone() {
        let keys = [(KEY_ID, "A"), (SECRET, "s"), ("s3.endpoint", "http://e"), ("s3.proxy-uri", "http://evil")];
        for (defaults, overrides) in [(&keys[..], &[][..]), (&[], &keys)] {
            let found = merged(&[], defaults, overrides).unwrap();
            assert_eq!(found, map(&[&[("uri", "https://h/api")][..], &keys[..3]].concat()));
            for own in
                [&[(KEY_ID, "MINE"), (SECRET, "m")][..], &[("client.profile-name", "p")], &[("s3.anonymous", "true")]]
            {
                let user = map(&[&[("uri", "https://h/api")][..], own].concat());
                assert_eq!(merged(own, defaults, overrides).unwrap(), user, "{own:?}");
            }
        }
        // The user's keys are sent to no host that a region produces.
        let region = [&keys[..], &[("client.region", "x.evil/"), ("s3.region", "x.evil/")]].concat();
        let own = [(KEY_ID, "MINE"), (SECRET, "m")];
        let user = map(&[&[("uri", "https://h/api")][..], &own].concat());
        assert_eq!(merged(&own, &region, &region).unwrap(), user);
        // An endpoint is kept for the keys of a table; an id without its secret is not a key.
        let alone = [("s3.endpoint", "http://e"), (KEY_ID, "A"), ("s3.session-token", "t")];
        let given = alone.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect();
        let config = CatalogConfig { defaults: BTreeMap::new(), overrides: given, endpoints: None };
        let found = of_catalog(&map(&[("uri", "https://h/api")]), config).unwrap();
        assert_eq!(found.properties, map(&[("uri", "https://h/api")]));
        assert_eq!(found.with_keys, map(&alone[..1]));
    }

    /// What was not taken is told, unless the user has said the same.
    #[test]
    fn what_is_not_taken_is_told() {
        let refused = |user: &[(&str, &str)], given: &[(&str, &str)], is_override: bool| {
            let user = map(user);
            let mut judge = Judge { uri: "https://h/api", user: &user, refused: Vec::new() };
            let given = given.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect();
            judge.taken(given, is_override).unwrap();
            judge.refused
        };
        for (user, key, told, of_override) in [
            (&[][..], "scope", vec![], vec![]),
            (&[("scope", "mine")], "scope", vec![], vec!["scope".to_owned()]),
            (&[("scope", "theirs")], "scope", vec![], vec![]),
            (&[], "header.x", vec!["header.*".to_owned()], vec!["header.*".to_owned()]),
            (&[("header.x", "mine")], "header.x", vec![], vec!["header.*".to_owned()]),
            (&[("header.x", "theirs")], "header.x", vec![], vec![]),
            (&[], "s3.proxy-uri", vec!["s3.proxy-uri".to_owned()], vec!["s3.proxy-uri".to_owned()]),
            (&[("s3.proxy-uri", "theirs")], "s3.proxy-uri", vec![], vec![]),
        ] {
            assert_eq!(refused(user, &[(key, "theirs")], false), told, "{user:?} {key}");
            assert_eq!(refused(user, &[(key, "theirs")], true), of_override, "{user:?} {key}");
        }
    }
}
