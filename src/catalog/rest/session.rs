//! A session with one server: its configuration, and paths on it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use iceberg::{NamespaceIdent, TableIdent};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::http::Answer;
use super::settings::Settings;
use super::storage_keys::{KEY_ID, is_identity};
use super::wire::{CatalogConfig, LoadCredentialsResponse, LoadTableResult, StorageCredential};
use super::{failure, trust};
use crate::error::{Error, Result};
use crate::percent::encode;

/// As named in `endpoints` of a server's configuration.
const LOAD_CREDENTIALS: &str = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";

/// A server that has answered.
pub(crate) struct Session {
    pub client: Client,
    /// The user's properties, with the accepted defaults of the server below and its accepted overrides above them.
    pub properties: BTreeMap<String, String>,
    /// The server's S3 settings, for locations for which it vends keys.
    pub with_keys: BTreeMap<String, String>,
    /// The names of the properties that the user set: they take precedence over settings without keys.
    pub own: BTreeSet<String>,
    /// The server's configuration has keys, which are used wherever it vends no others.
    pub lends_keys: bool,
    lends: bool,
}

impl Session {
    /// Requests the server's configuration.
    pub async fn open(name: &str, properties: &BTreeMap<String, String>) -> Result<Self> {
        let client = Client::new(Settings::new(name, properties)?).await?;
        let warehouse = properties.get("warehouse").filter(|value| !value.is_empty());
        let path = warehouse.map_or_else(|| "config".to_owned(), |w| format!("config?warehouse={}", encode(w)));
        let answer = client.ask(Method::GET, &path, Bytes::new()).await?;
        let refused = || failure::refused("give its configuration", &answer);
        if answer.status != 200 {
            let named =
                warehouse.is_some_and(|_| matches!(answer.status, 400 | 404) && failure::model(&answer).is_some());
            let error = refused().in_file(&client.settings().base);
            return Err(if named { error.advice("Check the catalog's warehouse") } else { error });
        }
        let config: CatalogConfig = serde_json::from_slice(&answer.body).map_err(|_| {
            Error::failed("what the server gives as its configuration is none")
                .in_file(&client.settings().base)
                .advice("Check the catalog's uri: there is no REST catalog at this address")
        })?;
        let lends = config.endpoints.iter().flatten().any(|endpoint| endpoint == LOAD_CREDENTIALS);
        let trust::Merged { properties: merged, with_keys } = trust::of_catalog(properties, config)?;
        // Requests to the server are signed as the user configured, whatever keys it vends for files.
        let mut of_server = merged.clone();
        of_server.retain(|key, _| !is_identity(key));
        of_server.extend(properties.iter().filter(|(key, _)| is_identity(key)).map(|(k, v)| (k.clone(), v.clone())));
        let settings = Settings::new(name, &of_server)?;
        // The token from the first request is also valid for the following ones.
        let client = client.renewed(settings).await?;
        let lends_keys = merged.get(KEY_ID).is_some_and(|id| properties.get(KEY_ID) != Some(id));
        let own = properties.iter().filter(|(_, value)| !value.is_empty()).map(|(key, _)| key.clone()).collect();
        Ok(Self { client, properties: merged, with_keys, own, lends_keys, lends })
    }

    pub fn namespaces(&self) -> String {
        format!("{}namespaces", self.client.settings().prefix)
    }

    pub fn namespace(&self, levels: &[String]) -> String {
        let levels: Vec<String> = levels.iter().map(|level| encode(level)).collect();
        format!("{}/{}", self.namespaces(), levels.join(&self.client.settings().separator))
    }

    pub fn tables(&self, namespace: &NamespaceIdent) -> String {
        format!("{}/tables", self.namespace(namespace))
    }

    pub fn table(&self, ident: &TableIdent) -> String {
        format!("{}/{}", self.tables(ident.namespace()), encode(ident.name()))
    }

    /// The error for an unsuccessful response.
    pub fn refused(&self, asked: &str, answer: &Answer) -> Error {
        failure::refused(asked, answer).in_file(&self.client.settings().base)
    }

    /// The table, or `None` if it does not exist.
    pub async fn load(&self, ident: &TableIdent) -> Result<Option<LoadTableResult>> {
        let asked = format!("load table {ident}");
        let answer = self.client.ask(Method::GET, &self.table(ident), Bytes::new()).await?;
        match answer.status {
            200 => self.read(&asked, &answer).map(Some),
            // Without a message, there may be no catalog at all at this path.
            404 if failure::model(&answer).is_some() => Ok(None),
            _ => Err(self.refused(&asked, &answer)),
        }
    }

    /// New keys for a table's files; `None` if the server has no endpoint for that.
    pub async fn credentials(&self, ident: &TableIdent) -> Result<Option<Vec<StorageCredential>>> {
        if !self.lends {
            return Ok(None);
        }
        let path = format!("{}/credentials", self.table(ident));
        let answer = self.client.ask(Method::GET, &path, Bytes::new()).await?;
        if answer.status != 200 {
            return Ok(None);
        }
        let read: LoadCredentialsResponse = self.read("lend keys", &answer)?;
        Ok(Some(read.storage_credentials))
    }

    /// The content of a response with status 200.
    pub fn read<T: DeserializeOwned>(&self, asked: &str, answer: &Answer) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            // The parser's message may quote the response, which may contain keys, so only the position is used.
            Error::failed(format!(
                "the catalog's answer when asked to {asked} can't be understood (line {}, column {})",
                error.line(),
                error.column()
            ))
            .in_file(&self.client.settings().base)
        })
    }
}

/// A request's body.
pub(super) fn body(value: &impl Serialize) -> Result<Bytes> {
    let body = serde_json::to_vec(value);
    body.map(Bytes::from).map_err(|e| Error::failed("the request to the catalog can't be written").caused_by(e))
}
