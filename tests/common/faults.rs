//! Storage, pointers and a catalog that count their calls and fail, die, stall or answer wrongly at call N.
//!
//! All three of one test share one [`Faults`]: what they are asked for is one row of calls, and one of them is hit. The work
//! behind them is real: local files and an SQLite file.
#![allow(dead_code, missing_docs, reason = "each test binary uses a part of it")]

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ddb_iceberg::catalog::patience::Patience;
use ddb_iceberg::catalog::pointer::{Pointer, PointerCatalog, Pointers, Swap};
use ddb_iceberg::catalog::sql::sqlite::SqlitePointers;
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable, NewTable, TableHome};
use ddb_iceberg::error::{Error, Result};
use ddb_iceberg::storage::Listing;
use ddb_iceberg::storage::ObjectStore;
use ddb_iceberg::storage::Store;
use ddb_iceberg::storage::{AllowedLocations, LocalStore, Location};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use tokio::sync::{Barrier, Notify};

/// The text in every error made here.
pub const INJECTED: &str = "injected fault";

/// What happens to the call that is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails before it did anything.
    Before,
    /// It does its work and its answer is lost.
    After,
    /// It fails, and so does every later call: the process died.
    Death,
    /// A commit does its work, then the process dies. After any other call that is the same as [`Self::Death`] at the next.
    DeathAfter,
    /// It writes half of its bytes, then the process dies.
    DeathTorn,
    /// A commit that is never applied, and nobody says so.
    UnknownBefore,
    /// A commit that is applied and answered as a conflict: something in between sent it twice.
    ConflictAfter,
    /// It writes half of its bytes, and from now on nothing can be written: the disk is full.
    Full,
    /// It panics.
    Panic,
    /// A commit without an answer that is applied when the test says [`Faults::release`].
    Held,
    /// It does its work only when the test says [`Faults::go_on`].
    StallBefore,
    /// It does its work, and answers only when the test says [`Faults::go_on`].
    StallAfter,
    /// It gives other bytes than the file's.
    Wrong(Damage),
}

/// What is wrong with bytes that were read. Their number is right but for the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// There are none.
    Empty,
    /// The second half is missing.
    Half,
    /// The last byte is missing.
    Last,
    /// The blocks of the second half are zeros, as after a power cut; a short file is one block. Zeros in the middle of a
    /// Parquet page can look like other values, and Iceberg's files have no checksum that would tell.
    Zeros,
    /// They are others altogether.
    Noise,
    /// Of an Avro file, all behind its header is missing: it looks whole. Of others it is as [`Self::Half`].
    Header,
    /// One bit is another, so many 256ths into them.
    Flip(u8),
}

/// Bytes that a disk keeps or loses together.
const BLOCK: usize = 4096;

impl Damage {
    pub fn done_to(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let half = bytes.len() / 2;
        match self {
            Self::Empty => bytes.clear(),
            Self::Last => drop(bytes.pop()),
            Self::Zeros => bytes[half / BLOCK * BLOCK..].fill(0),
            Self::Noise => bytes.iter_mut().zip((1..=255_u8).cycle()).for_each(|(byte, noise)| *byte ^= noise),
            Self::Header if bytes.starts_with(b"Obj\x01") => {
                // The header ends with the mark that ends every block, so that of the file's end too.
                let mark = bytes[bytes.len() - 16..].to_vec();
                let end = bytes.windows(16).position(|window| window == mark).expect("the mark") + 16;
                bytes.truncate(end);
            }
            Self::Half | Self::Header => bytes.truncate(half),
            Self::Flip(part) if !bytes.is_empty() => {
                let at = bytes.len() * usize::from(part) / 256;
                bytes[at] ^= 1 << (part % 8);
            }
            Self::Flip(_) => {}
        }
        bytes
    }
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Changes nothing.
    Look,
    /// Gives a file's bytes, and changes nothing.
    Read,
    /// Changes something.
    Change,
    /// Writes bytes, all or some of them.
    Write,
    /// A catalog's create or commit.
    Commit,
    /// The swap of a pointer inside a commit.
    Swap,
}

impl Fault {
    /// Whether it makes a difference to such a call. Only these are counted for it.
    pub fn fits(self, call: Call) -> bool {
        match self {
            Self::Before | Self::Death | Self::StallBefore => true,
            Self::After | Self::StallAfter => !matches!(call, Call::Look | Call::Read),
            Self::Wrong(_) => call == Call::Read,
            Self::DeathTorn | Self::Full | Self::Panic => call == Call::Write,
            Self::DeathAfter | Self::UnknownBefore => matches!(call, Call::Commit | Call::Swap),
            Self::ConflictAfter | Self::Held => call == Call::Commit,
        }
    }

