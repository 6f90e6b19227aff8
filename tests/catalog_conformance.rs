//! One suite for every catalog: plain functions that get a place where a catalog is, and may open it as often as they like.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/catalogs.rs"]
mod catalogs;
#[path = "catalog_conformance/combined.rs"]
mod combined;
#[path = "common/exports.rs"]
mod exports;
#[path = "catalog_conformance/glue.rs"]
mod glue;
#[path = "catalog_conformance/glue_commands.rs"]
mod glue_commands;
#[path = "common/glue_server.rs"]
mod glue_server;
#[path = "catalog_conformance/postgres.rs"]
mod on_postgres;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;
#[path = "catalog_conformance/rest.rs"]
mod rest;
#[path = "catalog_conformance/rest_commands.rs"]
mod rest_commands;
#[path = "common/rest_server.rs"]
mod rest_server;
#[path = "common/s3_server.rs"]
mod s3_server;
#[path = "catalog_conformance/settling.rs"]
mod settling;
#[path = "catalog_conformance/sql.rs"]
mod sql;

use std::collections::HashMap;
use std::sync::Arc;

use catalogs::*;
use ddb_iceberg::catalog::{Catalog, Commit};
use iceberg::spec::{
    NullOrder, SortDirection, SortField, SortOrder, Transform, UnboundPartitionField, UnboundPartitionSpec,
};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use uuid::Uuid;

/// A fresh place for a catalog, local files below it; every call is another client.
trait Place: Sync {
    fn open(&self) -> Arc<dyn Catalog>;

    /// Metadata files of a table before its first snapshot.
    fn files_before(&self) -> usize {
        0
    }
}

/// Equal but for what says when and from which file it was made: a server applies updates one by one.
#[track_caller]
fn assert_same(a: &iceberg::spec::TableMetadata, b: &iceberg::spec::TableMetadata) {
    let plain = |metadata: &iceberg::spec::TableMetadata| {
        let mut value = serde_json::to_value(metadata).unwrap();
        let fields = value.as_object_mut().unwrap();
        for name in ["metadata-log", "snapshot-log", "last-updated-ms"] {
            fields.remove(name);
        }
        value
    };
    assert_eq!(plain(a), plain(b));
}

/// Every client of a server starts with a question to it.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

macro_rules! suite {
    ($module:ident, $place:expr; $($test:ident),* $(,)?) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(&$place).await;
            })*
        }
    };
}

