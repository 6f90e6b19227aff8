//! Configuration of S3: endpoint, region, credentials, limits, encryption, as plain data.
//!
//! Parsed from catalog properties with PyIceberg's names (its page "Configuration", section FileIO, S3); encryption,
//! access lists and retries have the names of Iceberg's Java implementation (`S3FileIOProperties`). Unset values come
//! from the standard AWS chain: variables, profile files, web identity, container and instance metadata.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use crate::aws::access::AwsAccess;
use crate::aws::properties::Properties;
use crate::error::Result;

/// When and for how long a request is retried.
///
/// Retried are: `SlowDown` and other throttling (also inside a response of status 200), 500, 502, 503, 504, connections
/// that are refused or cut (also in the middle of a body), and attempts that take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum number of attempts. Ten outlast a partition split, for which S3 sends `SlowDown` for up to about a
    /// minute.
    pub attempts: u32,
    /// Maximum wait before the second attempt; it doubles each time. The actual wait is a random time below that, so
    /// that many clients do not retry at the same time.
    pub base_backoff: Duration,
    /// Upper limit of any wait.
    pub max_backoff: Duration,
    /// Timeout for connecting, including the handshake.
    pub connect_timeout: Duration,
    /// Timeout of one attempt until its response starts, and between two pieces of a body: 8 MiB take this long at 140
    /// KB/s.
    pub attempt_timeout: Duration,
    /// Time limit for all attempts of a request together.
    pub total_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 10,
            base_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_mins(1),
            total_timeout: Duration::from_mins(5),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after this many attempts (from 1).
    pub(crate) fn backoff(&self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let longest = self.base_backoff.saturating_mul(doubled).min(self.max_backoff);
        let [.., random] = *Uuid::new_v4().as_bytes();
        longest / 256 * u32::from(random)
    }
}

/// Sizes of the pieces in which objects are transferred, in bytes, and how many are transferred in parallel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Size of the first request for a file: small files need no second one.
    pub first_read: u64,
    /// Size of one ranged read. AWS recommends 8 to 16 MiB ("Performance guidelines for Amazon S3").
    pub read_size: u64,
    /// Number of ranged reads in flight per file.
    pub reads: usize,
    /// One part of a multipart upload, at least 5 MiB for S3; smaller files are sent whole.
    pub part_size: usize,
    /// Number of parts in flight per file.
    pub parts: usize,
    /// Memory of all pieces in flight beyond the first of each file; when it is exhausted, pieces wait.
    pub buffers: usize,
    /// Number of files of an export that are opened ahead, with their first bytes: small files cost latency, which
    /// these files share.
    pub open_ahead: usize,
}

impl Default for Transfer {
    fn default() -> Self {
        Self {
            first_read: 256 << 10,
            read_size: 8 << 20,
            reads: 4,
            part_size: 8 << 20,
            parts: 4,
            buffers: 128 << 20,
            open_ahead: 64,
        }
    }
}

/// Server-side encryption of written objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// The bucket's default.
    #[default]
    Bucket,
    /// Keys managed by S3 (`AES256`).
    S3,
    /// An AWS KMS key; `None` is the account's own.
    Kms(Option<String>),
    /// Two layers, with an AWS KMS key.
    DoubleKms(Option<String>),
}

/// Configuration of S3.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct S3Config {
    pub(super) access: AwsAccess,
    pub(super) path_style: Option<bool>,
    pub(super) encryption: Encryption,
    pub(super) acl: Option<String>,
    /// When a request is retried.
    pub retry: RetryPolicy,
    /// The transfer of objects.
    pub transfer: Transfer,
}

impl fmt::Debug for S3Config {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("access", &self.access)
            .field("path_style", &self.path_style)
            .field("encryption", &self.encryption)
            .field("retry", &self.retry)
            .field("transfer", &self.transfer)
            .finish_non_exhaustive()
    }
}

/// Properties that identify the caller: `export.s3.*` sets all of them or none.
const IDENTITY: [&str; 7] = [
    "s3.access-key-id",
    "s3.secret-access-key",
    "s3.session-token",
    "s3.profile-name",
    "s3.role-arn",
    "s3.role-session-name",
    "s3.anonymous",
];

impl S3Config {
    /// For tables: `s3.*`, and `client.*` for what is not set. Other properties are ignored.
    ///
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for invalid or unsupported values. Messages never contain a
    /// secret.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        Properties::new(properties, "").config()
    }

    /// For exports: `export.s3.*` over the result of [`from_properties`](Self::from_properties). Credentials never come
    /// from both.
    pub fn for_exports(properties: &BTreeMap<String, String>) -> Result<Self> {
        let own: BTreeMap<String, String> = properties
            .iter()
            .filter_map(|(key, value)| {
                let key = key.strip_prefix("export.").filter(|key| key.starts_with("s3."))?;
                Some((key.to_owned(), value.clone()))
            })
            .collect();
        if own.is_empty() {
            return Self::from_properties(properties);
        }
        let own_identity = own.iter().any(|(key, value)| IDENTITY.contains(&key.as_str()) && !value.is_empty());
        let is_identity = |key: &str| {
            IDENTITY.iter().any(|name| *name == key || name.strip_prefix("s3.") == key.strip_prefix("client."))
        };
        let mut joined: BTreeMap<String, String> = properties
            .iter()
            .filter(|(key, _)| !(own_identity && is_identity(key)))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        joined.extend(own);
        Properties::new(&joined, "export.").config()
    }
}

