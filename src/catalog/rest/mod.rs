//! A client of the REST catalog protocol (Apache Iceberg's OpenAPI document): the server checks the requirements,
//! applies the updates and writes the metadata.
//!
//! - **Creating.** The table is staged: the server chooses its location, and nothing is visible yet; one commit then
//!   creates it with its first snapshot. A server that can't stage creates an empty table marked with [`LOADING`]; the
//!   commit of the first snapshot removes the mark. A load that finds such a table continues with it. If two do, one
//!   wins.
//! - **Responses to a commit.** 200 is done, 409 a conflict, 404 a missing table. 429 and 503 ask to retry: the same
//!   commit is sent again a few times, which is safe because its requirements hold only once. All other statuses that
//!   the OpenAPI document defines as "not applied" (400, 401, 403, 406, 419, 422 etc.) are errors; 500, 502, 504, 408
//!   and no response at all are unknown.
//! - **Secrets** appear in no message and no log, whatever a server says.

mod auth;
mod client;
mod failure;
pub(crate) mod http;
mod session;
mod settings;
mod signer;
pub(crate) mod storage_keys;
mod trust;
pub(crate) mod vended;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::spec::{MAIN_BRANCH, TableMetadata};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use reqwest::Method;
use uuid::Uuid;

use super::{Catalog, Commit, LOADING, LoadedTable, NewTable, TableHome, is_unfinished, place, property};
use crate::error::{Error, Result};
use crate::storage::{AllowedLocations, Lent, Location, Place, S3Access, S3Config, Store, strip_scheme};
use http::{Answer, LONGEST_PAUSE, Lost, backoff};
use session::{Session, body};
use vended::Lending;
use wire::{
    CommitTableRequest, CommitTableResponse, CreateNamespaceRequest, CreateTableRequest, ListTablesResponse,
    LoadTableResult,
};

/// How often a commit is sent if the server asks to retry.
const SENDS: u32 = 4;
/// The property that requests a table's format version; it is not stored.
const FORMAT: &str = "format-version";

/// A catalog behind the REST protocol.
pub struct RestCatalog {
    session: Arc<Session>,
    lending: Lending,
    allowed: AllowedLocations,
    /// Locations of tables that are being created, by their id.
    homes: Mutex<HashMap<Uuid, Place>>,
}

impl fmt::Debug for RestCatalog {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestCatalog").field("base", &self.session.client.settings().base).finish_non_exhaustive()
    }
}

impl RestCatalog {
    /// The catalog at the property `uri`; requests its configuration. `store` is configured by `properties`.
    ///
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for invalid properties, otherwise the reason why the server
    /// did not answer.
    pub async fn connect(name: &str, properties: &BTreeMap<String, String>, store: Store) -> Result<Self> {
        let session = Session::open(name, properties).await?;
        // The server may know more about the storage than the user.
        let config = S3Config::from_properties(&session.properties)?;
        let store = if config == S3Config::from_properties(properties)? {
            store
        } else {
            store.with_s3(S3Access { config, lender: None }, Vec::new())
        };
        let is_aws = session
            .client
            .settings()
            .signing
            .as_ref()
            .is_some_and(|s| matches!(s.service.as_str(), "s3tables" | "glue"));
        let allowed = allowed(properties)?.and_table_buckets(is_aws);
        Ok(Self { session: Arc::new(session), lending: Lending::new(store), allowed, homes: Mutex::default() })
    }

    fn loaded(&self, ident: &TableIdent, table: LoadTableResult, staged: Option<&Bytes>) -> Result<LoadedTable> {
        let (store, lent) = self.lending.of_table(&self.session, ident, &table, staged)?;
        let (location, properties) = (table.metadata.location(), table.metadata.properties());
        let place = place::of_table(ident, location, properties, &self.allowed, &lent, &store);
        Ok(LoadedTable::new(ident.clone(), table.metadata, table.metadata_location.unwrap_or_default(), place))
    }

