//! The place of a table: the folders in which its files may be read, written and deleted.
//!
//! A table's metadata says where its files lie, and whoever can write to the catalog or the store can make it say anything.
//! So a folder counts only if the user's configuration vouches for it ([`AllowedLocations`]), or if it is reached with keys
//! that the catalog lent. Deleting many files takes a [`Place`]; all else goes through [`Place::file_io`], which refuses what
//! lies outside. Local folders are compared as they really are, symbolic links resolved.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use iceberg::io::FileIO;

use super::guarded::GuardedFiles;
use super::s3::strip_scheme;
use super::{Location, Store, file_io_over};
use crate::error::{Error, Result};

/// The catalog property that names places besides the warehouse, separated by commas.
pub const ALLOWED_LOCATIONS: &str = "allowed-locations";
/// Files deleted by one request, where the storage can do that.
const BATCH: usize = 1000;
/// Folders that are looked into at once.
const LOOKS: usize = 16;
/// What the bucket of a table in Amazon S3 Tables ends with; nobody can give a bucket of his own such a name.
const TABLE_BUCKET: &str = "--table-s3";

/// Where tables may lie, as the user's configuration has it.
#[derive(Debug, Clone, Default)]
pub struct AllowedLocations {
    warehouse: Option<Location>,
    named: Vec<Location>,
    table_buckets: bool,
    local_reading: bool,
}

impl AllowedLocations {
    /// Below a warehouse.
    pub fn below(warehouse: Option<Location>) -> Self {
        Self { warehouse, ..Self::default() }
    }

    /// Also at and below the locations that a list names, separated by commas.
    ///
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for what is no location, and for the root of the file system.
    pub fn and_named(mut self, list: &str) -> Result<Self> {
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let location = Location::parse(text)?;
            if !location.is_s3() && location.parent().is_none() {
                return Err(Error::usage(format!("{ALLOWED_LOCATIONS} names the root of the file system"))
                    .advice("Name the folders that hold tables"));
            }
            self.named.push(location);
        }
        Ok(self)
    }

    /// Also at and below one more location.
    #[must_use]
    pub fn and(mut self, location: Location) -> Self {
        self.named.push(location);
        self
    }

    /// Also the buckets that Amazon S3 Tables makes, one a table: for catalogs that are AWS.
    #[must_use]
    pub fn and_table_buckets(mut self, are_allowed: bool) -> Self {
        self.table_buckets = are_allowed;
        self
    }

    /// A table that nothing vouches for may at least be read on the local disk: for a catalog that is a local file itself.
    #[must_use]
    pub fn reading_local(mut self) -> Self {
        self.local_reading = true;
        self
    }

    /// The warehouse.
    pub fn warehouse(&self) -> Option<&Location> {
        self.warehouse.as_ref()
    }

    /// Whether a metadata file may be looked into, wherever a catalog says that it is: local files only where tables may be.
    pub fn may_look_at(&self, path: &str) -> bool {
        absolute(path).is_some_and(|location| {
            let vouched = || self.named.iter().chain(&self.warehouse).any(|folder| really_within(&location, folder));
            location.is_s3() || self.local_reading || vouched()
        })
    }

    /// Why a folder can't be a table's, if it can't.
    fn judge(&self, folder: &Location, lent: &[String]) -> Result<(), &'static str> {
        let is_table_bucket = self.table_buckets && folder.bucket().is_some_and(|name| name.ends_with(TABLE_BUCKET));
        if is_table_bucket {
            return Ok(());
        }
        if folder.parent().is_none() {
            return Err(if folder.is_s3() {
                "a bucket without a prefix is no table's place"
            } else {
                "the root of the file system is no table's place"
            });
        }
        if is_lent(folder, lent) || self.named.iter().any(|named| really_within(folder, named)) {
            return Ok(());
        }
        match &self.warehouse {
            Some(warehouse) if really_within(folder, warehouse) && really_within(warehouse, folder) => {
                Err("that is the warehouse itself, which holds other tables")
            }
            Some(warehouse) if really_within(folder, warehouse) => Ok(()),
            Some(_) => Err("that is outside of the catalog's warehouse"),
            None => Err("no warehouse is configured that it could be in"),
        }
    }
}

