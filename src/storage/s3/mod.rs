//! Amazon S3, and servers that speak its protocol.
//!
//! - Reading is by ranged requests ([`read`](self::read)): pinned to the ETag that was seen first, so that an object which
//!   changes meanwhile is an error and never a mixture; a body that breaks off is taken up where it broke.
//! - Writing never overwrites (`If-None-Match: *`), but for [`ObjectStore::replace`]. Each object carries a random token in
//!   its metadata, so that "it exists" in answer to a retry can be told from somebody else's object.
//! - Multipart uploads that do not complete are aborted: on an error, on drop, and by [`ObjectStore::close`], which also
//!   looks for those whose id never arrived.
//!
//! S3 has no folders: a folder is there if a key begins with its name and a slash. It has no links either.

mod address;
mod client;
mod config;
mod delete;
mod failure;
mod keys;
mod list;
mod lost;
mod multipart;
mod read;
mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use self::address::Address;
pub(crate) use self::address::strip_scheme;
pub use self::config::{Encryption, RetryPolicy, S3Config, Transfer};
use self::keys::Loans;
pub use self::keys::{KeyLender, LentKeys};
use self::multipart::S3Write;
use self::read::S3Read;
use super::failure::into_iceberg;
use super::{Listing, Location, Lookahead, ObjectStore, ReadAhead};
use crate::error::{Error, Result};

/// One way to reach S3.
#[derive(Debug, Clone)]
pub struct S3Access {
    /// How it is reached.
    pub config: S3Config,
    /// Who lends the keys, if not those of the configuration are used.
    pub lender: Option<Arc<dyn KeyLender>>,
}

/// Buffers are counted in such units.
const UNIT: usize = 1 << 10;

/// S3; takes `s3://bucket/key` (and `s3a://`, `s3n://`, which are read as the same).
///
/// The client is made when it is first used.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct S3Store {
    #[serde(skip)]
    shared: Option<Arc<Shared>>,
}

/// What all clones of a store, and its readers and writers, have in common.
struct Shared {
    config: S3Config,
    client: OnceCell<aws_sdk_s3::Client>,
    /// Bounds the memory of pieces in flight; see [`Transfer::buffers`].
    buffers: Arc<Semaphore>,
    /// The server refused `If-None-Match`; S3 itself never does.
    unconditional: AtomicBool,
    /// Multipart uploads that are neither completed nor aborted, by upload id.
    uploads: Mutex<HashMap<String, Address>>,
    /// See [`lost`].
    lost: Mutex<HashSet<Address>>,
    /// No more uploads are begun.
    closed: AtomicBool,
    /// Where keys come from that the configuration does not have.
    loans: Option<Loans>,
    /// Stores made of this one, which end with it.
    siblings: Mutex<Vec<S3Store>>,
}

impl S3Store {
    /// A store that nothing is asked of yet.
    pub fn new(config: S3Config) -> Self {
        let units = (config.transfer.buffers / UNIT).min(Semaphore::MAX_PERMITS);
        Self::with_buffers(config, Arc::new(Semaphore::new(units)), None)
    }

    fn with_buffers(config: S3Config, buffers: Arc<Semaphore>, lender: Option<Arc<dyn KeyLender>>) -> Self {
        Self {
            shared: Some(Arc::new(Shared {
                config,
                client: OnceCell::new(),
                buffers,
                unconditional: AtomicBool::new(false),
                uploads: Mutex::default(),
                lost: Mutex::default(),
                closed: AtomicBool::new(false),
                loans: lender.map(Loans::new),
                siblings: Mutex::default(),
            })),
        }
    }

    /// Another store, within the same memory, that is closed with this one.
    pub(super) fn sibling(&self, access: S3Access) -> Self {
        let S3Access { mut config, lender } = access;
        let Some(shared) = &self.shared else { return Self::with_buffers(config, Arc::new(Semaphore::new(0)), lender) };
        config.transfer = shared.config.transfer;
        let sibling = Self::with_buffers(config, Arc::clone(&shared.buffers), lender);
        shared.siblings.lock().unwrap_or_else(PoisonError::into_inner).push(sibling.clone());
        sibling
    }

    fn shared(&self) -> Result<&Arc<Shared>> {
        self.shared.as_ref().ok_or_else(|| Error::failed("the storage handle was sent to another process"))
    }
}

impl Shared {
    /// Sends a request; once more with new keys where those that were lent have expired.
    async fn send<T, E, F>(&self, request: impl Fn(aws_sdk_s3::Client) -> F) -> Result<Result<T, SdkError<E>>>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata,
    {
        let base = self.client.get_or_try_init(|| Box::pin(client::connect(&self.config))).await?;
        let Some(loans) = &self.loans else { return Ok(request(base.clone()).await) };
        let (client, keys) = loans.client(base).await?;
        let answer = request(client).await;
        if !answer.as_ref().is_err_and(failure::is_expired) {
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
    fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.buffers).try_acquire_many_owned(units).ok()
    }

