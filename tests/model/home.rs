//! Where a history's exports and its table lie: in files with an SQLite catalog, as a user's would, or in memory, where nothing
//! waits for a disk. The program's own storage and catalog have tests of their own; the histories are about windows and rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ddb_iceberg::catalog::Catalog;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::pointer::{Pointer, PointerCatalog, Pointers, Swap};
use ddb_iceberg::error::Result;
use ddb_iceberg::storage::ObjectStore;
use ddb_iceberg::storage::Store;
use ddb_iceberg::storage::{AllowedLocations, Location};
use ddb_iceberg::storage::{FileEntry, Listing};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::exports::ExportWriter;

#[derive(Clone)]
pub enum Home {
    Disk(Arc<TempDir>),
    Memory(MemoryStore, MemoryPointers),
}

impl Home {
    pub fn disk() -> Self {
        Self::Disk(Arc::new(tempfile::tempdir().unwrap()))
    }

    pub fn memory() -> Self {
        Self::Memory(MemoryStore::default(), MemoryPointers::default())
    }

    pub async fn catalog(&self) -> Arc<dyn Catalog> {
        match self {
            Self::Disk(folder) => {
                let properties = BTreeMap::from([("warehouse".to_owned(), folder.path().display().to_string())]);
                connect("default", &properties, Store::local()).await.unwrap()
            }
            Self::Memory(store, pointers) => {
                let allowed =
                    AllowedLocations::below(Some(Location::parse("file:///memory").unwrap())).of_own_catalog();
                Arc::new(PointerCatalog::new(pointers.clone(), Store::new(Arc::new(store.clone())), allowed))
            }
        }
    }

    /// Every file below a location.
    pub fn files(&self, location: &str) -> BTreeSet<String> {
        match self {
            Self::Memory(store, _) => {
                let top = format!("{}/", key_of(location));
                let files = store.files.lock().unwrap();
                files.keys().filter(|path| path.starts_with(&top)).map(|path| format!("file://{path}")).collect()
            }
            Self::Disk(_) => {
                let (mut found, mut folders) = (BTreeSet::new(), vec![location.to_owned()]);
                while let Some(folder) = folders.pop() {
                    for entry in std::fs::read_dir(folder.strip_prefix("file://").unwrap()).unwrap() {
                        let entry = entry.unwrap();
                        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
                        if entry.file_type().unwrap().is_dir() {
                            folders.push(path);
                        } else {
                            found.insert(path);
                        }
                    }
                }
                found
            }
        }
    }
}

/// A folder that stands for a bucket with exports.
#[derive(Clone)]
pub struct Bucket {
    home: Home,
    root: PathBuf,
    _folder: Option<Arc<TempDir>>,
}

