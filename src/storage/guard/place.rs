//! The place of a table: the folders in which its files may be read, written and deleted.
//!
//! A table's metadata says where its files are, and anyone who can write to the catalog or the store can make it say
//! anything. So a folder is used only if the user's configuration vouches for it ([`AllowedLocations`]), or if it is
//! reached with keys that the catalog vended. Deleting many files requires a [`Place`]; all other access goes through
//! [`Place::file_io`], which refuses files outside. Local folders are compared after resolving symbolic links.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use iceberg::io::FileIO;

use super::allowed::{AllowedLocations, Lent, absolute, really_within};
use super::bounds::{Bounds, Refusal};
use super::guarded::GuardedFiles;
use crate::error::{Error, Result};
use crate::storage::location::Location;
use crate::storage::store::{Store, file_io_over};

/// Number of files deleted by one request, if the storage supports that.
const BATCH: usize = 1000;
/// Depths at which tables are found in a folder of tables: in a namespace's folder, and directly.
const TABLE_LEVELS: usize = 2;
/// Number of folders inspected in parallel.
const LOOKS: usize = 16;

/// The result of deleting files.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Number of files deleted.
    pub deleted: u64,
    /// Files that storage failed to delete.
    pub failed: u64,
    /// Files that were kept, since they are outside of the table's place or in another table's folder.
    pub outside: u64,
}

/// The folders of one table; cheap to clone.
#[derive(Debug, Clone)]
pub struct Place {
    store: Store,
    bounds: Arc<Bounds>,
}

impl Place {
    /// The place of a table whose metadata names these folders; the first one is its location.
    pub fn new(table: &str, folders: &[String], allowed: &AllowedLocations, lent: &Lent, store: &Store) -> Self {
        let mut refusal = None;
        let mut known = Vec::new();
        for folder in folders {
            let judged = match absolute(folder) {
                Some(location) => {
                    let judged = allowed.judge(&location, known.first().unwrap_or(&location), lent);
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
        let bounds = Bounds { table, allowed: allowed.clone(), lent: lent.clone(), folders: known, refusal };
        Self { store: store.clone(), bounds: Arc::new(bounds) }
    }

    /// The same, if it contains the current metadata file: otherwise the folders in it may belong to another table.
    #[must_use]
    pub fn with_metadata_at(self, path: &str) -> Self {
        let named = |at: &Location| self.bounds.allowed.named.iter().any(|named| really_within(at, named));
        let is_own = absolute(path).is_some_and(|at| {
            named(&at) || self.bounds.lent.serves(&at) || self.bounds.folders.iter().any(|own| really_within(&at, own))
        });
        if is_own || self.bounds.refusal.is_some() {
            return self;
        }
        let folder = self.bounds.folders.first().map(ToString::to_string).unwrap_or_default();
        let refusal = Some(Refusal { folder, why: "its newest metadata file lies elsewhere" });
        let Bounds { table, allowed, lent, folders, .. } = &*self.bounds;
        let bounds = Bounds {
            table: table.clone(),
            allowed: allowed.clone(),
            lent: lent.clone(),
            folders: folders.clone(),
            refusal,
        };
        Self { bounds: Arc::new(bounds), ..self }
    }

    /// The place of the same table after its metadata named these folders.
    #[must_use]
    pub fn now_at(&self, folders: &[String]) -> Self {
        Self::new(&self.bounds.table, folders, &self.bounds.allowed, &self.bounds.lent, &self.store)
    }

    /// Checks that the table may be written to and deleted from.
    ///
    /// Errors: [`Kind::Failed`](crate::error::Kind::Failed) if nothing vouches for one of its folders.
    pub fn check(&self) -> Result<()> {
        self.bounds.check()
    }

    /// The table's own folder.
    pub fn root(&self) -> Result<&Location> {
        self.check()?;
        self.bounds.folders.first().ok_or_else(|| Error::failed("the table has no location"))
    }

    /// Storage for the table's files only.
    pub fn file_io(&self) -> FileIO {
        file_io_over(Arc::new(GuardedFiles::new(Arc::clone(&self.store.backend), Arc::clone(&self.bounds))))
    }

    /// The unguarded storage, to list the files in the place.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Deletes the files that are in the place, except those in the folder of another table within it.
    pub async fn delete(&self, paths: Vec<String>) -> Deleted {
        let mut done = Deleted::default();
        let (inside, outside): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| self.bounds.check_own(path).is_ok());
        let tables = self.tables_within(&inside).await;
        let (inside, theirs): (Vec<_>, Vec<_>) =
            inside.into_iter().partition(|path| !self.folders_above(path).iter().any(|folder| tables.contains(folder)));
        done.outside = count(outside.len() + theirs.len());
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

    /// The folders between the place and a file in it that could be tables: those of the first levels, except the
    /// folders that Iceberg's writers create for partitions (`name=value`) and for spreading files (`0110`).
    fn folders_above(&self, path: &str) -> Vec<Location> {
        let Some(location) = absolute(path) else { return Vec::new() };
        let is_between =
            |folder: &Location| self.bounds.folders.iter().any(|own| folder != own && folder.is_within(own));
        let mut above: Vec<Location> =
            std::iter::successors(location.parent(), Location::parent).take_while(is_between).collect();
        above.drain(..above.len().saturating_sub(TABLE_LEVELS));
        above.retain(|folder| folder.file_name().is_some_and(|name| !is_made_by_writers(name)));
        above
    }

    /// Those folders above these files that belong to other tables, or can't be inspected.
    async fn tables_within(&self, paths: &[String]) -> HashSet<Location> {
        let folders: HashSet<Location> = paths.iter().flat_map(|path| self.folders_above(path)).collect();
        let looks = futures::stream::iter(folders).map(|folder| async move {
            match is_table_folder(&self.store, &folder).await {
                Ok(false) => None,
                Ok(true) => Some(folder),
                // Keys vended for a single table may not list other folders.
                Err(_) if self.bounds.lent.serves(&folder) => None,
                Err(error) => {
                    tracing::warn!("files in {folder} are left: whether it is another table's can't be told: {error}");
                    Some(folder)
                }
            }
        });
        looks.buffer_unordered(LOOKS).filter_map(futures::future::ready).collect().await
    }
}

fn is_made_by_writers(name: &str) -> bool {
    name.contains('=') || (name.len() >= 4 && name.bytes().all(|byte| matches!(byte, b'0' | b'1')))
}

/// Whether a folder contains an Iceberg table's metadata files.
pub async fn is_table_folder(store: &Store, folder: &Location) -> Result<bool> {
    let inside = store.list(&folder.join("metadata"), None).await?.unwrap_or_default();
    Ok(inside.files.iter().any(|file| {
        file.name == "version-hint.text"
            || file.name.ends_with(".metadata.json")
            || file.name.ends_with(".metadata.json.gz")
    }))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
