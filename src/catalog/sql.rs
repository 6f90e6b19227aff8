//! Pointers in an SQLite file, in the tables of Java's `JdbcCatalog`, which PyIceberg's `SqlCatalog` has too.
//!
//! - The file, and the folder it is in, are made by the first write; looking never makes anything.
//! - New files get the V1 tables (with `iceberg_type`). Files with V0 tables are used as they are.
//! - Every operation opens the file anew: none of ours is open while others work with it.
//! - Writers take turns by `BEGIN IMMEDIATE`, waiting [`BUSY_TIMEOUT`]; a commit is on disk when it returns. The journal mode
//!   stays the default, so that any client can open the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _, Sqlite, SqliteConnection};

use super::pointer::{Pointer, PointerCatalog, Pointers, Swap};
use crate::error::{Error, Result};

/// How long to wait for other programs that hold the file.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

// Column for column what Java's JdbcUtil makes for schema version V1.
const CREATE_TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS iceberg_tables (\
       catalog_name VARCHAR(255) NOT NULL, \
       table_namespace VARCHAR(255) NOT NULL, \
       table_name VARCHAR(255) NOT NULL, \
       metadata_location VARCHAR(1000), \
       previous_metadata_location VARCHAR(1000), \
       iceberg_type VARCHAR(5), \
       PRIMARY KEY (catalog_name, table_namespace, table_name))",
    "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (\
       catalog_name VARCHAR(255) NOT NULL, \
       namespace VARCHAR(255) NOT NULL, \
       property_key VARCHAR(255) NOT NULL, \
       property_value VARCHAR(1000), \
       PRIMARY KEY (catalog_name, namespace, property_key))",
];

/// A catalog in an SQLite file.
pub type SqlCatalog = PointerCatalog<SqlPointers>;

impl SqlCatalog {
    /// The catalog `name` in the file at `path`, which need not exist; new tables go below `warehouse`.
    pub fn sqlite(name: &str, path: &Path, warehouse: Option<String>, file_io: FileIO) -> Self {
        Self::new(SqlPointers::new(name, path, BUSY_TIMEOUT), file_io, warehouse)
    }
}

/// The pointers of one catalog in an SQLite file.
#[derive(Debug)]
pub struct SqlPointers {
    catalog: String,
    path: PathBuf,
    busy_timeout: Duration,
}

/// Which of the two forms `iceberg_tables` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V0,
    V1,
}

impl SqlPointers {
    /// The pointers of the catalog `name` in the file at `path`, waiting for other programs at most `busy_timeout`.
    pub fn new(name: &str, path: &Path, busy_timeout: Duration) -> Self {
        Self { catalog: name.to_owned(), path: path.to_owned(), busy_timeout }
    }

    fn failure(&self, what: &str, error: sqlx::Error) -> Error {
        // The low byte of SQLite's extended codes is the plain result code.
        let code = error.as_database_error().and_then(|e| e.code()?.parse::<u32>().ok()).map(|code| code & 0xff);
        let ours = Error::failed(what).in_file(self.path.display().to_string()).caused_by(error);
        match code {
            Some(5 | 6) => ours.advice("Another program holds the catalog's file; try again when it is done"),
            Some(8 | 14) => ours.advice("Check the access rights of the file and of its folder"),
            Some(13) => ours.advice("The disk is full"),
            Some(11 | 26) => ours.advice("It is no SQLite file, or a damaged one; check the catalog's uri"),
            _ => ours,
        }
    }

    async fn connect(&self, create: bool) -> Result<SqliteConnection> {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(create)
            .busy_timeout(self.busy_timeout)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|e| self.failure("the catalog could not be opened", e))
    }

    /// The file and the form of its tables, or `None` if there is no file or no such table in it.
    async fn open(&self) -> Result<Option<(SqliteConnection, Version)>> {
        match tokio::fs::try_exists(&self.path).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                return Err(Error::failed("the catalog could not be opened")
                    .in_file(self.path.display().to_string())
                    .caused_by(error));
            }
        }
        let mut connection = self.connect(false).await?;
        let version = self.version(&mut connection).await?;
        Ok(version.map(|version| (connection, version)))
    }

    async fn version(&self, connection: &mut SqliteConnection) -> Result<Option<Version>> {
        let columns = sqlx::query("SELECT name FROM pragma_table_info('iceberg_tables')")
            .fetch_all(connection)
            .await
            .map_err(|e| self.failure("the catalog could not be read", e))?;
        if columns.is_empty() {
            return Ok(None);
        }
        let typed = columns.iter().any(|row| row.try_get::<String, _>(0).is_ok_and(|name| name == "iceberg_type"));
        Ok(Some(if typed { Version::V1 } else { Version::V0 }))
    }

    /// The file with its tables, made where missing.
    async fn open_or_create(&self) -> Result<(SqliteConnection, Version)> {
        let failure = |e| self.failure("the catalog could not be created", e);
        if let Some(folder) = self.path.parent() {
            create_folder(folder).map_err(|e| {
                Error::failed("the folder could not be created").in_file(folder.display().to_string()).caused_by(e)
            })?;
        }
        let mut connection = self.connect(true).await?;
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' \
                      AND name IN ('iceberg_tables', 'iceberg_namespace_properties')";
        if connection.fetch_all(tables).await.map_err(failure)?.len() < CREATE_TABLES.len() {
            connection.execute("BEGIN IMMEDIATE").await.map_err(failure)?;
            for table in CREATE_TABLES {
                connection.execute(table).await.map_err(failure)?;
            }
            connection.execute("COMMIT").await.map_err(failure)?;
        }
        let version = self.version(&mut connection).await?;
        version
            .map(|version| (connection, version))
            .ok_or_else(|| Error::failed("the catalog has no tables").in_file(self.path.display().to_string()))
    }

    /// One statement in a transaction of its own: [`Swap::Done`] if it changed a row. Whatever fails before COMMIT is
    /// undone when the connection goes; a COMMIT that fails may have been applied.
    async fn write(
        &self,
        mut connection: SqliteConnection,
        statement: sqlx::query::Query<'_, Sqlite, SqliteArguments>,
        conflict: String,
    ) -> Result<Swap> {
        let failure = |e| self.failure("the catalog could not be changed", e);
        connection.execute("BEGIN IMMEDIATE").await.map_err(failure)?;
        let changed = statement.execute(&mut connection).await.map_err(failure)?.rows_affected();
        let swap = if changed == 0 {
            connection.execute("ROLLBACK").await.map_err(failure)?;
            Swap::Conflict(conflict)
        } else {
            match connection.execute("COMMIT").await {
                Ok(_) => Swap::Done,
                // Held up by a reader's lock, the transaction is still open, and can be undone for certain.
                Err(error) if is_busy(&error) => {
                    connection.execute("ROLLBACK").await.map_err(failure)?;
                    return Err(failure(error));
                }
                Err(error) => Swap::Unknown(self.failure("the catalog's COMMIT failed", error).to_string()),
            }
        };
        // What is committed is on disk; closing can't change that.
        drop(connection.close().await);
        Ok(swap)
    }
}

