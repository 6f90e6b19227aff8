//! Load, create and commit: what the rest needs of a catalog, behind one small trait.
//!
//! - [`connect`] makes a catalog of PyIceberg's properties ([`property`] knows their names).
//! - [`sql`] keeps pointers to metadata files in SQLite or PostgreSQL, [`glue`] in the AWS Glue Data Catalog; [`pointer`] is the rest of such
//!   a catalog: it writes the metadata file and swaps the pointer.
//! - [`rest`] is a client of the REST catalog protocol: the server writes the metadata.
//! - [`place`] decides in which folders a table's files may be, whatever its metadata says.
//! - [`settle`] learns what became of a commit whose answer was not a plain success. Callers commit through it.
//!
//! Why not the `iceberg` crate's own `Catalog`? Its commit carries only changes that the crate itself can make, and
//! nothing outside of it can commit a delete.

pub mod check;
pub mod clock;
pub mod connect;
pub mod glue;
mod metadata_file;
pub mod patience;
pub mod place;
pub mod pointer;
pub mod property;
pub mod rest;
pub mod settle;
pub mod sql;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataRef};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use uuid::Uuid;

use crate::error::Result;
use crate::storage::Place;
use check::{About, Step, nobody};
use patience::Patience;

/// A table as a catalog gave it: the base that a change is planned on.
#[derive(Debug, Clone)]
pub struct LoadedTable {
    /// The name.
    pub ident: TableIdent,
    /// The metadata file's content.
    pub metadata: TableMetadataRef,
    /// Where the metadata file is.
    pub metadata_location: String,
    /// Where its files may lie.
    pub place: Place,
    /// Storage for the table's files: that of its place.
    pub file_io: FileIO,
    /// The catalog's own version token, where it has one.
    pub version: Option<String>,
}

impl LoadedTable {
    /// A table without a version token.
    pub fn new(ident: TableIdent, metadata: TableMetadata, metadata_location: String, place: Place) -> Self {
        let file_io = place.file_io();
        Self { ident, metadata: Arc::new(metadata), metadata_location, place, file_io, version: None }
    }
}

/// Table property of a table that was created empty because its catalog can't create it with its first snapshot: a random
/// id. It is gone with the commit of that snapshot.
pub const LOADING: &str = "ddb-iceberg.loading";

/// Whether a table is only the place that a first load was given, and the load has not finished. See [`LOADING`].
pub fn is_unfinished(metadata: &TableMetadata) -> bool {
    metadata.current_snapshot_id().is_none() && metadata.properties().contains_key(LOADING)
}

/// The place of a table that does not exist yet.
#[derive(Debug, Clone)]
pub struct TableHome {
    /// The table's location, without a last slash.
    pub location: String,
    /// Storage for the table's files.
    pub file_io: FileIO,
    /// The id that the catalog has given the table already.
    pub uuid: Option<Uuid>,
    /// Properties that the catalog gives new tables; those of the load go over them.
    pub properties: HashMap<String, String>,
}

/// A table that does not exist yet, complete with its first snapshot.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// The metadata to be written.
    pub metadata: TableMetadata,
    /// The same as updates, for catalogs that write the metadata themselves.
    pub updates: Vec<TableUpdate>,
}

/// The answer to one attempt to commit.
#[derive(Debug)]
pub enum Commit {
    /// The change is in the table.
    Done(LoadedTable),
    /// Surely not applied: a requirement does not hold, or another writer was first.
    Conflict(String),
    /// It may or may not have been applied.
    Unknown(String),
}

/// What a catalog does for us. Every method answers for one attempt: nothing in here retries a commit.
///
/// An `Err` of [`create`](Catalog::create) and [`commit`](Catalog::commit) means: surely not applied, and trying again does not help by
/// itself. Whatever leaves that open is [`Commit::Unknown`]; [`settle`] finds out.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// How long to look for what became of a commit. It depends on what lies between us and the catalog.
    fn patience(&self) -> Patience {
        Patience::default()
    }

    /// Where a new table of this name goes; `None` if the name is taken. `planned` is the table but for its id and its
    /// location; the catalog may refuse it now. What it makes, if anything, is an empty table that is marked as [`LOADING`],
    /// which the next load takes over.
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>>;

    /// Where new tables go, and storage for it; `None` if the catalog alone decides that, table by table.
    fn warehouse(&self) -> Option<(&str, &FileIO)> {
        None
    }

    /// Reaches the catalog, signs in and looks around, changing nothing: the steps up to the first that failed.
    async fn check(&self) -> Vec<Step> {
        let found = match nobody() {
            Ok(ident) => self.load(&ident).await.map(|_| "the catalog answers".to_owned()),
            Err(error) => Err(error),
        };
        vec![Step::new(About::Reach, found)]
    }

    /// Which catalog it is and where, without secrets. It continues "in": for whoever looks in the wrong one.
    fn place(&self) -> String {
        "the catalog".to_owned()
    }

    /// Names of tables, to guess what was meant by one that does not exist: some of them, or none where asking is dear.
    async fn some_tables(&self, _near: &TableIdent) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The table, or `None` if there is none.
    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>>;

    /// Makes sure that the namespace exists.
    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()>;

    /// Creates the table at the place that [`prepare`](Catalog::prepare) gave, complete with its first snapshot;
    /// [`Commit::Conflict`] if the name is taken.
    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit>;

    /// Applies the updates if every requirement holds and nobody has moved the table since `base`.
    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit>;
}
