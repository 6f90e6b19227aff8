//! How to connect to a server and sign in, from properties with PyIceberg's names.

use std::collections::BTreeMap;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::catalog::property;
use crate::error::{Error, Result};
use crate::percent::{decode, encode};

/// The separator between the levels of a namespace in paths, unless the server sets another.
const SEPARATOR: &str = "\u{1f}";

/// How to sign in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// None, or a header of the user's.
    None,
    /// By a constant header.
    Fixed(String),
    /// By a token that the server issues for a credential.
    OAuth(OAuth),
}

/// OAuth2 client credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OAuth {
    /// The initial token.
    pub token: Option<String>,
    /// The client's id, if there is one, and its secret.
    pub client: (Option<String>, String),
    /// Whether id and secret are sent in a header instead of the form.
    pub by_header: bool,
    /// The address that issues tokens.
    pub server: String,
    /// `scope`, `audience`, `resource`.
    pub parameters: Vec<(&'static str, String)>,
}

/// AWS signatures (SigV4) on every request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Signing {
    pub region: Option<String>,
    pub service: String,
    /// Id, secret, token.
    pub keys: Option<(String, String, Option<String>)>,
    pub profile: Option<String>,
}

/// How to connect to a server.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The catalog's `uri` and `/v1`.
    pub base: String,
    /// The prefix between `/v1/` and the rest of the path, with a trailing slash; otherwise empty.
    pub prefix: String,
    /// The separator between the levels of a namespace, encoded for a path.
    pub separator: String,
    pub headers: HeaderMap,
    pub sign_in: SignIn,
    pub signing: Option<Signing>,
    /// A file of certificates to trust in addition to the system's.
    pub ca_bundle: Option<String>,
}

impl Settings {
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for invalid or unsupported properties.
    pub fn new(name: &str, properties: &BTreeMap<String, String>) -> Result<Self> {
        let get = |key: &str| properties.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let wrong = |key: &str, why: &str| Error::usage(format!("catalog {name:?}: the property {key} {why}"));
        let Some(uri) = get("uri") else {
            return Err(wrong("uri", "is missing: the address of the REST catalog"));
        };
        let rest = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
        match rest {
            Some(rest) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
                return Err(wrong("uri", "holds a password").advice("Give it as the property credential or token"));
            }
            Some(rest) if !rest.is_empty() && !rest.contains(['?', '#']) => {}
            _ => return Err(wrong("uri", "is not an address that starts with https:// or http://")),
        }
        let base = format!("{}/v1", uri.trim_end_matches('/'));

        let mut headers = HeaderMap::new();
        headers.insert("x-iceberg-access-delegation", HeaderValue::from_static("vended-credentials"));
        for (key, value) in properties {
            let Some(header) = key.strip_prefix("header.") else { continue };
            let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| wrong(key, "is no name of a header"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong(key, "can't be sent as a header"))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }

        if let Some(key) = properties.keys().find(|key| key.starts_with("ssl.client")) {
            return Err(wrong(key, "asks for a client's certificate, which is not supported"));
        }
        let signing = signing(properties, &wrong)?;
        // Java and PyIceberg put the signature in place of the token.
        let sign_in = if signing.is_some() { SignIn::None } else { sign_in(properties, &base, &headers, &wrong)? };
        let prefix = get("prefix").map(|prefix| format!("{}/", prefix.trim_matches('/'))).unwrap_or_default();
        let separator = get("namespace-separator").map_or_else(|| SEPARATOR.to_owned(), decode);
        property::remember(properties);
        Ok(Self {
            base,
            prefix: if prefix == "/" { String::new() } else { prefix },
            separator: encode(&separator),
            headers,
            sign_in,
            signing,
            ca_bundle: get("ssl.cabundle").map(str::to_owned),
        })
    }

    /// Whether the server is this machine, which is not reached through a proxy.
    pub fn is_loopback(&self) -> bool {
        crate::aws::access::is_loopback(&self.base)
    }
}

