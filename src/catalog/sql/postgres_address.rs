//! The address of a PostgreSQL catalog: SQLAlchemy's and libpq's URLs.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::postgres_guard::{Guard, Refusal};
use crate::catalog::property;
use crate::error::{Error, Result};
use crate::percent::decode;
use crate::secrets;

/// Default time limit for connecting, including name resolution, TLS and sign-in; `connect_timeout` may shorten it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(14);
/// URL parameters in addition to user, password, host, port and database.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
const FORM: &str = "Write postgresql://user:password@host:port/database; \
     special characters in user and password are percent-encoded, as %40 for @";

/// A database, how to connect to it, and its name in messages. It has no `Debug`, since the options contain the
/// password.
pub(super) struct Address {
    /// For the driver.
    pub options: PgConnectOptions,
    /// `postgresql://host:port/database`.
    pub place: String,
    /// Time limit for one attempt to connect.
    pub connect_timeout: Duration,
    guard: Guard,
}

impl Address {
    /// Parses `postgresql://…`, `postgres://…` or `postgresql+driver://…`.
    pub fn parse(uri: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::usage(format!("the catalog's uri is no address of a PostgreSQL database ({why})")).advice(FORM)
        };
        let (_, rest) = uri.split_once("://").ok_or_else(|| wrong("it has no ://"))?;
        // Without a host, libpq's default applies; but a URL of this kind needs some host to be valid.
        let mut url = Url::parse(&format!("postgresql://{rest}")).map_err(|e| wrong(&e.to_string()))?;
        if url.fragment().is_some() {
            return Err(wrong("a # in it ends it early"));
        }
        let mut connect_timeout = CONNECT_TIMEOUT;
        let mut kept = Vec::new();
        for (key, value) in url.query_pairs() {
            if key == "connect_timeout" {
                // libpq: 0 or less means no limit.
                let seconds: i64 =
                    value.trim().parse().map_err(|_| wrong("connect_timeout is no number of seconds"))?;
                if let Some(seconds) = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0) {
                    connect_timeout = CONNECT_TIMEOUT.min(Duration::from_secs(seconds));
                }
            } else if PARAMETERS.contains(&&*key) {
                kept.push((key.into_owned(), value.into_owned()));
            } else {
                // The value may be a secret.
                tracing::warn!("{key:?} in the catalog's uri is not known here and ignored");
            }
        }
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(&kept);
        }
        // The driver's own message may repeat the value.
        let mut options = PgConnectOptions::from_str(url.as_str())
            .map_err(|_| wrong("a parameter has a value that it can't have"))?;
        if let Some(address) = url.host_str().and_then(|host| host.strip_prefix('[')?.strip_suffix(']'))
            && options.get_host().starts_with('[')
        {
            options = options.host(address);
        }
        if options.get_application_name().is_none() {
            options = options.application_name("ddb-iceberg");
        }
        // Poolers refuse the parameter that the driver sends for it, and our statements have no names.
        options = options.extra_float_digits(None).statement_cache_capacity(0).disable_statement_logging();

        let server = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None if options.get_host().contains(':') => format!("[{}]:{}", options.get_host(), options.get_port()),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let place = property::shown("uri", &format!("postgresql://{server}/{database}"));
        remember_passwords(&url, &[options.get_username(), database]);
        Ok(Self { options, place, connect_timeout, guard: Guard::default() })
    }

    /// Connects and signs in.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        self.guard.connect(&self.options, &self.place).await
    }

    /// Why this side closed the last connection, if it did.
    pub fn refusal(&self) -> Option<Refusal> {
        self.guard.refusal()
    }

    /// The error that the server can't be reached.
    pub fn unreachable(&self, why: &str) -> Error {
        Error::failed(format!("the catalog's server can't be reached: {why}")).in_file(&self.place).advice(
            "Check host and port in the catalog's uri, that the server runs, and that no firewall is in between",
        )
    }
}

