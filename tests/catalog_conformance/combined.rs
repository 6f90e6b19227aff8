//! Two things that go wrong one after the other, and what another writer does between a plan and its commit.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::settle::{Outcome, remove_and_settle, settle};
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable, NewTable, TableHome};
use ddb_iceberg::commands::{Context, Expire, Report, Status, expire};
use ddb_iceberg::error::{Kind, Result};
use ddb_iceberg::storage::Store;
use futures::future::BoxFuture;
use iceberg::spec::{
    MAIN_BRANCH, NullOrder, SnapshotReference, SnapshotRetention, SortDirection, SortField, SortOrder, TableMetadata,
    TableMetadataBuilder, Transform, UnboundPartitionSpec,
};
use iceberg::{NamespaceIdent, TableCreation, TableIdent, TableRequirement, TableUpdate};
use serde_json::{Value, json};

use crate::Place;
use crate::catalogs::*;
use crate::program::{gone, pairs, put};
use crate::reader;
use crate::rest::Rest;
use crate::rest_commands::Shop;
use crate::rest_server::{Fault, Login, Staging};
use crate::sql::Sqlite;

/// Whatever comes after an answer that may have been given to what was applied: nothing says any more that it surely was not.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_answer_that_proves_nothing_no_second_one_does() {
    let text = |status: u16| Fault::Text(status, "<html>".to_owned());
    let second: Vec<Option<Fault>> = [400, 401, 403, 404, 405, 406, 408, 409, 412, 419, 422, 500, 501, 502, 504]
        .map(Fault::Answer)
        .into_iter()
        .chain([Fault::Reset, Fault::Unanswered, text(200), text(302), text(400), text(404)])
        .map(Some)
        // No connection at all.
        .chain([None])
        .collect();
    let cases = second.into_iter().flat_map(|second| [429, 503].map(|first| (first, second.clone())));
    let cases = cases.map(|(first, second)| {
        tokio::spawn(async move {
            let told = format!("{first}, then {second:?}");
            let place = Rest::fresh(Staging::Yes);
            let catalog = place.connect(&[]).await.unwrap();
            let ident = orders();
            let table = placed(&*catalog, &ident, &[]).await.unwrap();
            done(catalog.create(&ident, table).await.unwrap());
            let table = load(&*catalog).await;
            let (updates, id) = append(&table.metadata);
            let mut sent = 0;
            let is_gone = second.is_none();
            place.server.fail(move |request| {
                sent += usize::from(request.is_commit());
                match (request.is_commit(), sent, &second) {
                    (true, 1, None) => Some(Fault::DoneThenGone(first)),
                    (true, 1, Some(_)) => Some(Fault::DoneBut(first)),
                    (true, _, Some(second)) => Some(second.clone()),
                    _ => None,
                }
            });
            let answer = catalog.commit(&table, base(&table.metadata), updates).await;
            let answer = answer.unwrap_or_else(|error| panic!("{told}: surely not applied, it says: {error}"));
            assert!(!matches!(answer, Commit::Done(_)), "{told}");
            if is_gone {
                place.server.reopen();
            }
            place.server.heal();
            let outcome = settle(&*catalog, &ident, answer, id).await;
            assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{told}: {outcome:?}");
            assert_eq!(load(&*catalog).await.metadata.snapshots().len(), 2, "{told}");
        })
    });
    for case in cases.collect::<Vec<_>>() {
        case.await.unwrap();
    }
}

/// The same where nobody is let in any more when it is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_answer_that_proves_nothing_a_refused_sign_in_does_not_either() {
    let place = Rest::fresh(Staging::Yes);
    place.server.login(Login::OAuth("me".to_owned(), "s3cr3t".to_owned(), None));
    let catalog = place.connect(&[("credential", "me:s3cr3t")]).await.unwrap();
    let table = create_orders(&*catalog, &[]).await;
    let mut sent = 0;
    place.server.fail(move |request| {
        sent += usize::from(request.is_commit());
        match (request.is_commit(), sent) {
            (true, 1) => Some(Fault::DoneBut(503)),
            (true, _) => Some(Fault::Answer(401)),
            _ => request.target.ends_with("/oauth/tokens").then_some(Fault::Answer(400)),
        }
    });
    let (updates, id) = append(&table.metadata);
    let answer = catalog.commit(&table, base(&table.metadata), updates).await.unwrap();
    assert!(matches!(answer, Commit::Unknown(_)), "{answer:?}");
    place.server.heal();
    let outcome = settle(&*catalog, &orders(), answer, id).await;
    assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
}

