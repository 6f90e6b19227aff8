//! A catalog in PostgreSQL: runs where `DDB_ICEBERG_TEST_POSTGRES` is the URI of a role that may create databases, as
//! `tests/interop` sets it. Elsewhere these tests do nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use ddb_iceberg::catalog::Catalog;
use ddb_iceberg::catalog::check::About;
use ddb_iceberg::catalog::sql::postgres::PostgresCatalog;
use ddb_iceberg::error::Kind;
use ddb_iceberg::storage::Store;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};
use tempfile::TempDir;

use crate::Place;
use crate::catalogs::*;

/// A database of its own, with local files.
struct Postgres {
    folder: TempDir,
    uri: String,
    options: PgConnectOptions,
    database: String,
}

impl Postgres {
    /// `None` where there is no server to test with.
    async fn fresh() -> Option<Self> {
        let server = std::env::var("DDB_ICEBERG_TEST_POSTGRES").ok()?;
        let options: PgConnectOptions = server.parse().unwrap();
        let database = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut connection = options.connect().await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {database}"))).await.unwrap();
        let (before, _) = server.rsplit_once('/').unwrap();
        Some(Self {
            folder: TempDir::new().unwrap(),
            uri: format!("{before}/{database}"),
            options: options.database(&database),
            database,
        })
    }

    /// Another program at the same database.
    async fn other(&self) -> PgConnection {
        self.options.connect().await.unwrap()
    }

    fn at(&self, uri: &str) -> PostgresCatalog {
        let warehouse = format!("file://{}/warehouse", self.folder.path().display());
        PostgresCatalog::at("default", uri, below(&warehouse), Store::local()).unwrap()
    }
}

impl Place for Postgres {
    fn open(&self) -> Arc<dyn Catalog> {
        Arc::new(self.at(&self.uri))
    }
}

macro_rules! on_postgres {
    ($($test:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $test() {
            if let Some(place) = Postgres::fresh().await {
                crate::$test(&place).await;
            }
        })*
    };
}

on_postgres!(
    a_missing_table_is_none,
    a_created_table_is_what_was_given,
    a_name_is_taken_once,
    a_commit_is_seen_by_others,
    a_commit_on_an_old_base_is_refused_whatever_moved,
    a_requirement_that_does_not_hold_is_refused,
    an_update_that_makes_no_sense_changes_nothing,
    of_racing_commits_one_wins,
    racing_creations_of_many_tables_all_succeed,
    of_racing_creations_of_one_table_one_wins,
    schema_data_and_properties_go_together_and_foreign_properties_stay,
    names_that_leave_the_warehouse_are_refused,
);

#[tokio::test]
async fn looking_makes_no_table() {
    let Some(place) = Postgres::fresh().await else { return };
    assert!(place.open().load(&orders()).await.unwrap().is_none());
    let steps = place.open().check().await;
    assert_eq!(steps.iter().map(|step| step.about).collect::<Vec<_>>(), [About::Reach, About::SignIn, About::List]);
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
    let tables = "SELECT 1 FROM pg_tables WHERE tablename LIKE 'iceberg%'";
    assert!(place.other().await.fetch_all(tables).await.unwrap().is_empty());
}

/// Databases of older Java and PyIceberg versions have no `iceberg_type`.
#[tokio::test]
async fn tables_of_version_0_are_used_as_they_are() {
    let Some(place) = Postgres::fresh().await else { return };
    let mut other = place.other().await;
    other
        .execute(
            "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, \
             table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), \
             previous_metadata_location VARCHAR(1000), PRIMARY KEY (catalog_name, table_namespace, table_name))",
        )
        .await
        .unwrap();
    let first = create_orders(&*place.open(), &[]).await;
    assert_conflict(&place.open().create(&orders(), new_table(first.metadata.location(), &[])).await.unwrap());
    let (updates, _) = append(&first.metadata);
    let second = done(place.open().commit(&first, base(&first.metadata), updates).await.unwrap());
    let row = other.fetch_one("SELECT * FROM iceberg_tables").await.unwrap();
    assert_eq!(row.len(), 5);
    assert_eq!(row.get::<String, _>(3), second.metadata_location);
    assert_eq!(row.get::<String, _>(4), first.metadata_location);
}