    pub fn is_death(self) -> bool {
        matches!(self, Self::Death | Self::DeathAfter | Self::DeathTorn)
    }
}

/// Counts the calls and knows which one is hit.
#[derive(Default)]
pub struct Faults {
    plan: Option<(Fault, usize)>,
    fitting: AtomicUsize,
    dead: AtomicBool,
    full: AtomicBool,
    calls: Mutex<Vec<(Call, String)>>,
    hit: Mutex<Option<(Call, String)>>,
    held: Mutex<Option<BoxFuture<'static, Result<Commit>>>>,
    stalled: Notify,
    going: Notify,
    swap: Mutex<Option<(PathBuf, usize, Vec<u8>)>>,
}

impl Faults {
    /// Only counts.
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Hits the `n`-th call that the fault fits, counted from 1.
    pub fn at(fault: Fault, n: usize) -> Arc<Self> {
        Arc::new(Self { plan: Some((fault, n)), ..Self::default() })
    }

    /// Puts other bytes into a file right before it is looked for the `n`-th time.
    pub fn swapping(path: &Path, n: usize, bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { swap: Mutex::new(Some((path.to_owned(), n, bytes))), ..Self::default() })
    }

    /// How many calls so far the fault would fit.
    pub fn count(&self, fault: Fault) -> usize {
        self.calls.lock().unwrap().iter().filter(|(call, _)| fault.fits(*call)).count()
    }

    /// The call that was hit.
    pub fn hit(&self) -> Option<(Call, String)> {
        self.hit.lock().unwrap().clone()
    }

    /// Applies the commit that was held back.
    pub async fn release(&self) -> Result<Commit> {
        let held = self.held.lock().unwrap().take();
        held.expect("a commit is held back").await
    }

    /// Waits until a call stalls.
    pub async fn stalled(&self) {
        self.stalled.notified().await;
    }

    /// Lets the call that stalls go on.
    pub fn go_on(&self) {
        self.going.notify_one();
    }

    async fn stall(&self) {
        self.stalled.notify_one();
        self.going.notified().await;
    }

    /// A piece of work that stalls before or behind it.
    async fn stalling<T>(&self, fault: Fault, work: impl Future<Output = T> + Send) -> T {
        if fault == Fault::StallBefore {
            self.stall().await;
        }
        let done = work.await;
        if fault == Fault::StallAfter {
            self.stall().await;
        }
        done
    }

    /// Reads bytes, which may come out as others.
    async fn bytes<E: Injected>(
        &self,
        what: String,
        work: impl Future<Output = Result<Bytes, E>> + Send,
    ) -> Result<Bytes, E> {
        match self.meet(Call::Read, &what) {
            None => work.await,
            Some(fault @ Fault::StallBefore) => self.stalling(fault, work).await,
            Some(Fault::Wrong(damage)) => Ok(damage.done_to(&work.await?).into()),
            Some(_) => Err(E::injected(&what)),
        }
    }

    fn meet(&self, call: Call, what: &str) -> Option<Fault> {
        if self.dead.load(SeqCst) {
            return Some(Fault::Death);
        }
        self.calls.lock().unwrap().push((call, what.to_owned()));
        if call == Call::Write && self.full.load(SeqCst) {
            return Some(Fault::Full);
        }
        if let Some((path, n, bytes)) = &mut *self.swap.lock().unwrap()
            && what == format!("exists file://{}", path.display())
        {
            *n -= 1;
            if *n == 0 {
                std::fs::write(path, bytes).unwrap();
                *n = usize::MAX;
            }
        }
        let (fault, n) = self.plan?;
        if !fault.fits(call) || self.fitting.fetch_add(1, SeqCst) + 1 != n {
            return None;
        }
        *self.hit.lock().unwrap() = Some((call, what.to_owned()));
        match fault {
            Fault::Death => self.die(),
            Fault::Full => self.full.store(true, SeqCst),
            Fault::Panic => panic!("{INJECTED} in {what}"),
            _ => {}
        }
        Some(fault)
    }

    fn die(&self) {
        self.dead.store(true, SeqCst);
    }

    async fn call<T, E: Injected>(
        &self,
        call: Call,
        what: String,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let fault = self.meet(call, &what);
        match fault {
            None => return work.await,
            Some(fault @ (Fault::StallBefore | Fault::StallAfter)) => return self.stalling(fault, work).await,
            Some(Fault::After | Fault::DeathAfter) => drop(work.await),
            Some(_) => {}
        }
        if fault.is_some_and(Fault::is_death) {
            self.die();
        }
        Err(E::injected(&what))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("plan", &self.plan).finish_non_exhaustive()
    }
}

