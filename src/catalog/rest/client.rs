//! Requests and responses: authentication, time limits and retries.
//!
//! - Requests that change nothing (or may be done twice) are retried if the connection fails, or after 429 and 5xx,
//!   within `ASK_LIMIT`.
//! - A commit is sent once, and again only after 401 or 419, which mean that it was not processed.
//! - Connections are not reused: a commit on one that the other side has just closed would have an unknown outcome.
//! - Redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};

use super::auth::Auth;
use super::http::{ANSWER_LIMIT, Answer, Attempts, COMMIT_LIMIT, Http, Lost, Request};
use super::settings::Settings;
use super::signer::Signer;
use crate::error::{Error, Result};

/// Sends authenticated requests.
pub(crate) struct Client {
    http: Http,
    auth: Auth,
    signer: Option<Signer>,
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

    /// The same client with other settings; stays signed in if the sign-in settings are the same.
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

    /// Sends a request that changes nothing, or may be done twice. `path` follows `/v1/`.
    ///
    /// Errors: no response. A 429 or 5xx for the last attempt is a response.
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
            // The outcome of a commit must not come from a cache.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(signer) = &self.signer {
            // The address as it is sent, and its host, which is also signed.
            let sent = reqwest::Url::parse(&url).map_err(|_| Error::usage("the catalog's uri is no address"))?;
            let host = sent.host_str().unwrap_or_default();
            let host = sent.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            if let Ok(host) = HeaderValue::from_str(&host) {
                headers.insert(HOST, host);
            }
            // A user's own Authorization is moved, as in Java and PyIceberg.
            if let Some(own) = headers.remove(AUTHORIZATION) {
                headers.insert("original-authorization", own);
            }
            let added = signer.headers(method.as_str(), sent.as_str(), &headers, &body).await?;
            headers.extend(added);
        }
        Ok(Request { method, url, headers, body, limit })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings(more: &[(&str, &str)]) -> Settings {
        let all = [&[("uri", "http://127.0.0.1:1")], more].concat();
        let properties: BTreeMap<_, _> = all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::new("c", &properties).unwrap()
    }

    /// What a server's configuration changes counts from then on.
    #[tokio::test]
    async fn requests_are_signed_as_the_newest_settings_say() {
        let signed = |region: &str| {
            let keys = [("client.access-key-id", "AKID"), ("client.secret-access-key", "hush")];
            settings(&[&keys[..], &[("rest.sigv4-enabled", "true"), ("client.region", region)]].concat())
        };
        let mut client = Client::new(signed("eu-north-1")).await.unwrap();
        for (settings, region) in [
            (signed("eu-north-1"), Some("/eu-north-1/")),
            (signed("us-west-2"), Some("/us-west-2/")),
            (settings(&[]), None),
            (signed("eu-north-1"), Some("/eu-north-1/")),
        ] {
            client = client.renewed(settings).await.unwrap();
            let request = client.request(Method::GET, "config", Bytes::new(), ANSWER_LIMIT, None).await.unwrap();
            let signature = request.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(signature.is_some(), region.is_some());
            assert!(signature.is_none_or(|signature| signature.contains(region.unwrap())), "{region:?}");
        }
    }
}
