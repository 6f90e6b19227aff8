//! Determines the outcome of a commit.
//!
//! After any answer but [`Commit::Done`], the table is loaded again and searched for our own snapshot:
//!
//! - It is there: the commit succeeded, whatever the answer was. Even a conflict can be caused by our own first
//!   attempt, if something between us and the catalog sent the request twice.
//! - It is missing after a conflict, in two attempts: another writer committed first. The first attempt may have got a
//!   cached answer; so as long as the table seems unchanged, the search continues for a while.
//! - It is missing after an unknown answer: if the table no longer meets the commit's requirements, the commit can't be
//!   applied any more, and another writer committed first. Otherwise it may still be pending; the search continues for
//!   [`Patience::in_flight`].
//! - If the outcome can't be determined, this is an error of [`Kind::Unknown`]. None of the commit's files may be
//!   deleted then.

use iceberg::spec::TableMetadata;
use iceberg::{TableIdent, TableRequirement, TableUpdate};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::patience::Patience;
use super::{Catalog, Commit, LoadedTable, NewTable};
use crate::error::{Error, Kind, Result};

/// Number of attempts after a conflict, before the files written for the change are given up.
const LOOKS: u32 = 2;
/// The same if the table seems unchanged, for [`Patience::longest_pause`] at least.
const LOOKS_AT_THE_SAME: u32 = 4;

/// The outcome of a change.
#[derive(Debug)]
pub enum Outcome {
    /// It is in the table; the table as loaded (others may have changed it further).
    Committed(LoadedTable),
    /// It is not in the table and will not be: another writer committed first. The current table, `None` if there is
    /// none.
    Moved(Option<LoadedTable>),
}

impl Outcome {
    /// Whether it is in the table.
    pub fn is_committed(&self) -> bool {
        matches!(self, Self::Committed(_))
    }
}

/// How to recognise a change in the table.
#[derive(Debug, Clone, Copy)]
enum Mark<'a> {
    Snapshot(i64),
    Table(Uuid),
    /// None of these snapshots exists any more.
    Without(&'a [i64]),
}

impl Mark<'_> {
    fn is_in(self, metadata: &TableMetadata) -> bool {
        match self {
            Self::Snapshot(id) => metadata.snapshot_by_id(id).is_some(),
            Self::Table(uuid) => metadata.uuid() == uuid,
            Self::Without(ids) => !ids.is_empty() && ids.iter().all(|id| metadata.snapshot_by_id(*id).is_none()),
        }
    }
}

/// Determines the outcome of the commit of the snapshot `snapshot_id`, with the default [`Patience`].
///
/// Errors: [`Kind::Unknown`] if it can't be determined.
pub async fn settle(catalog: &dyn Catalog, ident: &TableIdent, answer: Commit, snapshot_id: i64) -> Result<Outcome> {
    find(catalog, ident, answer, Mark::Snapshot(snapshot_id), |_| false, Patience::default()).await
}

/// Creates a table and determines the outcome: [`Outcome::Moved`] if the name was taken.
///
/// Errors: [`Kind::Unknown`] if it can't be determined; with any other error the table was not created.
pub async fn create_and_settle(
    catalog: &dyn Catalog,
    ident: &TableIdent,
    table: NewTable,
    patience: Patience,
) -> Result<Outcome> {
    let mark = table.metadata.current_snapshot_id().map_or(Mark::Table(table.metadata.uuid()), Mark::Snapshot);
    let place = table.metadata.uuid();
    let answer = catalog.create(ident, table).await?;
    // A catalog may have created a placeholder: then the table exists, but the creation can still be applied.
    let cannot_apply =
        |now: &LoadedTable| !(now.metadata.uuid() == place && now.metadata.current_snapshot_id().is_none());
    find(catalog, ident, answer, mark, cannot_apply, patience).await
}