trait Injected {
    fn injected(what: &str) -> Self;
}

impl Injected for Error {
    fn injected(what: &str) -> Self {
        Self::failed(format!("{INJECTED} in {what}"))
    }
}

impl Injected for iceberg::Error {
    fn injected(what: &str) -> Self {
        Self::new(iceberg::ErrorKind::Unexpected, format!("{INJECTED} in {what}"))
    }
}

/// Local files that fail.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FaultStore {
    inner: LocalStore,
    #[serde(skip)]
    faults: Arc<Faults>,
}

/// Local files behind the faults.
pub fn store(faults: &Arc<Faults>) -> Store {
    Store::new(Arc::new(FaultStore { inner: LocalStore, faults: Arc::clone(faults) }))
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        self.faults.call(Call::Look, format!("list {folder}"), self.inner.list(folder, start_after)).await
    }

    async fn replace(&self, location: &Location, bytes: Bytes) -> Result<()> {
        self.faults.call(Call::Change, format!("replace {location}"), self.inner.replace(location, bytes)).await
    }

    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        self.faults.call(Call::Look, format!("resolve {location}"), self.inner.resolve(location)).await
    }
}

#[async_trait]
#[typetag::serde(name = "FaultStore")]
impl Storage for FaultStore {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.faults.call(Call::Look, format!("exists {path}"), self.inner.exists(path)).await
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        self.faults.call(Call::Look, format!("metadata {path}"), self.inner.metadata(path)).await
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.faults.bytes(format!("read {path}"), self.inner.read(path)).await
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let inner = self.faults.call(Call::Look, format!("reader {path}"), self.inner.reader(path)).await?;
        Ok(Box::new(FaultRead { inner, path: path.to_owned(), faults: Arc::clone(&self.faults) }))
    }

    /// Two calls: the file is made, then filled.
    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        let mut writer = self.writer(path).await?;
        writer.write(bs).await?;
        writer.close().await
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let inner = self.faults.call(Call::Change, format!("writer {path}"), self.inner.writer(path)).await?;
        Ok(Box::new(FaultWrite { inner, path: path.to_owned(), faults: Arc::clone(&self.faults) }))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.faults.call(Call::Change, format!("delete {path}"), self.inner.delete(path)).await
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.faults.call(Call::Change, format!("delete_prefix {path}"), self.inner.delete_prefix(path)).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        self.faults.call(Call::Change, "delete_stream".to_owned(), self.inner.delete_stream(paths)).await
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct FaultRead {
    inner: Box<dyn FileRead>,
    path: String,
    faults: Arc<Faults>,
}

#[async_trait]
impl FileRead for FaultRead {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        let what = format!("read of {}, bytes {range:?}", self.path);
        self.faults.bytes(what, self.inner.read(range)).await
    }
}

struct FaultWrite {
    inner: Box<dyn FileWrite>,
    path: String,
    faults: Arc<Faults>,
}

#[async_trait]
impl FileWrite for FaultWrite {
    async fn write(&mut self, bs: Bytes) -> iceberg::Result<()> {
        let what = format!("write of {}", self.path);
        let fault = self.faults.meet(Call::Write, &what);
        match fault {
            None => return self.inner.write(bs).await,
            Some(fault @ (Fault::StallBefore | Fault::StallAfter)) => {
                return self.faults.stalling(fault, self.inner.write(bs)).await;
            }
            Some(Fault::After | Fault::DeathAfter) => drop(self.inner.write(bs).await),
            Some(Fault::DeathTorn | Fault::Full) => drop(self.inner.write(bs.slice(..bs.len() / 2)).await),
            Some(_) => {}
        }
        if fault.is_some_and(Fault::is_death) {
            self.faults.die();
        }
        Err(Injected::injected(&what))
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        self.faults.call(Call::Change, format!("close of {}", self.path), self.inner.close()).await
    }
}

/// Pointers that fail.
#[derive(Debug)]
struct FaultPointers {
    inner: SqlitePointers,
    faults: Arc<Faults>,
}

