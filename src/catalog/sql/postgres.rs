//! A catalog in a PostgreSQL database.
//!
//! - Every operation opens a new connection, so that none is idle between the commits of a long load, and a server
//!   restart does no harm. Statements have no name: a pooler may assign each transaction to another server connection.
//! - A commit is `BEGIN`, one statement, `COMMIT`, at `READ COMMITTED` whatever the role's default is: a writer that
//!   waited for another one sees its row and changes nothing. The server undoes any failure before `COMMIT` was sent
//!   when the connection closes; anything but plain success after that is [`Swap::Unknown`].
//! - The server gets only the trust that it needs: see `postgres_guard.rs`.
//! - Every wait has a time limit: for a connection, an answer, and another writer's lock.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Connection as _, Executor as _, PgConnection, Postgres, Row as _};
use tokio::time::timeout;

use super::postgres_address::Address;
use super::postgres_failure::{Moment, explain, is_lost_race};
use super::{
    COUNT_TABLES, CREATE_NAMESPACES, CREATE_TABLES, FIND_NAMESPACE, INSERT_NAMESPACE, NAMESPACES, SOME_TABLES, TABLES,
    Version, joined, moved, pointer, taken,
};
use crate::catalog::check::{About, Step, count};
use crate::catalog::pointer::{Pointer, PointerCatalog, Pointers, Swap};
use crate::error::{Error, Result};
use crate::storage::{AllowedLocations, Store};

/// Time limit for one statement, and for another writer's lock.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(14);
/// Time limit for `COMMIT`: it may wait for a standby.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for closing the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of attempts to find tables that others are creating at the same time.
const CREATE_ATTEMPTS: u32 = 5;

/// The lock's time limit is a little shorter than [`STATEMENT_TIMEOUT`], so that the server reports the cause.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '10s'";
/// For the table on the search path, whoever owns it; no row if there is none.
const COLUMNS: &str = "SELECT attname::text FROM pg_catalog.pg_attribute \
     WHERE attrelid = to_regclass('iceberg_tables') AND attnum > 0 AND NOT attisdropped";
const MISSING: &str =
    "SELECT to_regclass('iceberg_tables') IS NULL, to_regclass('iceberg_namespace_properties') IS NULL";
/// The permissions needed by a writer on the named table that the role lacks.
const LACKING: &str = "SELECT string_agg(p, ', ') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p \
     WHERE NOT has_table_privilege(to_regclass($1), p)";
/// The user, the schema in which tables would be created, and whether that is permitted.
const WHERE_TO_CREATE: &str = "SELECT current_user::text, current_schema()::text, \
     coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";

/// A catalog in a PostgreSQL database.
pub type PostgresCatalog = PointerCatalog<PostgresPointers>;

impl PostgresCatalog {
    /// The catalog `name` at an SQLAlchemy URL, `postgresql://user:password@host:port/database`.
    /// Parts that the URL omits come from libpq's variables (`PGPASSWORD`, `PGSSLMODE`, …) and its password file.
    /// Nothing is connected yet.
    ///
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for an invalid URL.
    pub fn at(name: &str, uri: &str, allowed: AllowedLocations, store: Store) -> Result<Self> {
        let address = Address::parse(uri)?;
        Ok(Self::new(PostgresPointers { catalog: name.to_owned(), address }, store, allowed))
    }
}

/// The pointers of one catalog in a PostgreSQL database.
pub struct PostgresPointers {
    catalog: String,
    address: Address,
}

impl fmt::Debug for PostgresPointers {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresPointers")
            .field("catalog", &self.catalog)
            .field("place", &self.address.place)
            .finish_non_exhaustive()
    }
}

impl PostgresPointers {
    fn failure(&self, what: &str, error: sqlx::Error) -> Error {
        explain(&self.address, Moment::Work(what), error)
    }

    /// The answer to one statement, within [`STATEMENT_TIMEOUT`].
    async fn answer<T>(&self, what: &str, asked: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
        match timeout(STATEMENT_TIMEOUT, asked).await {
            Ok(answer) => answer.map_err(|e| self.failure(what, e)),
            Err(_) => Err(Error::failed(format!(
                "{what}: the server did not answer within {} s",
                STATEMENT_TIMEOUT.as_secs()
            ))
            .in_file(&self.address.place)),
        }
    }

    async fn connect(&self) -> Result<PgConnection> {
        match timeout(self.address.connect_timeout, self.address.connect()).await {
            Ok(connected) => connected.map_err(|e| explain(&self.address, Moment::Connect, e)),
            Err(_) => Err(self
                .address
                .unreachable(&format!("no connection within {} s", self.address.connect_timeout.as_secs()))),
        }
    }

