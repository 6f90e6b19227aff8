//! Pointers in the AWS Glue Data Catalog, in the entries that Iceberg's Java implementation, PyIceberg and Athena use.
//!
//! - A namespace is a database: one level.
//! - The compare-and-swap is `UpdateTable` with the `VersionId` of the entry whose `metadata_location` was read: Glue
//!   refuses it if anyone has changed the entry since.
//! - A write is sent once, and again only if Glue throttled it (`client.rs`). An outcome that is not certainly a
//!   refusal is [`Swap::Unknown`].
//! - What Glue can't show of a table causes a warning in the log, never a failure.

mod client;
mod columns;
mod config;
mod entry;
mod failure;
mod names;

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_glue::types::{Database, DatabaseInput, Table};
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent};

use super::pointer::{Pointer, PointerCatalog, Pointers, Swap};
use crate::error::{Error, Result};
use crate::storage::{AllowedLocations, Location, Store};
use client::Clients;
use config::GlueConfig;
use entry::Entry;
use failure::{Act, failed, is_code, is_refused};

/// Name of the connection of a database of Amazon S3 Tables.
const S3_TABLES: &str = "aws:s3tables";

/// A catalog in Glue.
pub type GlueCatalog = PointerCatalog<GluePointers>;

impl GlueCatalog {
    /// The catalog that the properties `glue.*` and `client.*` configure, with PyIceberg's names. New tables go into
    /// their database's location, otherwise below the warehouse. Does not call Glue yet.
    ///
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for an invalid value, or if no region is known.
    pub async fn glue(properties: &BTreeMap<String, String>, allowed: AllowedLocations, store: Store) -> Result<Self> {
        let config = GlueConfig::from_properties(properties)?;
        let clients = client::connect(&config).await?;
        let warehouse = allowed.warehouse().map(|warehouse| warehouse.as_str().to_owned());
        Ok(Self::new(GluePointers { clients, config, warehouse }, store, allowed))
    }
}

/// The pointers of one Data Catalog.
#[derive(Debug)]
pub struct GluePointers {
    clients: Clients,
    config: GlueConfig,
    warehouse: Option<String>,
}

impl GluePointers {
    fn names<'a>(&self, ident: &'a TableIdent) -> Result<(&'a str, &'a str)> {
        names::table(ident, self.config.any_name)
    }

    async fn table(&self, ident: &TableIdent) -> Result<Option<Table>> {
        let (database, name) = self.names(ident)?;
        let request = self.clients.reader.get_table().database_name(database).name(name);
        match request.set_catalog_id(self.config.id.clone()).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) if is_code(&error, "EntityNotFoundException") => Ok(None),
            Err(error) => Err(failed(Act::GetTable, &ident.to_string(), &self.clients.place, error)),
        }
    }

    async fn database(&self, name: &str) -> Result<Option<Database>> {
        let request = self.clients.reader.get_database().name(name).set_catalog_id(self.config.id.clone());
        let database = match request.send().await {
            Ok(answer) => answer.database,
            Err(error) if is_code(&error, "EntityNotFoundException") => return Ok(None),
            Err(error) => return Err(failed(Act::GetDatabase, name, &self.clients.place, error)),
        };
        let federated = database.as_ref().and_then(Database::federated_database);
        if federated.and_then(|f| f.connection_name()).is_some_and(|name| name.eq_ignore_ascii_case(S3_TABLES)) {
            return Err(Error::usage(format!(
                "the database {name} is one of Amazon S3 Tables, which places tables itself"
            ))
            .advice("Reach it as a REST catalog (type=rest)"));
        }
        Ok(database)
    }

    /// The location of tables in a database that is created here.
    fn default_folder(&self, database: &str) -> Option<String> {
        self.warehouse.as_ref().map(|warehouse| format!("{warehouse}/{database}.db"))
    }
}

fn warn(ident: &TableIdent, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{ident}: {warning}");
    }
}