suite!(on_sqlite, crate::sql::Sqlite::fresh();
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

// Not `a_missing_table_is_none`: Glue has no names that differ by capital letters alone.
suite!(on_glue, crate::glue::Glue::fresh();
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
macro_rules! rest_suite {
    ($module:ident, $place:expr) => {
        suite!($module, $place;
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
        );
    };
}

rest_suite!(on_rest, crate::rest::Rest::fresh(crate::rest_server::Staging::Yes));
rest_suite!(on_rest_without_staging, crate::rest::Rest::fresh(crate::rest_server::Staging::Refused(400)));
rest_suite!(on_rest_that_ignores_staging, crate::rest::Rest::fresh(crate::rest_server::Staging::Ignored));

async fn a_missing_table_is_none(place: &dyn Place) {
    assert!(place.open().load(&orders()).await.unwrap().is_none());
    let catalog = place.open();
    create_orders(&*catalog, &[]).await;
    for other in [["shop", "order"], ["shop", "ORDERS"], ["sho", "orders"], ["shop", "%"]] {
        assert!(catalog.load(&TableIdent::from_strs(other).unwrap()).await.unwrap().is_none(), "{other:?}");
    }
}

async fn a_created_table_is_what_was_given(place: &dyn Place) {
    let catalog = place.open();
    let ident = orders();
    catalog.ensure_namespace(ident.namespace()).await.unwrap();
    catalog.ensure_namespace(ident.namespace()).await.unwrap();
    let table = placed(&*catalog, &ident, &[("owner", "me")]).await.unwrap();
    let location = table.metadata.location();
    assert!(location.ends_with("/shop/orders") || location.ends_with("/shop.db/orders"), "{location}");
    let answer = done(catalog.create(&ident, table.clone()).await.unwrap());
    assert_same(&answer.metadata, &table.metadata);

    let loaded = load(&*place.open()).await;
    assert_eq!(loaded.metadata, answer.metadata);
    assert_eq!(loaded.metadata_location, answer.metadata_location);
    assert_eq!(loaded.ident, ident);
    assert_eq!(loaded.metadata.snapshots().len(), 1);
}

async fn a_name_is_taken_once(place: &dyn Place) {
    let catalog = place.open();
    let first = create_orders(&*catalog, &[]).await;
    let again = new_table(first.metadata.location(), &[]);
    assert_conflict(&place.open().create(&orders(), again).await.unwrap());
    assert_eq!(load(&*catalog).await.metadata, first.metadata);
    assert_eq!(metadata_files(&first).len(), place.files_before() + 1, "the refused table left a file");
}

async fn a_commit_is_seen_by_others(place: &dyn Place) {
    let catalog = place.open();
    let first = create_orders(&*catalog, &[]).await;
    let (updates, id) = append(&first.metadata);
    let second = done(catalog.commit(&first, base(&first.metadata), updates).await.unwrap());
    let seen = load(&*place.open()).await;
    assert_eq!(seen.metadata, second.metadata);
    assert_eq!(seen.metadata.current_snapshot_id(), Some(id));
    assert_eq!(seen.metadata.metadata_log().last().unwrap().metadata_file, first.metadata_location);

    // What a commit answers is a base for the next one.
    let (updates, _) = append(&second.metadata);
    let third = done(catalog.commit(&second, base(&second.metadata), updates).await.unwrap());
    assert_eq!(third.metadata.snapshots().len(), 3);
    assert_eq!(third.metadata.current_snapshot().unwrap().parent_snapshot_id(), Some(id));
}

/// Each part of the base, moved by another writer.
fn moves(table: &iceberg::spec::TableMetadata) -> Vec<(&'static str, Vec<TableUpdate>)> {
    let wider = schema(&["pk", "a", "b"]);
    let spec = |name: &str| {
        UnboundPartitionSpec::builder()
            .add_partition_fields([UnboundPartitionField {
                source_id: 1,
                field_id: None,
                name: name.to_owned(),
                transform: Transform::Bucket(if name == "p" { 4 } else { 8 }),
            }])
            .unwrap()
            .build()
    };
    let order = SortOrder::builder()
        .with_sort_field(SortField {
            source_id: 1,
            transform: Transform::Identity,
            direction: SortDirection::Ascending,
            null_order: NullOrder::First,
        })
        .build_unbound()
        .unwrap();
    vec![
        ("main", append(table).0),
        ("last field id", vec![TableUpdate::AddSchema { schema: wider }]),
        ("current schema", vec![TableUpdate::SetCurrentSchema { schema_id: 1 }]),
        ("last partition id", vec![TableUpdate::AddSpec { spec: spec("p") }]),
        ("default spec", vec![TableUpdate::SetDefaultSpec { spec_id: 1 }]),
        (
            "sort order",
            vec![
                TableUpdate::AddSortOrder { sort_order: order },
                TableUpdate::SetDefaultSortOrder { sort_order_id: -1 },
            ],
        ),
    ]
}

async fn a_commit_on_an_old_base_is_refused_whatever_moved(place: &dyn Place) {
    let (ours, theirs) = (place.open(), place.open());
    let mut stale = create_orders(&*ours, &[]).await;
    for (part, change) in moves(&stale.metadata) {
        let theirs = done(theirs.commit(&stale, vec![], change).await.unwrap());
        let broken = base(&stale.metadata).iter().filter(|r| r.check(Some(&theirs.metadata)).is_err()).count();
        assert_eq!(broken, 1, "{part}: exactly this part of the base moves");

        let (updates, _) = append(&stale.metadata);
        let answer = ours.commit(&stale, base(&stale.metadata), updates).await.unwrap();
        assert!(matches!(answer, Commit::Conflict(_)), "{part}: {answer:?}");
        stale = load(&*ours).await;
        assert_eq!(stale.metadata, theirs.metadata, "{part}");
    }
    assert_eq!(metadata_files(&stale).len(), place.files_before() + 7, "refused commits left files");
}

async fn a_requirement_that_does_not_hold_is_refused(place: &dyn Place) {
    let catalog = place.open();
    let table = create_orders(&*catalog, &[]).await;
    let main = "main".to_owned();
    let wrong = [
        TableRequirement::NotExist,
        TableRequirement::UuidMatch { uuid: Uuid::new_v4() },
        TableRequirement::RefSnapshotIdMatch { r#ref: main.clone(), snapshot_id: Some(1) },
        TableRequirement::RefSnapshotIdMatch { r#ref: main, snapshot_id: None },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: 9 },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: 9 },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: 9 },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: 9 },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: 9 },
    ];
    for requirement in wrong {
        let mut requirements = base(&table.metadata);
        requirements.push(requirement.clone());
        let (updates, _) = append(&table.metadata);
        let answer = catalog.commit(&table, requirements, updates).await.unwrap();
        assert!(matches!(answer, Commit::Conflict(_)), "{requirement:?}: {answer:?}");
    }
    assert_eq!(load(&*catalog).await.metadata, table.metadata);
}

async fn an_update_that_makes_no_sense_changes_nothing(place: &dyn Place) {
    let catalog = place.open();
    let table = create_orders(&*catalog, &[]).await;
    let (mut updates, _) = append(&table.metadata);
    updates.push(TableUpdate::SetCurrentSchema { schema_id: 77 });
    assert!(catalog.commit(&table, base(&table.metadata), updates).await.is_err());
    assert_eq!(load(&*catalog).await.metadata, table.metadata);
    assert_eq!(metadata_files(&table).len(), place.files_before() + 1);
}

async fn of_racing_commits_one_wins(place: &dyn Place) {
    const ROUNDS: usize = 4;
    let mut table = create_orders(&*place.open(), &[]).await;
    for round in 1..=ROUNDS {
        let writers = (0..16).map(|_| {
            let (catalog, table) = (place.open(), table.clone());
            tokio::spawn(async move {
                let (updates, id) = append(&table.metadata);
                (catalog.commit(&table, base(&table.metadata), updates).await.unwrap(), id)
            })
        });
        let mut winners = Vec::new();
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                (Commit::Done(_), id) => winners.push(id),
                (answer, _) => assert_conflict(&answer),
            }
        }
        table = load(&*place.open()).await;
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(table.metadata.current_snapshot_id(), winners.first().copied());
        assert_eq!(table.metadata.snapshots().len(), round + 1);
    }
    assert_eq!(metadata_files(&table).len(), place.files_before() + ROUNDS + 1, "losers left files");
}

async fn racing_creations_of_many_tables_all_succeed(place: &dyn Place) {
    let writers = (0..16).map(|n| {
        let catalog = place.open();
        tokio::spawn(async move {
            let ident = TableIdent::from_strs(["shop".to_owned(), format!("t{n}")]).unwrap();
            catalog.ensure_namespace(ident.namespace()).await.unwrap();
            let table = placed(&*catalog, &ident, &[]).await.unwrap();
            let uuid = table.metadata.uuid();
            done(catalog.create(&ident, table).await.unwrap());
            (ident, uuid)
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        let (ident, uuid) = writer.await.unwrap();
        assert_eq!(place.open().load(&ident).await.unwrap().unwrap().metadata.uuid(), uuid);
    }
}

async fn of_racing_creations_of_one_table_one_wins(place: &dyn Place) {
    let writers = (0..16).map(|_| {
        let catalog = place.open();
        tokio::spawn(async move {
            let ident = orders();
            catalog.ensure_namespace(ident.namespace()).await.unwrap();
            match placed(&*catalog, &ident, &[]).await {
                Some(table) => catalog.create(&ident, table).await.unwrap(),
                None => Commit::Conflict("taken".to_owned()),
            }
        })
    });
    let mut winner = None;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Commit::Done(table) => assert!(winner.replace(table).is_none(), "two won"),
            answer => assert_conflict(&answer),
        }
    }
    let loaded = load(&*place.open()).await;
    assert_eq!(loaded.metadata, winner.unwrap().metadata);
    assert_eq!(metadata_files(&loaded).len(), place.files_before() + 1, "losers left files");
}

async fn schema_data_and_properties_go_together_and_foreign_properties_stay(place: &dyn Place) {
    let catalog = place.open();
    let table = create_orders(&*catalog, &[("owner", "me"), ("ddb-iceberg.version", "1")]).await;
    let set = HashMap::from([("ddb-iceberg.version".to_owned(), "2".to_owned())]);
    let mut updates = vec![
        TableUpdate::AddSchema { schema: schema(&["pk", "a", "b"]) },
        TableUpdate::SetCurrentSchema { schema_id: -1 },
    ];
    let (snapshot, id) = append(&table.metadata);
    updates.extend(snapshot);
    updates.push(TableUpdate::SetProperties { updates: set });
    done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());

    let now = load(&*place.open()).await.metadata;
    assert_eq!(now.current_schema_id(), 1);
    assert_eq!(now.last_column_id(), 3);
    assert_eq!(now.current_snapshot_id(), Some(id));
    assert_eq!(now.properties()["owner"], "me");
    assert_eq!(now.properties()["ddb-iceberg.version"], "2");
}

async fn names_that_leave_the_warehouse_are_refused(place: &dyn Place) {
    let catalog = place.open();
    for (namespace, name) in
        [("..", "t"), ("shop", ".."), ("a/b", "t"), ("shop", "a/../../b"), ("shop", "a\0b"), ("shop", "")]
    {
        let ident = TableIdent::new(NamespaceIdent::new(namespace.to_owned()), name.to_owned());
        assert!(home(&*catalog, &ident).await.is_err(), "{namespace:?} {name:?}");
    }
}
