//! Uploads that S3 may have begun without our learning their ids: the answer was lost, and the request sent again.
//!
//! Nobody could abort such an upload, and what it holds is paid for. Before the program ends they are looked for by their
//! keys, which no one else writes to.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use super::Shared;
use super::address::Address;
use super::failure::Act;
use super::multipart::abort;
use crate::error::Result;

/// Counts how often the SDK sends a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(Arc<AtomicU32>);

impl Attempts {
    /// Whether it was sent more than once: what became of the first is not known.
    pub fn repeated(&self) -> bool {
        self.0.load(Relaxed) > 1
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }
}

impl Shared {
    /// Keys of which an upload may have been begun that we know no id of.
    pub(super) fn lost(&self) -> MutexGuard<'_, HashSet<Address>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Aborts every upload of this key.
pub(super) async fn abort_lost(shared: &Shared, address: &Address) {
    match uploads_of(shared, address).await {
        Ok(ids) => {
            for id in ids {
                abort(shared, address, &id).await;
            }
            shared.lost().remove(address);
        }
        Err(error) => tracing::warn!("an upload that nobody completes may have been left at {address}: {error}"),
    }
}

async fn uploads_of(shared: &Shared, address: &Address) -> Result<Vec<String>> {
    // Ours are the first ones: a key sorts before the longer ones that begin with it.
    let asked = shared
        .send(|client| client.list_multipart_uploads().bucket(&address.bucket).prefix(&address.key).send())
        .await?;
    let listed = asked.map_err(|error| shared.failed(Act::ListUploads, address, error))?;
    let ours = listed.uploads().iter().filter(|upload| upload.key() == Some(address.key.as_str()));
    Ok(ours.filter_map(|upload| upload.upload_id()).map(str::to_owned).collect())
}
