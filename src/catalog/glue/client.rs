//! The SDK's clients, built from a [`GlueConfig`].
//!
//! There are two. The reading client retries transient errors. With the writing client, the SDK sends each request
//! once: after a second attempt, a conflict could be due to another writer's success or to that of the first attempt.
//! Only requests that Glue certainly did not process, because it throttled us, are sent again here ([`Clients::once`]).

use std::future::Future;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_glue::Client;
use aws_sdk_glue::config::Builder;
use aws_sdk_glue::config::retry::RetryConfig;
use aws_sdk_glue::config::timeout::TimeoutConfig;
use aws_sdk_glue::error::{ProvideErrorMetadata, SdkError};

use super::config::GlueConfig;
use super::failure;
use crate::error::{Error, Result};
use crate::storage::RetryPolicy;

/// Timeout for connecting, including the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for one read attempt.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for all read attempts together: an unreachable address is reported within half a minute.
const READ_TOTAL: Duration = Duration::from_secs(25);
/// Timeout for the single write attempt; after that its outcome is looked up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) reader: Client,
    pub(super) writer: Client,
    /// The address of requests: endpoint and region.
    pub(super) place: String,
    policy: RetryPolicy,
}

/// Reads variables and profile files; does not call Glue yet.
pub(super) async fn connect(config: &GlueConfig) -> Result<Clients> {
    let policy = RetryPolicy {
        attempts: config.attempts,
        max_backoff: Duration::from_secs(5),
        connect_timeout: CONNECT_TIMEOUT,
        attempt_timeout: READ_TIMEOUT,
        total_timeout: READ_TOTAL,
        ..RetryPolicy::default()
    };
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT);
    let reading = timeouts
        .clone()
        .read_timeout(READ_TIMEOUT)
        .operation_attempt_timeout(READ_TIMEOUT)
        .operation_timeout(READ_TOTAL)
        .build();
    let writing = timeouts.read_timeout(WRITE_TIMEOUT).operation_timeout(WRITE_TIMEOUT).build();
    let retry = RetryConfig::standard()
        .with_max_attempts(policy.attempts)
        .with_initial_backoff(policy.base_backoff)
        .with_max_backoff(policy.max_backoff);

    let shared = config.access.load(retry.clone(), reading.clone()).await?;
    if shared.region().is_none() {
        return Err(Error::usage("it is not known in which region the Glue catalog is")
            .advice("Set the catalog property glue.region (or client.region), or AWS_REGION"));
    }
    let place = config.access.place("glue", shared.region());
    let client = |retry: RetryConfig, timeouts: TimeoutConfig| {
        Client::from_conf(builder(&shared, config).retry_config(retry).timeout_config(timeouts).build())
    };
    Ok(Clients { reader: client(retry, reading), writer: client(RetryConfig::disabled(), writing), place, policy })
}

fn builder(shared: &SdkConfig, config: &GlueConfig) -> Builder {
    let builder = Builder::from(shared);
    match &config.access.endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint),
        None => builder,
    }
}

impl Clients {
    /// Sends a write until Glue has processed it once: "too many requests" means that it was not processed.
    pub(super) async fn once<T, E, F>(&self, send: impl Fn() -> F) -> Result<T, SdkError<E>>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut attempt = 1;
        loop {
            match send().await {
                Err(error) if failure::is_throttled(&error) && attempt < self.policy.attempts => {
                    tracing::info!("Glue asks for fewer requests; trying again");
                    tokio::time::sleep(self.policy.backoff(attempt)).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }
}
