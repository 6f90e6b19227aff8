//! The SDK's client, built from an [`S3Config`].

use aws_config::Region;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;

use super::config::{RetryPolicy, S3Config};
use crate::aws::access::{APP, DEFAULT_REGION};
use crate::error::Result;

/// Creates the client. Reads variables and profile files; does not contact S3 yet.
pub(super) async fn connect(config: &S3Config) -> Result<aws_sdk_s3::Client> {
    let retry = retries(&config.retry);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.retry.connect_timeout)
        .read_timeout(config.retry.attempt_timeout)
        .operation_attempt_timeout(config.retry.attempt_timeout)
        .operation_timeout(config.retry.total_timeout)
        .build();
    let shared = config.access.load(retry.clone(), timeouts).await?;
    let mut builder = Builder::from(&shared);
    if shared.region().is_none() {
        // Requests to a bucket in another region are answered with the right one.
        builder = builder.region(Region::from_static(DEFAULT_REGION));
    }
    let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| std::env::var_os(name).is_some());
    builder = builder.force_path_style(config.path_style.unwrap_or(config.access.endpoint.is_some() || named));
    if let Some(endpoint) = &config.access.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if config.access.anonymous {
        builder = builder.allow_no_auth();
    }
    // The SDK stops retrying when many requests of a process fail at the same time; here only the policy decides.
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
