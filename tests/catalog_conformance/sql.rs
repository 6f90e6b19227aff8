//! What only a catalog in an SQLite file does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ddb_iceberg::catalog::Catalog;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::pointer::PointerCatalog;
use ddb_iceberg::catalog::sql::sqlite::{SqliteCatalog, SqlitePointers};
use ddb_iceberg::storage::Store;
use iceberg::TableIdent;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row, SqliteConnection};
use tempfile::TempDir;

use crate::Place;
use crate::catalogs::*;

/// A warehouse with its catalog file, in a folder that is removed in the end.
pub struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub fn fresh() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn warehouse(&self) -> PathBuf {
        self.folder.path().join("deep/warehouse")
    }

    fn file(&self) -> PathBuf {
        self.warehouse().join("catalog.db")
    }

    /// Another program at the same file.
    async fn other(&self) -> SqliteConnection {
        std::fs::create_dir_all(self.warehouse()).unwrap();
        SqliteConnectOptions::new().filename(self.file()).create_if_missing(true).connect().await.unwrap()
    }

    fn patient(&self, busy_timeout: Duration) -> SqliteCatalog {
        let pointers = SqlitePointers::new("default", &self.file(), busy_timeout);
        let warehouse = format!("file://{}", self.warehouse().display());
        PointerCatalog::new(pointers, Store::local(), below(&warehouse))
    }
}

impl Place for Sqlite {
    fn open(&self) -> Arc<dyn Catalog> {
        let warehouse = format!("file://{}", self.warehouse().display());
        Arc::new(SqliteCatalog::at("default", &self.file(), below(&warehouse), Store::local()))
    }
}

async fn rows(connection: &mut SqliteConnection, sql: &str) -> Vec<Vec<Option<String>>> {
    let rows = connection.fetch_all(AssertSqlSafe(sql)).await.unwrap();
    rows.iter().map(|row| (0..row.len()).map(|i| row.get(i)).collect()).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[tokio::test]
async fn looking_makes_no_file() {
    let place = Sqlite::fresh();
    let catalog = place.open();
    assert!(catalog.load(&orders()).await.unwrap().is_none());
    home(&*catalog, &orders()).await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);

    // Nor does it write to a file that has no tables yet.
    drop(place.other().await);
    std::fs::write(place.file(), b"").unwrap();
    assert!(place.open().load(&orders()).await.unwrap().is_none());
    assert_eq!(std::fs::metadata(place.file()).unwrap().len(), 0);
}

#[tokio::test]
async fn the_metadata_is_to_the_letter_what_was_given() {
    let catalog = Sqlite::fresh();
    let table = placed(&*catalog.open(), &orders(), &[("owner", "me")]).await.unwrap();
    let answer = done(catalog.open().create(&orders(), table.clone()).await.unwrap());
    assert_eq!(*answer.metadata, table.metadata);
    assert_eq!(*load(&*catalog.open()).await.metadata, table.metadata);
}

#[tokio::test]
async fn the_tables_are_those_of_javas_jdbc_catalog() {
    let place = Sqlite::fresh();
    let first = create_orders(&*place.open(), &[]).await;
    let (updates, _) = append(&first.metadata);
    let second = done(place.open().commit(&first, base(&first.metadata), updates).await.unwrap());

    let mut file = place.other().await;
    let columns = "SELECT name, type, pk FROM pragma_table_info('iceberg_tables')";
    let columns: Vec<(String, String, i64)> =
        file.fetch_all(columns).await.unwrap().iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    let expected = [
        ("catalog_name", "VARCHAR(255)", 1),
        ("table_namespace", "VARCHAR(255)", 2),
        ("table_name", "VARCHAR(255)", 3),
        ("metadata_location", "VARCHAR(1000)", 0),
        ("previous_metadata_location", "VARCHAR(1000)", 0),
        ("iceberg_type", "VARCHAR(5)", 0),
    ];
    assert_eq!(columns, expected.map(|(n, t, k)| (n.to_owned(), t.to_owned(), k)));
    assert_eq!(
        rows(&mut file, "SELECT * FROM iceberg_tables").await,
        [some(&["default", "shop", "orders", &second.metadata_location, &first.metadata_location, "TABLE"])]
    );
    assert_eq!(
        rows(
            &mut file,
            "SELECT catalog_name, namespace, property_key, property_value FROM iceberg_namespace_properties"
        )
        .await,
        [some(&["default", "shop", "exists", "true"])]
    );
    assert_eq!(rows(&mut file, "PRAGMA journal_mode").await, [some(&["delete"])]);
}