    /// A connection, and the schema version of the tables; `None` if there are none.
    async fn open(&self) -> Result<Option<(PgConnection, Version)>> {
        let mut connection = self.connect().await?;
        if let Some(version) = self.version(&mut connection).await? {
            return Ok(Some((connection, version)));
        }
        close(connection).await;
        Ok(None)
    }

    async fn version(&self, connection: &mut PgConnection) -> Result<Option<Version>> {
        let what = "the catalog could not be read";
        let columns = sqlx::query_scalar::<_, String>(COLUMNS).persistent(false).fetch_all(connection);
        Ok(Version::of(&self.answer(what, columns).await?))
    }

    /// A connection to a database that has the tables; creates missing ones.
    async fn open_or_create(&self) -> Result<(PgConnection, Version)> {
        let what = "the catalog's tables could not be created";
        let mut connection = self.connect().await?;
        let mut attempt = 1;
        loop {
            let missing = sqlx::query_as::<_, (bool, bool)>(MISSING).persistent(false).fetch_one(&mut connection);
            let (tables, namespaces) = self.answer(what, missing).await?;
            if !tables && !namespaces {
                break;
            }
            for (missing, statement) in [(tables, CREATE_TABLES), (namespaces, CREATE_NAMESPACES)] {
                if !missing {
                    continue;
                }
                match timeout(STATEMENT_TIMEOUT, connection.execute(statement)).await {
                    Ok(Ok(_)) => {}
                    // Another program is creating the same table; `IF NOT EXISTS` does not see it before it is
                    // committed.
                    Ok(Err(error)) if is_lost_race(&error) && attempt < CREATE_ATTEMPTS => {}
                    Ok(Err(error)) => return Err(self.failure(what, error)),
                    Err(_) => return Err(Error::failed(what).in_file(&self.address.place)),
                }
            }
            if attempt == CREATE_ATTEMPTS {
                return Err(Error::failed(what).in_file(&self.address.place));
            }
            attempt += 1;
        }
        let version = self.version(&mut connection).await?;
        version
            .map(|version| (connection, version))
            .ok_or_else(|| Error::failed("the catalog has no tables").in_file(&self.address.place))
    }

    /// Runs one statement in its own transaction: [`Swap::Done`] if it changed a row.
    async fn write(
        &self,
        mut connection: PgConnection,
        statement: Query<'_, Postgres, PgArguments>,
        conflict: String,
    ) -> Result<Swap> {
        let what = "the catalog could not be changed";
        self.answer(what, connection.execute(BEGIN)).await?;
        let changed = self.answer(what, statement.persistent(false).execute(&mut connection)).await?.rows_affected();
        let swap = if changed == 0 {
            Swap::Conflict(conflict)
        } else {
            match timeout(COMMIT_TIMEOUT, connection.execute("COMMIT")).await {
                Ok(Ok(_)) => Swap::Done,
                Ok(Err(error)) => Swap::Unknown(self.failure("the catalog's COMMIT failed", error).to_string()),
                Err(_) => Swap::Unknown(format!("no answer to COMMIT within {} s", COMMIT_TIMEOUT.as_secs())),
            }
        };
        close(connection).await;
        Ok(swap)
    }

    /// The existing tables, and whether they may be changed.
    async fn list(&self, connection: &mut PgConnection) -> Result<String> {
        let what = "the catalog's tables could not be listed";
        let (user, schema, may_create): (String, Option<String>, bool) =
            self.answer(what, sqlx::query_as(WHERE_TO_CREATE).persistent(false).fetch_one(&mut *connection)).await?;
        let missing = sqlx::query_as::<_, (bool, bool)>(MISSING).persistent(false).fetch_one(&mut *connection);
        let (tables, namespaces) = self.answer(what, missing).await?;
        if (tables || namespaces) && !may_create {
            return Err(Error::failed(match &schema {
                Some(schema) => format!("the catalog's tables are missing, and {user} may not make them in {schema:?}"),
                None => format!("the catalog's tables are missing, and no schema of {user}'s search path exists"),
            })
            .in_file(&self.address.place)
            .advice("Let the database's owner GRANT CREATE ON SCHEMA, or make the tables"));
        }
        for (missing, table) in [(tables, TABLES), (namespaces, NAMESPACES)] {
            if missing {
                continue;
            }
            let lacking = sqlx::query_scalar::<_, Option<String>>(LACKING)
                .bind(table)
                .persistent(false)
                .fetch_one(&mut *connection);
            if let Some(lacking) = self.answer(what, lacking).await? {
                return Err(Error::failed(format!("{user} has no right to {lacking} on the table {table}"))
                    .in_file(&self.address.place)
                    .advice(format!("GRANT {lacking} ON {table} TO {user}")));
            }
        }
        if tables {
            return Ok("there is no catalog yet; the first full-load makes its tables".to_owned());
        }
        let counted = sqlx::query_as(COUNT_TABLES).bind(&self.catalog).persistent(false).fetch_one(&mut *connection);
        let (tables, namespaces): (i64, i64) = self.answer(what, counted).await?;
        Ok(format!("catalog {:?} has {} in {}", self.catalog, count(tables, "table"), count(namespaces, "namespace")))
    }
}

