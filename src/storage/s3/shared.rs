//! What the clones of a store share: client, buffers, open uploads.

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

/// Buffers are counted in such units.
pub(super) const UNIT: usize = 1 << 10;

/// What all clones of a store, and its readers and writers, have in common.
pub(crate) struct Shared {
    pub(crate) config: S3Config,
    pub(crate) client: OnceCell<aws_sdk_s3::Client>,
    /// Bounds the memory of pieces in flight; see [`Transfer::buffers`].
    pub(crate) buffers: Arc<Semaphore>,
    /// The server refused `If-None-Match`; S3 itself never does.
    pub(crate) unconditional: AtomicBool,
    /// Multipart uploads that are neither completed nor aborted, by upload id.
    pub(crate) uploads: Mutex<HashMap<String, Address>>,
    /// Keys of which an upload may have been begun whose id is not known; see `uploads`.
    pub(crate) lost: Mutex<HashSet<Address>>,
    /// No more uploads are begun.
    pub(crate) closed: AtomicBool,
    /// Where keys come from that the configuration does not have.
    pub(crate) loans: Option<Loans>,
    /// Stores made of this one, which end with it.
    pub(crate) siblings: Mutex<Vec<Arc<Shared>>>,
}

impl Shared {
    /// Sends a request; once more with new keys where those that were lent have expired.
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

    /// Room for one more piece in flight; `None` if it has to wait for those that are.
    pub(crate) fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.buffers).try_acquire_many_owned(units).ok()
    }

    /// Room for what is only kept in case that it is needed again: no more than half of all.
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