#[async_trait]
impl Pointers for GluePointers {
    async fn read_pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        self.table(ident).await?.map(|table| entry::pointer(ident, &table)).transpose()
    }

    async fn insert_pointer(&self, ident: &TableIdent, location: &str, metadata: &TableMetadata) -> Result<Swap> {
        let (database, name) = self.names(ident)?;
        let Entry { input, warnings } = Entry::new(name, location, metadata)?;
        warn(ident, &warnings);
        let request = self.clients.writer.create_table().database_name(database).table_input(input);
        let request = request.set_catalog_id(self.config.id.clone());
        match self.clients.once(|| request.clone().send()).await {
            Ok(_) => Ok(Swap::Done),
            Err(error) if is_code(&error, "AlreadyExistsException") => {
                Ok(Swap::Conflict(format!("table {ident} exists")))
            }
            // Two concurrent creations, of which Glue abandoned this one.
            Err(error) if is_code(&error, "ConcurrentModificationException") => {
                Ok(Swap::Conflict(format!("table {ident} is being created by another writer")))
            }
            Err(error) => {
                let refused = is_refused(&error);
                let error = failed(Act::CreateTable, &ident.to_string(), &self.clients.place, error);
                if refused { Err(error) } else { Ok(Swap::Unknown(error.to_string())) }
            }
        }
    }

    async fn swap_pointer(
        &self,
        ident: &TableIdent,
        old: &Pointer,
        location: &str,
        metadata: &TableMetadata,
    ) -> Result<Swap> {
        let (database, name) = self.names(ident)?;
        let Some(table) = self.table(ident).await? else {
            return Ok(Swap::Conflict(format!("table {ident} does not exist any more")));
        };
        let now = entry::pointer(ident, &table)?;
        if now != *old {
            return Ok(Swap::Conflict(format!("table {ident} was changed by another writer")));
        }
        let Some(version) = now.version else {
            return Err(Error::failed(format!("Glue gives no version of table {ident}"))
                .advice("Without it two writers could undo each other's commits; is glue.endpoint really Glue?"));
        };
        let Entry { mut input, warnings } = Entry::updated(&table, &old.location, location, metadata)?;
        // Glue may spell the name differently.
        name.clone_into(&mut input.name);
        warn(ident, &warnings);
        let request = self
            .clients
            .writer
            .update_table()
            .database_name(database)
            .table_input(input)
            .version_id(version)
            .skip_archive(self.config.skip_archive)
            .set_catalog_id(self.config.id.clone());
        match self.clients.once(|| request.clone().send()).await {
            Ok(_) => Ok(Swap::Done),
            Err(error) if is_code(&error, "ConcurrentModificationException") => {
                Ok(Swap::Conflict(format!("table {ident} was changed by another writer")))
            }
            Err(error) if is_code(&error, "EntityNotFoundException") => {
                Ok(Swap::Conflict(format!("table {ident} does not exist any more")))
            }
            Err(error) => {
                let refused = is_refused(&error);
                let error = failed(Act::UpdateTable, &ident.to_string(), &self.clients.place, error);
                if refused { Err(error) } else { Ok(Swap::Unknown(error.to_string())) }
            }
        }
    }

    fn place(&self) -> String {
        let account = self.config.id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        format!("the Glue Data Catalog{account} at {}", self.clients.place)
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let name = names::database(namespace, self.config.any_name)?;
        if self.database(name).await?.is_some() {
            return Ok(());
        }
        let input =
            DatabaseInput::builder().name(name).set_location_uri(self.default_folder(name)).build().map_err(|e| {
                Error::failed(format!("the database {name} could not be described to Glue")).caused_by(e)
            })?;
        let request = self.clients.reader.create_database().database_input(input);
        match request.set_catalog_id(self.config.id.clone()).send().await {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, "AlreadyExistsException") => Ok(()),
            Err(error) => {
                let error = failed(Act::CreateDatabase, name, &self.clients.place, error);
                Err(Error::failed(format!("the database {name} does not exist in Glue and could not be made"))
                    .caused_by(error)
                    .advice(format!(
                        "Or let somebody who may make it: aws glue create-database --database-input '{{\"Name\":\"{name}\"}}'"
                    )))
            }
        }
    }

    async fn folder(&self, namespace: &NamespaceIdent, _: Option<&str>) -> Result<Option<String>> {
        let name = names::database(namespace, self.config.any_name)?;
        let database = self.database(name).await?;
        match database.as_ref().and_then(Database::location_uri).filter(|uri| !uri.is_empty()) {
            Some(uri) => {
                let location = Location::parse(uri).map_err(|e| {
                    Error::failed(format!("the location of the database {name} in Glue can't be used"))
                        .caused_by(e)
                        .advice("Change it (aws glue update-database), or use another database")
                })?;
                Ok(Some(location.as_str().to_owned()))
            }
            None => Ok(self.default_folder(name)),
        }
    }
}