/// Files of older Java and PyIceberg versions have no `iceberg_type`.
#[tokio::test]
async fn a_file_of_version_0_is_used_as_it_is() {
    let place = Sqlite::fresh();
    let mut file = place.other().await;
    file.execute(
        "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, \
         table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), \
         PRIMARY KEY (catalog_name, table_namespace, table_name))",
    )
    .await
    .unwrap();
    let first = create_orders(&*place.open(), &[]).await;
    assert_conflict(&place.open().create(&orders(), new_table(first.metadata.location(), &[])).await.unwrap());
    let (updates, _) = append(&first.metadata);
    let second = done(place.open().commit(&first, base(&first.metadata), updates).await.unwrap());
    assert_eq!(
        rows(&mut file, "SELECT * FROM iceberg_tables").await,
        [some(&["default", "shop", "orders", &second.metadata_location, &first.metadata_location])]
    );
}

#[tokio::test]
async fn a_row_without_a_type_is_a_table_and_a_view_is_none() {
    let place = Sqlite::fresh();
    let first = create_orders(&*place.open(), &[]).await;
    let mut file = place.other().await;
    file.execute("UPDATE iceberg_tables SET iceberg_type = NULL").await.unwrap();
    let (updates, _) = append(&first.metadata);
    done(place.open().commit(&load(&*place.open()).await, base(&first.metadata), updates).await.unwrap());

    file.execute("UPDATE iceberg_tables SET iceberg_type = 'VIEW'").await.unwrap();
    let error = place.open().load(&orders()).await.unwrap_err();
    assert!(error.message().contains("not a table but a view"), "{error}");
    assert!(place.open().create(&orders(), new_table(first.metadata.location(), &[])).await.is_err());
    assert_eq!(rows(&mut file, "SELECT iceberg_type FROM iceberg_tables").await, [some(&["VIEW"])]);
}

#[tokio::test]
async fn catalogs_in_one_file_are_apart() {
    let place = Sqlite::fresh();
    create_orders(&*place.open(), &[]).await;
    let warehouse = format!("file://{}", place.warehouse().display());
    let other = SqliteCatalog::at("other", &place.file(), below(&warehouse), Store::local());
    assert!(other.load(&orders()).await.unwrap().is_none());
    create_orders(&other, &[]).await;
    assert_ne!(load(&other).await.metadata.uuid(), load(&*place.open()).await.metadata.uuid());
}

/// A reader keeps COMMIT from finishing, as Java's JdbcCatalog does while a Spark session lives: the transaction is undone,
/// so it is a plain failure, and the next attempt is free.
#[tokio::test]
async fn a_commit_statement_held_up_by_a_reader_is_undone() {
    let place = Sqlite::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    let mut reader = place.other().await;
    reader.execute("BEGIN").await.unwrap();
    assert_eq!(rows(&mut reader, "SELECT * FROM iceberg_tables").await.len(), 1);

    let (updates, _) = append(&table.metadata);
    let catalog = place.patient(Duration::from_millis(100));
    let error = catalog.commit(&table, base(&table.metadata), updates.clone()).await.unwrap_err().to_string();
    // Not "its COMMIT failed", after which only the file says what became of it.
    assert!(error.contains("could not be changed") && error.contains("Another program holds"), "{error}");
    assert_eq!(metadata_files(&table).len(), 1, "surely not applied: its file is deleted");

    reader.execute("COMMIT").await.unwrap();
    assert_eq!(load(&catalog).await.metadata, table.metadata);
    done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
}

