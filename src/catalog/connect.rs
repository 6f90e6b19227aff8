//! Connects to a catalog, by its properties.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::glue::GlueCatalog;
use super::rest::RestCatalog;
use super::{Catalog, place, property};
use crate::catalog::sql::postgres::PostgresCatalog;
use crate::catalog::sql::sqlite::SqliteCatalog;
use crate::error::{Error, Result};
use crate::storage::{Location, Store};

/// The default warehouse: a folder in the working directory.
pub const DEFAULT_WAREHOUSE: &str = "warehouse";
/// The default SQLite file in the warehouse, without a `uri`.
pub const DEFAULT_FILE: &str = "catalog.db";

const SUPPORTED: &str = "Supported are \"rest\", \"glue\", and \"sql\" with a sqlite:/// or a postgresql:// uri";

/// Creates the catalog `name` from PyIceberg's properties. Nothing is opened or written yet, but a REST catalog's
/// configuration is requested.
///
/// - A `uri` of `postgresql://` is a PostgreSQL database; it needs a `warehouse` to create tables in.
/// - `allowed-locations` names locations besides the warehouse that may hold tables.
/// - With neither `uri` nor `warehouse`, the catalog is the SQLite file `warehouse/catalog.db` in the working
///   directory; with only a local `warehouse`, the file `catalog.db` in it. A warehouse on S3 needs a `uri`. `name` is
///   the value of the column `catalog_name`.
///
/// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for unsupported or invalid properties.
pub async fn connect(name: &str, properties: &BTreeMap<String, String>, store: Store) -> Result<Arc<dyn Catalog>> {
    property::remember(properties);
    let get = |key: &str| properties.get(key).map(String::as_str).filter(|value| !value.is_empty());
    if name.is_empty() {
        return Err(Error::usage("the catalog's name is empty"));
    }
    if let Some(class) = get("py-catalog-impl") {
        return Err(Error::usage(format!("catalog {name:?} is a Python class ({class}), which can't be used here")));
    }

    let uri = get("uri");
    let kind = match (get("type").map(str::to_lowercase), uri) {
        (Some(kind), _) => kind,
        (None, None) => "sql".to_owned(),
        (None, Some(uri)) => match uri.split_once(':').map_or("", |(scheme, _)| scheme) {
            "http" | "https" => "rest".to_owned(),
            "thrift" => "hive".to_owned(),
            // The kind of database is checked below.
            _ => "sql".to_owned(),
        },
    };
    match kind.as_str() {
        "sql" => {}
        "rest" => return Ok(Arc::new(RestCatalog::connect(name, properties, store).await?)),
        "glue" => {
            let warehouse = get("warehouse").map(Location::parse).transpose()?;
            let allowed = place::allowed(properties, warehouse)?;
            return Ok(Arc::new(GlueCatalog::glue(properties, allowed, store).await?));
        }
        "hive" | "dynamodb" | "bigquery" | "in-memory" | "s3tables" => {
            return Err(Error::usage(format!("catalog {name:?}: type {kind:?} is not supported yet")).advice(SUPPORTED));
        }
        other => {
            return Err(Error::usage(format!("catalog {name:?}: there is no catalog type {other:?}")).advice(SUPPORTED));
        }
    }

    let warehouse = match (get("warehouse"), uri) {
        (Some(warehouse), _) => Some(Location::parse(warehouse)?),
        (None, None) => Some(Location::parse(DEFAULT_WAREHOUSE)?),
        (None, Some(_)) => None,
    };
    let allowed = place::allowed(properties, warehouse.clone())?;
    if let Some(uri) = uri.filter(|uri| database(uri).is_some_and(|name| matches!(name, "postgresql" | "postgres"))) {
        return Ok(Arc::new(PostgresCatalog::at(name, uri, allowed, store)?));
    }
    let path = match (uri, &warehouse) {
        (Some(uri), _) => sqlite_path(uri)?,
        (None, Some(warehouse)) => match warehouse.local_path() {
            Some(folder) => folder.join(DEFAULT_FILE),
            None => return Err(no_uri(name, warehouse)),
        },
        (None, None) => return Err(Error::usage(format!("catalog {name:?} has no uri"))),
    };
    let path =
        std::path::absolute(path).map_err(|e| Error::usage("the catalog's uri has no usable path").caused_by(e))?;
    Ok(Arc::new(SqliteCatalog::at(name, &path, allowed, store)))
}

