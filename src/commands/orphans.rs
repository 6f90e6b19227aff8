//! `orphans`: lists or deletes unreferenced files below the table's location.

use chrono::{Duration, Utc};

use super::compact::load;
use super::report::{MaintenanceReport, Report, Status};
use super::request::{Context, Orphans};
use crate::error::{Error, Result};
use crate::maintenance::retention::check_gc;
use crate::maintenance::{find_orphans, keep_named};
use crate::storage::Deleted;

/// Files younger than this many hours may belong to a pending commit.
const LEAST_HOURS: i64 = 24;

/// Finds orphans; deletes them if requested.
pub async fn orphans(context: &Context, request: &Orphans, report: &mut Report) -> Result<()> {
    if Utc::now() - request.older_than < Duration::hours(LEAST_HOURS) {
        return Err(Error::usage(format!("--older-than must lie at least {LEAST_HOURS} hours back"))
            .advice("A younger file may belong to a commit that is under way"));
    }
    let catalog = context.catalog()?;
    let table = load(catalog.as_ref(), &request.table).await?;
    report.describe(&table)?;
    check_gc(&table.metadata)?;
    context.progress.start("looking for orphans", 0);
    let mut found = find_orphans(&table, request.older_than).await?;
    report.warnings.append(&mut found.warnings);
    let mut done = MaintenanceReport::new("orphans", Status::NothingToDo);
    done.bytes_removed = found.bytes;
    if request.delete {
        found.check()?;
    }
    if request.delete && !request.dry_run && !found.files.is_empty() {
        let now = load(catalog.as_ref(), &request.table).await?;
        if now.metadata.uuid() != table.metadata.uuid() || now.metadata.location() != table.metadata.location() {
            return Err(Error::failed("the table was replaced while its files were listed")
                .advice("Nothing was deleted; run the command again"));
        }
        if now.metadata_location != table.metadata_location {
            keep_named(&now, &mut found.files).await?;
        }
        let Deleted { deleted, failed, outside } = now.place.delete(found.files.clone()).await;
        done.files_deleted = deleted;
        if outside > 0 {
            report.warnings.push(format!("{outside} files outside of the table's folders were left alone"));
        }
        if failed > 0 {
            report.warnings.push(format!("{failed} files could not be deleted"));
        }
        done.status = Status::Applied;
    } else if !found.files.is_empty() {
        done.status = Status::DryRun;
    }
    report.status = done.status;
    done.files = found.files;
    report.maintenance.push(done);
    Ok(())
}