impl FaultPointers {
    async fn swap(&self, what: String, work: impl Future<Output = Result<Swap>> + Send) -> Result<Swap> {
        let fault = self.faults.meet(Call::Swap, &what);
        match fault {
            None => return work.await,
            Some(fault @ (Fault::StallBefore | Fault::StallAfter)) => return self.faults.stalling(fault, work).await,
            Some(Fault::Before | Fault::Death | Fault::DeathTorn) => return Err(Injected::injected(&what)),
            Some(Fault::After | Fault::DeathAfter) => drop(work.await),
            Some(_) => {}
        }
        if fault.is_some_and(Fault::is_death) {
            self.faults.die();
        }
        Ok(Swap::Unknown(format!("{INJECTED} in {what}")))
    }
}

#[async_trait]
impl Pointers for FaultPointers {
    async fn read_pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        self.faults.call(Call::Look, "read_pointer".to_owned(), self.inner.read_pointer(ident)).await
    }

    async fn insert_pointer(&self, ident: &TableIdent, location: &str, metadata: &TableMetadata) -> Result<Swap> {
        self.swap("insert_pointer".to_owned(), self.inner.insert_pointer(ident, location, metadata)).await
    }

    async fn swap_pointer(
        &self,
        ident: &TableIdent,
        old: &Pointer,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<Swap> {
        self.swap("swap_pointer".to_owned(), self.inner.swap_pointer(ident, old, location, metadata)).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.inner.ensure_namespace(namespace).await
    }
}

/// A catalog that fails.
#[derive(Debug)]
pub struct FaultCatalog {
    inner: Arc<dyn Catalog>,
    faults: Arc<Faults>,
    /// Where the first commit waits for those of other catalogs.
    start: Mutex<Option<Arc<Barrier>>>,
}

/// The catalog of a warehouse: the SQLite file in it, with storage, pointers and catalog behind the faults.
pub fn catalog(faults: &Arc<Faults>, warehouse: &Path, start: Option<Arc<Barrier>>) -> Arc<dyn Catalog> {
    let file = warehouse.join("catalog.db");
    let inner = SqlitePointers::new("default", &file, Duration::from_secs(30));
    let pointers = FaultPointers { inner, faults: Arc::clone(faults) };
    let location = format!("file://{}", warehouse.display());
    let allowed = AllowedLocations::below(Some(Location::parse(&location).unwrap()));
    let inner = Arc::new(PointerCatalog::new(pointers, store(faults), allowed));
    Arc::new(FaultCatalog { inner, faults: Arc::clone(faults), start: Mutex::new(start) })
}

impl FaultCatalog {
    async fn commit_of(&self, what: &str, attempt: BoxFuture<'static, Result<Commit>>) -> Result<Commit> {
        let start = self.start.lock().unwrap().take();
        if let Some(start) = start {
            start.wait().await;
        }
        let fault = self.faults.meet(Call::Commit, what);
        let why = format!("{INJECTED} in {what}");
        match fault {
            None => return attempt.await,
            Some(fault @ (Fault::StallBefore | Fault::StallAfter)) => {
                return self.faults.stalling(fault, attempt).await;
            }
            Some(Fault::Before | Fault::Death | Fault::DeathTorn | Fault::Full | Fault::Panic | Fault::Wrong(_)) => {
                return Err(Injected::injected(what));
            }
            Some(Fault::UnknownBefore) => {}
            Some(Fault::Held) => *self.faults.held.lock().unwrap() = Some(attempt),
            Some(Fault::After | Fault::DeathAfter) => drop(attempt.await),
            Some(Fault::ConflictAfter) => {
                drop(attempt.await);
                return Ok(Commit::Conflict(why));
            }
        }
        if fault.is_some_and(Fault::is_death) {
            self.faults.die();
        }
        Ok(Commit::Unknown(why))
    }
}

#[async_trait]
impl Catalog for FaultCatalog {
    /// Soon out of patience, but not so soon that a slow machine makes a difference.
    fn patience(&self) -> Patience {
        Patience {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(20),
            reload: Duration::from_secs(3),
            in_flight: Duration::from_millis(200),
        }
    }

    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>> {
        self.faults.call(Call::Look, "prepare".to_owned(), self.inner.prepare(ident, planned)).await
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        self.faults.call(Call::Look, "load".to_owned(), self.inner.load(ident)).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.faults.call(Call::Change, "ensure_namespace".to_owned(), self.inner.ensure_namespace(namespace)).await
    }

    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit> {
        let (inner, ident) = (Arc::clone(&self.inner), ident.clone());
        self.commit_of("create", Box::pin(async move { inner.create(&ident, table).await })).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit> {
        let (inner, base) = (Arc::clone(&self.inner), base.clone());
        self.commit_of("commit", Box::pin(async move { inner.commit(&base, requirements, updates).await })).await
    }
}
