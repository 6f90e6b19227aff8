//! Load, create and commit: the catalog operations that other rooms need, behind one small trait.
//!
//! - [`connect`] creates a catalog from PyIceberg's properties ([`property`] knows their names).
//! - [`sql`] keeps pointers to metadata files in SQLite or PostgreSQL, [`glue`] in the AWS Glue Data Catalog;
//!   `pointer` is the common part of such catalogs: it writes the metadata file and swaps the pointer.
//! - [`rest`] is a client of the REST catalog protocol: the server writes the metadata.
//! - [`place`] decides in which folders a table's files may be, whatever its metadata says.
//! - [`settle`] determines the outcome of a commit whose answer was not a plain success. Callers commit through it.
//!
//! Why not the `iceberg` crate's own `Catalog`? Its commit accepts only changes that the crate itself can make, so code
//! outside of it cannot commit a delete.

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

/// A table as loaded from a catalog: the base on which a change is planned.
#[derive(Debug, Clone)]
pub struct LoadedTable {
    /// The name.
    pub ident: TableIdent,
    /// The metadata file's content.
    pub metadata: TableMetadataRef,
    /// Where the metadata file is.
    pub metadata_location: String,
    /// The folders in which its files may be.
    pub place: Place,
    /// Storage for the table's files, limited to its place.
    pub file_io: FileIO,
    /// The catalog's own version token, if it has one.
    pub version: Option<String>,
}

impl LoadedTable {
    /// A table without a version token.
    pub fn new(ident: TableIdent, metadata: TableMetadata, metadata_location: String, place: Place) -> Self {
        let file_io = place.file_io();
        Self { ident, metadata: Arc::new(metadata), metadata_location, place, file_io, version: None }
    }
}

/// Table property of a table that was created empty, because its catalog can't create it with its first snapshot: a
/// random id. The commit of that snapshot removes it.
pub const LOADING: &str = "ddb-iceberg.loading";

/// Whether a table is only a placeholder for a first load that has not finished. See [`LOADING`].
pub fn is_unfinished(metadata: &TableMetadata) -> bool {
    metadata.current_snapshot_id().is_none() && metadata.properties().contains_key(LOADING)
}

/// The location of a table that does not exist yet.
#[derive(Debug, Clone)]
pub struct TableHome {
    /// The table's location, without a trailing slash.
    pub location: String,
    /// Storage for the table's files.
    pub file_io: FileIO,
    /// The id that the catalog has already assigned to the table.
    pub uuid: Option<Uuid>,
    /// The catalog's properties for new tables; those of the load override them.
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

/// The result of one attempt to commit.
#[derive(Debug)]
pub enum Commit {
    /// The change is in the table.
    Done(LoadedTable),
    /// Certainly not applied: a requirement does not hold, or another writer committed first.
    Conflict(String),
    /// It may or may not have been applied.
    Unknown(String),
}

/// The operations of a catalog. Each call is one attempt: nothing in here retries a commit.
///
/// An `Err` from [`create`](Catalog::create) and [`commit`](Catalog::commit) means: certainly not applied, and a retry
/// alone does not help. If this is uncertain, the result is [`Commit::Unknown`]; [`settle`] determines the outcome.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// How long to search for the outcome of a commit. It depends on the path between us and the catalog.
    fn patience(&self) -> Patience {
        Patience::default()
    }

    /// The location of a new table of this name; `None` if the name is taken. `planned` is the table except for its id
    /// and location; the catalog may refuse it now. It may create an empty table marked as [`LOADING`], which the next
    /// load takes over.
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>>;

    /// The location of new tables, and storage for it; `None` if the catalog chooses it for each table.
    fn warehouse(&self) -> Option<(&str, &FileIO)> {
        None
    }

    /// Connects to the catalog, signs in and inspects it, without changing anything. Returns the steps up to the first
    /// failure.
    async fn check(&self) -> Vec<Step> {
        let found = match nobody() {
            Ok(ident) => self.load(&ident).await.map(|_| "the catalog answers".to_owned()),
            Err(error) => Err(error),
        };
        vec![Step::new(About::Reach, found)]
    }

    /// Which catalog it is and where, without secrets, as a continuation of "in". It helps users who use the wrong one.
    fn place(&self) -> String {
        "the catalog".to_owned()
    }

    /// Names of some tables, to suggest one for a name that does not exist; none if listing is expensive.
    async fn some_tables(&self, _near: &TableIdent) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The table, or `None` if it does not exist.
    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>>;

    /// Makes sure that the namespace exists.
    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()>;

    /// Creates the table at the location from [`prepare`](Catalog::prepare), complete with its first snapshot;
    /// [`Commit::Conflict`] if the name is taken.
    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit>;

    /// Applies the updates if every requirement holds and nobody has changed the table since `base`.
    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit>;
}