    /// Creates the placeholder of a table: staged, or empty and marked.
    async fn place(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<LoadedTable>> {
        let asked = format!("create table {ident}");
        let path = self.session.tables(ident.namespace());
        let request = create_request(ident, planned, &self.session.properties, true)?;
        let answer = self.session.client.ask(Method::POST, &path, request.clone()).await?;
        match answer.status {
            200 => return self.loaded(ident, self.session.read(&asked, &answer)?, Some(&request)).map(Some),
            409 => return self.adopt(ident).await,
            // Servers that do not stage answer with one of these.
            400 | 405 | 406 | 422 | 501 => {}
            _ => return Err(self.session.refused(&asked, &answer)),
        }
        tracing::info!("the catalog does not stage tables ({}); creating {ident} empty", failure::said(&answer));
        let request = create_request(ident, planned, &self.session.properties, false)?;
        match self.session.client.change(&path, request).await {
            Ok(answer) if answer.status == 200 => {
                self.loaded(ident, self.session.read(&asked, &answer)?, None).map(Some)
            }
            Ok(answer) if matches!(answer.status, 409 | 408 | 429 | 500..) => match self.adopt(ident).await? {
                None if answer.status != 409 => Err(self.session.refused(&asked, &answer)),
                found => Ok(found),
            },
            Ok(answer) => Err(self.session.refused(&asked, &answer)),
            Err(Lost::NotSent(error) | Lost::Never(error)) => Err(error),
            Err(Lost::Unknown(why)) => match self.adopt(ident).await? {
                None => Err(Error::failed(format!("the catalog did not answer when asked to {asked}: {why}"))
                    .advice("Run the same command again; an empty table that was made is taken over")),
                found => Ok(found),
            },
        }
    }

    /// The table, if it belongs to an unfinished load.
    async fn adopt(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        let found = self.load(ident).await?.filter(|table| is_unfinished(&table.metadata));
        if found.is_some() {
            tracing::info!("table {ident} is empty, from a load that has not finished; going on with it");
        }
        Ok(found)
    }

    async fn send(
        &self,
        ident: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
        place: &Place,
    ) -> Result<Commit> {
        place.check()?;
        let path = self.session.table(ident);
        let creates = requirements.contains(&TableRequirement::NotExist);
        let request = body(&CommitTableRequest { identifier: ident.into(), requirements, updates })?;
        let mut answer = self.session.client.change(&path, request.clone()).await;
        let mut sends = 1;
        while let Ok(Answer { status: 429 | 503, retry_after, .. }) = &answer
            && sends < SENDS
        {
            tokio::time::sleep(backoff(sends).max(retry_after.unwrap_or_default()).min(LONGEST_PAUSE)).await;
            sends += 1;
            answer = self.session.client.change(&path, request.clone()).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(Lost::NotSent(error) | Lost::Never(error)) if sends == 1 => return Err(error),
            Err(Lost::NotSent(error) | Lost::Never(error)) => return Ok(Commit::Unknown(error.to_string())),
            Err(Lost::Unknown(why)) => return Ok(Commit::Unknown(why)),
        };
        Ok(match answer.status {
            200 => match serde_json::from_slice::<CommitTableResponse>(&answer.body) {
                Ok(done) => {
                    let place = place::moved(place, &done.metadata);
                    Commit::Done(LoadedTable::new(ident.clone(), done.metadata, done.metadata_location, place))
                }
                Err(_) => Commit::Unknown("the catalog's answer can't be understood".to_owned()),
            },
            409 => Commit::Conflict(failure::said(&answer)),
            // If it was sent before, it may have been applied then.
            _ if sends > 1 => Commit::Unknown(failure::said(&answer)),
            // For a creation this means that the namespace is gone, or that the server can't create a table this way.
            404 if !creates => Commit::Conflict(failure::said(&answer)),
            300..=407 | 410..=499 | 501 if answer.status != 429 => {
                return Err(self.session.refused(&format!("commit to table {ident}"), &answer));
            }
            _ => Commit::Unknown(failure::said(&answer)),
        })
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>> {
        self.ensure_namespace(ident.namespace()).await?;
        let table = match self.load(ident).await? {
            Some(table) if is_unfinished(&table.metadata) => Some(table),
            Some(_) => return Ok(None),
            None => self.place(ident, planned).await?,
        };
        let Some(table) = table else { return Ok(None) };
        let metadata = &table.metadata;
        if let Some(part) = difference(planned, metadata) {
            let error = Error::failed(format!("the catalog made {ident} with another {part} than it was asked for"));
            return Err(if is_unfinished(metadata) {
                error.advice("If the table is left of a load that did not finish, drop it: it is empty")
            } else {
                error
            });
        }
        table.place.check()?;
        let mut properties = metadata.properties().clone();
        properties.remove(LOADING);
        let homes = &mut *self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        homes.insert(metadata.uuid(), table.place.clone());
        Ok(Some(TableHome {
            location: metadata.location().trim_end_matches('/').to_owned(),
            file_io: table.file_io,
            uuid: Some(metadata.uuid()),
            properties,
        }))
    }

    fn place(&self) -> String {
        format!("the REST catalog at {}", property::shown("uri", &self.session.client.settings().base))
    }

    /// Those of the same namespace, as far as one response lists them.
    async fn some_tables(&self, near: &TableIdent) -> Result<Vec<String>> {
        let path = self.session.tables(near.namespace());
        let answer = self.session.client.ask(Method::GET, &path, Bytes::new()).await?;
        if answer.status != 200 {
            return Ok(Vec::new());
        }
        let listed: ListTablesResponse = self.session.read("list tables", &answer)?;
        Ok(listed.identifiers.iter().map(ToString::to_string).collect())
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        let table = self.session.load(ident).await?;
        table.map(|table| self.loaded(ident, table, None)).transpose()
    }

    /// Each level, from the outermost on: some servers require the parents to exist.
    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let mut level: Vec<String> = Vec::new();
        for name in namespace.iter() {
            level.push(name.clone());
            let shown = level.join(".");
            let client = &self.session.client;
            let found = client.ask(Method::GET, &self.session.namespace(&level), Bytes::new()).await?;
            match found.status {
                // A user without permission to look may still create tables there.
                200 | 204 | 403 => continue,
                404 => {}
                _ => return Err(self.session.refused(&format!("look for namespace {shown}"), &found)),
            }
            let request = body(&CreateNamespaceRequest { namespace: &level, properties: HashMap::new() })?;
            let made = client.ask(Method::POST, &self.session.namespaces(), request).await?;
            match made.status {
                200 | 409 => {}
                403 => {
                    return Err(self
                        .session
                        .refused(&format!("create namespace {shown}"), &made)
                        .advice("Have the namespace created by somebody who may, or use one that exists"));
                }
                _ => return Err(self.session.refused(&format!("create namespace {shown}"), &made)),
            }
        }
        Ok(())
    }

    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit> {
        let uuid = table.metadata.uuid();
        let home = self.homes.lock().unwrap_or_else(PoisonError::into_inner).get(&uuid).cloned();
        let home = home.map_or_else(
            || {
                let (location, properties) = (table.metadata.location(), table.metadata.properties());
                place::of_table(ident, location, properties, &self.allowed, &Lent::default(), &self.lending.store)
            },
            |home| place::moved(&home, &table.metadata),
        );
        let unmark = TableUpdate::RemoveProperties { removals: vec![LOADING.to_owned()] };
        match self.load(ident).await? {
            None => {
                let format_version = table.metadata.format_version();
                let mut updates =
                    vec![TableUpdate::AssignUuid { uuid }, TableUpdate::UpgradeFormatVersion { format_version }];
                updates.extend(
                    table.updates.into_iter().filter(|update| !matches!(update, TableUpdate::AssignUuid { .. })),
                );
                updates.push(unmark);
                self.send(ident, vec![TableRequirement::NotExist], updates, &home).await
            }
            Some(place) if place.metadata.uuid() == uuid && is_unfinished(&place.metadata) => {
                let requirements = vec![
                    TableRequirement::UuidMatch { uuid },
                    TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.to_owned(), snapshot_id: None },
                    TableRequirement::CurrentSchemaIdMatch { current_schema_id: table.metadata.current_schema_id() },
                    TableRequirement::LastAssignedFieldIdMatch {
                        last_assigned_field_id: table.metadata.last_column_id(),
                    },
                    TableRequirement::DefaultSpecIdMatch {
                        default_spec_id: table.metadata.default_partition_spec_id(),
                    },
                ];
                // Its columns, partitions and sort order already exist.
                let mut updates: Vec<TableUpdate> = table
                    .updates
                    .into_iter()
                    .filter(|update| {
                        matches!(
                            update,
                            TableUpdate::AddSnapshot { .. }
                                | TableUpdate::SetSnapshotRef { .. }
                                | TableUpdate::SetProperties { .. }
                        )
                    })
                    .collect();
                updates.push(unmark);
                self.send(ident, requirements, updates, &home).await
            }
            Some(_) => Ok(Commit::Conflict(format!("table {ident} exists"))),
        }
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit> {
        self.send(&base.ident, requirements, updates, &base.place).await
    }
}

/// What the user's configuration vouches for. A `warehouse` that is a name or an ARN is not a location.
fn allowed(properties: &BTreeMap<String, String>) -> Result<AllowedLocations> {
    let get = |key: &str| properties.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let is_location = |text: &&str| strip_scheme(text).is_some() || text.starts_with("file:") || text.starts_with('/');
    let warehouse = get("warehouse").filter(is_location).map(Location::parse).transpose()?;
    place::allowed(properties, warehouse)
}

/// The request that stages a table, or creates it empty. It always has the mark: a server that does not know staging
/// may create the table anyway.
fn create_request(
    ident: &TableIdent,
    planned: &TableMetadata,
    catalog: &BTreeMap<String, String>,
    stage_create: bool,
) -> Result<Bytes> {
    let mark = Uuid::new_v4().to_string();
    let format = (planned.format_version() as u8).to_string();
    let of = |prefix: &'static str| {
        catalog.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    };
    let mut properties: BTreeMap<&str, &str> = of("table-default.").collect();
    properties.extend(planned.properties().iter().map(|(key, value)| (key.as_str(), value.as_str())));
    properties.extend(of("table-override.").filter(|(key, _)| !key.starts_with("ddb-iceberg.")));
    properties.extend([(FORMAT, format.as_str()), (LOADING, mark.as_str())]);
    body(&CreateTableRequest {
        name: ident.name(),
        schema: planned.current_schema(),
        partition_spec: planned.default_partition_spec(),
        write_order: planned.default_sort_order(),
        stage_create,
        properties,
    })
}

/// The differences between a table that a server created and the request. Servers assign new field ids; ours are those
/// that they assign (1 to n, level by level), since files would be misread otherwise.
fn difference(planned: &TableMetadata, made: &TableMetadata) -> Option<&'static str> {
    let keys = |table: &TableMetadata| table.current_schema().identifier_field_ids().collect::<BTreeSet<_>>();
    let (spec, order) = (planned.default_partition_spec(), planned.default_sort_order());
    if made.format_version() != planned.format_version() {
        Some("format version")
    } else if made.current_schema().as_struct() != planned.current_schema().as_struct()
        || keys(made) != keys(planned)
        || made.current_schema_id() != planned.current_schema_id()
        || made.last_column_id() != planned.last_column_id()
    {
        Some("schema")
    } else if made.default_partition_spec().fields() != spec.fields()
        || made.default_partition_spec_id() != spec.spec_id()
    {
        Some("partition spec")
    } else if made.default_sort_order().fields != order.fields || made.default_sort_order_id() != order.order_id {
        Some("sort order")
    } else {
        None
    }
}
