//! Requests to a REST server without authentication: limits, retries, and valid responses.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, redirect};
use tokio::time::Instant;
use uuid::Uuid;

use super::settings::Settings;
use crate::catalog::metadata_file::check_json;
use crate::error::{Error, Result};

/// A response, with any status.
pub(crate) struct Answer {
    pub status: u16,
    pub body: Bytes,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
}

/// No response.
pub(crate) enum Lost {
    /// The request was certainly not sent; another attempt may succeed.
    NotSent(Error),
    /// The request was certainly not sent; another attempt would also fail.
    Never(Error),
    /// It may have been sent.
    Unknown(String),
}

/// Sends requests without authentication.
pub(crate) struct Http {
    client: reqwest::Client,
    pub(crate) settings: Settings,
}

impl Http {
    pub(crate) fn new(settings: Settings) -> Result<Self> {
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
        let client =
            builder.build().map_err(|error| Error::failed("HTTPS can't be used here").caused_by(words(error)))?;
        Ok(Self { client, settings })
    }

    pub(crate) async fn exchange(&self, request: &Request) -> Result<Answer, Lost> {
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
            let words = words(error);
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
        while let Some(piece) = response.chunk().await.map_err(|error| Lost::Unknown(words(error)))? {
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

    /// Requests a token. The user's own headers are sent only to the catalog's own server.
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

pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) limit: Duration,
}

/// Attempts of a request that may be done twice.
pub(crate) struct Attempts {
    made: u32,
    until: Instant,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { made: 0, until: Instant::now() + ASK_LIMIT }
    }

    /// How long to wait before the next attempt; `None`: no further attempt.
    pub(crate) fn pause(&mut self, answer: &Result<Answer, Lost>) -> Option<Duration> {
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

/// How long to wait after this many attempts (from 1): random in the upper half, so that clients do not retry at the
/// same time.
pub(crate) fn backoff(attempts: u32) -> Duration {
    let longest = PAUSE.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(LONGEST_PAUSE);
    let [.., random] = *Uuid::new_v4().as_bytes();
    longest / 2 + longest / 512 * u32::from(random)
}

/// Timeout for connecting, including the handshake.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(6);

/// Timeout for one request and its response.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Time limit for all attempts of a request, up to the start of the last one: 28 s in total.
const ASK_LIMIT: Duration = Duration::from_secs(8);

/// Maximum number of attempts.
const ATTEMPTS: u32 = 5;

/// Timeout for a commit: servers write a metadata file meanwhile.
pub(crate) const COMMIT_LIMIT: Duration = Duration::from_mins(1);

/// The first pause between attempts; it doubles each time.
const PAUSE: Duration = Duration::from_millis(200);

/// A longer `Retry-After` is not respected.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Maximum bytes of a response: tables with thousands of snapshots have some MiB of metadata. Parsed, it takes four
/// times as much memory, which must fit into the minimum memory limit.
const LONGEST_ANSWER: usize = 64 << 20;

/// A message for a request without a response; without the address, which the caller names.
pub(crate) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = match (error.is_timeout(), error.is_connect()) {
        (true, true) => return "no connection within the time limit".to_owned(),
        (true, false) => return "no answer within the time limit".to_owned(),
        (false, true) => "no connection".to_owned(),
        (false, false) => error.to_string(),
    };
    // The last cause is what the system or the other side said.
    let mut cause = std::error::Error::source(&error);
    let mut last = None;
    while let Some(inner) = cause {
        last = Some(inner.to_string());
        cause = inner.source();
    }
    if let Some(last) = last {
        text = format!("{text}: {last}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// However much whoever answers sends.
    #[tokio::test]
    async fn an_answer_has_an_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for (stream, length) in listener.incoming().zip([LONGEST_ANSWER, LONGEST_ANSWER + 1]) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                let answer = [&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..], &vec![b' '; length]].concat();
                // Whoever has read enough closes the connection.
                drop(stream.write_all(&answer));
            }
        });
        let http = Http::new(Settings::new("c", &BTreeMap::from([("uri".to_owned(), uri.clone())])).unwrap()).unwrap();
        let (headers, body, limit) = (HeaderMap::new(), Bytes::new(), COMMIT_LIMIT);
        let request = Request { method: Method::GET, url: uri, headers, body, limit };
        let Ok(answer) = http.exchange(&request).await else { panic!("64 MiB are too long") };
        assert_eq!((answer.status, answer.body.len()), (200, LONGEST_ANSWER));
        let Err(Lost::Unknown(why)) = http.exchange(&request).await else { panic!("longer than 64 MiB") };
        assert_eq!(why, "its answer is longer than 64 MiB");
    }
}
