//! `compact`: merges small data files and rewrites files with many deletes, in one commit that changes no row.

use std::time::Duration;

use super::event::{Event, Events, describe, ended, warn_of_properties};
use super::report::{MaintenanceReport, Status};
use super::request::{Compact, Context};
use crate::catalog::{Catalog, LoadedTable};
use crate::error::Result;
use crate::maintenance::{Compacted, Compaction, Compactor, Policy};
use crate::table::commit::retry::Attempts;
use crate::table::open::existing_to_change;
use crate::table::{check_properties, check_supported, check_writable, watermark};

/// Rewrites everything that pays off.
pub async fn compact(context: &Context, request: &Compact, events: &mut dyn Events) -> Result<Status> {
    let catalog = context.catalog()?;
    let mut attempts = Attempts::new(
        5,
        Duration::from_millis(100),
        " while it was compacted",
        "Nothing was changed; run the command again when fewer windows arrive",
    );
    loop {
        let base = load(catalog.as_ref(), &request.table).await?;
        check_writable(&base.metadata)?;
        describe(events, &base)?;
        check_properties(&base.metadata)?;
        let compactor = compactor(context, &base);
        let policy = Policy::thorough(compactor.target_bytes()?);
        let compaction = compactor.plan(&policy).await?;
        let mut done = MaintenanceReport::new("compact", Status::NothingToDo);
        if compaction.is_empty() {
            events.take(Event::Maintenance(done));
            return Ok(ended(events, Status::NothingToDo));
        }
        removes(&mut done, &compaction);
        if request.dry_run {
            done.status = Status::DryRun;
            events.take(Event::Maintenance(done));
            return Ok(ended(events, Status::DryRun));
        }
        if let Some(compacted) = compactor.run(catalog.as_ref(), compaction).await? {
            adds(&mut done, &compacted);
            events.take(Event::Maintenance(done));
            warn_of_properties(events, &compacted.table);
            describe(events, &compacted.table)?;
            return Ok(ended(events, Status::Applied));
        }
        attempts.lost().await?;
    }
}

/// Loads a table that maintenance may change.
pub(super) async fn load(catalog: &dyn Catalog, ident: &iceberg::TableIdent) -> Result<LoadedTable> {
    let table = existing_to_change(catalog, ident).await?;
    watermark::check_version(&table.metadata)?;
    check_supported(&table.metadata)?;
    Ok(table)
}

pub(super) fn compactor(context: &Context, base: &LoadedTable) -> Compactor {
    Compactor { base: base.clone(), resources: context.resources() }
}

/// Records what a compaction removes.
pub(super) fn removes(done: &mut MaintenanceReport, compaction: &Compaction) {
    for live in compaction.rewritten() {
        done.data_files_removed += 1;
        done.bytes_removed += live.file.file_size_in_bytes();
    }
    done.delete_files_removed = compaction.deletes_removed().len() as u64;
}

/// Records what a compaction wrote.
pub(super) fn adds(done: &mut MaintenanceReport, compacted: &Compacted) {
    done.status = Status::Applied;
    done.snapshot_id = Some(compacted.snapshot_id.to_string());
    done.data_files_added = compacted.added.len() as u64;
    done.bytes_added = compacted.added.iter().map(iceberg::spec::DataFile::file_size_in_bytes).sum();
}
