//! Requests and their answers: signing in, time limits, and what is asked again.
//!
//! - What changes nothing (and what may be done twice) is asked again when the connection fails, or after 429 and 5xx, within
//!   [`ASK_LIMIT`].
//! - A commit is sent once; again only after 401 or 419, which says that it was not looked at.
//! - Connections are not kept: a commit on one that the other side has just closed would have an unknown outcome.
//! - Redirects are not followed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, redirect};
use tokio::time::Instant;
use uuid::Uuid;

use super::auth::Auth;
use super::failure;
use super::settings::Settings;
use super::signer::Signer;
use crate::catalog::metadata_file::check_json;
use crate::error::{Error, Result};

/// For a connection, with its handshake.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(6);
/// For one question and its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// For all attempts of a question together, until the last one begins: 28 s in all.
const ASK_LIMIT: Duration = Duration::from_secs(8);
/// Attempts of a question.
const ATTEMPTS: u32 = 5;
/// For a commit: servers write a metadata file meanwhile.
pub(super) const COMMIT_LIMIT: Duration = Duration::from_mins(1);
/// The first pause between attempts; it doubles with each.
const PAUSE: Duration = Duration::from_millis(200);
/// A longer `Retry-After` is not waited for.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An answer of more bytes is none: tables with thousands of snapshots have some MiB of metadata. Read, it takes four times
/// as much, which must fit into the least memory limit.
const LONGEST_ANSWER: usize = 64 << 20;

/// An answer, of any status.
pub(super) struct Answer {
    pub status: u16,
    pub body: Bytes,
    /// What the server asked to wait.
    pub retry_after: Option<Duration>,
}

/// No answer.
pub(super) enum Lost {
    /// The request surely was not sent; another attempt may have more luck.
    NotSent(Error),
    /// The request surely was not sent, and another would not be.
    Never(Error),
    /// It may have been.
    Unknown(String),
}

/// Sends requests, without signing in.
pub(super) struct Http {
    client: reqwest::Client,
    settings: Settings,
}

/// Sends requests, signed in.
pub(super) struct Client {
    http: Http,
    auth: Auth,
    signer: Option<Signer>,
}

struct Request {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    limit: Duration,
}

impl Http {
    fn new(settings: Settings) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ddb-iceberg/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT)
            .pool_max_idle_per_host(0)
            .retry(reqwest::retry::never())
            .redirect(redirect::Policy::none());
        if settings.is_loopback() {
            builder = builder.no_proxy();
        }
        if let Some(path) = &settings.ca_bundle {
            let failed = |e: std::io::Error| {
                Error::usage("the certificates of ssl.cabundle can't be read").in_file(path).caused_by(e)
            };
            let pem = std::fs::read(path).map_err(failed)?;
            let bundle = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|e| Error::usage("ssl.cabundle holds no certificates").in_file(path).caused_by(e))?;
            for certificate in bundle {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder
            .build()
            .map_err(|error| Error::failed("HTTPS can't be used here").caused_by(failure::words(error)))?;
        Ok(Self { client, settings })
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Lost> {
        tracing::debug!("{} {}", request.method, request.url);
        let sent = self
            .client
            .request(request.method.clone(), &request.url)
            .headers(request.headers.clone())
            .body(request.body.clone())
            .timeout(request.limit)
            .send()
            .await;
        let mut response = sent.map_err(|error| {
            let surely = error.is_connect() || error.is_builder();
            let words = failure::words(error);
            if surely {
                let advice = "Check the catalog's uri, the network and the server";
                Lost::NotSent(
                    Error::failed(format!("the catalog can't be reached: {words}"))
                        .in_file(&self.settings.base)
                        .advice(advice),
                )
            } else {
                Lost::Unknown(words)
            }
        })?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| Lost::Unknown(failure::words(error)))? {
            if body.len() + piece.len() > LONGEST_ANSWER {
                return Err(Lost::Unknown(format!("its answer is longer than {} MiB", LONGEST_ANSWER >> 20)));
            }
            body.extend_from_slice(&piece);
        }
        tracing::debug!("{} {}: {status}", request.method, request.url);
        check_json(&body).map_err(|error| Lost::Unknown(format!("its answer can't be read: {error}")))?;
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(Answer { status, body: body.freeze(), retry_after })
    }

    /// Asks for a token. The user's own headers go to the catalog's own server only.
    pub async fn token(&self, url: &str, form: String, basic: Option<HeaderValue>) -> Result<Answer, Lost> {
        let own = url.starts_with(&format!("{}/", self.settings.base.trim_end_matches("/v1")));
        let mut headers = if own { self.settings.headers.clone() } else { HeaderMap::new() };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(basic) = basic {
            headers.insert(AUTHORIZATION, basic);
        }
        let request =
            Request { method: Method::POST, url: url.to_owned(), headers, body: form.into(), limit: ANSWER_LIMIT };
        let mut attempts = Attempts::new();
        loop {
            let answer = self.exchange(&request).await;
            let Some(pause) = attempts.pause(&answer) else { return answer };
            tokio::time::sleep(pause).await;
        }
    }
}

