//! "Write the metadata file, then swap the pointer": the common half of all pointer catalogs.
//!
//! A pointer catalog keeps the location of each table's current metadata file, and replaces it only if it still is what
//! the writer read. The rules, in this order:
//!
//! - A change is planned on a base; if the pointer is not the base's metadata file any more, this is a conflict.
//! - Every requirement is checked against the base, then every update is applied.
//! - The new metadata file has a unique name, and is durable before the pointer moves.
//! - The metadata file of an attempt that certainly failed is deleted; while the outcome is unknown nothing is deleted.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::Write as _;

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::compression::CompressionCodec;
use iceberg::io::FileIO;
use iceberg::spec::{MetadataLog, TableMetadata};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use uuid::Uuid;

use super::check::{About, Step, nobody};
use super::{Catalog, Commit, LoadedTable, NewTable, TableHome, clock, metadata_file, place};
use crate::error::{Error, Result};
use crate::storage::{ALLOWED_LOCATIONS, AllowedLocations, Lent, Location, Place, Store};

/// Number of attempts to load a table whose metadata file is missing: another writer may have moved the pointer and
/// deleted the old file meanwhile.
const LOAD_ATTEMPTS: u32 = 3;
/// Table property: folder of the metadata files, by default `metadata` below the table's location.
const METADATA_PATH: &str = "write.metadata.path";
/// Table property: whether to delete metadata files that were dropped from the metadata log.
const DELETE_AFTER_COMMIT: &str = "write.metadata.delete-after-commit.enabled";

/// A catalog's entry for a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The location of the current metadata file.
    pub location: String,
    /// The catalog's own version token, if it has one.
    pub version: Option<String>,
}

/// The result of one attempt to set a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// It is set.
    Done,
    /// Certainly not set, now or later: the pointer had changed. A client that retries by itself can't know that after
    /// its first attempt, and must return [`Swap::Unknown`].
    Conflict(String),
    /// It may be set, now or later.
    Unknown(String),
}

/// Compare-and-swap on pointers: the part that each pointer catalog implements. An `Err` means: certainly not set.
#[async_trait]
pub trait Pointers: Debug + Send + Sync {
    /// The pointer of a table, or `None` if the table does not exist. Creates nothing.
    async fn read_pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>>;

    /// Sets the pointer of a table that does not exist.
    async fn insert_pointer(&self, ident: &TableIdent, location: &str, metadata: &TableMetadata) -> Result<Swap>;

