//! `verify`: checks whether the table equals a full export.

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};

use super::event::{Event, Events, describe, ended, warn};
use super::report::Status;
use super::request::{Context, Verify};
use crate::catalog::{LoadedTable, clock};
use crate::commands::report::state::{Comparison, DifferingKey};
use crate::error::{Error, Result};
use crate::export::{Export, open_full};
use crate::table::columns::columns_with_key;
use crate::table::open::existing;
use crate::table::watermark::{self, WATERMARK};
use crate::table::{check_supported, live_files};
use crate::time::{self, Time};
use crate::verify::{Difference, Differences, Verifier};

/// Compares a table with a full export, key by key. Writes nothing.
///
/// Differences are an error of kind `Failed`; [`Event::Comparison`] has them. An error of kind `Window`: the table was never
/// complete up to exactly the export's time.
pub async fn verify(context: &Context, request: &Verify, events: &mut dyn Events) -> Result<Status> {
    let catalog = context.catalog()?;
    let export = open_full(&context.exports, &request.export, false).await?;
    let table = existing(catalog.as_ref(), &request.table).await?;
    watermark::check_version(&table.metadata)?;
    check_supported(&table.metadata)?;
    describe(events, &table)?;
    watermark::source(&table.metadata).check(&export)?;
    let columns = columns_with_key(&table, &request.key)?;
    let state = choose(&table.metadata, &export, request.snapshot_id)?;
    for gap in watermark::gaps(&table.metadata)? {
        warn(events, [format!("the changes from {} to {} were skipped; they may differ", gap.from, gap.to)]);
    }
    let verifier = Verifier {
        exports: context.exports.clone(),
        files: export.files().to_vec(),
        file_io: table.file_io.clone(),
        live: live_files(&at_snapshot(table, state.snapshot_id)?).await?,
        table: columns,
        resources: context.resources(),
    };
    let found = verifier.run(&export, request.examples).await?;
    let comparison = comparison(&export, state, &found);
    let Comparison { missing, extra, different, repeated, .. } = comparison;
    events.take(Event::Comparison(comparison));
    if found.is_empty() {
        return Ok(ended(events, Status::Checked));
    }
    Err(Error::failed(format!(
        "the table differs from the export: {missing} keys are missing, {extra} are extra, {different} have other values, \
         {repeated} are there more than once"
    ))
    .advice("Load a full export with full-load --if-exists replace to put it right"))
}

fn comparison(export: &Export, state: State, found: &Differences) -> Comparison {
    let count = |difference| found.counts.get(&difference).copied().unwrap_or(0);
    let examples = found.examples.iter().map(|example| DifferingKey {
        difference: match example.difference {
            Difference::Missing => "missing",
            Difference::Extra => "extra",
            Difference::Different => "different",
            Difference::Repeated => "repeated",
        },
        key: example.key.clone(),
        attributes: example.attributes.clone(),
    });
    Comparison {
        export_arn: export.arn().map(str::to_owned),
        export_time: export.time().map(time::format),
        snapshot_id: state.snapshot_id.to_string(),
        snapshot_watermark: state.watermark.map(time::format),
        items: found.items,
        rows: found.rows,
        equal: found.equal,
        missing: count(Difference::Missing),
        extra: count(Difference::Extra),
        different: count(Difference::Different),
        repeated: count(Difference::Repeated),
        examples: examples.collect(),
    }
}

/// A snapshot, and the time up to which the table was complete with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    snapshot_id: i64,
    watermark: Option<Time>,
}

/// The snapshots that can be compared, newest first: main's history back to the last full load. Earlier ones may have
/// had other columns.
fn states(metadata: &TableMetadata) -> Result<Vec<State>> {
    let mut history = Vec::new();
    for snapshot in watermark::since_load(metadata) {
        let summary = &snapshot.summary().additional_properties;
        let mark = summary.get(WATERMARK).and_then(|text| time::parse(text));
        history.push((snapshot.snapshot_id(), mark));
    }
    // If the snapshot that records the first watermark has expired, only the property has it.
    let mut mark = if history.iter().all(|(_, mark)| mark.is_none()) {
        watermark::watermark(metadata)?.map(|mark| mark.time)
    } else {
        None
    };
    let mut states = Vec::with_capacity(history.len());
    for (snapshot_id, own) in history.into_iter().rev() {
        mark = own.or(mark);
        states.push(State { snapshot_id, watermark: mark });
    }
    states.reverse();
    Ok(states)
}

/// The newest snapshot that is complete up to exactly the export's time, or the requested one.
fn choose(metadata: &TableMetadata, export: &Export, asked: Option<i64>) -> Result<State> {
    let states = states(metadata)?;
    if let Some(asked) = asked {
        return states.into_iter().find(|state| state.snapshot_id == asked).ok_or_else(|| {
            Error::usage(format!("the table has no snapshot {asked} since its last full load"))
                .advice("`ddb-iceberg status` lists snapshots")
        });
    }
    let Some(time) = export.time() else {
        return Err(Error::input("the export does not say its time").in_file(export.location().to_string()));
    };
    if let Some(state) = states.iter().find(|state| state.watermark == Some(time)) {
        return Ok(*state);
    }
    let marks = || states.iter().filter_map(|state| state.watermark);
    let near = match (marks().filter(|mark| *mark < time).max(), marks().filter(|mark| *mark > time).min()) {
        (Some(a), Some(b)) => {
            format!("; it was complete up to {}, and then up to {}", time::format(a), time::format(b))
        }
        (Some(mark), None) | (None, Some(mark)) => format!("; it was complete up to {}", time::format(mark)),
        (None, None) => String::new(),
    };
    Err(Error::window(format!(
        "the export is of {}, and no snapshot of the table is complete up to exactly that time{near}",
        time::format(time)
    ))
    .advice(
        "Ask for a full export with --export-time at the end of a window, or apply the windows up to the export's time; \
         to compare in spite of it, name a snapshot with --snapshot-id: changes in between then count as differences",
    ))
}

/// The table as if this snapshot were main's, with its current columns.
fn at_snapshot(table: LoadedTable, snapshot_id: i64) -> Result<LoadedTable> {
    if table.metadata.current_snapshot_id() == Some(snapshot_id) {
        return Ok(table);
    }
    let retention =
        SnapshotRetention::Branch { min_snapshots_to_keep: None, max_snapshot_age_ms: None, max_ref_age_ms: None };
    let builder = clock::draft(&table.metadata)?;
    let made = builder.set_ref(MAIN_BRANCH, SnapshotReference::new(snapshot_id, retention))?.build()?;
    Ok(LoadedTable { metadata: made.metadata.into(), ..table })
}