/// SQLite's file can't be stored on S3 with the tables.
fn no_uri(name: &str, warehouse: &Location) -> Error {
    Error::usage(format!("the warehouse is {warehouse}, but catalog {name:?} has no uri: where its tables are listed"))
        .advice(
            "Give a local file for it, as in --catalog-property uri=sqlite:///catalog.db, always the same, \
             or the uri of a server",
        )
}

/// The kind of database of an SQLAlchemy URL, `postgresql` of `postgresql+psycopg2://…`.
fn database(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once("://")?;
    Some(scheme.split_once('+').map_or(scheme, |(database, _driver)| database))
}

/// The file of an SQLAlchemy URL: `sqlite:///relative/path` or `sqlite:////absolute/path`.
fn sqlite_path(uri: &str) -> Result<PathBuf> {
    let shown = property::shown("uri", uri);
    let (Some(database), Some((_, rest))) = (database(uri), uri.split_once("://")) else {
        return Err(Error::usage(format!("the catalog's uri is not a URL: {shown}")).advice(
            "Write sqlite:///relative/path, sqlite:////absolute/path or postgresql://user:password@host:port/database",
        ));
    };
    if database != "sqlite" {
        return Err(Error::usage(format!("a catalog in {database:?} is not supported yet: {shown}")).advice(SUPPORTED));
    }
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    if !options.is_empty() {
        tracing::warn!("options in the catalog's uri are for SQLAlchemy and ignored: {shown}");
    }
    match path.strip_prefix('/') {
        Some(path) if !path.is_empty() && path != ":memory:" && !path.starts_with("file:") => Ok(PathBuf::from(path)),
        _ => Err(Error::usage(format!("the catalog's uri names no file: {shown}"))
            .advice("Write sqlite:///relative/path or sqlite:////absolute/path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn sqlite_urls_are_sqlalchemys() {
        for (uri, path) in [
            ("sqlite:///warehouse/catalog.db", "warehouse/catalog.db"),
            ("sqlite:////srv/catalog.db", "/srv/catalog.db"),
            ("sqlite+pysqlite:////srv/catalog.db", "/srv/catalog.db"),
            ("sqlite:////srv/my catalog%20.db?timeout=5", "/srv/my catalog%20.db"),
        ] {
            assert_eq!(sqlite_path(uri).unwrap(), PathBuf::from(path), "{uri}");
        }
        for uri in
            ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/x", "sqlite:///file:x?uri=true", "x.db"]
        {
            assert_eq!(sqlite_path(uri).unwrap_err().kind(), Kind::Usage, "{uri}");
        }
    }

    #[tokio::test]
    async fn a_warehouse_on_s3_needs_a_uri() {
        let mut properties = BTreeMap::from([("warehouse".to_owned(), "s3a://bucket/warehouse/".to_owned())]);
        let error = connect("default", &properties, Store::local()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("uri=sqlite:///"), "{error}");
        properties.insert("uri".to_owned(), "sqlite:////srv/catalog.db".to_owned());
        let catalog = connect("default", &properties, Store::local()).await.unwrap();
        let ident = iceberg::TableIdent::from_strs(["shop", "orders"]).unwrap();
        let schema = iceberg::spec::Schema::builder().build().unwrap();
        let creation = iceberg::TableCreation::builder().name("t".to_owned()).location(String::new()).schema(schema);
        let planned =
            iceberg::spec::TableMetadataBuilder::from_table_creation(creation.build()).unwrap().build().unwrap();
        let home = catalog.prepare(&ident, &planned.metadata).await.unwrap().unwrap();
        assert_eq!(home.location, "s3://bucket/warehouse/shop/orders");
    }

    /// The scheme of the uri says which catalog is meant, where no type does.
    #[tokio::test]
    async fn the_uri_says_what_catalog_it_is() {
        for (uri, said) in [
            ("thrift://host:9083", "type \"hive\" is not supported yet"),
            ("mysql://host/db", "a catalog in \"mysql\" is not supported yet"),
        ] {
            let properties = BTreeMap::from([("uri".to_owned(), uri.to_owned())]);
            let error = connect("default", &properties, Store::local()).await.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_supported_is_a_usage_error_without_secrets() {
        for (key, value) in [
            ("type", "rest"),
            ("type", "hive"),
            ("type", "nonsense"),
            ("uri", "https://me:hush@host/catalog"), // never connected to: passwords are no part of it
            ("uri", "mysql+pymysql://me:hush@host/db"),
            ("uri", "postgresql+psycopg2://me:hush@host:port/db"),
            ("py-catalog-impl", "my.Catalog"),
        ] {
            let properties = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            let error = connect("default", &properties, Store::local()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{key}={value}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
