//! Maintenance by `incremental` after it has applied windows, so that one scheduled command is enough.
//!
//! It never makes the windows fail: a failure is a warning, and if another writer committed first, the next run
//! retries.

use chrono::Utc;

use super::compact::{adds, compactor, removes};
use super::report::{MaintenanceReport, Report, Status};
use super::request::Context;
use crate::catalog::{Catalog, LoadedTable};
use crate::error::{Error, Result};
use crate::maintenance::due::{may_compact, to_expire};
use crate::maintenance::{Policy, expire};

/// Compacts and expires if that is due; returns the table's state. `last`: no other window is waiting.
pub(super) async fn upkeep(
    context: &Context,
    catalog: &dyn Catalog,
    mut table: LoadedTable,
    last: bool,
    report: &mut Report,
) -> LoadedTable {
    if may_compact(&table.metadata, last) {
        match compact(context, catalog, &table).await {
            Ok(Some((done, now))) => {
                report.maintenance.push(done);
                table = now;
            }
            Ok(None) => {}
            Err(error) => warn(report, "compact", "the table was not compacted", &error),
        }
    }
    if last {
        match expire_some(context, catalog, &table).await {
            Ok(Some((done, now, warnings))) => {
                report.maintenance.push(done);
                report.warnings.extend(warnings);
                table = now;
            }
            Ok(None) => {}
            Err(error) => warn(report, "expire", "old snapshots were not expired", &error),
        }
    }
    if let Err(error) = report.describe(&table) {
        // The windows are in the table, so their part of the report is valid.
        report.warnings.push(error.to_string());
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

fn warn(report: &mut Report, action: &'static str, what: &str, error: &Error) {
    report.maintenance.push(MaintenanceReport::new(action, Status::Failed));
    report.warnings.push(format!("{what}; the windows are applied. {error}"));
}