impl Properties<'_> {
    /// Timeouts are PyIceberg's properties, the others Java's.
    fn retry(&self) -> Result<RetryPolicy> {
        const DAY_MS: u32 = 86_400_000;
        let mut retry = RetryPolicy::default();
        if let Some(timeout) = self.seconds("s3.connect-timeout")? {
            retry.connect_timeout = timeout;
        }
        if let Some(timeout) = self.seconds("s3.request-timeout")? {
            retry.attempt_timeout = timeout;
            retry.total_timeout = retry.total_timeout.max(timeout.saturating_mul(3));
        }
        if let Some(retries) = self.number("s3.retry.num-retries", 1000)? {
            retry.attempts = retries + 1;
        }
        if let Some(wait) = self.number("s3.retry.min-wait-ms", DAY_MS)? {
            retry.base_backoff = Duration::from_millis(wait.into());
        }
        if let Some(wait) = self.number("s3.retry.max-wait-ms", DAY_MS)? {
            retry.max_backoff = Duration::from_millis(wait.into());
        }
        retry.max_backoff = retry.max_backoff.max(retry.base_backoff);
        Ok(retry)
    }

    fn config(&self) -> Result<S3Config> {
        if self.get(&["s3.signer"]).is_some() || self.flag("s3.remote-signing-enabled")? == Some(true) {
            return Err(self.wrong("s3.signer", "asks for remote signing, which is not supported yet"));
        }
        let path_style = match (self.flag("s3.force-virtual-addressing")?, self.flag("s3.path-style-access")?) {
            (Some(true), Some(true)) => {
                return Err(self.wrong("s3.force-virtual-addressing", "contradicts s3.path-style-access"));
            }
            (Some(true), _) => Some(false),
            (_, Some(path)) => Some(path),
            (_, None) => None,
        };
        Ok(S3Config {
            access: AwsAccess::read(self, "s3")?,
            path_style,
            encryption: self.encryption()?,
            acl: self.get(&["s3.acl"]),
            retry: self.retry()?,
            transfer: Transfer::default(),
        })
    }

    /// Java's `s3.sse.type` and `s3.sse.key`, or PyIceberg's `s3.server-side-encryption` and `s3.sse-kms-key-id`.
    fn encryption(&self) -> Result<Encryption> {
        let key = self.get(&["s3.sse.key", "s3.sse-kms-key-id"]);
        let name = if self.get(&["s3.sse.type"]).is_some() { "s3.sse.type" } else { "s3.server-side-encryption" };
        match self.get(&[name]).map(|kind| kind.to_lowercase()).as_deref() {
            None | Some("none") if key.is_some() => Err(self.wrong("s3.sse.key", "needs s3.sse.type=kms beside it")),
            None | Some("none") => Ok(Encryption::Bucket),
            Some("s3" | "aes256") => Ok(Encryption::S3),
            Some("kms" | "aws:kms") => Ok(Encryption::Kms(key)),
            Some("dsse-kms" | "dsse" | "aws:kms:dsse") => Ok(Encryption::DoubleKms(key)),
            Some("custom") => Err(self.wrong(name, "asks for keys of the customer (SSE-C), which are not supported")),
            Some(_) => Err(self.wrong(name, "is none of none, s3, kms and dsse-kms")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn config(pairs: &[(&str, &str)]) -> S3Config {
        S3Config::from_properties(&map(pairs)).unwrap()
    }

    #[test]
    fn pyiceberg_and_java_names() {
        let read = config(&[
            ("s3.endpoint", "http://localhost:9000/"),
            ("client.region", "eu-north-1"),
            ("client.access-key-id", "AKIA"),
            ("client.secret-access-key", "hush"),
            ("s3.session-token", "hush-token"),
            ("s3.profile-name", "work"),
            ("s3.role-arn", "arn:aws:iam::1:role/r"),
            ("s3.role-session-name", "nightly"),
            ("s3.connect-timeout", "1.5"),
            ("s3.request-timeout", "200"),
            ("s3.retry.num-retries", "2"),
            ("s3.retry.min-wait-ms", "50"),
            ("s3.retry.max-wait-ms", "700"),
            ("s3.sse.type", "kms"),
            ("s3.sse.key", "arn:aws:kms:key"),
            ("s3.force-virtual-addressing", "True"),
            ("warehouse", "s3://b/w"),
        ]);
        assert_eq!(read.access.endpoint.as_deref(), Some("http://localhost:9000"));
        assert_eq!(read.access.region.as_deref(), Some("eu-north-1"));
        let keys = read.access.keys.as_ref().unwrap();
        assert_eq!(
            (keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()),
            ("AKIA", "hush", Some("hush-token"))
        );
        assert_eq!(
            (read.access.profile.as_deref(), read.access.role.as_deref()),
            (Some("work"), Some("arn:aws:iam::1:role/r"))
        );
        assert_eq!(read.access.role_session.as_deref(), Some("nightly"));
        assert_eq!(read.retry.connect_timeout, Duration::from_millis(1500));
        assert_eq!(read.retry.attempt_timeout, Duration::from_secs(200));
        assert_eq!(read.retry.total_timeout, Duration::from_mins(10));
        assert_eq!(read.retry.attempts, 3);
        assert_eq!((read.retry.base_backoff.as_millis(), read.retry.max_backoff.as_millis()), (50, 700));
        assert_eq!(read.encryption, Encryption::Kms(Some("arn:aws:kms:key".to_owned())));
        assert_eq!(read.path_style, Some(false));
        let debug = format!("{read:?}");
        assert!(!debug.contains("hush") && !debug.contains("AKIA"), "{debug}");
        let both = config(&[("s3.region", "a"), ("client.region", "b")]);
        assert_eq!(both.access.region.as_deref(), Some("a"), "s3.* is stronger");
        let pyiceberg = config(&[("s3.server-side-encryption", "aws:kms"), ("s3.sse-kms-key-id", "k")]);
        assert_eq!(pyiceberg.encryption, Encryption::Kms(Some("k".to_owned())));
        assert_eq!(config(&[]), S3Config::default());
    }

    #[test]
    fn nonsense_is_a_usage_error_without_the_value() {
        for (key, value) in [
            ("s3.endpoint", "hush:9000"),
            ("s3.access-key-id", "hush"),
            ("s3.secret-access-key", "hush"),
            ("s3.anonymous", "hush"),
            ("s3.connect-timeout", "-1"),
            ("s3.connect-timeout", "0"),
            ("s3.request-timeout", "NaN"),
            ("s3.request-timeout", "hush"),
            ("s3.retry.num-retries", "-1"),
            ("s3.retry.num-retries", "4294967295"),
            ("s3.retry.min-wait-ms", "hush"),
            ("s3.sse.type", "hush"),
            ("s3.sse.type", "custom"),
            ("s3.sse.key", "hush"),
            ("s3.signer", "hush"),
        ] {
            let error = S3Config::from_properties(&map(&[(key, value)])).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{key}");
            let text = error.to_string();
            assert!(!text.contains("hush") && text.contains("s3."), "{text}");
        }
        let error = S3Config::for_exports(&map(&[("export.s3.endpoint", "x")])).unwrap_err();
        assert!(error.to_string().contains("export.s3.endpoint"), "{error}");
    }

    #[test]
    fn exports_have_their_own_and_never_mixed_credentials() {
        let tables = [
            ("s3.endpoint", "http://tables"),
            ("s3.access-key-id", "T"),
            ("s3.secret-access-key", "t"),
            ("client.session-token", "tt"),
            ("s3.region", "eu-north-1"),
        ];
        let with = |more: &[(&str, &str)]| {
            let properties = map(&[&tables[..], more].concat());
            let tables_config = S3Config::from_properties(&properties).unwrap();
            assert_eq!(tables_config.access.endpoint.as_deref(), Some("http://tables"));
            (S3Config::for_exports(&properties).unwrap(), tables_config)
        };
        let (exports, same) = with(&[]);
        assert_eq!(exports, same);
        let (exports, _) = with(&[("export.s3.access-key-id", "E"), ("export.s3.secret-access-key", "e")]);
        let keys = exports.access.keys.unwrap();
        assert_eq!((keys.id.as_str(), keys.token), ("E", None), "not the table's token");
        assert_eq!(exports.access.region.as_deref(), Some("eu-north-1"));
        let (exports, _) = with(&[("export.s3.profile-name", "reader")]);
        assert!(exports.access.keys.is_none() && exports.access.profile.is_some());
        let (exports, _) = with(&[("export.s3.endpoint", "https://other")]);
        assert_eq!(exports.access.endpoint.as_deref(), Some("https://other"));
        assert!(exports.access.keys.is_some());
    }

    #[test]
    fn waits_are_bounded() {
        let policy = RetryPolicy::default();
        for attempts in [0, 1, 2, 5, 40, u32::MAX] {
            let wait = policy.backoff(attempts);
            let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
            assert!(wait <= policy.max_backoff && wait <= policy.base_backoff.saturating_mul(doubled), "{attempts}");
        }
    }
}