/// SQLITE_BUSY, with its extended codes.
fn is_busy(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

#[async_trait]
impl Pointers for SqlPointers {
    async fn read_pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        let namespace = joined(ident.namespace())?;
        let Some((mut connection, version)) = self.open().await? else { return Ok(None) };
        let row = sqlx::query(match version {
            Version::V0 => {
                "SELECT metadata_location, NULL FROM iceberg_tables \
                 WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?"
            }
            Version::V1 => {
                "SELECT metadata_location, iceberg_type FROM iceberg_tables \
                 WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?"
            }
        })
        .bind(&self.catalog)
        .bind(namespace)
        .bind(ident.name())
        .fetch_optional(&mut connection)
        .await
        .map_err(|e| self.failure("the catalog could not be read", e))?;
        drop(connection.close().await);

        let Some(row) = row else { return Ok(None) };
        let failure = |e| self.failure("the catalog holds something unexpected", e);
        let location: Option<String> = row.try_get(0).map_err(failure)?;
        let kind: Option<String> = row.try_get(1).map_err(failure)?;
        match (kind.as_deref(), location) {
            // PyIceberg, and Java before views, leave the type null.
            (None | Some("TABLE"), Some(location)) => Ok(Some(Pointer { location, version: None })),
            (None | Some("TABLE"), None) => {
                Err(Error::failed(format!("the catalog has no metadata location for table {ident}"))
                    .in_file(self.path.display().to_string()))
            }
            (Some(kind), _) => Err(Error::failed(format!("{ident} is not a table but a {}", kind.to_lowercase()))
                .advice("Choose another name")),
        }
    }

    async fn insert_pointer(&self, ident: &TableIdent, location: &str, _: &TableMetadata) -> Result<Swap> {
        let namespace = joined(ident.namespace())?;
        let (connection, version) = self.open_or_create().await?;
        let statement = sqlx::query(match version {
            Version::V0 => {
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) \
                 VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            }
            Version::V1 => {
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
                 VALUES (?, ?, ?, ?, 'TABLE') ON CONFLICT DO NOTHING"
            }
        })
        .bind(&self.catalog)
        .bind(namespace)
        .bind(ident.name())
        .bind(location);
        self.write(connection, statement, format!("table {ident} exists")).await
    }

    async fn swap_pointer(&self, ident: &TableIdent, old: &Pointer, location: &str, _: &TableMetadata) -> Result<Swap> {
        let namespace = joined(ident.namespace())?;
        let conflict = format!("table {ident} was changed by another writer");
        let Some((connection, version)) = self.open().await? else { return Ok(Swap::Conflict(conflict)) };
        let statement = sqlx::query(match version {
            Version::V0 => {
                "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? \
                 WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?"
            }
            Version::V1 => {
                "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? \
                 WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ? \
                 AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)"
            }
        })
        .bind(location)
        .bind(&old.location)
        .bind(&self.catalog)
        .bind(namespace)
        .bind(ident.name())
        .bind(&old.location);
        self.write(connection, statement, conflict).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let failure = |e| self.failure("the namespace could not be created", e);
        let namespace = joined(namespace)?;
        let (mut connection, _) = self.open_or_create().await?;
        let known =
            sqlx::query("SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ? LIMIT 1")
                .bind(&self.catalog)
                .bind(&namespace)
                .fetch_optional(&mut connection)
                .await
                .map_err(failure)?;
        if known.is_none() {
            sqlx::query(
                "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) \
                 VALUES (?, ?, 'exists', 'true') ON CONFLICT DO NOTHING",
            )
            .bind(&self.catalog)
            .bind(&namespace)
            .execute(&mut connection)
            .await
            .map_err(failure)?;
        }
        drop(connection.close().await);
        Ok(())
    }
}

/// The levels joined with dots, as all clients of these tables store them.
fn joined(namespace: &NamespaceIdent) -> Result<String> {
    if namespace.iter().any(|level| level.is_empty() || level.contains('.')) {
        return Err(Error::usage(format!("a SQL catalog has no namespace {:?}", namespace.as_ref()))
            .advice("A level of a namespace is neither empty nor does it have a dot in it"));
    }
    Ok(namespace.join("."))
}

/// Makes a folder and those above it, and syncs the folder each was made in, so that none is lost when the machine stops.
fn create_folder(folder: &Path) -> std::io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_folder(parent)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    #[cfg(unix)]
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}
