//! Maintenance by `incremental` after it has applied windows, so that one scheduled command is enough.
//!
//! It never makes the windows fail: a failure is a warning, and if another writer committed first, the next run
//! retries.

use chrono::Utc;
use iceberg::TableUpdate;

use super::compact::{adds, compactor, removes};
use super::event::{Event, Events, describe, warn};
use super::report::{MaintenanceReport, Status};
use super::request::Context;
use crate::catalog::{Catalog, Commit, LoadedTable};
use crate::error::{Error, Kind, Result};
use crate::maintenance::due::{COMPACTION_FAILED, CompactionFailed, may_compact, to_expire};
use crate::maintenance::{Policy, expire};
use crate::table::base_requirements;

/// Compacts and expires if that is due; returns the table's state. `last`: no other window is waiting.
pub(super) async fn upkeep(
    context: &Context,
    catalog: &dyn Catalog,
    mut table: LoadedTable,
    last: bool,
    events: &mut dyn Events,
) -> LoadedTable {
    if may_compact(&table.metadata, last) {
        match compact(context, catalog, &table).await {
            Ok(Some((done, now))) => {
                events.take(Event::Maintenance(done));
                table = now;
            }
            Ok(None) => {}
            Err(error) => {
                let failed = CompactionFailed::again(&table.metadata);
                let windows =
                    if failed.pause() == 1 { "window".to_owned() } else { format!("{} windows", failed.pause()) };
                let what = format!("the table was not compacted, which is tried again after the next {windows}");
                failed_to(events, "compact", &what, &error);
                // Whatever is not known to have failed is left alone: the next run sees what became of it.
                if !matches!(error.kind(), Kind::Unknown | Kind::Interrupted) {
                    table = record(context, catalog, table, failed).await;
                }
            }
        }
    }
    if last {
        match expire_some(context, catalog, &table).await {
            Ok(Some((done, now, warnings))) => {
                events.take(Event::Maintenance(done));
                warn(events, warnings);
                table = now;
            }
            Ok(None) => {}
            Err(error) => failed_to(events, "expire", "old snapshots were not expired", &error),
        }
    }
    if let Err(error) = describe(events, &table) {
        // The windows are in the table, so what was told of them is valid.
        warn(events, [error.to_string()]);
    }
    table
}

async fn compact(
    context: &Context,
    catalog: &dyn Catalog,
    table: &LoadedTable,
) -> Result<Option<(MaintenanceReport, LoadedTable)>> {
    let compactor = compactor(context, table);
    let compaction = compactor.plan(&Policy::frugal(compactor.target_bytes()?)).await?;
    if compaction.is_worthless() {
        return Ok(None);
    }
    let mut done = MaintenanceReport::new("compact", Status::NothingToDo);
    removes(&mut done, &compaction);
    let Some(compacted) = compactor.run(catalog, compaction).await? else {
        tracing::info!("another writer changed the table; it is compacted another time");
        return Ok(None);
    };
    adds(&mut done, &compacted);
    Ok(Some((done, compacted.table)))
}

async fn expire_some(
    context: &Context,
    catalog: &dyn Catalog,
    table: &LoadedTable,
) -> Result<Option<(MaintenanceReport, LoadedTable, Vec<String>)>> {
    let Some(retention) = to_expire(&table.metadata, Utc::now())? else { return Ok(None) };
    let mut done = MaintenanceReport::new("expire", Status::Applied);
    done.snapshots_removed = retention.snapshots.len() as u64;
    done.references_removed.clone_from(&retention.references);
    let Some(expired) = expire(catalog, table, &retention, &context.progress).await? else {
        tracing::info!("another writer changed the table; old snapshots are expired another time");
        return Ok(None);
    };
    done.files_deleted = expired.files_deleted;
    Ok(Some((done, expired.table, expired.warnings)))
}

/// Records in the table that a compaction has failed, as far as possible; gives the table as it is then.
async fn record(context: &Context, catalog: &dyn Catalog, table: LoadedTable, failed: CompactionFailed) -> LoadedTable {
    let Ok(text) = serde_json::to_string(&failed) else { return table };
    let updates = vec![TableUpdate::SetProperties { updates: [(COMPACTION_FAILED.to_owned(), text)].into() }];
    // Through the run, which is not stopped halfway then.
    let commit = catalog.commit(&table, base_requirements(&table.metadata), updates);
    match context.progress.run().commit(commit).await {
        Ok(Commit::Done(now)) => now,
        other => {
            tracing::debug!("that the compaction failed was not recorded: {other:?}");
            table
        }
    }
}

fn failed_to(events: &mut dyn Events, action: &'static str, what: &str, error: &Error) {
    events.take(Event::Maintenance(MaintenanceReport::new(action, Status::Failed)));
    warn(events, [format!("{what}; the windows are applied. {error}")]);
}
