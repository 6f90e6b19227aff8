//! AWS signatures (SigV4), which the endpoints of Glue and S3 Tables require.

use std::time::SystemTime;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Credentials, ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use super::http::CONNECT_LIMIT;
use super::settings::Signing;
use crate::aws::access::{AwsAccess, StaticKeys};
use crate::error::{Error, Result};

/// Signs requests with given keys, or with those that the standard AWS chain finds.
pub(super) struct Signer {
    region: String,
    service: String,
    provider: SharedCredentialsProvider,
    keys: Mutex<Option<Credentials>>,
}

impl Signer {
    /// Reads variables and profile files.
    pub async fn new(signing: &Signing) -> Result<Self> {
        let access = AwsAccess {
            region: signing.region.clone(),
            keys: signing.keys.clone().map(|(id, secret, token)| StaticKeys { id, secret, token }),
            profile: signing.profile.clone(),
            ..AwsAccess::default()
        };
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).build();
        let shared = access.load(RetryConfig::standard(), timeouts).await?;
        let Some(region) = shared.region() else {
            return Err(Error::usage("the region to sign requests for is not known")
                .advice("Give the catalog's property rest.signing-region"));
        };
        let Some(provider) = shared.credentials_provider() else {
            return Err(Error::usage("there are no AWS credentials to sign requests with"));
        };
        Ok(Self {
            region: region.as_ref().to_owned(),
            service: signing.service.clone(),
            provider,
            keys: Mutex::default(),
        })
    }

    /// The headers to add to a request with these headers.
    pub async fn headers(&self, method: &str, url: &str, headers: &HeaderMap, body: &[u8]) -> Result<HeaderMap> {
        let identity = self.keys().await?.into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Double;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let failed = |_| Error::failed("the request to the catalog could not be signed");
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|_| Error::failed("the request to the catalog could not be signed"))?
            .into();
        let named = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let request = SignableRequest::new(method, url, named, SignableBody::Bytes(body)).map_err(failed)?;
        let (instructions, _) = sign(request, &params).map_err(failed)?.into_parts();
        let mut added = HeaderMap::new();
        for (name, value) in instructions.headers() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(value)) else { continue };
            value.set_sensitive(true);
            added.insert(name, value);
        }
        Ok(added)
    }

    async fn keys(&self) -> Result<Credentials> {
        let mut keys = self.keys.lock().await;
        let soon = SystemTime::now() + std::time::Duration::from_mins(1);
        if let Some(found) = keys.as_ref().filter(|keys| keys.expiry().is_none_or(|end| end > soon)) {
            return Ok(found.clone());
        }
        let found = self.provider.provide_credentials().await.map_err(|error| {
            Error::failed("no AWS credentials were found to sign requests to the catalog with")
                .caused_by(error)
                .advice("Set them up as for the aws command, or give client.access-key-id and client.secret-access-key")
        })?;
        *keys = Some(found.clone());
        Ok(found)
    }
}