/// Whether a location is reached with keys that the catalog lent for one of these prefixes; an empty one is all of S3.
fn is_lent(location: &Location, lent: &[String]) -> bool {
    location.is_s3()
        && lent.iter().any(|prefix| match strip_scheme(prefix) {
            Some(rest) => Location::parse(&format!("s3://{rest}")).is_ok_and(|prefix| location.is_within(&prefix)),
            None => prefix.is_empty() || prefix == "s3",
        })
}

/// As [`Location::is_within`], local links resolved.
fn really_within(location: &Location, folder: &Location) -> bool {
    match (location.local_path(), folder.local_path()) {
        (Some(path), Some(folder)) => match (real(&path), real(&folder)) {
            (Some(path), Some(folder)) => path.starts_with(folder),
            _ => false,
        },
        _ => location.is_within(folder),
    }
}

/// A path without links. What does not exist yet is what would be made.
fn real(path: &Path) -> Option<PathBuf> {
    for there in path.ancestors() {
        match there.canonicalize() {
            Ok(real) => return path.strip_prefix(there).ok().map(|rest| real.join(rest)),
            // A link that leads nowhere would be followed by whoever writes.
            Err(_) if there.is_symlink() => return None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    None
}

/// What became of files that were to be deleted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// They are gone.
    pub deleted: u64,
    /// Storage did not delete them.
    pub failed: u64,
    /// They lie outside of the table's place, or in the folder of another table, and were left alone.
    pub outside: u64,
}

/// The folders of one table; cheap to clone.
#[derive(Debug, Clone)]
pub struct Place {
    store: Store,
    bounds: Arc<Bounds>,
}

#[derive(Debug)]
pub(super) struct Bounds {
    table: String,
    allowed: AllowedLocations,
    lent: Vec<String>,
    /// What the table says: its location, then its other folders.
    folders: Vec<Location>,
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone)]
struct Refusal {
    folder: String,
    why: &'static str,
}

impl Place {
    /// The place of a table whose metadata names these folders, its location first. `lent`: the prefixes below which the
    /// catalog lent keys.
    pub fn new(table: &str, folders: &[String], allowed: &AllowedLocations, lent: &[String], store: &Store) -> Self {
        let mut refusal = None;
        let mut known = Vec::new();
        for folder in folders {
            let judged = match absolute(folder) {
                Some(location) => {
                    let judged = allowed.judge(&location, lent);
                    known.push(location);
                    judged
                }
                None => Err("that is no location"),
            };
            if let (Err(why), None) = (judged, &refusal) {
                refusal = Some(Refusal { folder: folder.clone(), why });
            }
        }
        let table = table.to_owned();
        let bounds = Bounds { table, allowed: allowed.clone(), lent: lent.to_vec(), folders: known, refusal };
        Self { store: store.clone(), bounds: Arc::new(bounds) }
    }

    /// The place of the same table, which now names these folders.
    #[must_use]
    pub fn now_at(&self, folders: &[String]) -> Self {
        Self::new(&self.bounds.table, folders, &self.bounds.allowed, &self.bounds.lent, &self.store)
    }

    /// That the table may be written to and deleted from.
    ///
    /// Errors: [`Kind::Failed`](crate::error::Kind::Failed) if one of its folders is one that nothing vouches for.
    pub fn check(&self) -> Result<()> {
        self.bounds.check()
    }

    /// The table's own folder.
    pub fn root(&self) -> Result<&Location> {
        self.check()?;
        self.bounds.folders.first().ok_or_else(|| Error::failed("the table has no location"))
    }

    /// Storage for the table's files, and for no others.
    pub fn file_io(&self) -> FileIO {
        file_io_over(Arc::new(GuardedFiles::new(Arc::clone(&self.store.backend), Arc::clone(&self.bounds))))
    }