#[tokio::test]
async fn a_locked_file_is_an_error_that_says_so() {
    let place = Sqlite::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    let mut writer = place.other().await;
    writer.execute("BEGIN IMMEDIATE").await.unwrap();
    let (updates, _) = append(&table.metadata);
    let catalog = place.patient(Duration::from_millis(100));
    let error = catalog.commit(&table, base(&table.metadata), updates.clone()).await.unwrap_err();
    assert!(error.to_string().contains("Another program holds"), "{error}");
    assert_eq!(metadata_files(&table).len(), 1, "surely not applied: its file is deleted");

    writer.execute("ROLLBACK").await.unwrap();
    done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
}

#[tokio::test]
async fn what_a_file_is_and_has_helps_whoever_asked_for_another_table() {
    let place = Sqlite::fresh();
    let catalog = place.open();
    let near = TableIdent::from_strs(["shop", "order"]).unwrap();
    let file = format!("in the SQLite file {}", place.file().display());
    assert!(catalog.some_tables(&near).await.unwrap().is_empty());
    assert!(catalog.place().ends_with(&format!("{file}, which does not exist")), "{}", catalog.place());
    create_orders(&*catalog, &[]).await;
    assert_eq!(catalog.some_tables(&near).await.unwrap(), ["shop.orders"]);
    assert!(catalog.place().ends_with(&file), "{}", catalog.place());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let place = Sqlite::fresh();
    std::fs::create_dir_all(place.warehouse()).unwrap();
    let content = "not a database ".repeat(100);
    std::fs::write(place.file(), &content).unwrap();
    let error = place.open().load(&orders()).await.unwrap_err();
    assert!(error.to_string().contains("no SQLite file"), "{error}");
    assert!(place.open().ensure_namespace(orders().namespace()).await.is_err());
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), content);
}

#[tokio::test]
async fn metadata_files_are_compressed_named_and_removed_as_the_table_says() {
    let place = Sqlite::fresh();
    let catalog = place.open();
    let elsewhere = format!("file://{}/precious.metadata.json", place.folder.path().display());
    std::fs::write(elsewhere.strip_prefix("file://").unwrap(), "{}").unwrap();
    let mut table = create_orders(
        &*catalog,
        &[
            ("write.metadata.compression-codec", "gzip"),
            ("write.metadata.previous-versions-max", "2"),
            ("write.metadata.delete-after-commit.enabled", "true"),
        ],
    )
    .await;
    // A metadata file from elsewhere, with a name that is not ours, becomes the first entry of the log.
    std::fs::copy(table.metadata_location.strip_prefix("file://").unwrap(), elsewhere.strip_prefix("file://").unwrap())
        .unwrap();
    let mut file = place.other().await;
    sqlx::query("UPDATE iceberg_tables SET metadata_location = ?").bind(&elsewhere).execute(&mut file).await.unwrap();
    table.metadata_location.clone_from(&elsewhere);

    for _ in 0..5 {
        let (updates, _) = append(&table.metadata);
        table = done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
        assert_eq!(load(&*catalog).await.metadata, table.metadata);
    }
    let numbers: Vec<String> = metadata_files(&table).iter().map(|n| format!("{}{}", &n[..5], &n[42..45])).collect();
    // The first `00000` was never in the log.
    assert_eq!(numbers, ["00000.gz.me".get(..8).unwrap(), "00002.gz", "00003.gz", "00004.gz"]);
    assert!(Path::new(elsewhere.strip_prefix("file://").unwrap()).exists(), "deleted outside of the table");
}

#[tokio::test]
async fn the_default_is_a_file_in_the_warehouse() {
    let place = Sqlite::fresh();
    let warehouse = place.warehouse().display().to_string();
    let properties = BTreeMap::from([("warehouse".to_owned(), warehouse.clone())]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    assert!(!place.warehouse().exists());
    let table = create_orders(&*catalog, &[]).await;
    assert_eq!(table.metadata.location(), format!("file://{warehouse}/shop/orders"));
    assert!(place.file().exists());

    // The same, by the uri; without a warehouse nothing new can be made.
    let properties = BTreeMap::from([("uri".to_owned(), format!("sqlite:///{}", place.file().display()))]);
    let catalog = connect("default", &properties, Store::local()).await.unwrap();
    assert_eq!(load(&*catalog).await.metadata, table.metadata);
    assert!(home(&*catalog, &orders()).await.is_err());
}
