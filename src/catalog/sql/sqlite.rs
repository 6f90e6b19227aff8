//! A catalog in an SQLite file.
//!
//! - The first write creates the file and its folder.
//! - Every operation opens the file again: it is never open while others work with it.
//! - Writers are serialised by `BEGIN IMMEDIATE`, which waits for [`BUSY_TIMEOUT`]; a commit is on disk when it
//!   returns. The journal mode remains the default, so that any client can open the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _, Sqlite, SqliteConnection};

use super::{
    COUNT_TABLES, CREATE_NAMESPACES, CREATE_TABLES, FIND_NAMESPACE, INSERT_NAMESPACE, SOME_TABLES, Version, joined,
    moved, pointer, taken,
};
use crate::catalog::check::{About, Step, count};
use crate::catalog::pointer::{Pointer, PointerCatalog, Pointers, Swap};
use crate::error::{Error, Result};
use crate::storage::{AllowedLocations, Store};

/// How long to wait for other programs that lock the file.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A catalog in an SQLite file.
pub type SqliteCatalog = PointerCatalog<SqlitePointers>;

impl SqliteCatalog {
    /// The catalog `name` in the file at `path`, which need not exist.
    pub fn at(name: &str, path: &Path, allowed: AllowedLocations, store: Store) -> Self {
        Self::new(SqlitePointers::new(name, path, BUSY_TIMEOUT), store, allowed.of_own_catalog())
    }
}

/// The pointers of one catalog in an SQLite file.
#[derive(Debug)]
pub struct SqlitePointers {
    catalog: String,
    path: PathBuf,
    busy_timeout: Duration,
}

impl SqlitePointers {
    /// The pointers of the catalog `name` in the file at `path`, waiting for other programs for at most `busy_timeout`.
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
            Some(10 | 13) => ours.advice("The disk is full, or it fails: make room, and run the command again"),
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

    /// The file and the schema version of its tables, or `None` if the file or its table does not exist.
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
        let columns: Vec<String> = columns.iter().filter_map(|row| row.try_get(0).ok()).collect();
        Ok(Version::of(&columns))
    }

    /// The file with its tables; creates missing ones.
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
        if connection.fetch_all(tables).await.map_err(failure)?.len() < 2 {
            connection.execute("BEGIN IMMEDIATE").await.map_err(failure)?;
            for table in [CREATE_TABLES, CREATE_NAMESPACES] {
                connection.execute(table).await.map_err(failure)?;
            }
            connection.execute("COMMIT").await.map_err(failure)?;
        }
        let version = self.version(&mut connection).await?;
        version
            .map(|version| (connection, version))
            .ok_or_else(|| Error::failed("the catalog has no tables").in_file(self.path.display().to_string()))
    }

    /// Runs one statement in its own transaction: [`Swap::Done`] if it changed a row, the inner error if COMMIT failed.
    /// Any earlier failure is undone when the connection closes.
    async fn write(
        &self,
        mut connection: SqliteConnection,
        statement: sqlx::query::Query<'_, Sqlite, SqliteArguments>,
        conflict: String,
    ) -> Result<Result<Swap>> {
        let failure = |e| self.failure("the catalog could not be changed", e);
        connection.execute("BEGIN IMMEDIATE").await.map_err(failure)?;
        let changed = statement.execute(&mut connection).await.map_err(failure)?.rows_affected();
        let swap = if changed == 0 {
            connection.execute("ROLLBACK").await.map_err(failure)?;
            Ok(Swap::Conflict(conflict))
        } else {
            match connection.execute("COMMIT").await {
                Ok(_) => Ok(Swap::Done),
                // If a reader's lock blocked it, the transaction is still open and can certainly be undone.
                Err(error) if is_busy(&error) => {
                    connection.execute("ROLLBACK").await.map_err(failure)?;
                    return Err(failure(error));
                }
                Err(error) => Err(self.failure("the catalog's COMMIT failed", error)),
            }
        };
        // Committed changes are on disk; closing can't change that.
        drop(connection.close().await);
        Ok(swap)
    }

    /// The outcome of moving a pointer to `new`. After a failed COMMIT, as on a full disk, nothing is pending once the
    /// connection is closed: the file's content is final.
    async fn settled(&self, written: Result<Swap>, ident: &TableIdent, old: Option<&str>, new: &str) -> Result<Swap> {
        let error = match written {
            Ok(swap) => return Ok(swap),
            Err(error) => error,
        };
        match self.read_pointer(ident).await.map(|pointer| pointer.map(|pointer| pointer.location)) {
            Ok(Some(now)) if now == new => Ok(Swap::Done),
            Ok(now) if now.as_deref() == old => Err(error),
            _ => Ok(Swap::Unknown(error.to_string())),
        }
    }
}