    /// The storage, unguarded: to list what is in the place.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Deletes those of the files that lie in the place, and not in the folder of another table within it.
    pub async fn delete(&self, paths: Vec<String>) -> Deleted {
        let mut done = Deleted::default();
        let (inside, outside): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| self.bounds.check_write(path).is_ok());
        done.outside = count(outside.len());
        let others = self.tables_within(&inside).await;
        let (inside, outside): (Vec<_>, Vec<_>) =
            inside.into_iter().partition(|path| !self.folders_above(path).iter().any(|folder| others.contains(folder)));
        done.outside += count(outside.len());
        for batch in inside.chunks(BATCH) {
            match self.store.backend.delete_stream(futures::stream::iter(batch.to_vec()).boxed()).await {
                Ok(()) => done.deleted += count(batch.len()),
                Err(error) => {
                    tracing::warn!("up to {} files were left behind: {error}", batch.len());
                    done.failed += count(batch.len());
                }
            }
        }
        done
    }

    /// The folders between the place and a file in it.
    fn folders_above(&self, path: &str) -> Vec<Location> {
        let Some(location) = absolute(path) else { return Vec::new() };
        let is_between =
            |folder: &Location| self.bounds.folders.iter().any(|own| folder != own && folder.is_within(own));
        std::iter::successors(location.parent(), Location::parent).take_while(is_between).collect()
    }

    /// Those of the folders above these files that are of other tables, or can't be looked into.
    async fn tables_within(&self, paths: &[String]) -> HashSet<Location> {
        // Keys that are lent are for one table.
        let own = |folder: &Location| !is_lent(folder, &self.bounds.lent);
        let folders: HashSet<Location> = paths.iter().flat_map(|path| self.folders_above(path)).filter(own).collect();
        let looks = futures::stream::iter(folders).map(|folder| async move {
            match is_table_folder(&self.store, &folder).await {
                Ok(false) => None,
                Ok(true) => Some(folder),
                Err(error) => {
                    tracing::warn!("whether {folder} is another table's can't be told: {error}");
                    Some(folder)
                }
            }
        });
        looks.buffer_unordered(LOOKS).filter_map(futures::future::ready).collect().await
    }
}

/// Whether a folder has an Iceberg table's metadata files.
pub async fn is_table_folder(store: &Store, folder: &Location) -> Result<bool> {
    let inside = store.list(&folder.join("metadata"), None).await?.unwrap_or_default();
    Ok(inside.files.iter().any(|file| {
        file.name == "version-hint.text"
            || file.name.ends_with(".metadata.json")
            || file.name.ends_with(".metadata.json.gz")
    }))
}

impl Bounds {
    fn check(&self) -> Result<()> {
        let Some(Refusal { folder, why }) = &self.refusal else { return Ok(()) };
        let error = Error::failed(format!("table {} is said to lie at {folder:?}: {why}", self.table));
        Err(error.advice(advice(folder)))
    }

    /// That a file may be written or deleted.
    pub(super) fn check_write(&self, path: &str) -> Result<()> {
        self.check()?;
        let outside = || outside(&self.table, path);
        let location = absolute(path).ok_or_else(outside)?;
        // A link is deleted, and never written through: what counts is the folder.
        let folder = location.parent().ok_or_else(outside)?;
        let is_own = |own: &Location| location != *own && location.is_within(own) && really_within(&folder, own);
        if self.folders.iter().any(is_own) { Ok(()) } else { Err(outside()) }
    }

    /// That a file may be read. A table that may not be written to may still be read: all of it lies on S3, or where it is
    /// vouched for.
    pub(super) fn check_read(&self, path: &str) -> Result<()> {
        let outside = || outside(&self.table, path);
        let location = absolute(path).ok_or_else(outside)?;
        let named = || self.allowed.named.iter().any(|named| really_within(&location, named));
        let own = |own: &Location| {
            let vouched = self.refusal.is_none()
                || own.is_s3()
                || self.allowed.local_reading
                || self.allowed.judge(own, &[]).is_ok();
            vouched && really_within(&location, own)
        };
        if is_lent(&location, &self.lent) || self.folders.iter().any(own) || named() { Ok(()) } else { Err(outside()) }
    }
}

fn outside(table: &str, path: &str) -> Error {
    let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
    Error::failed(format!("table {table} names a file outside of its place")).in_file(path).advice(advice(folder))
}

fn advice(folder: &str) -> String {
    format!(
        "It was left alone. If the table's files do belong there, say so with the catalog's property {ALLOWED_LOCATIONS}={folder}"
    )
}

/// What a catalog or a file says, as a location; relative paths are none, nor keys with `..` in them, which some servers or
/// proxies would follow.
fn absolute(text: &str) -> Option<Location> {
    let is_absolute = strip_scheme(text).is_some() || text.starts_with("file:") || text.starts_with('/');
    let location = is_absolute.then(|| Location::parse(text).ok()).flatten()?;
    let climbs = location.key().is_some_and(|key| key.split('/').any(|name| matches!(name, "." | "..")));
    (!climbs).then_some(location)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