    /// Replaces the pointer if it still is `old`.
    async fn swap_pointer(
        &self,
        ident: &TableIdent,
        old: &Pointer,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<Swap>;

    /// Makes sure that the namespace exists.
    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()>;

    /// The folder of a namespace's new tables, without a trailing slash; `None` if it is not configured.
    async fn folder(&self, namespace: &NamespaceIdent, warehouse: Option<&str>) -> Result<Option<String>> {
        // One folder for all levels of a namespace, as in PyIceberg: with a folder per level, the table a.b.data would
        // be in the data folder of the table a.b.
        Ok(warehouse.map(|warehouse| format!("{warehouse}/{}", namespace.join("."))))
    }

    /// Like [`Catalog::place`].
    fn place(&self) -> String {
        "the catalog".to_owned()
    }

    /// Like [`Catalog::some_tables`].
    async fn some_tables(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Like [`Catalog::check`].
    async fn check(&self) -> Vec<Step> {
        let found = match nobody() {
            Ok(ident) => self.read_pointer(&ident).await.map(|_| "the catalog answers".to_owned()),
            Err(error) => Err(error),
        };
        vec![Step::new(About::Reach, found)]
    }
}

/// A [`Catalog`] over [`Pointers`].
#[derive(Debug)]
pub struct PointerCatalog<P> {
    pointers: P,
    store: Store,
    file_io: FileIO,
    allowed: AllowedLocations,
}

impl<P: Pointers> PointerCatalog<P> {
    /// A catalog whose tables are in locations that `allowed` vouches for; new ones are below its warehouse.
    pub fn new(pointers: P, store: Store, allowed: AllowedLocations) -> Self {
        Self { pointers, file_io: store.file_io(), store, allowed }
    }

    fn warehouse(&self) -> Option<&str> {
        self.allowed.warehouse().map(Location::as_str)
    }

    /// The place of a table whose metadata file is at `metadata`, if it has one. A namespace's folder on S3 according
    /// to the catalog counts as its warehouse.
    async fn place_of(
        &self,
        ident: &TableIdent,
        location: &str,
        properties: &HashMap<String, String>,
        metadata: Option<&str>,
    ) -> Place {
        let mut allowed = self.allowed.clone();
        if let Some(path) = metadata {
            allowed = allowed.and_where_metadata_is(path);
        }
        let place = |allowed: &AllowedLocations| {
            place::of_table(ident, location, properties, allowed, &Lent::default(), &self.store)
        };
        let found = place(&allowed);
        if found.check().is_ok() {
            return found;
        }
        match self.pointers.folder(ident.namespace(), None).await {
            Ok(Some(folder)) => match Location::parse(&folder) {
                Ok(folder) if folder.is_s3() => place(&allowed.and_below(folder)),
                _ => found,
            },
            Ok(None) => found,
            Err(error) => {
                tracing::warn!("where the tables of {} lie could not be learned: {error}", ident.namespace());
                found
            }
        }
    }

    /// The location of a new table, without a trailing slash.
    async fn location(&self, ident: &TableIdent) -> Result<String> {
        for name in ident.namespace().iter().chain([&ident.name().to_owned()]) {
            check_name(name)?;
        }
        match self.pointers.folder(ident.namespace(), self.warehouse()).await? {
            Some(folder) => Ok(format!("{folder}/{}", ident.name())),
            None => Err(Error::usage(format!("there is no warehouse in which {ident} could be made"))
                .advice("Give --warehouse, or the catalog's property \"warehouse\"")),
        }
    }

    async fn remove(&self, location: &str) {
        if let Err(error) = self.file_io.delete(location).await {
            tracing::info!("{location} is no longer needed and could not be deleted: {error}");
        }
    }

    /// Interprets the result of the single attempt to set the pointer to `location`.
    async fn answer(
        &self,
        ident: &TableIdent,
        location: String,
        metadata: TableMetadata,
        place: Place,
        swap: Result<Swap>,
    ) -> Result<Commit> {
        match swap {
            Ok(Swap::Done) => Ok(Commit::Done(LoadedTable::new(ident.clone(), metadata, location, place))),
            Ok(Swap::Conflict(why)) => {
                self.remove(&location).await;
                Ok(Commit::Conflict(why))
            }
            Ok(Swap::Unknown(why)) => Ok(Commit::Unknown(why)),
            Err(error) => {
                self.remove(&location).await;
                Err(error)
            }
        }
    }

    /// Writes a metadata file; deletes it again if that fails.
    async fn write(&self, metadata: &TableMetadata, version: u32) -> Result<String> {
        let (location, content) = encode(metadata, version)?;
        let written = match self.file_io.new_output(&location) {
            Ok(output) => output.write(content.into()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.remove(&location).await;
            return Err(Error::from(error).in_file(location));
        }
        Ok(location)
    }
}

#[async_trait]
impl<P: Pointers> Catalog for PointerCatalog<P> {
    /// Creates nothing.
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>> {
        let location = self.location(ident).await?;
        let place = self.place_of(ident, &location, planned.properties(), None).await;
        place.check()?;
        Ok(Some(TableHome { location, file_io: place.file_io(), uuid: None, properties: HashMap::new() }))
    }

    async fn check(&self) -> Vec<Step> {
        self.pointers.check().await
    }

    fn place(&self) -> String {
        self.pointers.place()
    }

    async fn some_tables(&self, _: &TableIdent) -> Result<Vec<String>> {
        self.pointers.some_tables().await
    }

    fn warehouse(&self) -> Option<(&str, &FileIO)> {
        self.warehouse().map(|warehouse| (warehouse, &self.file_io))
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        let mut attempt = 1;
        loop {
            let Some(pointer) = self.pointers.read_pointer(ident).await? else { return Ok(None) };
            if !self.allowed.may_look_at(&pointer.location) {
                return Err(Error::failed(format!(
                    "the catalog says that the metadata of table {ident} is a local file"
                ))
                .in_file(pointer.location)
                .advice(format!("If it is, name its folder with the catalog's property {ALLOWED_LOCATIONS}")));
            }
            match metadata_file::read(&self.file_io, &pointer.location).await {
                Ok(metadata) => {
                    let at = Some(pointer.location.as_str());
                    let place = self.place_of(ident, metadata.location(), metadata.properties(), at).await;
                    let place = place.with_metadata_at(&pointer.location);
                    let table = LoadedTable::new(ident.clone(), metadata, pointer.location, place);
                    return Ok(Some(LoadedTable { version: pointer.version, ..table }));
                }
                Err(error) => {
                    let moved = self.pointers.read_pointer(ident).await?.is_none_or(|now| now != pointer);
                    if !moved || attempt == LOAD_ATTEMPTS {
                        return Err(Error::failed(format!("the metadata of table {ident} could not be read"))
                            .in_file(pointer.location)
                            .caused_by(error));
                    }
                }
            }
            attempt += 1;
        }
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.pointers.ensure_namespace(namespace).await
    }

    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit> {
        if self.pointers.read_pointer(ident).await?.is_some() {
            return Ok(Commit::Conflict(format!("table {ident} exists")));
        }
        let place = self.place_of(ident, table.metadata.location(), table.metadata.properties(), None).await;
        place.check()?;
        let location = self.write(&table.metadata, 0).await?;
        let swap = self.pointers.insert_pointer(ident, &location, &table.metadata).await;
        self.answer(ident, location, table.metadata, place, swap).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit> {
        base.place.check()?;
        let ident = &base.ident;
        let Some(old) = self.pointers.read_pointer(ident).await? else {
            return Ok(Commit::Conflict(format!("table {ident} does not exist any more")));
        };
        let moved = base.version.is_some() && base.version != old.version;
        if moved || old.location != base.metadata_location {
            return Ok(Commit::Conflict(format!("table {ident} was changed by another writer")));
        }
        for requirement in &requirements {
            if let Err(error) = requirement.check(Some(&base.metadata)) {
                return Ok(Commit::Conflict(format!("table {ident} is not as required: {error}")));
            }
        }

        let (metadata, expired_logs) = clock::updated(&base.metadata, &old.location, updates)?;

        let place = place::moved(&base.place, &metadata);
        place.check()?;
        let location = self.write(&metadata, next_version(&old.location)).await?;
        let swap = self.pointers.swap_pointer(ident, &old, &location, &metadata).await;
        let answer = self.answer(ident, location, metadata, place, swap).await?;

        if let Commit::Done(table) = &answer {
            table.place.delete(deletable(&table.metadata, &expired_logs)).await;
        }
        Ok(answer)
    }
}

/// Whether a name is one plain path segment in every file system and for every reader of URIs.
fn check_name(name: &str) -> Result<()> {
    let bad = name.is_empty()
        || name == "."
        || name == ".."
        || name.len() > 255
        || name.trim() != name
        || name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '?' | '#' | '%'));
    if bad {
        return Err(Error::usage(format!("{name:?} can't be the name of a table or namespace"))
            .advice("Use letters, digits, \"_\" and \"-\""));
    }
    Ok(())
}

/// Location and content of a metadata file: `<folder>/<version>-<uuid>[.gz].metadata.json`.
fn encode(metadata: &TableMetadata, version: u32) -> Result<(String, Vec<u8>)> {
    let json = serde_json::to_vec(metadata)
        .map_err(|e| Error::failed("the table's metadata could not be written").caused_by(e))?;
    let (suffix, content) = match metadata.metadata_compression_codec()? {
        CompressionCodec::Gzip(_) => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            let packed = gzip.write_all(&json).and_then(|()| gzip.finish());
            (".gz", packed.map_err(|e| Error::failed("the table's metadata could not be compressed").caused_by(e))?)
        }
        _ => ("", json),
    };
    let folder = match metadata.properties().get(METADATA_PATH) {
        Some(path) if !path.is_empty() => path.trim_end_matches('/').to_owned(),
        _ => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    };
    Ok((format!("{folder}/{version:05}-{}{suffix}.metadata.json", Uuid::new_v4()), content))
}

/// The version after the one in a metadata file's name (`00003-<uuid>.metadata.json`, `v3.metadata.json`); 0 for any
/// other name. The number is informative: only the pointer determines the current file.
fn next_version(location: &str) -> u32 {
    let name = location.rsplit('/').next().unwrap_or(location);
    let name = name.strip_prefix('v').unwrap_or(name);
    let Some((digits, _)) = name.split_once(['-', '.']) else { return 0 };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    // Other writers keep the number in a signed 32-bit integer.
    digits.parse::<i32>().ok().and_then(|n| n.checked_add(1)).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

/// The metadata files to delete by the table's settings. Other files in the log are not trusted.
fn deletable(metadata: &TableMetadata, expired: &[MetadataLog]) -> Vec<String> {
    let wanted = metadata.properties().get(DELETE_AFTER_COMMIT).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if !wanted {
        return Vec::new();
    }
    expired
        .iter()
        .map(|log| log.metadata_file.clone())
        .filter(|file| file.ends_with(".metadata.json") || file.ends_with(".metadata.json.gz"))
        .collect()
}

#[cfg(test)]
#[path = "pointer_tests.rs"]
mod tests;
