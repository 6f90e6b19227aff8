//! What only a catalog in Glue does. The server stands in for Glue: it enforces `VersionId`, as Glue does and moto does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::glue::GlueCatalog;
use ddb_iceberg::catalog::settle::{Outcome, commit_and_settle, create_and_settle};
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable};
use ddb_iceberg::error::{Error, Kind, Result};
use ddb_iceberg::storage::Store;
use iceberg::{NamespaceIdent, TableIdent, TableUpdate};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Place;
use crate::catalogs::*;
use crate::glue_server::{Fault, GlueServer};

/// A server, and a folder for the tables.
pub struct Glue {
    pub folder: TempDir,
    pub server: GlueServer,
}

impl Glue {
    pub fn fresh() -> Self {
        Self { folder: TempDir::new().unwrap(), server: GlueServer::start() }
    }

    pub fn warehouse(&self) -> String {
        format!("file://{}/warehouse", self.folder.path().display())
    }

    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut properties = self.server.properties();
        properties.insert("warehouse".to_owned(), self.warehouse());
        properties
    }

    fn with(&self, more: &[(&str, &str)]) -> GlueCatalog {
        let mut properties = self.properties();
        properties.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let allowed = below(&self.warehouse());
        tokio::task::block_in_place(|| {
            let made = GlueCatalog::glue(&properties, allowed, Store::local());
            tokio::runtime::Handle::current().block_on(made).unwrap()
        })
    }

    fn entry(&self) -> Value {
        self.server.table("shop", "orders").unwrap()
    }
}

impl Place for Glue {
    fn open(&self) -> Arc<dyn Catalog> {
        Arc::new(self.with(&[]))
    }
}

async fn attempt(catalog: &dyn Catalog, table: &LoadedTable) -> (Result<Commit>, i64) {
    let (updates, id) = append(&table.metadata);
    (catalog.commit(table, base(&table.metadata), updates).await, id)
}

async fn settled(catalog: &dyn Catalog, table: &LoadedTable) -> (Result<Outcome>, i64) {
    let (updates, id) = append(&table.metadata);
    (commit_and_settle(catalog, table, base(&table.metadata), updates, id, LONG).await, id)
}