/// Commits a change whose new snapshot is `snapshot_id`, and determines the outcome: [`Outcome::Moved`] if another
/// writer committed first. The commit is sent once; the caller plans again.
///
/// Errors: [`Kind::Unknown`] if it can't be determined; with any other error the change was not applied.
pub async fn commit_and_settle(
    catalog: &dyn Catalog,
    base: &LoadedTable,
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
    snapshot_id: i64,
    patience: Patience,
) -> Result<Outcome> {
    let answer = catalog.commit(base, requirements.clone(), updates).await?;
    let cannot_apply =
        |now: &LoadedTable| requirements.iter().any(|requirement| requirement.check(Some(&now.metadata)).is_err());
    find(catalog, &base.ident, answer, Mark::Snapshot(snapshot_id), cannot_apply, patience).await
}

/// Commits the removal of these snapshots, and determines the outcome like [`commit_and_settle`]. If another writer
/// removed them, this counts as success.
pub async fn remove_and_settle(
    catalog: &dyn Catalog,
    base: &LoadedTable,
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
    removed: &[i64],
    patience: Patience,
) -> Result<Outcome> {
    let answer = catalog.commit(base, requirements.clone(), updates).await?;
    let cannot_apply =
        |now: &LoadedTable| requirements.iter().any(|requirement| requirement.check(Some(&now.metadata)).is_err());
    find(catalog, &base.ident, answer, Mark::Without(removed), cannot_apply, patience).await
}

/// `cannot_apply`: whether the current table permanently refuses the change.
async fn find(
    catalog: &dyn Catalog,
    ident: &TableIdent,
    answer: Commit,
    mark: Mark<'_>,
    cannot_apply: impl Fn(&LoadedTable) -> bool + Send + Sync,
    patience: Patience,
) -> Result<Outcome> {
    let (why, unknown) = match answer {
        Commit::Done(table) => return Ok(Outcome::Committed(table)),
        Commit::Conflict(why) => (why, false),
        Commit::Unknown(why) => (why, true),
    };
    if unknown {
        tracing::warn!(
            "the catalog did not say whether the change of {ident} was applied ({why}); looking at the table"
        );
    } else {
        tracing::info!("the change of {ident} was refused ({why}); looking at the table");
    }

    let start = Instant::now();
    let in_flight_until = start + patience.in_flight;
    let mut reload_until = start + patience.reload;
    let mut pause = patience.first_pause;
    let same_for = patience.longest_pause.min(patience.in_flight / 4);
    let mut looks = 0;
    loop {
        let deadline = match timeout_at(reload_until, catalog.load(ident)).await {
            Ok(Ok(now)) => {
                match now {
                    Some(table) if mark.is_in(&table.metadata) => return Ok(Outcome::Committed(table)),
                    now if !unknown => {
                        looks += 1;
                        // A replica of the catalog may lag behind.
                        let is_the_same = looks >= LOOKS_AT_THE_SAME && start.elapsed() >= same_for;
                        if is_the_same || (looks >= LOOKS && now.as_ref().is_some_and(&cannot_apply)) {
                            return Ok(Outcome::Moved(now));
                        }
                    }
                    Some(table) if cannot_apply(&table) => return Ok(Outcome::Moved(Some(table))),
                    _ => {}
                }
                reload_until = Instant::now() + patience.reload;
                in_flight_until
            }
            Ok(Err(error)) => {
                tracing::info!("{ident} could not be loaded: {error}");
                reload_until
            }
            Err(_) => reload_until,
        };
        let now = Instant::now();
        if now >= deadline {
            return Err(unknown_outcome(ident, &why));
        }
        sleep(pause.min(deadline - now)).await;
        pause = (pause * 2).min(patience.longest_pause);
    }
}

fn unknown_outcome(ident: &TableIdent, why: &str) -> Error {
    Error::new(Kind::Unknown, format!("it is not known whether the change of {ident} was applied: {why}")).advice(
        "Nothing was deleted. When the catalog answers again, run the same command again: \
         it finds out what was applied and does the rest",
    )
}