    /// Room for what is only kept in case that it is needed again: no more than half of all.
    fn spare_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let half = self.config.transfer.buffers / UNIT / 2;
        let rest = self.buffers.available_permits().checked_sub(bytes.div_ceil(UNIT))?;
        if rest >= half { self.room(bytes) } else { None }
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Address>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lookahead(&self) -> Lookahead {
        let Transfer { read_size, reads, .. } = self.config.transfer;
        Lookahead { chunk: read_size, in_flight: reads, buffers: Some(Arc::clone(&self.buffers)) }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    /// With `start_after`, a folder in which nothing follows it counts as one that is there.
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        list::level(self.shared()?, &Address::parse(folder.as_str())?, start_after, None).await
    }

    async fn list_until(&self, folder: &Location, until: &str) -> Result<Option<Listing>> {
        list::level(self.shared()?, &Address::parse(folder.as_str())?, None, Some(until)).await
    }

    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        let address = Address::object(location.as_str())?;
        write::put(self.shared()?, &address, bytes, write::Existing::Replace).await
    }

    /// The location itself, unasked: S3 has no links.
    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        Ok(Some(location.clone()))
    }

    async fn open(&self, location: &Location) -> Result<Option<ReadAhead>> {
        let shared = self.shared()?;
        let address = Address::object(location.as_str())?;
        let Some(first) = read::first(shared, &address, shared.config.transfer.first_read).await? else {
            return Ok(None);
        };
        let reader = Arc::new(S3Read::new(Arc::clone(shared), address, first.etag));
        ReadAhead::begun(reader, first.total, first.bytes, shared.lookahead()).map(Some)
    }

    async fn read_at_most(&self, location: &Location, limit: u64) -> Result<Bytes> {
        let address = Address::object(location.as_str())?;
        let Some(found) = read::first(self.shared()?, &address, limit.max(1)).await? else {
            return Err(Error::failed("there is no such object")
                .in_file(location.to_string())
                .advice("Check the path"));
        };
        if found.total > limit {
            return Err(super::larger_than(location, found.total, limit));
        }
        Ok(found.bytes)
    }

    fn open_ahead(&self, _location: &Location) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.config.transfer.open_ahead)
    }

    async fn close(&self) {
        if let Some(shared) = &self.shared {
            shared.closed.store(true, Ordering::SeqCst);
            multipart::abort_all(shared).await;
            let siblings = std::mem::take(&mut *shared.siblings.lock().unwrap_or_else(PoisonError::into_inner));
            for sibling in siblings {
                sibling.close().await;
            }
        }
    }
}

#[async_trait]
#[typetag::serde(name = "DdbIcebergS3Store")]
impl Storage for S3Store {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        let found = async { read::look(self.shared()?, &Address::object(path)?).await };
        found.await.map(|found| found.is_some()).map_err(into_iceberg)
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let found = async { read::look(self.shared()?, &Address::object(path)?).await };
        match found.await.map_err(into_iceberg)? {
            Some(found) => Ok(FileMetadata { size: found.size }),
            None => Err(into_iceberg(Error::failed("there is no such object").in_file(path))),
        }
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        let read = async { read::whole(self.shared()?, &Address::object(path)?).await };
        read.await.map_err(into_iceberg)
    }

    /// Asks nothing of S3: whether the object is there turns out at the first read.
    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let shared = self.shared().map_err(into_iceberg)?;
        let address = Address::object(path).map_err(into_iceberg)?;
        Ok(Box::new(S3Read::new(Arc::clone(shared), address, None)))
    }

    /// Fails if the object exists; use [`ObjectStore::replace`] to take its place.
    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        let write = async {
            let address = Address::object(path)?;
            let mut writer = S3Write::new(Arc::clone(self.shared()?), address)?;
            writer.put(bs).await?;
            writer.finish().await
        };
        write.await.map_err(into_iceberg)
    }

    /// Its `close` fails if the object exists. Nothing is there before `close`, and nothing is left if it is dropped.
    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let writer = Address::object(path).and_then(|address| S3Write::new(Arc::clone(self.shared()?), address));
        Ok(Box::new(writer.map_err(into_iceberg)?))
    }

    /// An object that is not there is fine.
    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        let delete = async { delete::one(self.shared()?, &Address::object(path)?).await };
        delete.await.map_err(into_iceberg)
    }

    /// Deletes what lies below a folder; nothing happens for an object or what is not there.
    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        let delete = async {
            let folder = Address::parse(path)?;
            if folder.folder().is_empty() {
                return Err(Error::failed("a whole bucket is not deleted").in_file(folder.to_string()));
            }
            delete::below(self.shared()?, &folder).await
        };
        delete.await.map_err(into_iceberg)
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        let shared = self.shared().map_err(into_iceberg)?;
        let mut batches = paths.chunks(delete::BATCH);
        while let Some(batch) = batches.next().await {
            delete::many(shared, &batch).await.map_err(into_iceberg)?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("config", &self.shared.as_ref().map(|shared| &shared.config)).finish()
    }
}