/// Closes the connection. Committed changes are kept even if this fails; an open transaction is undone.
async fn close(connection: PgConnection) {
    drop(timeout(CLOSE_TIMEOUT, connection.close()).await);
}

#[async_trait]
impl Pointers for PostgresPointers {
    async fn read_pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        let namespace = joined(ident.namespace())?;
        let Some((mut connection, version)) = self.open().await? else { return Ok(None) };
        let row = sqlx::query(version.select())
            .bind(&self.catalog)
            .bind(namespace)
            .bind(ident.name())
            .persistent(false)
            .fetch_optional(&mut connection);
        let row = self.answer("the catalog could not be read", row).await?;
        close(connection).await;

        let Some(row) = row else { return Ok(None) };
        let failure = |e| self.failure("the catalog holds something unexpected", e);
        let location: Option<String> = row.try_get(0).map_err(failure)?;
        let kind: Option<String> = row.try_get(1).map_err(failure)?;
        pointer(ident, &self.address.place, location, kind.as_deref()).map(Some)
    }

    async fn insert_pointer(&self, ident: &TableIdent, location: &str, _: &TableMetadata) -> Result<Swap> {
        let namespace = joined(ident.namespace())?;
        let (connection, version) = self.open_or_create().await?;
        let statement =
            sqlx::query(version.insert()).bind(&self.catalog).bind(namespace).bind(ident.name()).bind(location);
        self.write(connection, statement, taken(ident)).await
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
        self.write(connection, statement, moved(ident)).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let what = "the namespace could not be created";
        let namespace = joined(namespace)?;
        let (mut connection, _) = self.open_or_create().await?;
        let known = sqlx::query(FIND_NAMESPACE)
            .bind(&self.catalog)
            .bind(&namespace)
            .persistent(false)
            .fetch_optional(&mut connection);
        if self.answer(what, known).await?.is_none() {
            let insert = sqlx::query(INSERT_NAMESPACE).bind(&self.catalog).bind(&namespace);
            self.answer(what, insert.persistent(false).execute(&mut connection)).await?;
        }
        close(connection).await;
        Ok(())
    }

    fn place(&self) -> String {
        format!("the catalog {:?} at {}", self.catalog, self.address.place)
    }

    async fn some_tables(&self) -> Result<Vec<String>> {
        let Some((mut connection, _)) = self.open().await? else { return Ok(Vec::new()) };
        let rows = sqlx::query_as::<_, (String, String)>(SOME_TABLES).bind(&self.catalog).persistent(false);
        let rows = self.answer("the catalog's tables could not be listed", rows.fetch_all(&mut connection)).await?;
        close(connection).await;
        Ok(rows.into_iter().map(|(namespace, name)| format!("{namespace}.{name}")).collect())
    }

    async fn check(&self) -> Vec<Step> {
        let place = &self.address.place;
        let mut connection = match timeout(self.address.connect_timeout, self.address.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                // A server that refuses was reached.
                let answered = error.as_database_error().is_some();
                let failed = Err(explain(&self.address, Moment::Connect, error));
                return if answered {
                    vec![Step::good(About::Reach, format!("{place} answers")), Step::new(About::SignIn, failed)]
                } else {
                    vec![Step::new(About::Reach, failed)]
                };
            }
            Err(_) => {
                let waited = self.address.connect_timeout.as_secs();
                let error = self.address.unreachable(&format!("no connection within {waited} s"));
                return vec![Step::new(About::Reach, Err(error))];
            }
        };
        let steps = vec![
            Step::good(About::Reach, format!("{place} answers")),
            Step::good(About::SignIn, format!("as {}", self.address.options.get_username())),
            Step::new(About::List, self.list(&mut connection).await),
        ];
        close(connection).await;
        steps
    }
}