fn writes(place: &Glue) -> usize {
    place.server.take_requests().iter().filter(|r| matches!(r.action.as_str(), "CreateTable" | "UpdateTable")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_or_database_is_none() {
    let place = Glue::fresh();
    assert!(place.open().load(&orders()).await.unwrap().is_none());
    create_orders(&*place.open(), &[]).await;
    for other in [["shop", "order"], ["sho", "orders"]] {
        assert!(place.open().load(&TableIdent::from_strs(other).unwrap()).await.unwrap().is_none(), "{other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entry_is_that_of_javas_glue_catalog() {
    let place = Glue::fresh();
    let first = create_orders(&*place.open(), &[]).await;
    let created = place.entry();
    assert_eq!(created["TableType"], "EXTERNAL_TABLE");
    assert_eq!(created["Parameters"], json!({"table_type": "ICEBERG", "metadata_location": first.metadata_location}));
    assert_eq!(created["StorageDescriptor"]["Location"], first.metadata.location());
    assert_eq!(
        created["StorageDescriptor"]["Columns"][0],
        json!({"Name": "pk", "Type": "string", "Parameters": {
            "iceberg.field.id": "1", "iceberg.field.optional": "false", "iceberg.field.current": "true"}})
    );
    assert_eq!(place.server.database("shop").unwrap()["LocationUri"], format!("{}/shop.db", place.warehouse()));
    assert_eq!(first.version.as_deref(), Some("0"));

    // Columns are those of the current schema only.
    let updates =
        vec![TableUpdate::AddSchema { schema: schema(&["pk", "b"]) }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
    let second = done(place.open().commit(&first, vec![], updates).await.unwrap());
    let updated = place.entry();
    assert_eq!(
        updated["Parameters"],
        json!({"table_type": "ICEBERG", "metadata_location": second.metadata_location,
               "previous_metadata_location": first.metadata_location})
    );
    let columns = updated["StorageDescriptor"]["Columns"].as_array().unwrap();
    let names: Vec<&str> = columns.iter().map(|c| c["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pk", "b"]);
    assert_eq!(place.server.archived(), 0);

    let table = load(&*place.open()).await;
    let (answer, _) = attempt(&place.with(&[("glue.skip-archive", "false")]), &table).await;
    done(answer.unwrap());
    assert_eq!(place.server.archived(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_into_the_entry_stays() {
    let place = Glue::fresh();
    create_orders(&*place.open(), &[("owner", "me"), ("comment", "Orders of the shop")]).await;
    assert_eq!(place.entry()["Description"], "Orders of the shop");
    place.server.edit("shop", "orders", |table| {
        table["Owner"] = json!("team");
        table["Retention"] = json!(7);
        table["PartitionKeys"] = json!([]);
        table["Parameters"]["classification"] = json!("parquet");
        // PyIceberg copies the table's properties.
        table["Parameters"]["owner"] = json!("an old copy");
        table["StorageDescriptor"]["Columns"][1]["Comment"] = json!("by hand");
        table["StorageDescriptor"]["Parameters"] = json!({"k": "v"});
        table["StorageDescriptor"]["SerdeInfo"] = json!({"SerializationLibrary": "lib"});
    });
    let table = load(&*place.open()).await;
    let second = done(attempt(&*place.open(), &table).await.0.unwrap());
    let entry = place.entry();
    assert_eq!((&entry["Owner"], &entry["Retention"]), (&json!("team"), &json!(7)));
    assert_eq!(entry["Description"], "Orders of the shop");
    assert_eq!(entry["Parameters"]["classification"], "parquet");
    assert_eq!(entry["Parameters"]["owner"], "me");
    assert_eq!(entry["Parameters"]["metadata_location"], second.metadata_location);
    assert_eq!(entry["StorageDescriptor"]["Columns"][1]["Comment"], "by hand");
    assert_eq!(entry["StorageDescriptor"]["Parameters"], json!({"k": "v"}));
    assert_eq!(entry["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"], "lib");
}

/// A change of the entry alone, by a crawler for example, between our look and our write.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_between_look_and_write_is_a_conflict() {
    let place = Glue::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    place.server.fail_next("UpdateTable", 1, Fault::ChangedBefore);
    assert_conflict(&attempt(&*place.open(), &table).await.0.unwrap());
    assert_eq!(metadata_files(&table).len(), 1, "the refused commit left a file");
    // The base is the metadata file; that the entry has another version now is nobody's conflict.
    let table = LoadedTable { version: None, ..table };
    done(attempt(&*place.open(), &table).await.0.unwrap());
    assert_eq!(place.entry()["Owner"], "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_out() {
    for (fault, applied) in [
        (Fault::Unanswered, true),
        (Fault::Late(Duration::from_millis(300)), true),
        (Fault::DoneBut(500, "InternalServiceException", "boo"), true),
        (Fault::DoneBut(400, "OperationTimeoutException", "slow"), true),
        (Fault::DoneBut(503, "", ""), true),
        (Fault::Reset, false),
    ] {
        let place = Glue::fresh();
        let table = create_orders(&*place.open(), &[]).await;
        place.server.take_requests();
        place.server.fail_next("UpdateTable", 1, fault.clone());
        if applied {
            let (outcome, id) = settled(&*place.open(), &table).await;
            let Ok(Outcome::Committed(found)) = outcome else { panic!("{fault:?}: {outcome:?}") };
            assert_eq!(found.metadata.current_snapshot_id(), Some(id));
        } else {
            let (answer, _) = attempt(&*place.open(), &table).await;
            assert!(matches!(answer, Ok(Commit::Unknown(_))), "{answer:?}");
            assert_eq!(metadata_files(&table).len(), 2, "deleted while the outcome is open");
        }
        assert_eq!(writes(&place), 1, "{fault:?}: sent again");

        let place = Glue::fresh();
        place.server.put_database("shop", json!({"Name": "shop"}));
        place.server.fail_next("CreateTable", 1, fault.clone());
        let catalog = place.open();
        let table = placed(&*catalog, &orders(), &[]).await.unwrap();
        if applied {
            let outcome = create_and_settle(&*catalog, &orders(), table, LONG).await;
            assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{fault:?}: {outcome:?}");
        } else {
            let answer = catalog.create(&orders(), table).await;
            assert!(matches!(answer, Ok(Commit::Unknown(_))), "{answer:?}");
        }
        assert_eq!(writes(&place), 1, "{fault:?}: sent again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_writes_are_sent_again_and_reads_outlast_failures() {
    let place = Glue::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    place.server.take_requests();
    place.server.fail_next("UpdateTable", 2, Fault::Answer(400, "ThrottlingException", "Rate exceeded"));
    let table = done(attempt(&*place.open(), &table).await.0.unwrap());
    assert_eq!(writes(&place), 3);

    place.server.fail_next("UpdateTable", 99, Fault::Answer(400, "ThrottlingException", "Rate exceeded"));
    let impatient = place.with(&[("glue.max-retries", "2")]);
    let error = attempt(&impatient, &table).await.0.unwrap_err();
    assert!(error.to_string().contains("too many requests"), "{error}");
    assert_eq!(writes(&place), 2);
    assert_eq!(metadata_files(&table).len(), 2, "surely not applied: its file is deleted");

    place.server.fail_next("GetTable", 3, Fault::Answer(500, "InternalServiceException", "boo"));
    assert_eq!(load(&*place.open()).await.metadata, table.metadata);
    place.server.fail_next("GetTable", 2, Fault::Reset);
    assert_eq!(load(&*place.open()).await.metadata, table.metadata);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_a_failure_that_names_the_permission() {
    let denied = "User: arn:aws:iam::1:user/u is not authorized to perform: glue:UpdateTable";
    let payload = "Payload size of request exceeded limit";
    for (code, message, expected) in [
        ("AccessDeniedException", denied, "glue:UpdateTable"),
        ("AccessDeniedException", "Insufficient Lake Formation permission(s) on orders", "ALTER on the table"),
        ("ExpiredTokenException", "", "aws sso login"),
        ("InvalidInputException", payload, "more columns than Glue can hold"),
        ("ResourceNumberLimitExceededException", "", "glue.skip-archive"),
    ] {
        let place = Glue::fresh();
        let table = create_orders(&*place.open(), &[]).await;
        place.server.fail_next("UpdateTable", 1, Fault::Answer(400, code, message));
        let error = attempt(&*place.open(), &table).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Failed);
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("shop.orders"), "{text}");
        assert_eq!(metadata_files(&table).len(), 1, "surely not applied: its file is deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_not_be_made_says_who_makes_it() {
    let place = Glue::fresh();
    place.server.fail_next("CreateDatabase", 9, Fault::Answer(400, "AccessDeniedException", "no"));
    let error = place.open().ensure_namespace(orders().namespace()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("glue:CreateDatabase") && text.contains("aws glue create-database"), "{text}");

    // Made by somebody else meanwhile.
    place.server.fail_next("CreateDatabase", 1, Fault::Answer(400, "AlreadyExistsException", "is there"));
    place.open().ensure_namespace(orders().namespace()).await.unwrap();
    let error = place.open().ensure_namespace(&NamespaceIdent::from_strs(["a", "b"]).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_go_where_their_database_says() {
    let place = Glue::fresh();
    let location =
        |catalog: GlueCatalog| async move { home(&catalog, &orders()).await.map(|home| home.unwrap().location) };
    assert_eq!(location(place.with(&[])).await.unwrap(), format!("{}/shop.db/orders", place.warehouse()));
    place.server.put_database("shop", json!({"Name": "shop", "LocationUri": "s3a://lake/shop/"}));
    assert_eq!(location(place.with(&[])).await.unwrap(), "s3://lake/shop/orders");
    place.server.put_database("shop", json!({"Name": "shop", "LocationUri": "hdfs://x/shop"}));
    assert!(location(place.with(&[])).await.unwrap_err().to_string().contains("location of the database shop"));
    let federated = json!({"Name": "shop", "FederatedDatabase": {"ConnectionName": "aws:s3tables"}});
    place.server.put_database("shop", federated);
    assert!(location(place.with(&[])).await.unwrap_err().to_string().contains("type=rest"));

    // With neither, nothing says where.
    let fresh = Glue::fresh();
    let catalog = connect("default", &fresh.server.properties(), Store::local()).await.unwrap();
    let error = home(&*catalog, &orders()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("--warehouse"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_entries_are_told_apart() {
    let place = Glue::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    let said = |input: Value| {
        place.server.put_table("shop", "orders", input);
        let catalog = place.open();
        async move { catalog.load(&orders()).await.map(|t| t.unwrap()) }
    };
    let text = |loaded: Result<LoadedTable>| loaded.unwrap_err().to_string();
    let hive = json!({"TableType": "EXTERNAL_TABLE", "Parameters": {"classification": "csv"}});
    assert!(text(said(hive).await).contains("not an Iceberg table (EXTERNAL_TABLE)"));
    assert!(text(said(json!({"Parameters": {"table_type": "DELTA"}})).await).contains("(DELTA)"));
    assert!(text(said(json!({"Parameters": {"table_type": "ICEBERG"}})).await).contains("metadata_location"));
    let link = json!({"TargetTable": {"CatalogId": "2", "DatabaseName": "d", "Name": "t"}});
    assert!(text(said(link).await).contains("d.t in the catalog 2"));
    let lower = json!({"Parameters": {"table_type": "iceberg", "metadata_location": table.metadata_location}});
    assert_eq!(said(lower).await.unwrap().metadata, table.metadata);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_id_goes_with_every_request() {
    let place = Glue::fresh();
    let catalog = place.with(&[("glue.id", "111122223333")]);
    let table = create_orders(&catalog, &[]).await;
    done(attempt(&catalog, &table).await.0.unwrap());
    let requests = place.server.take_requests();
    assert!(requests.len() >= 6);
    for request in requests {
        assert_eq!(request.body["CatalogId"], "111122223333", "{}", request.action);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_wrong_keys_are_clear_within_half_a_minute() {
    let place = Glue::fresh();
    let error = |catalog: GlueCatalog| async move {
        let started = std::time::Instant::now();
        let error: Error = catalog.load(&orders()).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(30));
        error.to_string()
    };
    let text = error(place.with(&[("glue.endpoint", "http://127.0.0.1:1")])).await;
    assert!(text.contains("not reached") || text.contains("in time"), "{text}");
    let text = error(place.with(&[("glue.access-key-id", "AKIDOTHER"), ("glue.secret-access-key", "hush")])).await;
    assert!(text.contains("does not take the AWS credentials") && !text.contains("hush"), "{text}");
}