#[tokio::test]
async fn a_view_is_no_table() {
    let Some(place) = Postgres::fresh().await else { return };
    let first = create_orders(&*place.open(), &[]).await;
    let mut other = place.other().await;
    other.execute("UPDATE iceberg_tables SET iceberg_type = NULL").await.unwrap();
    let (updates, _) = append(&first.metadata);
    done(place.open().commit(&load(&*place.open()).await, base(&first.metadata), updates).await.unwrap());
    other.execute("UPDATE iceberg_tables SET iceberg_type = 'VIEW'").await.unwrap();
    let error = place.open().load(&orders()).await.unwrap_err();
    assert!(error.message().contains("not a table but a view"), "{error}");
}

/// Under `SERIALIZABLE` a racing update would be an error, not a lost race.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_roles_isolation_level_does_not_matter() {
    let Some(place) = Postgres::fresh().await else { return };
    let set = format!("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'", place.database);
    place.other().await.execute(AssertSqlSafe(set)).await.unwrap();
    crate::of_racing_commits_one_wins(&place).await;
}

#[tokio::test]
async fn a_row_that_another_program_holds_is_an_error_that_says_so() {
    let Some(place) = Postgres::fresh().await else { return };
    let table = create_orders(&*place.open(), &[]).await;
    let mut other = place.other().await;
    other.execute("BEGIN; SELECT * FROM iceberg_tables FOR UPDATE").await.unwrap();
    let (updates, _) = append(&table.metadata);
    let error = place.open().commit(&table, base(&table.metadata), updates.clone()).await.unwrap_err();
    assert!(error.to_string().contains("holds the table's row"), "{error}");
    assert_eq!(metadata_files(&table).len(), 1, "surely not applied: its file is deleted");
    other.execute("ROLLBACK").await.unwrap();
    done(place.open().commit(&table, base(&table.metadata), updates).await.unwrap());
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let Some(place) = Postgres::fresh().await else { return };
    create_orders(&*place.open(), &[]).await;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    let mut other = place.other().await;
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'hush'; GRANT SELECT ON iceberg_tables TO {role}");
    other.execute(AssertSqlSafe(sql)).await.unwrap();
    let (_, server) = place.uri.rsplit_once('@').unwrap();
    let reader = place.at(&format!("postgresql://{role}:hush@{server}"));
    let table = load(&reader).await;
    let (updates, _) = append(&table.metadata);
    let error = reader.commit(&table, base(&table.metadata), updates).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("permission denied") && error.to_string().contains("GRANT"), "{error}");
    assert_eq!(metadata_files(&table).len(), 1);
    let steps = reader.check().await;
    let said = steps.last().unwrap().outcome.as_ref().unwrap_err().to_string();
    assert!(said.contains(&format!("{role} has no right to INSERT, UPDATE on the table iceberg_tables")), "{said}");
    assert!(!format!("{reader:?}{said}{error}").contains("hush"));
}

#[tokio::test]
async fn the_address_chooses_it() {
    let Some(place) = Postgres::fresh().await else { return };
    let uri = place.uri.replacen("postgresql://", "postgresql+psycopg2://", 1);
    let mut properties = BTreeMap::from([("uri".to_owned(), uri)]);
    let connect = ddb_iceberg::catalog::connect::connect;
    // Without a warehouse nothing new can be made.
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    assert!(home(&*catalog, &orders()).await.is_err());
    properties.insert("warehouse".to_owned(), place.folder.path().join("warehouse").display().to_string());
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    create_orders(&*catalog, &[]).await;
    load(&*place.open()).await;
}
