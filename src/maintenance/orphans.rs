//! Finds unreferenced files below the table's location, left behind by a crashed writer.
//!
//! A file is referenced if any snapshot, the metadata log or a statistics entry names it. When in doubt, a file is
//! kept:
//!
//! - files younger than the given age, since their commit may be pending;
//! - files with the same *name* as a referenced file in any folder, since a location can be spelled in several ways;
//! - files without the ending of an Iceberg writer (`.parquet`, `.avro`, `.metadata.json`, …), and hidden files;
//! - everything in the folder of another table, and behind symbolic links that lead elsewhere. If the location contains
//!   another table, orphans are listed but not deleted.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::reachable::for_each_named;
use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::storage::{Location, is_table_folder};
use crate::time::Time;

/// Endings of the names of files that Iceberg's writers create.
const ENDINGS: [&str; 8] =
    [".parquet", ".avro", ".orc", ".puffin", ".stats", ".metadata.json", ".metadata.json.gz", ".gz.metadata.json"];
/// Maximum nesting of folders.
const DEPTH: usize = 64;

/// The orphans found.
#[derive(Debug, Default)]
pub struct Orphans {
    /// Locations, in order.
    pub files: Vec<String>,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Folders of other tables, which were skipped.
    pub tables: Vec<Location>,
    /// What was skipped, and why.
    pub warnings: Vec<String>,
}

impl Orphans {
    /// Checks that they may be deleted.
    ///
    /// Errors: [`Kind::Failed`](crate::error::Kind::Failed) if other tables are below the location: such a folder is no
    /// table's place, and its files may belong to anyone.
    pub fn check(&self) -> Result<()> {
        let Some(table) = self.tables.first() else { return Ok(()) };
        Err(Error::failed(format!("the table's location holds another table: {table}")).advice(
            "Nothing was deleted: which files are whose can't be told there. Move one of the tables, or delete by hand what \
             ddb-iceberg orphans lists",
        ))
    }
}

/// Files that the table names, as hashes: a hash collision only keeps a file.
struct Known {
    hasher: RandomState,
    paths: HashSet<u64>,
    names: HashSet<u64>,
}

impl Known {
    async fn of(table: &LoadedTable) -> Result<Self> {
        let hasher = RandomState::new();
        let (mut paths, mut names) = (HashSet::new(), HashSet::new());
        for_each_named(table, &mut |path| {
            if let Ok(location) = Location::parse(path) {
                paths.insert(hasher.hash_one(location.as_str()));
            }
            names.insert(hasher.hash_one(path.rsplit('/').next().unwrap_or(path)));
        })
        .await?;
        Ok(Self { hasher, paths, names })
    }

    fn has(&self, location: &str) -> bool {
        let name = location.rsplit('/').next().unwrap_or(location);
        self.paths.contains(&self.hasher.hash_one(location)) || self.names.contains(&self.hasher.hash_one(name))
    }
}

/// Finds unreferenced files last written before `older_than`.
///
/// Errors: [`Kind::Failed`](crate::error::Kind::Failed) if nothing vouches for the table's location.
pub async fn find_orphans(table: &LoadedTable, older_than: Time) -> Result<Orphans> {
    let (root, store) = (table.place.root()?.clone(), table.place.store());
    let known = Known::of(table).await?;
    let mut found = Orphans::default();
    let real = if root.is_s3() { None } else { store.resolve(&root).await? };
    let mut undated = 0_u64;
    let mut folders = vec![(root.clone(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        if let Some(real) = &real
            && !store.resolve(&folder).await?.is_some_and(|at| at.is_within(real))
        {
            found.warnings.push(format!("{folder} leads out of the table's location and was left out"));
            continue;
        }
        let Some(listing) = store.list(&folder, None).await? else { continue };
        let has_metadata = || listing.folders.iter().any(|name| name == "metadata");
        if folder != root && has_metadata() && is_table_folder(store, &folder).await? {
            found.warnings.push(format!("{folder} is the folder of another table and was left out"));
            found.tables.push(folder);
            continue;
        }
        for file in listing.files {
            let wanted = !file.name.starts_with(['.', '_']) && ENDINGS.iter().any(|ending| file.name.ends_with(ending));
            let location = folder.join(&file.name);
            if !wanted || known.has(location.as_str()) {
                continue;
            }
            match file.modified {
                Some(modified) if modified < older_than => {
                    found.bytes = found.bytes.saturating_add(file.size);
                    found.files.push(location.as_str().to_owned());
                }
                Some(_) => {}
                None => undated += 1,
            }
        }
        if depth < DEPTH {
            folders.extend(listing.folders.iter().map(|name| (folder.join(name), depth + 1)));
        } else if !listing.folders.is_empty() {
            found.warnings.push(format!("folders below {folder} were left out: too deep"));
        }
    }
    if undated > 0 {
        found.warnings.push(format!("{undated} files of unknown age were left out"));
    }
    found.files.sort_unstable();
    Ok(found)
}

/// Removes files that another state of the table names from the orphans.
pub async fn keep_named(table: &LoadedTable, files: &mut Vec<String>) -> Result<()> {
    let known = Known::of(table).await?;
    files.retain(|file| !known.has(file));
    Ok(())
}