impl Client {
    pub async fn new(settings: Settings) -> Result<Self> {
        let auth = Auth::new(&settings)?;
        let signer = match &settings.signing {
            Some(signing) => Some(Signer::new(signing).await?),
            None => None,
        };
        Ok(Self { http: Http::new(settings)?, auth, signer })
    }

    /// The same with other settings; signed in as it is, if that has not changed.
    pub async fn renewed(self, settings: Settings) -> Result<Self> {
        let auth = if self.http.settings.sign_in == settings.sign_in { self.auth } else { Auth::new(&settings)? };
        let signer = match (&settings.signing, self.signer) {
            (signing, signer) if *signing == self.http.settings.signing => signer,
            (Some(signing), _) => Some(Signer::new(signing).await?),
            (None, _) => None,
        };
        Ok(Self { http: Http::new(settings)?, auth, signer })
    }

    pub fn settings(&self) -> &Settings {
        &self.http.settings
    }

    /// Asks what changes nothing, or what may be done twice. `path` follows `/v1/`.
    ///
    /// Errors: no answer; one of 429 or 5xx to the last attempt is an answer.
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        let mut attempts = Attempts::new();
        let answer = loop {
            let answer = self.send(method.clone(), path, body.clone(), ANSWER_LIMIT).await;
            let Some(pause) = attempts.pause(&answer) else { break answer };
            tokio::time::sleep(pause).await;
        };
        answer.map_err(|lost| match lost {
            Lost::NotSent(error) | Lost::Never(error) => error,
            Lost::Unknown(why) => Error::failed(format!("the catalog did not answer: {why}"))
                .in_file(&self.http.settings.base)
                .advice("Check the network and the server"),
        })
    }

    /// Sends a change once.
    pub async fn change(&self, path: &str, body: Bytes) -> Result<Answer, Lost> {
        self.send(Method::POST, path, body, COMMIT_LIMIT).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes, limit: Duration) -> Result<Answer, Lost> {
        let mut refused = None;
        loop {
            let header = self.auth.header(&self.http, refused.as_ref()).await.map_err(Lost::Never)?;
            let request = self.request(method.clone(), path, body.clone(), limit, header.as_ref());
            let answer = self.http.exchange(&request.await.map_err(Lost::Never)?).await?;
            let again =
                matches!(answer.status, 401 | 419) && refused.is_none() && matches!(self.auth, Auth::Tokens(..));
            if !again {
                return Ok(answer);
            }
            tracing::info!("the catalog does not take the token any more; signing in again");
            refused = header;
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
        authorization: Option<&HeaderValue>,
    ) -> Result<Request> {
        let url = format!("{}/{path}", self.http.settings.base);
        let mut headers = self.http.settings.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if method == Method::GET {
            // What became of a commit is not to be read out of a cache.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(signer) = &self.signer {
            // The address as it is sent, and its host, which is signed too.
            let sent = reqwest::Url::parse(&url).map_err(|_| Error::usage("the catalog's uri is no address"))?;
            let host = sent.host_str().unwrap_or_default();
            let host = sent.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            if let Ok(host) = HeaderValue::from_str(&host) {
                headers.insert(HOST, host);
            }
            // A user's own Authorization moves, as Java and PyIceberg have it.
            if let Some(own) = headers.remove(AUTHORIZATION) {
                headers.insert("original-authorization", own);
            }
            let added = signer.headers(method.as_str(), sent.as_str(), &headers, &body).await?;
            headers.extend(added);
        }
        Ok(Request { method, url, headers, body, limit })
    }
}

/// Attempts of what may be done twice.
struct Attempts {
    made: u32,
    until: Instant,
}

impl Attempts {
    fn new() -> Self {
        Self { made: 0, until: Instant::now() + ASK_LIMIT }
    }

    /// How long to wait before the next attempt; `None`: this answer is the last.
    fn pause(&mut self, answer: &Result<Answer, Lost>) -> Option<Duration> {
        self.made += 1;
        let asked = match answer {
            Ok(Answer { status: 429 | 500 | 502..=504, retry_after, .. }) => retry_after.unwrap_or_default(),
            Ok(_) | Err(Lost::Never(_)) => return None,
            Err(_) => Duration::ZERO,
        };
        let pause = backoff(self.made).max(asked.min(LONGEST_PAUSE));
        Some(pause).filter(|pause| self.made < ATTEMPTS && Instant::now() + *pause < self.until)
    }
}

/// How long to wait after so many attempts (from 1): random in the upper half, so that clients do not come back at once.
pub(super) fn backoff(attempts: u32) -> Duration {
    let longest = PAUSE.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(LONGEST_PAUSE);
    let [.., random] = *Uuid::new_v4().as_bytes();
    longest / 2 + longest / 512 * u32::from(random)
}