impl SqlitePointers {
    /// The number of tables. Briefly takes a writer's lock, to check whether that is permitted.
    async fn list(&self, mut connection: SqliteConnection) -> Result<String> {
        let failure = |e| self.failure("the catalog's tables could not be listed", e);
        let row = sqlx::query(COUNT_TABLES).bind(&self.catalog).fetch_one(&mut connection).await.map_err(failure)?;
        let (tables, namespaces): (i64, i64) = (row.try_get(0).map_err(failure)?, row.try_get(1).map_err(failure)?);
        let failure = |e| self.failure("the catalog can't be written to", e);
        connection.execute("BEGIN IMMEDIATE").await.map_err(failure)?;
        connection.execute("ROLLBACK").await.map_err(failure)?;
        drop(connection.close().await);
        Ok(format!("catalog {:?} has {} in {}", self.catalog, count(tables, "table"), count(namespaces, "namespace")))
    }
}

/// SQLITE_BUSY, including its extended codes.
fn is_busy(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

#[async_trait]
impl Pointers for SqlitePointers {
    async fn read_pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        let namespace = joined(ident.namespace())?;
        let Some((mut connection, version)) = self.open().await? else { return Ok(None) };
        let row = sqlx::query(version.select())
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
        pointer(ident, &self.path.display().to_string(), location, kind.as_deref()).map(Some)
    }

    async fn insert_pointer(&self, ident: &TableIdent, location: &str, _: &TableMetadata) -> Result<Swap> {
        let namespace = joined(ident.namespace())?;
        let (connection, version) = self.open_or_create().await?;
        let statement =
            sqlx::query(version.insert()).bind(&self.catalog).bind(namespace).bind(ident.name()).bind(location);
        let written = self.write(connection, statement, taken(ident)).await?;
        self.settled(written, ident, None, location).await
    }

    async fn swap_pointer(&self, ident: &TableIdent, old: &Pointer, location: &str, _: &TableMetadata) -> Result<Swap> {
        let namespace = joined(ident.namespace())?;
        let Some((connection, version)) = self.open().await? else { return Ok(Swap::Conflict(moved(ident))) };
        let statement = sqlx::query(version.swap())
            .bind(location)
            .bind(&old.location)
            .bind(&self.catalog)
            .bind(namespace)
            .bind(ident.name())
            .bind(&old.location);
        let written = self.write(connection, statement, moved(ident)).await?;
        self.settled(written, ident, Some(&old.location), location).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let failure = |e| self.failure("the namespace could not be created", e);
        let namespace = joined(namespace)?;
        let (mut connection, _) = self.open_or_create().await?;
        let known = sqlx::query(FIND_NAMESPACE)
            .bind(&self.catalog)
            .bind(&namespace)
            .fetch_optional(&mut connection)
            .await
            .map_err(failure)?;
        if known.is_none() {
            sqlx::query(INSERT_NAMESPACE)
                .bind(&self.catalog)
                .bind(&namespace)
                .execute(&mut connection)
                .await
                .map_err(failure)?;
        }
        drop(connection.close().await);
        Ok(())
    }

    fn place(&self) -> String {
        let there = if self.path.exists() { "" } else { ", which does not exist" };
        format!("the catalog {:?} in the SQLite file {}{there}", self.catalog, self.path.display())
    }

    async fn some_tables(&self) -> Result<Vec<String>> {
        let Some((mut connection, _)) = self.open().await? else { return Ok(Vec::new()) };
        let rows = sqlx::query_as::<_, (String, String)>(SOME_TABLES).bind(&self.catalog).fetch_all(&mut connection);
        let rows = rows.await.map_err(|e| self.failure("the catalog's tables could not be listed", e))?;
        drop(connection.close().await);
        Ok(rows.into_iter().map(|(namespace, name)| format!("{namespace}.{name}")).collect())
    }

    async fn check(&self) -> Vec<Step> {
        let file = self.path.display();
        match self.open().await {
            Err(error) => vec![Step::new(About::Reach, Err(error))],
            Ok(None) => vec![
                Step::good(About::Reach, format!("{file} has no catalog yet; the first full-load makes it")),
                Step::new(About::List, Ok("no tables".to_owned())),
            ],
            Ok(Some((connection, _))) => {
                vec![
                    Step::good(About::Reach, format!("{file} is there")),
                    Step::new(About::List, self.list(connection).await),
                ]
            }
        }
    }
}