/// As users see it: the window is in, whatever the second answer was.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_whose_commit_was_lost_twice_is_in_the_table_once() {
    for second in [Fault::Reset, Fault::Answer(403), Fault::Answer(404), Fault::Unanswered] {
        let shop = Shop::loaded(Staging::Yes);
        let window = shop.site.window(0, 15, vec![put("a", 10), gone("b")]);
        let mut sent = 0;
        let next = second.clone();
        shop.server.fail(move |request| {
            sent += usize::from(request.is_commit());
            match (request.is_commit(), sent) {
                (true, 1) => Some(Fault::DoneBut(503)),
                (true, 2) => Some(next.clone()),
                _ => None,
            }
        });
        let run = shop.site.incremental(&[&window], &[]).expect(0);
        assert_eq!(run.statuses(), ("applied", vec!["applied"]), "{second:?}");
        let table = shop.server.table(&["shop"], "orders").unwrap().metadata;
        assert_eq!(table.snapshots().len(), 2, "{second:?}");
        assert_eq!(pairs(&shop.rows().await), [("a", 10)]);
        // And once it is settled, the same again is known.
        shop.server.heal();
        assert_eq!(shop.site.incremental(&[&window], &[]).expect(0).statuses().0, "already_applied");
    }
}

/// A table that is partitioned and sorted, as it was asked for.
fn planned() -> TableMetadata {
    let spec =
        UnboundPartitionSpec::builder().add_partition_field(1, "pk_bucket", Transform::Bucket(4)).unwrap().build();
    let order = SortOrder::builder()
        .with_sort_field(SortField {
            source_id: 1,
            transform: Transform::Identity,
            direction: SortDirection::Ascending,
            null_order: NullOrder::First,
        })
        .build_unbound()
        .unwrap();
    let creation = TableCreation::builder()
        .name("unused".to_owned())
        .location(String::new())
        .schema(schema(&["pk", "a"]))
        .partition_spec(spec)
        .sort_order(order)
        .build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

/// Files are written for the table as it was planned: a server that makes another one is told so before any is.
#[tokio::test(flavor = "multi_thread")]
async fn each_difference_of_a_table_that_a_server_made_is_noticed() {
    type Alter = fn(&mut Value);
    let cases: [(&str, Alter); 19] = [
        ("schema", |made| made["schemas"][0]["fields"][1]["type"] = json!("long")),
        ("schema", |made| made["schemas"][0]["fields"][1]["name"] = json!("A")),
        ("schema", |made| made["schemas"][0]["fields"][1]["id"] = json!(7)),
        ("schema", |made| made["schemas"][0]["fields"][1]["required"] = json!(true)),
        ("schema", |made| made["schemas"][0]["fields"][1]["doc"] = json!("of the server")),
        ("schema", |made| drop(made["schemas"][0]["fields"].as_array_mut().unwrap().pop())),
        ("schema", |made| {
            let more = json!({"id": 3, "name": "more", "required": false, "type": "string"});
            made["schemas"][0]["fields"].as_array_mut().unwrap().push(more);
            made["last-column-id"] = json!(3);
        }),
        ("schema", |made| made["schemas"][0]["identifier-field-ids"] = json!([])),
        ("schema", |made| made["last-column-id"] = json!(9)),
        ("schema", |made| {
            made["schemas"][0]["schema-id"] = json!(1);
            made["current-schema-id"] = json!(1);
        }),
        ("partition spec", |made| made["partition-specs"][0]["fields"] = json!([])),
        ("partition spec", |made| made["partition-specs"][0]["fields"][0]["transform"] = json!("bucket[8]")),
        ("partition spec", |made| made["partition-specs"][0]["fields"][0]["name"] = json!("bucket_of_pk")),
        ("partition spec", |made| made["partition-specs"][0]["fields"][0]["source-id"] = json!(2)),
        ("partition spec", |made| {
            made["partition-specs"][0]["spec-id"] = json!(3);
            made["default-spec-id"] = json!(3);
        }),
        ("sort order", |made| {
            made["sort-orders"] = json!([{"order-id": 0, "fields": []}]);
            made["default-sort-order-id"] = json!(0);
        }),
        ("sort order", |made| made["sort-orders"][0]["fields"][0]["direction"] = json!("desc")),
        ("sort order", |made| made["sort-orders"][0]["fields"][0]["source-id"] = json!(2)),
        ("format version", |made| made["format-version"] = json!(1)),
    ];
    for staging in [Staging::Yes, Staging::Refused(400)] {
        let place = Rest::fresh(staging);
        let catalog = place.open();
        for (n, (part, alter)) in cases.into_iter().enumerate() {
            let ident = TableIdent::from_strs(["shop", &format!("t{n}")]).unwrap();
            place.server.alter_new_tables(move |made| {
                let before = made.clone();
                alter(made);
                assert_ne!(before, *made, "case {n} changes nothing");
            });
            let error = catalog.prepare(&ident, &planned()).await.map(|home| home.is_some()).unwrap_err();
            assert!(error.to_string().contains(&format!("another {part} than")), "case {n}: {error}");
        }
        place.server.alter_new_tables(|_| {});
        let ident = TableIdent::from_strs(["shop", "fine"]).unwrap();
        assert!(catalog.prepare(&ident, &planned()).await.unwrap().is_some());
    }
}

/// One of two snapshots that were to go is gone by another writer's hand: that is not ours, whatever the answer was.
#[tokio::test]
async fn a_removal_of_which_others_did_a_part_is_not_done() {
    let removal = |ids: &[i64]| vec![TableUpdate::RemoveSnapshots { snapshot_ids: ids.to_vec() }];
    for conflict in [false, true] {
        for others in 0..3 {
            let place = Sqlite::fresh();
            let catalog = place.open();
            let mut table = create_orders(&*catalog, &[]).await;
            for _ in 0..2 {
                let (updates, _) = append(&table.metadata);
                table = done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
            }
            let current = table.metadata.current_snapshot_id().unwrap();
            let mut ids: Vec<i64> =
                table.metadata.snapshots().map(|s| s.snapshot_id()).filter(|id| *id != current).collect();
            ids.sort_unstable();
            assert_eq!(ids.len(), 2);
            let deaf = Deaf { inner: place.open(), conflict };
            let theirs = &ids[..others];
            if others > 0 {
                done(catalog.commit(&table, Vec::new(), removal(theirs)).await.unwrap());
            }
            // A conflict is believed after some looks, however long each takes.
            let patience = if conflict { LONG } else { SHORT };
            let outcome = remove_and_settle(&deaf, &table, Vec::new(), removal(&ids), &ids, patience).await;
            match (outcome, others) {
                (Ok(Outcome::Committed(now)), 2) => assert_eq!(now.metadata.snapshots().len(), 1),
                (Ok(Outcome::Moved(Some(now))), 0 | 1) if conflict => {
                    assert_eq!(now.metadata.snapshots().len(), 3 - others);
                }
                (Err(error), 0 | 1) if !conflict => assert_eq!(error.kind(), Kind::Unknown),
                (outcome, _) => panic!("{others} of two were removed by others: {outcome:?}"),
            }
        }
    }
}

/// A catalog that applies nothing.
#[derive(Debug)]
struct Deaf {
    inner: Arc<dyn Catalog>,
    conflict: bool,
}

#[async_trait]
impl Catalog for Deaf {
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>> {
        self.inner.prepare(ident, planned).await
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        self.inner.load(ident).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.inner.ensure_namespace(namespace).await
    }

    async fn create(&self, _: &TableIdent, _: NewTable) -> Result<Commit> {
        unreachable!()
    }

    async fn commit(&self, _: &LoadedTable, _: Vec<TableRequirement>, _: Vec<TableUpdate>) -> Result<Commit> {
        let why = "injected".to_owned();
        Ok(if self.conflict { Commit::Conflict(why) } else { Commit::Unknown(why) })
    }
}

#[tokio::test]
async fn nothing_is_told_of_a_catalog_that_tells_nothing() {
    let silent = Deaf { inner: crate::sql::Sqlite::fresh().open(), conflict: false };
    assert_eq!(silent.place(), "the catalog");
    assert!(silent.some_tables(&orders()).await.unwrap().is_empty());
}

/// A catalog before whose first commit another writer does something.
struct Beside {
    inner: Arc<dyn Catalog>,
    first: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

#[async_trait]
impl Catalog for Beside {
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>> {
        self.inner.prepare(ident, planned).await
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        self.inner.load(ident).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.inner.ensure_namespace(namespace).await
    }

    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit> {
        self.inner.create(ident, table).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit> {
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            first.await;
        }
        self.inner.commit(base, requirements, updates).await
    }
}

async fn rest_catalog(shop: &Shop) -> Arc<dyn Catalog> {
    let properties =
        BTreeMap::from([("uri".to_owned(), shop.server.uri()), ("allowed-locations".to_owned(), shop.served())]);
    connect("default", &properties, Store::local()).await.unwrap()
}

/// A server compares what a commit requires and nothing else: a tag, a branch and main that were moved between an expiry's plan
/// and its commit keep their snapshots.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_referenced_after_an_expiry_was_planned_stays() {
    for reference in ["tag", "branch", MAIN_BRANCH] {
        let shop = Shop::loaded(Staging::Yes);
        for n in 0..4 {
            let window = shop.site.window(n, n + 1, vec![put("a", i64::from(n) + 10), put(&format!("w{n}"), 1)]);
            shop.site.incremental(&[&window], &["--maintenance", "off"]).expect(0);
        }
        let catalog = rest_catalog(&shop).await;
        let table = load(&*catalog).await;
        let mut ids: Vec<(i64, i64)> =
            table.metadata.snapshots().map(|s| (s.sequence_number(), s.snapshot_id())).collect();
        ids.sort_unstable();
        let (wanted, last) = (ids[1].1, ids[4].1);
        let retention = |name: &str| match name {
            "tag" => SnapshotRetention::Tag { max_ref_age_ms: None },
            _ => SnapshotRetention::branch(None, None, None),
        };
        let set = move |name: &'static str, id: i64| TableUpdate::SetSnapshotRef {
            ref_name: name.to_owned(),
            reference: SnapshotReference::new(id, retention(name)),
        };
        if reference != MAIN_BRANCH {
            done(catalog.commit(&table, Vec::new(), vec![set(reference, last)]).await.unwrap());
        }
        let theirs = Arc::clone(&catalog);
        let first: BoxFuture<'static, ()> = Box::pin(async move {
            let now = load(&*theirs).await;
            done(theirs.commit(&now, Vec::new(), vec![set(reference, wanted)]).await.unwrap());
        });
        let beside = Beside { inner: Arc::clone(&catalog), first: Mutex::new(Some(first)) };
        let context = Context {
            exports: Store::local(),
            catalog: Some(Arc::new(beside)),
            threads: 1,
            memory_limit: 64 << 20,
            progress: Arc::default(),
        };
        let older_than = Some(chrono::Utc::now() + chrono::TimeDelta::seconds(60));
        let request = Expire { table: orders(), older_than, retain_last: Some(1), dry_run: false };
        let mut report = Report::new("expire", None);
        let result = expire(&context, &request, &mut report).await;
        let table = load(&*catalog).await;
        if reference == MAIN_BRANCH {
            // It was rolled back, and that is told before anything goes.
            assert_eq!(result.unwrap_err().kind(), Kind::Window);
            assert_eq!(table.metadata.snapshots().len(), ids.len());
        } else {
            result.unwrap();
            assert_eq!(report.status, Status::Applied);
            assert!(table.metadata.snapshots().len() < ids.len());
        }
        assert!(table.metadata.snapshot_by_id(wanted).is_some(), "{reference}: its snapshot is gone");
        let named = reader::named(&table).await;
        for path in &named {
            assert!(fs::exists(path.strip_prefix("file://").unwrap()).unwrap(), "{reference}: {path} is gone");
        }
        assert!(named.len() > 5 && reader::rows_of(&table).await.len() >= 3, "{reference}");
    }
}