fn flag(properties: &BTreeMap<String, String>, key: &str, wrong: &dyn Fn(&str, &str) -> Error) -> Result<bool> {
    match properties.get(key).map(|value| value.to_lowercase()).as_deref() {
        Some("true" | "yes" | "on" | "1" | "y" | "t") => Ok(true),
        None | Some("" | "false" | "no" | "off" | "0" | "n" | "f") => Ok(false),
        Some(_) => Err(wrong(key, "is neither true nor false")),
    }
}

/// PyIceberg's `rest.sigv4-enabled`, `rest.signing-region`, `rest.signing-name`; keys as Java's `rest.access-key-id` or
/// PyIceberg's `client.access-key-id`.
fn signing(properties: &BTreeMap<String, String>, wrong: &dyn Fn(&str, &str) -> Error) -> Result<Option<Signing>> {
    let get = |names: &[&str]| names.iter().filter_map(|n| properties.get(*n)).find(|v| !v.is_empty()).cloned();
    if !flag(properties, "rest.sigv4-enabled", wrong)? {
        return Ok(None);
    }
    let id = get(&["rest.access-key-id", "client.access-key-id"]);
    let secret = get(&["rest.secret-access-key", "client.secret-access-key"]);
    let keys = match (id, secret) {
        (Some(id), Some(secret)) => Some((id, secret, get(&["rest.session-token", "client.session-token"]))),
        (None, None) => None,
        (Some(_), None) => return Err(wrong("client.secret-access-key", "is missing beside client.access-key-id")),
        (None, Some(_)) => return Err(wrong("client.access-key-id", "is missing beside client.secret-access-key")),
    };
    Ok(Some(Signing {
        region: get(&["rest.signing-region", "client.region"]),
        service: get(&["rest.signing-name"]).unwrap_or_else(|| "execute-api".to_owned()),
        keys,
        profile: get(&["client.profile-name"]),
    }))
}

