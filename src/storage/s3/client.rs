//! The SDK's client, made of an [`S3Config`].

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Credentials, SharedHttpClient, StalledStreamProtectionConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};

use super::config::{RetryPolicy, S3Config};
use crate::error::{Error, Result};

/// Where nobody names a region: requests to a bucket elsewhere are answered with the right one.
const DEFAULT_REGION: &str = "us-east-1";
/// What the SDK calls us in the requests' `User-Agent`.
const APP: &str = "ddb-iceberg";

/// Makes the client. Reads variables and profile files; nothing is asked of S3 yet.
pub(super) async fn connect(config: &S3Config) -> Result<aws_sdk_s3::Client> {
    let retry = retries(&config.retry);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.retry.connect_timeout)
        .read_timeout(config.retry.attempt_timeout)
        .operation_attempt_timeout(config.retry.attempt_timeout)
        .operation_timeout(config.retry.total_timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(config)?)
        .retry_config(retry.clone())
        .timeout_config(timeouts)
        // Bodies have a timeout of their own, for each piece: see `read`.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    } else if config.endpoint.is_some() {
        // The instance metadata is left out: another vendor's server does not care, and off EC2 it takes seconds.
        let mut profile = ProfileFileRegionProvider::builder();
        if let Some(name) = &config.profile {
            profile = profile.profile_name(name);
        }
        loader = loader.region(
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(profile.build())
                .or_else(DEFAULT_REGION),
        );
    }
    if config.anonymous {
        loader = loader.no_credentials();
    } else if let Some(keys) = &config.keys {
        loader = loader.credentials_provider(Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, APP));
    }
    let shared = loader.load().await;
    let mut builder = Builder::from(&shared);
    if shared.region().is_none() {
        builder = builder.region(Region::from_static(DEFAULT_REGION));
    }
    if let Some(role) = config.role.as_ref().filter(|_| !config.anonymous) {
        let shared = match shared.region() {
            Some(_) => shared,
            None => shared.into_builder().region(Region::from_static(DEFAULT_REGION)).build(),
        };
        let mut provider = AssumeRoleProvider::builder(role).configure(&shared);
        if let Some(name) = &config.role_session {
            provider = provider.session_name(name);
        }
        builder = builder.credentials_provider(provider.build().await);
    }
    let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| std::env::var_os(name).is_some());
    builder = builder.force_path_style(config.path_style.unwrap_or(config.endpoint.is_some() || named));
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if config.anonymous {
        builder = builder.allow_no_auth();
    }
    // The SDK stops retrying when many requests of a process fail together; the policy alone decides here.
    let partition = RetryPartition::custom(APP).token_bucket(TokenBucket::unlimited()).build();
    Ok(aws_sdk_s3::Client::from_conf(builder.retry_config(retry).retry_partition(partition).build()))
}

fn retries(policy: &RetryPolicy) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(policy.attempts.max(1))
        .with_initial_backoff(policy.base_backoff)
        .with_max_backoff(policy.max_backoff)
        .with_reconnect_mode(ReconnectMode::ReconnectOnTransientError)
}

fn http_client(config: &S3Config) -> Result<SharedHttpClient> {
    let proxy = match &config.proxy {
        Some(uri) => ProxyConfig::all(uri.clone())
            // Its text may hold a password.
            .map_err(|_| Error::usage("the property s3.proxy-uri is not the URL of a proxy"))?,
        None if config.endpoint.as_deref().is_some_and(is_loopback) => ProxyConfig::disabled(),
        None => ProxyConfig::from_env(),
    };
    Ok(HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(aws_sdk_s3::config::RuntimeComponents::sleep_impl));
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    }))
}

/// Whether a URL is of this machine, which no proxy reaches.
fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["localhost", "127.", "[::1]"].iter().any(|name| host.starts_with(name))
}
