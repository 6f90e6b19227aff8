//! Credentials, region and endpoint for AWS, in the same way for each of its services.
//!
//! A service's own properties (`s3.*`, `glue.*`) have the highest precedence, then `client.*`, then the standard AWS
//! chain: variables, profile files, web identity, container and instance metadata.

use std::fmt;
use std::net::IpAddr;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, ProvideCredentials, SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};

use super::answer_limit::AnswerLimit;
use super::properties::Properties;
use crate::error::{Error, Result};
use crate::secrets;

/// The default region: other vendors' servers accept it, and S3 answers with the right one.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";
/// Our name in the `User-Agent` of the SDK's requests.
pub(crate) const APP: &str = "ddb-iceberg";

/// Keys given explicitly.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StaticKeys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

/// Access to one AWS service.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct AwsAccess {
    /// The URL of another server than AWS's own, without a trailing slash.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) keys: Option<StaticKeys>,
    pub(crate) profile: Option<String>,
    /// A role to assume with the other credentials.
    pub(crate) role: Option<String>,
    pub(crate) role_session: Option<String>,
    /// Whether requests are not signed.
    pub(crate) anonymous: bool,
    /// The URL of a proxy, which may contain a password.
    pub(crate) proxy: Option<String>,
}

impl fmt::Debug for AwsAccess {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsAccess")
            .field("region", &self.region)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl AwsAccess {
    /// Reads `<service>.*`, and `client.*` for what is not set.
    pub(crate) fn read(properties: &Properties<'_>, service: &str) -> Result<Self> {
        let own = |name: &str| format!("{service}.{name}");
        let get = |name: &str| properties.get(&[&own(name), &format!("client.{name}")]);
        let endpoint = properties.get(&[&own("endpoint")]).map(|e| e.trim_end_matches('/').to_owned());
        if endpoint.as_ref().is_some_and(|e| !(e.starts_with("http://") || e.starts_with("https://"))) {
            return Err(properties.wrong(&own("endpoint"), "is not a URL that starts with http:// or https://"));
        }
        let missing = |name: &str, beside: &str| {
            Err(properties.wrong(&own(name), &format!("is missing beside {service}.{beside}")))
        };
        let keys = match (get("access-key-id"), get("secret-access-key")) {
            (None, None) => None,
            (Some(id), Some(secret)) => {
                let token = get("session-token");
                remember(&Credentials::new(&id, &secret, token.clone(), None, APP));
                Some(StaticKeys { id, secret, token })
            }
            (Some(_), None) => return missing("secret-access-key", "access-key-id"),
            (None, Some(_)) => return missing("access-key-id", "secret-access-key"),
        };
        Ok(Self {
            endpoint,
            region: get("region"),
            keys,
            profile: get("profile-name"),
            role: get("role-arn"),
            role_session: get("role-session-name"),
            anonymous: properties.flag(&own("anonymous"))?.unwrap_or(false),
            proxy: properties.get(&[&own("proxy-uri")]),
        })
    }

    /// Reads variables and profile files; does not contact the service yet. The region may still be missing.
    pub(crate) async fn load(&self, retry: RetryConfig, timeouts: TimeoutConfig) -> Result<SdkConfig> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http_client()?)
            .retry_config(retry)
            .timeout_config(timeouts)
            // Requests that need a timeout for each piece of a body have their own.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        } else if self.endpoint.is_some() {
            // Instance metadata is skipped: another vendor's server does not need it, and outside of EC2 it takes
            // seconds.
            let mut profile = ProfileFileRegionProvider::builder();
            if let Some(name) = &self.profile {
                profile = profile.profile_name(name);
            }
            loader = loader.region(
                RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                    .or_else(profile.build())
                    .or_else(DEFAULT_REGION),
            );
        }
        if self.anonymous {
            loader = loader.no_credentials();
        } else if let Some(keys) = &self.keys {
            let keys = Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, APP);
            loader = loader.credentials_provider(keys);
        }
        let shared = remembering(loader.load().await);
        let Some(role) = self.role.as_ref().filter(|_| !self.anonymous) else { return Ok(shared) };
        let asking = match shared.region() {
            Some(_) => shared.clone(),
            None => shared.clone().into_builder().region(Region::from_static(DEFAULT_REGION)).build(),
        };
        let mut provider = AssumeRoleProvider::builder(role).configure(&asking);
        if let Some(name) = &self.role_session {
            provider = provider.session_name(name);
        }
        let provider = SharedCredentialsProvider::new(provider.build().await);
        Ok(remembering(shared.into_builder().credentials_provider(provider).build()))
    }

    /// The address of a service, for messages: `https://glue.eu-west-1.amazonaws.com (region eu-west-1)`.
    pub(crate) fn place(&self, service: &str, region: Option<&Region>) -> String {
        let variables = [format!("AWS_ENDPOINT_URL_{}", service.to_uppercase()), "AWS_ENDPOINT_URL".to_owned()];
        let named = || variables.iter().find_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()));
        let region = region.map_or(DEFAULT_REGION, Region::as_ref);
        match self.endpoint.clone().or_else(named) {
            Some(url) => format!("{} (region {region})", without_user(url.trim_end_matches('/'))),
            None => format!("https://{service}.{region}.amazonaws.com (region {region})"),
        }
    }

    fn http_client(&self) -> Result<SharedHttpClient> {
        let proxy = match &self.proxy {
            Some(uri) => ProxyConfig::all(uri.clone())
                // Its text may contain a password.
                .map_err(|_| Error::usage("the property s3.proxy-uri is not the URL of a proxy"))?,
            None if self.endpoint.as_deref().is_some_and(is_loopback) => ProxyConfig::disabled(),
            None => ProxyConfig::from_env(),
        };
        let client = HttpBuilder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = Connector::builder().proxy_config(proxy.clone());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(aws_sdk_s3::config::RuntimeComponents::sleep_impl));
            connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
        });
        Ok(SharedHttpClient::new(AnswerLimit(client)))
    }
}

