//! Bodies of requests and responses for which `iceberg` has no public types, named as in Apache Iceberg's OpenAPI
//! document (`rest-catalog-open-api.yaml`).

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{PartitionSpec, Schema, SortOrder, TableMetadata};
use iceberg::{TableIdent, TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};

use crate::percent::encode;

/// `CatalogConfig`.
#[derive(Deserialize)]
pub(super) struct CatalogConfig {
    #[serde(default)]
    pub defaults: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub overrides: BTreeMap<String, Option<String>>,
    pub endpoints: Option<Vec<String>>,
}

/// `LoadTableResult`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LoadTableResult {
    pub metadata_location: Option<String>,
    pub metadata: TableMetadata,
    #[serde(default)]
    pub config: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub storage_credentials: Option<Vec<StorageCredential>>,
}

/// `LoadCredentialsResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadCredentialsResponse {
    pub storage_credentials: Vec<StorageCredential>,
}

/// `StorageCredential`: for locations that start with the prefix.
#[derive(Deserialize)]
pub(crate) struct StorageCredential {
    pub prefix: String,
    pub config: BTreeMap<String, String>,
}

/// `ListTablesResponse`.
#[derive(Deserialize)]
pub(super) struct ListTablesResponse {
    #[serde(default)]
    pub identifiers: Vec<TableIdent>,
}

/// `CommitTableResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CommitTableResponse {
    pub metadata_location: String,
    pub metadata: TableMetadata,
}

/// `CreateNamespaceRequest`.
#[derive(Serialize)]
pub(super) struct CreateNamespaceRequest<'a> {
    pub namespace: &'a [String],
    pub properties: HashMap<String, String>,
}

/// `CreateTableRequest`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateTableRequest<'a> {
    pub name: &'a str,
    pub schema: &'a Schema,
    pub partition_spec: &'a PartitionSpec,
    pub write_order: &'a SortOrder,
    pub stage_create: bool,
    pub properties: BTreeMap<&'a str, &'a str>,
}

/// `CommitTableRequest`.
#[derive(Serialize)]
pub(super) struct CommitTableRequest<'a> {
    pub identifier: Identifier<'a>,
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
}

/// `TableIdentifier`.
#[derive(Serialize)]
pub(super) struct Identifier<'a> {
    namespace: &'a [String],
    name: &'a str,
}

impl<'a> From<&'a TableIdent> for Identifier<'a> {
    fn from(ident: &'a TableIdent) -> Self {
        Self { namespace: ident.namespace().as_ref(), name: ident.name() }
    }
}

/// `IcebergErrorResponse`.
#[derive(Deserialize)]
pub(super) struct ErrorResponse {
    pub error: ErrorModel,
}

/// `ErrorModel`; servers omit parts of it.
#[derive(Deserialize, Default)]
pub(super) struct ErrorModel {
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// `OAuthTokenResponse`.
#[derive(Deserialize)]
pub(super) struct OAuthToken {
    pub access_token: String,
    pub expires_in: Option<f64>,
}

/// `OAuthError`.
#[derive(Deserialize)]
pub(super) struct OAuthError {
    pub error: String,
    pub error_description: Option<String>,
}

/// A body of type `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    fields.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("a b", "c&d=")]), "a%20b=c%26d%3D");
    }
}
