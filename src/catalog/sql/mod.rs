//! Pointers in the tables of Java's `JdbcCatalog`, which PyIceberg's `SqlCatalog` also uses.
//!
//! - Reads never create anything; the first write creates missing tables.
//! - New tables have schema version V1 (with `iceberg_type`). Tables of version V0 are used unchanged.
//! - The pointer moves by `UPDATE … WHERE metadata_location = <old>` in its own transaction: it moved if a row changed
//!   and COMMIT succeeded. No transaction is open while a metadata file is written.
//!
//! [`sqlite`] and [`postgres`] implement the connection, the meaning of its errors, and the outcome of a failed COMMIT.

pub mod postgres;
mod postgres_address;
mod postgres_failure;
mod postgres_guard;
pub mod sqlite;

use iceberg::{NamespaceIdent, TableIdent};

use super::pointer::Pointer;
use crate::error::{Error, Result};
use crate::secrets;

/// The table of pointers.
const TABLES: &str = "iceberg_tables";
/// The table of namespaces.
const NAMESPACES: &str = "iceberg_namespace_properties";

// Column for column as Java's JdbcUtil creates them for schema version V1.
const CREATE_TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (\
       catalog_name VARCHAR(255) NOT NULL, \
       table_namespace VARCHAR(255) NOT NULL, \
       table_name VARCHAR(255) NOT NULL, \
       metadata_location VARCHAR(1000), \
       previous_metadata_location VARCHAR(1000), \
       iceberg_type VARCHAR(5), \
       PRIMARY KEY (catalog_name, table_namespace, table_name))";
const CREATE_NAMESPACES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (\
       catalog_name VARCHAR(255) NOT NULL, \
       namespace VARCHAR(255) NOT NULL, \
       property_key VARCHAR(255) NOT NULL, \
       property_value VARCHAR(1000), \
       PRIMARY KEY (catalog_name, namespace, property_key))";

/// Parameters: catalog, namespace. A row means that it exists.
const FIND_NAMESPACE: &str =
    "SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2 LIMIT 1";
/// Parameters: catalog, namespace. The property is the one that Java and PyIceberg write.
const INSERT_NAMESPACE: &str = "INSERT INTO iceberg_namespace_properties \
     (catalog_name, namespace, property_key, property_value) VALUES ($1, $2, 'exists', 'true') ON CONFLICT DO NOTHING";
/// Parameter: catalog. Returns the number of its tables and of their namespaces.
const COUNT_TABLES: &str =
    "SELECT count(*), count(DISTINCT table_namespace) FROM iceberg_tables WHERE catalog_name = $1";
/// Parameter: catalog. Returns some of its tables, by namespace and name.
const SOME_TABLES: &str = "SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = $1 \
     ORDER BY table_namespace, table_name LIMIT 1000";

/// The schema version of `iceberg_tables`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V0,
    V1,
}

impl Version {
    /// By the names of the table's columns; `None` without columns, since the table does not exist then.
    fn of(columns: &[String]) -> Option<Self> {
        match columns {
            [] => None,
            columns if columns.iter().any(|name| name == "iceberg_type") => Some(Self::V1),
            _ => Some(Self::V0),
        }
    }

    /// Parameters: catalog, namespace, name. Returns location and type.
    fn select(self) -> &'static str {
        match self {
            Self::V0 => {
                "SELECT metadata_location, NULL FROM iceberg_tables \
                 WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3"
            }
            Self::V1 => {
                "SELECT metadata_location, iceberg_type FROM iceberg_tables \
                 WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3"
            }
        }
    }

    /// Parameters: catalog, namespace, name, location.
    fn insert(self) -> &'static str {
        match self {
            Self::V0 => {
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
            }
            Self::V1 => {
                "INSERT INTO iceberg_tables \
                 (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
                 VALUES ($1, $2, $3, $4, 'TABLE') ON CONFLICT DO NOTHING"
            }
        }
    }

    /// Parameters: new location, old location, catalog, namespace, name, old location.
    fn swap(self) -> &'static str {
        match self {
            Self::V0 => {
                "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 \
                 WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $6"
            }
            Self::V1 => {
                "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 \
                 WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $6 \
                 AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)"
            }
        }
    }
}

/// The pointer in a row; `place` describes the catalog in messages.
fn pointer(ident: &TableIdent, place: &str, location: Option<String>, kind: Option<&str>) -> Result<Pointer> {
    match (kind, location) {
        // PyIceberg, and Java before views, leave the type null.
        (None | Some("TABLE"), Some(location)) => Ok(Pointer { location, version: None }),
        (None | Some("TABLE"), None) => {
            Err(Error::failed(format!("the catalog has no metadata location for table {ident}")).in_file(place))
        }
        (Some(kind), _) => {
            Err(Error::failed(format!("{ident} is not a table but a {}", secrets::strike(kind).to_lowercase()))
                .advice("Choose another name"))
        }
    }
}

/// Why an insert changed no row.
fn taken(ident: &TableIdent) -> String {
    format!("table {ident} exists")
}

/// Why an update changed no row.
fn moved(ident: &TableIdent) -> String {
    format!("table {ident} was changed by another writer")
}

/// The levels joined with dots, as all clients of these tables store them.
fn joined(namespace: &NamespaceIdent) -> Result<String> {
    if namespace.iter().any(|level| level.is_empty() || level.contains('.')) {
        return Err(Error::usage(format!("a SQL catalog has no namespace {:?}", namespace.as_ref()))
            .advice("A level of a namespace is neither empty nor does it have a dot in it"));
    }
    Ok(namespace.join("."))
}