impl Bucket {
    /// A new one, where the home is.
    pub fn new(home: &Home) -> Self {
        match home {
            Home::Disk(_) => {
                let folder = tempfile::tempdir().unwrap();
                Self { home: home.clone(), root: folder.path().to_owned(), _folder: Some(Arc::new(folder)) }
            }
            Home::Memory(..) => {
                let root = PathBuf::from(format!("/buckets/{}", uuid::Uuid::new_v4().simple()));
                Self { home: home.clone(), root, _folder: None }
            }
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn store(&self) -> Store {
        match &self.home {
            Home::Disk(_) => Store::local(),
            Home::Memory(store, _) => Store::new(Arc::new(store.clone())),
        }
    }

    /// Writes an export; gives the folder of its manifests.
    pub fn write(&self, export: &ExportWriter) -> PathBuf {
        let Home::Memory(store, _) = &self.home else { return export.write(&self.root) };
        let (folder, made) = export.made_below(&self.root);
        let mut files = store.files.lock().unwrap();
        files.extend(made.into_iter().map(|(path, bytes)| (path.to_str().unwrap().to_owned(), bytes.into())));
        folder
    }

    pub fn put(&self, path: &Path, bytes: String) {
        match &self.home {
            Home::Disk(_) => std::fs::write(path, bytes).unwrap(),
            Home::Memory(store, _) => store.put(path.to_str().unwrap(), bytes.into()).unwrap(),
        }
    }

    /// Another name for a folder.
    pub fn rename(&self, from: &Path, to: &Path) {
        let Home::Memory(store, _) = &self.home else { return std::fs::rename(from, to).unwrap() };
        let mut files = store.files.lock().unwrap();
        let old: Vec<String> = files.keys().filter(|path| Path::new(path).starts_with(from)).cloned().collect();
        for path in old {
            let bytes = files.remove(&path).unwrap();
            let path = to.join(Path::new(&path).strip_prefix(from).unwrap());
            files.insert(path.to_str().unwrap().to_owned(), bytes);
        }
    }
}

/// Files in memory, by absolute path.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MemoryStore {
    #[serde(skip)]
    files: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl MemoryStore {
    fn get(&self, path: &str) -> iceberg::Result<Bytes> {
        let found = self.files.lock().unwrap().get(key_of(path)).cloned();
        found.ok_or_else(|| iceberg::Error::new(iceberg::ErrorKind::Unexpected, format!("there is no file {path}")))
    }

    fn put(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        let old = self.files.lock().unwrap().insert(key_of(path).to_owned(), bytes);
        assert!(old.is_none(), "{path} is written over");
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn list(&self, folder: &Location, start_after: Option<&str>) -> Result<Option<Listing>> {
        let top = format!("{}/", key_of(folder.as_str()));
        let (mut listing, mut any) = (Listing::default(), false);
        for (path, bytes) in self.files.lock().unwrap().range(top.clone()..) {
            let Some(rest) = path.strip_prefix(&top) else { break };
            any = true;
            let (name, folder) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            if start_after.is_some_and(|after| name <= after) {
                continue;
            }
            if !folder {
                listing.files.push(FileEntry { name: name.to_owned(), size: bytes.len() as u64, modified: None });
            } else if listing.folders.last().is_none_or(|last| last != name) {
                listing.folders.push(name.to_owned());
            }
        }
        listing.folders.sort_unstable();
        listing.folders.dedup();
        Ok(any.then_some(listing))
    }

    async fn resolve(&self, location: &Location) -> Result<Option<Location>> {
        let path = key_of(location.as_str());
        let files = self.files.lock().unwrap();
        let below = format!("{path}/");
        let folder = files.range(below.clone()..).next().is_some_and(|(first, _)| first.starts_with(&below));
        Ok((folder || files.contains_key(path)).then(|| location.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "ModelMemoryStore")]
impl Storage for MemoryStore {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        Ok(self.files.lock().unwrap().contains_key(key_of(path)))
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        Ok(FileMetadata { size: self.get(path)?.len() as u64 })
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.get(path)
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        Ok(Box::new(MemoryRead(self.get(path)?)))
    }

    async fn write(&self, path: &str, bs: Bytes) -> iceberg::Result<()> {
        self.put(path, bs)
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        Ok(Box::new(MemoryWrite { store: self.clone(), path: path.to_owned(), bytes: Vec::new() }))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.files.lock().unwrap().remove(key_of(path));
        Ok(())
    }

    async fn delete_prefix(&self, _: &str) -> iceberg::Result<()> {
        panic!("no folder is deleted")
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
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

fn key_of(location: &str) -> &str {
    location.strip_prefix("file://").unwrap_or(location)
}

struct MemoryRead(Bytes);

#[async_trait]
impl FileRead for MemoryRead {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
}

struct MemoryWrite {
    store: MemoryStore,
    path: String,
    bytes: Vec<u8>,
}

#[async_trait]
impl FileWrite for MemoryWrite {
    async fn write(&mut self, bs: Bytes) -> iceberg::Result<()> {
        self.bytes.extend_from_slice(&bs);
        Ok(())
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        self.store.put(&self.path, std::mem::take(&mut self.bytes).into())
    }
}

/// The pointers of a catalog in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryPointers(Arc<Mutex<BTreeMap<String, String>>>);

#[async_trait]
impl Pointers for MemoryPointers {
    async fn read_pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        let found = self.0.lock().unwrap().get(&ident.to_string()).cloned();
        Ok(found.map(|location| Pointer { location, version: None }))
    }

    async fn insert_pointer(&self, ident: &TableIdent, location: &str, _: &TableMetadata) -> Result<Swap> {
        let mut all = self.0.lock().unwrap();
        if all.contains_key(&ident.to_string()) {
            return Ok(Swap::Conflict("the table exists".to_owned()));
        }
        all.insert(ident.to_string(), location.to_owned());
        Ok(Swap::Done)
    }

    async fn swap_pointer(&self, ident: &TableIdent, old: &Pointer, new: &str, _: &TableMetadata) -> Result<Swap> {
        let mut all = self.0.lock().unwrap();
        match all.get_mut(&ident.to_string()) {
            Some(location) if *location == old.location => new.clone_into(location),
            _ => return Ok(Swap::Conflict("another writer was first".to_owned())),
        }
        Ok(Swap::Done)
    }

    async fn ensure_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        Ok(())
    }
}