/// Masks the signing keys of a request in its response.
pub(crate) fn remember(keys: &Credentials) {
    for secret in
        [Some(keys.access_key_id()), Some(keys.secret_access_key()), keys.session_token()].into_iter().flatten()
    {
        secrets::remember(secret);
    }
}

/// The same, with keys registered whatever their source.
fn remembering(config: SdkConfig) -> SdkConfig {
    match config.credentials_provider() {
        Some(provider) => {
            config.into_builder().credentials_provider(SharedCredentialsProvider::new(Remembering(provider))).build()
        }
        None => config,
    }
}

#[derive(Debug)]
struct Remembering(SharedCredentialsProvider);

impl ProvideCredentials for Remembering {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        Providing::new(async {
            let keys = self.0.provide_credentials().await?;
            remember(&keys);
            Ok(keys)
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.0.fallback_on_interrupt()
    }
}

/// A URL without user and password.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.find('/').map_or(rest, |end| rest.get(..end).unwrap_or(rest));
    let user = host.rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", rest.get(user..).unwrap_or(rest))
}

/// Whether a URL belongs to this machine, which is not reached through a proxy.
pub(crate) fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_endpoint_and_region_and_no_password() {
        let access = |endpoint: &str| AwsAccess { endpoint: Some(endpoint.to_owned()), ..AwsAccess::default() };
        let region = Region::new("eu-west-1");
        for (endpoint, place) in [
            ("http://localhost:9000", "http://localhost:9000 (region eu-west-1)"),
            ("https://me:hush@h/x@y/", "https://h/x@y (region eu-west-1)"),
            ("https://me:hu@sh@h:1", "https://h:1 (region eu-west-1)"),
        ] {
            assert_eq!(access(endpoint).place("s3", Some(&region)), place);
        }
        assert_eq!(access("http://h").place("glue", None), "http://h (region us-east-1)");
    }
}
