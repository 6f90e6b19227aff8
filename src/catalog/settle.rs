//! What became of a commit.
//!
//! After any answer but [`Commit::Done`] the table is loaded again and searched for our own snapshot:
//!
//! - It is there: the commit is in the table, whatever the answer was. Even a conflict can be our own first attempt, sent
//!   twice by something between us and the catalog.
//! - It is not there after a conflict, at two looks: another writer was first. The first may have got an answer that was
//!   kept somewhere from before; so we also go on looking, for a while, as long as the table seems to be as it was.
//! - It is not there after an unknown answer: if the table no longer meets what the commit required, it can't be applied
//!   any more, and another writer was first. Else it may still be under way; we go on looking for [`Patience::in_flight`].
//! - What can't be learned is an error of [`Kind::Unknown`]. Nothing that the commit refers to may be deleted then.

use iceberg::spec::TableMetadata;
use iceberg::{TableIdent, TableRequirement, TableUpdate};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::patience::Patience;
use super::{Catalog, Commit, LoadedTable, NewTable};
use crate::error::{Error, Kind, Result};

/// Looks at a table after a conflict, before what was written for the change is given up.
const LOOKS: u32 = 2;
/// The same where the table does not seem to have changed, for [`Patience::longest_pause`] at least.
const LOOKS_AT_THE_SAME: u32 = 4;

/// What became of a change.
#[derive(Debug)]
pub enum Outcome {
    /// It is in the table; the table as it was found (others may have changed it further).
    Committed(LoadedTable),
    /// It is not and will not be: another writer was first. The table as it is now, `None` if there is none.
    Moved(Option<LoadedTable>),
}

impl Outcome {
    /// Whether it is in the table.
    pub fn is_committed(&self) -> bool {
        matches!(self, Self::Committed(_))
    }
}

/// How a change is recognised in the table.
#[derive(Debug, Clone, Copy)]
enum Mark<'a> {
    Snapshot(i64),
    Table(Uuid),
    /// None of these snapshots is there any more.
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

/// Learns what became of the commit of the snapshot `snapshot_id`, with the default [`Patience`].
///
/// Errors: [`Kind::Unknown`] if it can't be learned.
pub async fn settle(catalog: &dyn Catalog, ident: &TableIdent, answer: Commit, snapshot_id: i64) -> Result<Outcome> {
    find(catalog, ident, answer, Mark::Snapshot(snapshot_id), |_| false, Patience::default()).await
}

/// Creates a table and learns what became of it: [`Outcome::Moved`] if the name was taken.
///
/// Errors: [`Kind::Unknown`] if it can't be learned; any other: the table was not created.
pub async fn create_and_settle(
    catalog: &dyn Catalog,
    ident: &TableIdent,
    table: NewTable,
    patience: Patience,
) -> Result<Outcome> {
    let mark = table.metadata.current_snapshot_id().map_or(Mark::Table(table.metadata.uuid()), Mark::Snapshot);
    let place = table.metadata.uuid();
    let answer = catalog.create(ident, table).await?;
    // A catalog may have made the place already: then the table exists, and the creation can be applied all the same.
    let cannot_apply =
        |now: &LoadedTable| !(now.metadata.uuid() == place && now.metadata.current_snapshot_id().is_none());
    find(catalog, ident, answer, mark, cannot_apply, patience).await
}

/// Commits a change whose new snapshot is `snapshot_id`, and learns what became of it: [`Outcome::Moved`] if another
/// writer was first. It is sent once; planning again is the caller's.
///
/// Errors: [`Kind::Unknown`] if it can't be learned; any other: the change was not applied.
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

/// Commits the removal of these snapshots, and learns what became of it, as [`commit_and_settle`] does. That
/// another writer removed them is the same.
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

/// `cannot_apply`: whether the table as it is now refuses the change for good.
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
                        // A replica of the catalog's may lag behind.
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
