//! Uploads that S3 may have started without our receiving their ids: the response was lost, and the request sent again.
//!
//! Nobody could abort such an upload, and its parts cost money. Before the program ends, they are searched for by their
//! keys, which no one else writes to.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;

use crate::error::Result;
use crate::storage::s3::address::Address;
use crate::storage::s3::codes::is_code;
use crate::storage::s3::failure::Act;
use crate::storage::s3::shared::Shared;

impl Shared {
    /// Keys for which an upload with an unknown id may have been started.
    pub(crate) fn lost(&self) -> MutexGuard<'_, HashSet<Address>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Aborts every upload of this key.
pub(crate) async fn abort_lost(shared: &Shared, address: &Address) {
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
    // Ours come first: a key sorts before longer ones with the same prefix.
    let asked = shared
        .send(|client| client.list_multipart_uploads().bucket(&address.bucket).prefix(&address.key).send())
        .await?;
    let listed = asked.map_err(|error| shared.failed(Act::ListUploads, address, error))?;
    let ours = listed.uploads().iter().filter(|upload| upload.key() == Some(address.key.as_str()));
    Ok(ours.filter_map(|upload| upload.upload_id()).map(str::to_owned).collect())
}

/// Aborts an upload; a missing one is not an error.
pub(crate) async fn abort(shared: &Shared, address: &Address, id: &str) {
    let ask = |client: aws_sdk_s3::Client| {
        client.abort_multipart_upload().bucket(&address.bucket).key(&address.key).upload_id(id).send()
    };
    let aborted = match shared.send(ask).await {
        Ok(Err(error)) if !is_code(&error, &["NoSuchUpload"]) => Err(shared.failed(Act::Write, address, error)),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match aborted {
        Ok(()) => {
            shared.uploads().remove(id);
        }
        Err(error) => tracing::warn!("the multipart upload {id} of {address} could not be aborted: {error}"),
    }
}

/// Aborts all uploads that are or may be open, within a time limit.
pub(crate) async fn abort_all(shared: &Shared) {
    let open: Vec<(String, Address)> = shared.uploads().iter().map(|(id, a)| (id.clone(), a.clone())).collect();
    let lost: Vec<Address> = shared.lost().iter().cloned().collect();
    let all = async {
        let open = futures::stream::iter(open);
        open.for_each_concurrent(ABORTS, |(id, address)| async move { abort(shared, &address, &id).await }).await;
        let lost = futures::stream::iter(lost);
        lost.for_each_concurrent(ABORTS, |address| async move { abort_lost(shared, &address).await }).await;
    };
    if timeout(ABORT_WAIT, all).await.is_err() {
        let left = shared.uploads().len() + shared.lost().len();
        tracing::warn!("{left} multipart uploads could not be aborted in time: a lifecycle rule can clear them away");
    }
}

/// How long the program waits at its end for uploads to be aborted.
const ABORT_WAIT: Duration = Duration::from_secs(10);

/// Number of uploads aborted in parallel.
const ABORTS: usize = 16;
