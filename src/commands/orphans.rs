//! `orphans`: lists or deletes unreferenced files below the table's location.

use chrono::{Duration, Utc};

use super::compact::load;
use super::event::{Event, Events, describe, ended, warn};
use super::report::{MaintenanceReport, Status};
use super::request::{Context, Orphans};
use crate::error::{Error, Result};
use crate::maintenance::retention::check_gc;
use crate::maintenance::{find_orphans, keep_named};
use crate::storage::Deleted;

/// Files younger than this many hours may belong to a pending commit.
const LEAST_HOURS: i64 = 24;

/// Finds orphans; deletes them if requested.
pub async fn orphans(context: &Context, request: &Orphans, events: &mut dyn Events) -> Result<Status> {
    if Utc::now() - request.older_than < Duration::hours(LEAST_HOURS) {
        return Err(Error::usage(format!("--older-than must lie at least {LEAST_HOURS} hours back"))
            .advice("A younger file may belong to a commit that is under way"));
    }
    let catalog = context.catalog()?;
    let table = load(catalog.as_ref(), &request.table).await?;
    describe(events, &table)?;
    check_gc(&table.metadata)?;
    context.progress.start("looking for orphans", 0);
    let mut found = find_orphans(&table, request.older_than).await?;
    warn(events, found.warnings.drain(..));
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
            warn(events, [format!("{outside} files outside of the table's folders were left alone")]);
        }
        if failed > 0 {
            warn(events, [format!("{failed} files could not be deleted")]);
        }
        done.status = Status::Applied;
    } else if !found.files.is_empty() {
        done.status = Status::DryRun;
    }
    let status = done.status;
    done.files = found.files;
    events.take(Event::Maintenance(done));
    Ok(ended(events, status))
}
