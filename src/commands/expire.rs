//! `expire`: removes old snapshots, and the files that only they need.

use std::time::Duration;

use chrono::Utc;

use super::compact::load;
use super::event::{Event, Events, describe, ended, warn};
use super::report::{MaintenanceReport, Status};
use super::request::{Context, Expire};
use crate::error::Result;
use crate::maintenance::retention::check_gc;
use crate::maintenance::{Retention, Wanted, expire as remove, unreachable};
use crate::table::commit::retry::Attempts;

/// Removes the expired snapshots, then their files.
pub async fn expire(context: &Context, request: &Expire, events: &mut dyn Events) -> Result<Status> {
    let catalog = context.catalog()?;
    let advice = "Nothing was removed; run the command again";
    let mut attempts = Attempts::new(10, Duration::from_millis(50), "", advice);
    loop {
        let base = load(catalog.as_ref(), &request.table).await?;
        describe(events, &base)?;
        check_gc(&base.metadata)?;
        let wanted = Wanted { older_than: request.older_than, retain_last: request.retain_last };
        let retention = Retention::of(&base.metadata, wanted, Utc::now())?;
        let mut done = MaintenanceReport::new("expire", Status::NothingToDo);
        if retention.is_empty() {
            events.take(Event::Maintenance(done));
            return Ok(ended(events, Status::NothingToDo));
        }
        done.snapshots_removed = retention.snapshots.len() as u64;
        done.references_removed.clone_from(&retention.references);
        if request.dry_run {
            done.files_deleted = unreachable(&base, &retention).await?.into_paths().count() as u64;
            done.status = Status::DryRun;
            events.take(Event::Maintenance(done));
            return Ok(ended(events, Status::DryRun));
        }
        context.progress.start("expiring snapshots", 0);
        if let Some(expired) = remove(catalog.as_ref(), &base, &retention, &context.progress).await? {
            done.status = Status::Applied;
            done.files_deleted = expired.files_deleted;
            events.take(Event::Maintenance(done));
            warn(events, expired.warnings);
            describe(events, &expired.table)?;
            return Ok(ended(events, Status::Applied));
        }
        attempts.lost().await?;
    }
}