/// `token`, `credential`, or one of PyIceberg's `auth.type`s that need no other cloud's library.
fn sign_in(
    properties: &BTreeMap<String, String>,
    base: &str,
    headers: &HeaderMap,
    wrong: &dyn Fn(&str, &str) -> Error,
) -> Result<SignIn> {
    let get = |key: &str| properties.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let need = |key: &str| get(key).ok_or_else(|| wrong(key, "is missing")).map(str::to_owned);
    let parameters = |scope: Option<&str>| {
        let scope = scope.unwrap_or("catalog").to_owned();
        let more = ["audience", "resource"].into_iter().filter_map(|key| Some((key, get(key)?.to_owned())));
        [("scope", scope)].into_iter().chain(more).collect()
    };
    let server = |key: &str| match get(key) {
        Some(server) if server.starts_with("https://") || server.starts_with("http://") => Ok(server.to_owned()),
        // Java also accepts a path below the catalog's address.
        Some(path) if !path.contains("://") => {
            Ok(format!("{}/{}", base.trim_end_matches("/v1"), path.trim_start_matches('/')))
        }
        Some(_) => Err(wrong(key, "is not an address that starts with https:// or http://")),
        None => Ok(format!("{base}/oauth/tokens")),
    };
    match get("auth.type").map(str::to_lowercase).as_deref() {
        None | Some("legacyoauth2") => {}
        Some("noop") => return Ok(SignIn::None),
        Some("basic") => {
            use base64::Engine as _;
            let pair = format!("{}:{}", need("auth.basic.username")?, need("auth.basic.password")?);
            return Ok(SignIn::Fixed(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))));
        }
        Some("oauth2") => {
            return Ok(SignIn::OAuth(OAuth {
                token: None,
                client: (Some(need("auth.oauth2.client_id").or_else(|_| need("auth.oauth2.client-id"))?), {
                    need("auth.oauth2.client_secret").or_else(|_| need("auth.oauth2.client-secret"))?
                }),
                by_header: true,
                server: need("auth.oauth2.token_url").or_else(|_| need("auth.oauth2.token-url"))?,
                parameters: get("auth.oauth2.scope").map(|s| ("scope", s.to_owned())).into_iter().collect(),
            }));
        }
        Some(_) => return Err(wrong("auth.type", "is none of noop, basic, oauth2 and legacyoauth2")),
    }
    let token = get("token").map(str::to_owned);
    match (get("credential"), token) {
        (Some(credential), token) => {
            let client = match credential.split_once(':') {
                Some((id, secret)) => (Some(id.to_owned()), secret.to_owned()),
                None => (None, credential.to_owned()),
            };
            Ok(SignIn::OAuth(OAuth {
                token,
                client,
                by_header: false,
                server: server("oauth2-server-uri")?,
                parameters: parameters(get("scope")),
            }))
        }
        (None, Some(_)) if headers.contains_key(AUTHORIZATION) => {
            Err(wrong("token", "contradicts header.Authorization"))
        }
        (None, Some(token)) => Ok(SignIn::Fixed(format!("Bearer {token}"))),
        (None, None) => Ok(SignIn::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn settings(more: &[(&str, &str)]) -> Result<Settings> {
        let all = [&[("uri", "http://h/api/")], more].concat();
        Settings::new("c", &all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn the_address_is_pyicebergs() {
        for (uri, base) in [
            ("http://h", "http://h/v1"),
            ("http://h/", "http://h/v1"),
            ("https://h:1/iceberg/", "https://h:1/iceberg/v1"),
            ("http://h/v1", "http://h/v1/v1"),
        ] {
            assert_eq!(settings(&[("uri", uri)]).unwrap().base, base);
        }
        assert_eq!(settings(&[("prefix", "/a/b/")]).unwrap().prefix, "a/b/");
        assert_eq!(settings(&[("prefix", "/")]).unwrap().prefix, "");
        assert_eq!(settings(&[]).unwrap().separator, "%1F");
        assert_eq!(settings(&[("namespace-separator", "%2E")]).unwrap().separator, ".");
        assert!(settings(&[("uri", "http://127.0.0.1:8181")]).unwrap().is_loopback());
        assert!(!settings(&[]).unwrap().is_loopback());
    }

    #[test]
    fn signing_in_is_pyicebergs() {
        let oauth = |more: &[(&str, &str)]| match settings(more).unwrap().sign_in {
            SignIn::OAuth(oauth) => oauth,
            _ => panic!("{more:?}"),
        };
        let found = oauth(&[("credential", "me:hush:hush"), ("token", "first"), ("audience", "a")]);
        assert_eq!(found.client, (Some("me".to_owned()), "hush:hush".to_owned()));
        assert_eq!(found.server, "http://h/api/v1/oauth/tokens");
        assert_eq!(found.token.as_deref(), Some("first"));
        assert_eq!(found.parameters, [("scope", "catalog".to_owned()), ("audience", "a".to_owned())]);
        let found = oauth(&[("credential", "hush"), ("oauth2-server-uri", "/o/t"), ("scope", "x y")]);
        assert_eq!(found.client, (None, "hush".to_owned()));
        assert_eq!(found.server, "http://h/api/o/t");
        assert_eq!(found.parameters, [("scope", "x y".to_owned())]);
        assert!(matches!(settings(&[("token", "t")]).unwrap().sign_in, SignIn::Fixed(h) if h == "Bearer t"));
        assert!(matches!(settings(&[]).unwrap().sign_in, SignIn::None));
        let basic = [("auth.type", "basic"), ("auth.basic.username", "u"), ("auth.basic.password", "p")];
        assert!(matches!(settings(&basic).unwrap().sign_in, SignIn::Fixed(h) if h == "Basic dTpw"));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error_without_secrets() {
        for (key, value) in [
            ("uri", "ftp://h"),
            ("uri", "https://"),
            ("uri", "https://me:hush@h"),
            ("header.a b", "hush"),
            ("header.x", "hush\n"),
            ("auth.type", "hush"),
            ("rest.sigv4-enabled", "hush"),
            ("ssl.client.key", "hush"),
            ("oauth2-server-uri", "ftp://hush"),
        ] {
            let Err(error) = settings(&[(key, value), ("credential", "a:b")]) else { panic!("{key}={value}") };
            assert_eq!(error.kind(), Kind::Usage, "{key}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
