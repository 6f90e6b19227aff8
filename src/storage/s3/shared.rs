//! The state that clones of a store share: client, buffers, open uploads.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::address::Address;
use super::config::{S3Config, Transfer};
use super::keys::Loans;
use super::{client, codes};
use crate::error::Result;
use crate::storage::read::chunks::Lookahead;

/// Unit in which buffers are counted.
pub(super) const UNIT: usize = 1 << 10;

/// The state shared by all clones of a store, its readers and its writers.
pub(crate) struct Shared {
    pub(crate) config: S3Config,
    pub(crate) client: OnceCell<aws_sdk_s3::Client>,
    /// Limits the memory of pieces in flight; see [`Transfer::buffers`].
    pub(crate) buffers: Arc<Semaphore>,
    /// Whether the server refused `If-None-Match`; S3 itself never does.
    pub(crate) unconditional: AtomicBool,
    /// Multipart uploads that are neither completed nor aborted, by upload id.
    pub(crate) uploads: Mutex<HashMap<String, Address>>,
    /// Keys for which an upload with an unknown id may have been started; see `uploads`.
    pub(crate) lost: Mutex<HashSet<Address>>,
    /// Whether new uploads are refused.
    pub(crate) closed: AtomicBool,
    /// The source of keys that the configuration does not have.
    pub(crate) loans: Option<Loans>,
    /// Stores created from this one, which are closed with it.
    pub(crate) siblings: Mutex<Vec<Arc<Shared>>>,
}

impl Shared {
    /// Sends a request; sends it again with new keys if vended keys have expired.
    pub(crate) async fn send<T, E, F>(
        &self,
        request: impl Fn(aws_sdk_s3::Client) -> F,
    ) -> Result<Result<T, SdkError<E>>>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata,
    {
        let base = self.client.get_or_try_init(|| Box::pin(client::connect(&self.config))).await?;
        let Some(loans) = &self.loans else { return Ok(request(base.clone()).await) };
        let (client, keys) = loans.client(base).await?;
        let answer = request(client).await;
        if !answer.as_ref().is_err_and(codes::is_expired) {
            return Ok(answer);
        }
        match loans.other_client(base, &keys).await {
            Ok(Some(client)) => Ok(request(client).await),
            Ok(None) => Ok(answer),
            Err(error) => {
                tracing::warn!("the catalog gives no new keys for those that have expired: {error}");
                Ok(answer)
            }
        }
    }

    /// A permit for one more piece in flight; `None` if it must wait for others.
    pub(crate) fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.buffers).try_acquire_many_owned(units).ok()
    }

    /// A permit for data that is only kept in case it is needed again: at most half of the total.
    pub(crate) fn spare_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let half = self.config.transfer.buffers / UNIT / 2;
        let rest = self.buffers.available_permits().checked_sub(bytes.div_ceil(UNIT))?;
        if rest >= half { self.room(bytes) } else { None }
    }

    pub(crate) fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Address>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lookahead(&self) -> Lookahead {
        let Transfer { read_size, reads, .. } = self.config.transfer;
        Lookahead { chunk: read_size, in_flight: reads, buffers: Some(Arc::clone(&self.buffers)) }
    }
}
