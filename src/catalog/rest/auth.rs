//! The header that authenticates a request.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use super::failure;
use super::http::{Http, Lost};
use super::settings::{OAuth, Settings, SignIn};
use super::wire::{OAuthToken, form};
use crate::error::{Error, Result};
use crate::secrets;

/// How long before its expiry a token is renewed; at half of its lifetime if that is sooner.
const MARGIN: Duration = Duration::from_mins(1);

/// Authenticates requests, and keeps the token only in memory.
pub(super) enum Auth {
    None,
    Fixed(HeaderValue),
    Tokens(Box<OAuth>, Mutex<Token>),
}

#[derive(Default)]
pub(super) struct Token {
    value: Option<String>,
    renew_at: Option<Instant>,
}

impl Auth {
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(match &settings.sign_in {
            SignIn::None => Self::None,
            SignIn::Fixed(value) => Self::Fixed(header(value)?),
            SignIn::OAuth(oauth) => {
                let token = Token { value: oauth.token.clone(), renew_at: None };
                Self::Tokens(Box::new(oauth.clone()), Mutex::new(token))
            }
        })
    }

    /// The header for the next request. `refused` is the header that the server did not accept.
    ///
    /// With a refused header, `None` means that there is no other.
    pub async fn header(&self, http: &Http, refused: Option<&HeaderValue>) -> Result<Option<HeaderValue>> {
        let (oauth, token) = match self {
            Self::None => return Ok(None),
            Self::Fixed(value) => return Ok(Some(value.clone()).filter(|_| refused.is_none())),
            Self::Tokens(oauth, token) => (oauth, token),
        };
        let mut token = token.lock().await;
        let due = token.renew_at.is_some_and(|at| Instant::now() >= at);
        if let Some(value) = token.value.as_deref().filter(|_| !due) {
            let value = header(&format!("Bearer {value}"))?;
            // Another request may have renewed it meanwhile.
            if refused != Some(&value) {
                return Ok(Some(value));
            }
        }
        *token = fetch(oauth, http).await?;
        token.value.as_deref().map(|value| header(&format!("Bearer {value}"))).transpose()
    }
}

/// A header with a token or a password, which a server may repeat with or without its scheme.
fn header(value: &str) -> Result<HeaderValue> {
    secrets::remember(value);
    if let Some((_, secret)) = value.split_once(' ') {
        secrets::remember(secret);
    }
    let mut value =
        HeaderValue::from_str(value).map_err(|_| Error::usage("the catalog's token can't be sent as a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn fetch(oauth: &OAuth, http: &Http) -> Result<Token> {
    let (id, secret) = &oauth.client;
    let mut fields = vec![("grant_type", "client_credentials")];
    let mut basic = None;
    if oauth.by_header {
        let pair = format!("{}:{secret}", id.as_deref().unwrap_or_default());
        basic = Some(header(&format!("Basic {}", STANDARD.encode(pair)))?);
    } else {
        fields.extend(id.as_deref().map(|id| ("client_id", id)));
        fields.push(("client_secret", secret));
    }
    fields.extend(oauth.parameters.iter().map(|(name, value)| (*name, value.as_str())));
    let answer = http.token(&oauth.server, form(&fields), basic).await.map_err(|lost| match lost {
        Lost::NotSent(error) | Lost::Never(error) => error,
        Lost::Unknown(why) => Error::failed(format!("the sign-in had no answer: {why}")).in_file(&oauth.server),
    })?;
    if answer.status != 200 {
        return Err(Error::failed(format!("the catalog refused the sign-in: {}", failure::said(&answer)))
            .in_file(&oauth.server)
            .advice("Check the catalog's properties credential, scope and oauth2-server-uri"));
    }
    let token: OAuthToken = serde_json::from_slice(&answer.body).map_err(|_| {
        Error::failed("the answer to the sign-in holds no token")
            .in_file(&oauth.server)
            .advice("Check the catalog's property oauth2-server-uri")
    })?;
    let lasts = token.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let renew_at = lasts.and_then(|lasts| Instant::now().checked_add(lasts.saturating_sub(MARGIN).max(lasts / 2)));
    Ok(Token { value: Some(token.access_token), renew_at })
}