/// Every password that may be sent to a server, so that its messages do not repeat it. A password that is also a `name`
/// in messages is not masked: with the password `postgres`, users still learn that the database of that name does not
/// exist.
fn remember_passwords(url: &Url, names: &[&str]) {
    let remember = |password: &str| {
        if !names.contains(&password) {
            secrets::remember(password);
        }
    };
    if let Some(password) = url.password() {
        remember(password);
        remember(&decode(password));
    }
    url.query_pairs().filter(|(key, _)| key == "password").for_each(|(_, value)| remember(&value));
    if let Ok(password) = std::env::var("PGPASSWORD") {
        remember(&password);
    }
    let file = std::env::var_os("PGPASSFILE").map(PathBuf::from);
    let file = file.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pgpass")));
    for line in file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default().lines() {
        // `host:port:database:user:password`, with a \ before each : and \ in them.
        let mut escaped = false;
        let mut colons = 0;
        let password: String = line
            .chars()
            .filter(|c| {
                let is_literal = std::mem::take(&mut escaped);
                match c {
                    '\\' if !is_literal => escaped = true,
                    ':' if !is_literal && colons < 4 => colons += 1,
                    _ => return colons == 4,
                }
                false
            })
            .collect();
        remember(&password);
    }
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;

    use super::*;
    use crate::error::Kind;

    #[test]
    fn urls_are_sqlalchemys() {
        for (uri, place, user) in [
            ("postgresql://me:hush@db.example:5433/lake", "postgresql://db.example:5433/lake", "me"),
            ("postgres://me:hush@db.example:5432/lake", "postgresql://db.example:5432/lake", "me"),
            ("postgresql+psycopg2://m%40e:h%2Fu%40sh@db.example:5432/lake", "postgresql://db.example:5432/lake", "m@e"),
            ("postgresql://me@[::1]:5432/lake", "postgresql://[::1]:5432/lake", "me"),
            ("postgresql://me:hush@x:5432/lake?host=%2Frun%2Fpg", "postgresql:///run/pg/lake", "me"),
            ("postgresql://db.example:5432/lake?user=me&password=hush", "postgresql://db.example:5432/lake", "me"),
        ] {
            let address = Address::parse(uri).unwrap();
            assert_eq!(address.place, place, "{uri}");
            assert_eq!(address.options.get_username(), user, "{uri}");
        }
        let address =
            Address::parse("postgresql://me@h:1/d?sslmode=verify-full&connect_timeout=3&target_session_attrs=x")
                .unwrap();
        assert!(matches!(address.options.get_ssl_mode(), PgSslMode::VerifyFull));
        assert_eq!(address.connect_timeout, Duration::from_secs(3));
        let patient = Address::parse("postgresql://me@h:1/d?connect_timeout=900").unwrap();
        assert_eq!(patient.connect_timeout, CONNECT_TIMEOUT);
    }

    /// In each form in which a server may repeat it. A name in the address stays in messages.
    #[test]
    fn passwords_are_struck_out_of_what_servers_say() {
        let struck = |text: &str| secrets::strike(text) != text;
        Address::parse("postgresql://me:first%2Dsecret@h:1/lake").unwrap();
        assert!(struck("first-secret") && struck("first%2Dsecret"));
        Address::parse("postgresql://h:1/lake?user=me&password=second-secret&application_name=no-secret").unwrap();
        assert!(struck("second-secret") && !struck("no-secret"));
        Address::parse("postgresql://its-user:its-user@h:1/its-database").unwrap();
        Address::parse("postgresql://me:its-database@h:1/its-database").unwrap();
        assert!(!struck("its-user") && !struck("its-database"));
    }

    #[test]
    fn a_wrong_url_is_a_usage_error_without_secrets() {
        for uri in [
            "postgresql:me:hush@h/d",
            "postgresql://me:hush@h:port/d",
            "postgresql://me:hush@h:1/d?sslmode=hush",
            "postgresql://me:hush@h:1/d?connect_timeout=hush",
            "postgresql://me:#hush@h:1/d",
            "postgresql://me:hush@h1:1,h2:2/d",
        ] {
            let Err(error) = Address::parse(uri) else { panic!("{uri}") };
            assert_eq!(error.kind(), Kind::Usage, "{uri}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
