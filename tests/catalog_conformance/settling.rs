//! What became of a commit: a catalog that answers wrongly, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ddb_iceberg::catalog::patience::Patience;
use ddb_iceberg::catalog::settle::{Outcome, commit_and_settle, create_and_settle, settle};
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable, NewTable, TableHome};
use ddb_iceberg::error::{Error, Kind, Result};
use iceberg::spec::TableMetadata;
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};

use crate::Place;
use crate::catalogs::*;
use crate::sql::Sqlite;

/// What happens to a commit or a creation.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Applied, and the answer is a conflict: a hidden second attempt.
    ConflictAfter,
    UnknownBefore,
    UnknownAfter,
    /// Applied a little later than the answer.
    UnknownThenApplied,
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Catalog>,
    fault: Fault,
    /// So many loads fail.
    failing_loads: AtomicU32,
}

impl Faulty {
    fn new(inner: Arc<dyn Catalog>, fault: Fault, failing_loads: u32) -> Self {
        Self { inner, fault, failing_loads: AtomicU32::new(failing_loads) }
    }

    async fn answer(&self, attempt: impl Future<Output = Result<Commit>> + Send + 'static) -> Result<Commit> {
        let unknown = Ok(Commit::Unknown("connection reset".to_owned()));
        match self.fault {
            Fault::UnknownBefore => unknown,
            Fault::UnknownAfter => attempt.await.and(unknown),
            Fault::ConflictAfter => attempt.await.and(Ok(Commit::Conflict("409".to_owned()))),
            Fault::UnknownThenApplied => {
                tokio::spawn(async {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    attempt.await
                });
                unknown
            }
        }
    }
}

#[async_trait]
impl Catalog for Faulty {
    async fn prepare(&self, ident: &TableIdent, planned: &TableMetadata) -> Result<Option<TableHome>> {
        self.inner.prepare(ident, planned).await
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        if self.failing_loads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(Error::failed("no route to host"));
        }
        self.inner.load(ident).await
    }

    async fn ensure_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.inner.ensure_namespace(namespace).await
    }

    async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Commit> {
        let (inner, ident) = (self.inner.clone(), ident.clone());
        self.answer(async move { inner.create(&ident, table).await }).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit> {
        let (inner, base) = (self.inner.clone(), base.clone());
        self.answer(async move { inner.commit(&base, requirements, updates).await }).await
    }
}

async fn commit(catalog: &dyn Catalog, table: &LoadedTable, patience: Patience) -> (Result<Outcome>, i64) {
    let (updates, id) = append(&table.metadata);
    (commit_and_settle(catalog, table, base(&table.metadata), updates, id, patience).await, id)
}

#[track_caller]
fn committed(outcome: Result<Outcome>) -> LoadedTable {
    match outcome {
        Ok(Outcome::Committed(table)) => table,
        other => panic!("not committed: {other:?}"),
    }
}

#[tokio::test]
async fn our_own_success_is_found_behind_any_answer() {
    for fault in [Fault::ConflictAfter, Fault::UnknownAfter, Fault::UnknownThenApplied] {
        let place = Sqlite::fresh();
        let table = create_orders(&*place.open(), &[]).await;
        let faulty = Faulty::new(place.open(), fault, 3);
        let (outcome, id) = commit(&faulty, &table, LONG).await;
        let found = committed(outcome);
        assert_eq!(found.metadata.current_snapshot_id(), Some(id), "{fault:?}");
        assert_eq!(found.metadata, load(&*place.open()).await.metadata);
    }
}

#[tokio::test]
async fn our_own_creation_is_found_behind_any_answer() {
    for fault in [Fault::ConflictAfter, Fault::UnknownAfter, Fault::UnknownThenApplied] {
        let place = Sqlite::fresh();
        let faulty = Faulty::new(place.open(), fault, 2);
        let table = placed(&faulty, &orders(), &[]).await.unwrap();
        let uuid = table.metadata.uuid();
        let found = committed(create_and_settle(&faulty, &orders(), table, LONG).await);
        assert_eq!(found.metadata.uuid(), uuid, "{fault:?}");
    }
}

#[tokio::test]
async fn an_effect_that_never_comes_is_unknown() {
    let place = Sqlite::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    let (outcome, _) = commit(&Faulty::new(place.open(), Fault::UnknownBefore, 0), &table, SHORT).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown);
    assert!(error.to_string().contains("run the same command again"), "{error}");

    let creation = Sqlite::fresh();
    let faulty = Faulty::new(creation.open(), Fault::UnknownBefore, 0);
    let table = placed(&faulty, &orders(), &[]).await.unwrap();
    let outcome = create_and_settle(&faulty, &orders(), table, SHORT).await;
    assert_eq!(outcome.unwrap_err().kind(), Kind::Unknown);
}

#[tokio::test]
async fn an_effect_that_can_come_no_more_is_known() {
    let place = Sqlite::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    let (theirs, id) = commit(&*place.open(), &table, LONG).await;
    committed(theirs);
    // Our base is gone: had it not been applied by now, it would be refused.
    let started = std::time::Instant::now();
    let (outcome, _) = commit(&Faulty::new(place.open(), Fault::UnknownBefore, 0), &table, LONG).await;
    let Ok(Outcome::Moved(Some(now))) = outcome else { panic!("{outcome:?}") };
    assert_eq!(now.metadata.current_snapshot_id(), Some(id));
    assert!(started.elapsed() < LONG.in_flight);
}

#[tokio::test]
async fn a_table_that_can_not_be_loaded_is_unknown() {
    let place = Sqlite::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    for fault in [Fault::ConflictAfter, Fault::UnknownBefore] {
        let (outcome, _) = commit(&Faulty::new(place.open(), fault, u32::MAX), &table, SHORT).await;
        assert_eq!(outcome.unwrap_err().kind(), Kind::Unknown, "{fault:?}");
    }
}

#[tokio::test]
async fn a_conflict_is_another_writers_success() {
    let place = Sqlite::fresh();
    let table = create_orders(&*place.open(), &[]).await;
    let (theirs, id) = commit(&*place.open(), &table, LONG).await;
    committed(theirs);
    let (outcome, ours) = commit(&*place.open(), &table, LONG).await;
    let Ok(Outcome::Moved(Some(now))) = outcome else { panic!("{outcome:?}") };
    assert_eq!(now.metadata.current_snapshot_id(), Some(id));
    assert!(now.metadata.snapshot_by_id(ours).is_none());

    let outcome = create_and_settle(&*place.open(), &orders(), new_table(now.metadata.location(), &[]), LONG).await;
    assert!(matches!(outcome, Ok(Outcome::Moved(Some(_)))), "{outcome:?}");

    let nothing = Sqlite::fresh().open();
    let outcome = settle(&*nothing, &orders(), Commit::Conflict("gone".to_owned()), 1).await;
    assert!(matches!(outcome, Ok(Outcome::Moved(None))), "{outcome:?}");
}