/// Creates a folder and its parents, and syncs each parent, so that none is lost when the machine crashes.
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

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) \
                          VALUES ('c', 'shop', 'orders', 'now')";

    /// What the file says after a COMMIT that failed is what became of it.
    #[tokio::test]
    async fn a_commit_that_failed_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let pointers = SqlitePointers::new("c", &folder.path().join("a/b/catalog.db"), Duration::from_secs(1));
        let (mut connection, _) = pointers.open_or_create().await.unwrap();
        connection.execute(TABLES).await.unwrap();
        connection.close().await.unwrap();
        let ident = TableIdent::from_strs(["shop", "orders"]).unwrap();
        let settled = async |old: Option<&str>, new: &str| {
            pointers.settled(Err(Error::failed("COMMIT")), &ident, old, new).await.map_err(|error| error.to_string())
        };
        assert_eq!(settled(Some("before"), "now").await, Ok(Swap::Done));
        assert_eq!(settled(Some("now"), "new").await, Err("COMMIT".to_owned()));
        assert_eq!(settled(None, "new").await, Ok(Swap::Unknown("COMMIT".to_owned())));
        assert_eq!(settled(Some("before"), "new").await, Ok(Swap::Unknown("COMMIT".to_owned())));
        let done = pointers.settled(Ok(Swap::Done), &ident, None, "new").await.unwrap();
        assert_eq!(done, Swap::Done);
    }

    /// A file that may not grow stands for a full disk.
    #[tokio::test]
    async fn a_full_disk_has_a_way_out_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pointers = SqlitePointers::new("c", &folder.path().join("catalog.db"), Duration::from_secs(1));
        let (mut connection, version) = pointers.open_or_create().await.unwrap();
        connection.execute("PRAGMA max_page_count = 1").await.unwrap();
        let location = "s3://b/".repeat(10_000);
        let statement = sqlx::query(version.insert()).bind("c").bind("shop").bind("orders").bind(&location);
        let error = pointers.write(connection, statement, String::new()).await.unwrap_err().to_string();
        assert!(error.contains("The disk is full"), "{error}");
        let ident = TableIdent::from_strs(["shop", "orders"]).unwrap();
        assert_eq!(pointers.read_pointer(&ident).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_has_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &Path| SqlitePointers::new("c", path, Duration::from_secs(1));
        let error = at(folder.path()).connect(false).await.unwrap_err().to_string();
        assert!(error.contains("Check the access rights"), "{error}");
        let text = folder.path().join("text");
        std::fs::write(&text, "no SQLite file, and longer than its header of a hundred bytes ".repeat(9)).unwrap();
        let error = at(&text).open().await.err().unwrap().to_string();
        assert!(error.contains("It is no SQLite file"), "{error}");
    }

    /// Whoever else makes the folder meanwhile does no harm.
    #[test]
    fn folders_are_made_with_those_above() {
        let folder = tempfile::tempdir().unwrap();
        create_folder(&folder.path().join("a/b/c")).unwrap();
        create_folder(&folder.path().join("a/b/c")).unwrap();
        assert!(folder.path().join("a/b/c").is_dir());
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        create_folder(&file).unwrap();
        assert!(create_folder(&file.join("x")).is_err(), "below a file there are no folders");
    }
}
