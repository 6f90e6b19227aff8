//! `incremental`: due windows are merged into the table in order, one commit each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use iceberg::spec::{MAIN_BRANCH, Operation};

use super::existing::existing_to_change;
use super::found::{Found, holder};
use super::report::{FileCounts, Report, RowCounts, Status, WindowReport, rescue_warnings};
use super::request::{Context, Incremental, Maintenance, NewAttributes, WriteMode};
use super::upkeep::upkeep;
use crate::catalog::settle::{Outcome, commit_and_settle, conclude};
use crate::catalog::{Catalog, LoadedTable, clock, is_unfinished};
use crate::error::{Error, Kind, Result};
use crate::export::{Export, Prefix, resolve_back};
use crate::merge::{NewAttributesPolicy, Plan, Planner, Removal};
use crate::schema::{Limits, TableSchema, no_such_key};
use crate::storage::{Location, Staging};
use crate::table::watermark::{self, EXPORT_ARN, GAPS, Gap, WATERMARK, WINDOW_FROM, WINDOW_TO, Watermark};
use crate::table::{Partitioner, SnapshotBuilder, base_requirements, check_properties, check_writable};
use crate::time::{self, Time};
use crate::windows::{Allow, Choice, GAPS_SEEN, Seen, Why, Window};

/// The table property that says how old rows are taken away, as Spark's MERGE reads it.
const MERGE_MODE: &str = "write.merge.mode";

/// Plans of one window before other writers have won: each starts from the table as it is then.
const ATTEMPTS: u32 = 10;

/// Applies every window that is due, in order.
///
/// Windows applied before an error stay applied, and are in the report, as is the window that failed. Where an export below a
/// folder is damaged, those that follow the watermark without a gap are applied before that is the error.
pub async fn incremental(context: &Context, request: &Incremental, report: &mut Report) -> Result<()> {
    let catalog = context.catalog()?;
    let mut table = load(catalog.as_ref(), request).await?;
    report.describe(&table)?;
    let mut found = collect(context, &request.exports, &table, report).await?;
    let damaged = found.damaged.take();
    let allow = Allow { gap: request.allow_gap, overlap: request.allow_overlap };
    let mut told = HashSet::new();
    let (mut base, mut choice) = begin(&found, &table, allow, &mut told, report)?;
    let (mut position, mut attempt) = (0, 0);
    let mut source = watermark::source(&table.metadata);
    while let Some(due) = choice.due.get(position).cloned()
        && let Some((export, span)) = found.get(due.window)
    {
        let mut window = found.report(due.window);
        // Of the table as it is now: what came before this window may have told it its source.
        if let Err(error) = source.check(export) {
            window.status = Status::Failed;
            report.windows.push(window);
            report.skipped = found.skipped(&choice);
            return Err(error);
        }
        if request.dry_run {
            source.learn(export);
            report.warnings.extend(due.warning);
            window.status = Status::DryRun;
            told.insert(due.window);
            report.windows.push(window);
            position += 1;
            continue;
        }
        let work = Work { context, catalog: catalog.as_ref(), request, export, seen: &found.seen };
        let applied = match work.apply(&table, due.gap.clone(), span.from, span.to, &mut window).await {
            Ok(Applied::Moved) if attempt + 1 >= ATTEMPTS => Err(Error::new(
                Kind::Contended,
                format!("other writers changed the table {ATTEMPTS} times while this window was merged"),
            )
            .advice("Nothing of the window was applied; run the command again")),
            applied => applied,
        };
        match applied {
            Err(error) => {
                window.status = Status::Failed;
                report.windows.push(window);
                report.skipped = found.skipped(&choice);
                return Err(error);
            }
            Ok(Applied::Yes(committed, warnings)) => {
                if due.gap.is_some() {
                    found.seen.record(&table.metadata, &committed.metadata);
                }
                table = *committed;
                report.warnings.extend(due.warning);
                report.warnings.extend(warnings);
                report.warn_of_properties(&table);
                report.windows.push(window);
                report.describe(&table)?;
                source = watermark::source(&table.metadata);
                told.insert(due.window);
                base.follow(span.to, due.gap);
                (position, attempt) = (position + 1, 0);
                if request.maintenance == Maintenance::Auto {
                    // Also in between: a long run of late windows would slow down with every small file.
                    table = upkeep(context, catalog.as_ref(), table, false, report).await;
                }
            }
            Ok(Applied::Moved) => {
                attempt += 1;
                let pause = Duration::from_millis(50 << attempt.min(6));
                tracing::info!("another writer changed the table; planning again");
                tokio::time::sleep(pause).await;
                table = load(catalog.as_ref(), request).await?;
                report.describe(&table)?;
                source = watermark::source(&table.metadata);
            }
        }
        // Who else applies windows may have taken other ones.
        if Base::of(&table)? != base {
            (base, choice) = begin(&found, &table, allow, &mut told, report)?;
            (position, attempt) = (0, 0);
        }
    }
    report.skipped = found.skipped(&choice);
    found.check(&source)?;
    found.check_filtered(choice.reached, &mut report.warnings)?;
    let mut stops = choice.stops.iter().filter(|stop| !told.contains(&stop.window));
    if let Some(error) = damaged {
        // It may hold what is missing, but not what comes too late.
        let late = stops.filter(|stop| matches!(stop.why, Why::Late(_)));
        report.warnings.extend(late.map(|stop| found.error(stop, &table, &request.exports).to_string()));
        return Err(error);
    }
    if let Some(first) = stops.next() {
        report.warnings.extend(stops.map(|stop| found.error(stop, &table, &request.exports).to_string()));
        let mut window = found.report(first.window);
        window.status = Status::Failed;
        report.windows.push(window);
        return Err(found.error(first, &table, &request.exports));
    }
    report.status = overall(&report.windows);
    if report.status == Status::Applied && request.maintenance == Maintenance::Auto {
        upkeep(context, catalog.as_ref(), table, true, report).await;
    }
    Ok(())
}

/// What a choice of windows was made on.
#[derive(PartialEq)]
struct Base {
    mark: Option<Watermark>,
    gaps: Vec<Gap>,
}

impl Base {
    fn of(table: &LoadedTable) -> Result<Self> {
        Ok(Self { mark: watermark::watermark(&table.metadata)?, gaps: watermark::gaps(&table.metadata)? })
    }

    /// After a window that was applied.
    fn follow(&mut self, to: Time, gap: Option<Gap>) {
        self.mark = Some(Watermark { time: to, of_load: false });
        self.gaps.extend(gap);
    }
}

/// Chooses for the table as it is, and reports what it has already.
fn begin(
    found: &Found,
    table: &LoadedTable,
    allow: Allow,
    told: &mut HashSet<usize>,
    report: &mut Report,
) -> Result<(Base, Choice)> {
    let choice = found.choose(table, allow)?;
    for &index in &choice.already {
        if told.insert(index) {
            let mut window = found.report(index);
            window.status = Status::AlreadyApplied;
            window.snapshot_id = found.get(index).and_then(|(export, _)| holder(table, export));
            report.windows.push(window);
        }
    }
    Ok((Base::of(table)?, choice))
}

fn overall(windows: &[WindowReport]) -> Status {
    let any = |status| windows.iter().any(|window| window.status == status);
    if any(Status::Applied) {
        Status::Applied
    } else if any(Status::DryRun) {
        Status::DryRun
    } else if any(Status::AlreadyApplied) {
        Status::AlreadyApplied
    } else {
        Status::NothingToDo
    }
}

/// The table, if it is one that this program can merge into.
async fn load(catalog: &dyn Catalog, request: &Incremental) -> Result<LoadedTable> {
    let table = existing_to_change(catalog, &request.table).await?;
    if is_unfinished(&table.metadata) {
        return Err(Error::failed(format!(
            "the first load of table {} has not finished; the table is empty",
            request.table
        ))
        .advice("Run that `ddb-iceberg full-load` again: it goes on with this table"));
    }
    watermark::check_version(&table.metadata)?;
    check_writable(&table.metadata)?;
    check_properties(&table.metadata)?;
    // New images will be written by it: better to know now.
    Partitioner::new(table.metadata.default_partition_spec(), table.metadata.current_schema())?;
    Ok(table)
}

/// How old rows are taken away: as asked for, else as the table says in the property that Spark reads.
fn removal(table: &LoadedTable, request: &Incremental) -> Result<Removal> {
    let asked = request.write_mode.map(|mode| match mode {
        WriteMode::MergeOnRead => Removal::MergeOnRead,
        WriteMode::CopyOnWrite => Removal::CopyOnWrite,
    });
    match (asked, table.metadata.properties().get(MERGE_MODE).map(String::as_str)) {
        (Some(asked), _) => Ok(asked),
        (None, None | Some("merge-on-read")) => Ok(Removal::MergeOnRead),
        (None, Some("copy-on-write")) => Ok(Removal::CopyOnWrite),
        (None, Some(other)) => Err(Error::usage(format!("the table property {MERGE_MODE} is {other:?}"))
            .advice("Set it to merge-on-read or copy-on-write, or give --write-mode")),
    }
}

/// The table's columns and key; `key` is what the user typed.
pub(super) fn columns(table: &LoadedTable, key: &[String]) -> Result<TableSchema> {
    let mut columns = watermark::columns(&table.metadata)?;
    match (columns.mapping.key.as_slice(), key) {
        ([], []) => {
            return Err(Error::usage("the table has no identifier fields, so its key is not known")
                .advice("Name the partition key, then the sort key if there is one: --key pk --key sk"));
        }
        ([], typed) => columns.mapping.key = typed.to_vec(),
        (known, typed) if typed.is_empty() || known == typed => {}
        (known, typed) => {
            return Err(Error::usage(format!(
                "--key says {}, the table's key is {}",
                typed.join(", "),
                known.join(", ")
            )));
        }
    }
    let known: Vec<&str> = columns.mapping.fields.values().filter_map(|field| field.name.as_deref()).collect();
    let unknown = |e: Error| match e.attribute() {
        Some(name) => no_such_key(name, "the table has no column for this key attribute", known.iter().copied()),
        None => e,
    };
    for field in columns.key_fields().map_err(unknown)? {
        if !columns.source(&field)?.is_some_and(|(_, ty)| ty.is_key()) {
            return Err(Error::usage(format!("the column {:?} is of a type that no key can have", field.name)));
        }
    }
    Ok(columns)
}

/// Finds the exports that the arguments name.
pub(super) async fn collect(
    context: &Context,
    arguments: &[String],
    table: &LoadedTable,
    report: &mut Report,
) -> Result<Found> {
    let source = watermark::source(&table.metadata);
    let mark = watermark::watermark(&table.metadata)?.map(|mark| mark.time);
    let gaps = watermark::gaps(&table.metadata)?;
    let hint =
        Prefix { table_arn: source.arn.as_deref(), table_id: source.id.as_deref(), watermark: mark, now: Utc::now() };
    let mut found = Found::new(Seen::of_table(&table.metadata));
    let (mut exports, mut damaged): (Vec<Export>, Vec<Error>) = (Vec::new(), Vec::new());
    for argument in arguments {
        let folder = Location::parse(argument)?;
        // A window of a gap may come late; it must be seen, to be refused.
        let back = found.seen.look_back(folder.as_str(), mark, &gaps);
        let mut resolved = resolve_back(&context.exports, argument, &hint, back).await?;
        report.pending += resolved.pending;
        found.unseen.pending += resolved.pending;
        found.unseen.newest_pending = found.unseen.newest_pending.max(resolved.newest_pending);
        if let Some(looked) = resolved.looked.take() {
            found.seen.note(folder.as_str(), looked, &resolved.exports, &gaps);
            resolved.exports.retain(|export| is_open(export, mark, &gaps));
        }
        let filtered = resolved.filtered.into_iter().filter(|(_, to, _)| mark.is_none_or(|mark| mark < *to));
        found.filtered.extend(filtered.map(|(from, to, folder)| (Window { from, to }, folder)));
        let (foreign, full) = (resolved.foreign, resolved.full);
        tracing::info!("{argument}: {foreign} exports of other tables and {full} full exports were skipped");
        if resolved.exports.is_empty() && resolved.older == 0 && resolved.pending == 0 && foreign > 0 {
            report.warnings.push(format!("{argument}: nothing but {foreign} exports of other tables is there"));
        }
        report.warnings.extend(resolved.warnings);
        for error in resolved.damaged {
            // The same folder may be named twice.
            if !damaged.iter().any(|known| known.to_string() == error.to_string()) {
                damaged.push(error);
            }
        }
        exports.extend(resolved.exports);
    }
    let mut known = HashSet::new();
    let mut each = Vec::new();
    // A table that does not know its source yet takes the first one's: others are refused before anything is applied.
    let mut whose = source.clone();
    for export in exports {
        check_incremental(&export)?;
        whose.check(&export)?;
        whose.learn(&export);
        if known.insert(export.arn().unwrap_or(export.location().as_str()).to_owned()) {
            each.push(export);
        }
    }
    found.set(each);
    let mut damaged = damaged.into_iter();
    found.damaged = damaged.next();
    found.unseen.damaged = found.damaged.is_some();
    report.warnings.extend(damaged.map(|error| error.to_string()));
    Ok(found)
}

/// Whether the table does not have the window of an export below a folder: it ends after the watermark, or lies in a gap.
fn is_open(export: &Export, mark: Option<Time>, gaps: &[Gap]) -> bool {
    let Some((from, to, _)) = export.window() else { return true };
    mark.is_none_or(|mark| mark < to) || gaps.iter().any(|gap| gap.touches(from, to))
}

/// Refuses a full export.
fn check_incremental(export: &Export) -> Result<()> {
    if export.window().is_none() {
        return Err(Error::input("this is a full export, an incremental one is needed")
            .in_file(export.location().to_string())
            .advice("Load full exports with `ddb-iceberg full-load`"));
    }
    Ok(())
}

/// What became of one plan.
enum Applied {
    Yes(Box<LoadedTable>, Vec<String>),
    Moved,
}

/// One window on its way into the table.
struct Work<'a> {
    context: &'a Context,
    catalog: &'a dyn Catalog,
    request: &'a Incremental,
    export: &'a Export,
    seen: &'a Seen,
}

impl Work<'_> {
    async fn apply(
        &self,
        base: &LoadedTable,
        gap: Option<Gap>,
        from: Time,
        to: Time,
        window: &mut WindowReport,
    ) -> Result<Applied> {
        let columns = columns(base, &self.request.key)?;
        let staging = Staging::begin(self.context.progress.run());
        let planner = Planner {
            exports: self.context.exports.clone(),
            base: LoadedTable { file_io: staging.file_io(&base.file_io), ..base.clone() },
            table: columns,
            new_attributes: match self.request.new_attributes {
                NewAttributes::Add => NewAttributesPolicy::Add,
                NewAttributes::Rescue => NewAttributesPolicy::Rescue,
                NewAttributes::Fail => NewAttributesPolicy::Fail,
            },
            removal: removal(base, self.request)?,
            limits: Limits::default(),
            threads: self.context.threads,
            memory_limit: self.context.memory_limit,
            progress: Arc::clone(&self.context.progress),
        };
        let plan = planner.plan(self.export).await?;
        let committed = self.commit(base, &planner, &plan, gap, from, to, &staging).await;
        let committed = conclude(staging, committed, Outcome::is_committed).await?;
        let Outcome::Committed(table) = committed else { return Ok(Applied::Moved) };
        window.status = Status::Applied;
        window.snapshot_id = watermark::ancestors(&table.metadata)
            .find(|s| s.summary().additional_properties.get(WINDOW_TO) == Some(&time::format(to)))
            .map(|s| s.snapshot_id().to_string());
        window.rows = RowCounts { inserted: plan.inserted, updated: plan.updated, deleted: plan.deleted };
        let warnings = plan.warnings.into_iter().chain(rescue_warnings(&plan.rescued)).collect();
        window.rescued = plan.rescued.values;
        window.columns_added = plan.columns_added;
        window.files = FileCounts {
            data_added: plan.data_files.len() as u64,
            data_removed: plan.data_removed.len() as u64,
            deletes_added: plan.delete_files.len() as u64,
        };
        Ok(Applied::Yes(Box::new(table), warnings))
    }

    /// Schema, snapshot and properties in one commit, on the very base that the plan was made on.
    #[expect(clippy::too_many_arguments, reason = "each is one part of the commit")]
    async fn commit(
        &self,
        base: &LoadedTable,
        planner: &Planner,
        plan: &Plan,
        gap: Option<Gap>,
        from: Time,
        to: Time,
        staging: &Staging,
    ) -> Result<Outcome> {
        let mut builder = clock::draft(&base.metadata)?;
        let columns = plan.evolved.as_ref().unwrap_or(&planner.table);
        if plan.evolved.is_some() {
            builder = builder.add_current_schema((*columns.schema).clone())?;
        }
        let after = builder.clone().build()?.metadata;
        let removes = !plan.delete_files.is_empty() || !plan.data_removed.is_empty();
        let operation = match (plan.data_files.is_empty(), removes) {
            (_, false) => Operation::Append,
            (true, true) => Operation::Delete,
            (false, true) => Operation::Overwrite,
        };
        let mut snapshot = SnapshotBuilder::new(Some(&base.metadata), &after, operation);
        for (spec_id, file) in &plan.data_files {
            snapshot.add_data_file(*spec_id, file.clone());
        }
        for (spec_id, file) in &plan.delete_files {
            snapshot.add_delete_file(*spec_id, file.clone());
        }
        for live in &plan.data_removed {
            snapshot.remove_data_file(live);
        }
        for live in &plan.deletes_removed {
            snapshot.remove_delete_file(live);
        }
        if let Some(arn) = self.export.arn() {
            snapshot.set(EXPORT_ARN, arn);
        }
        snapshot.set(WINDOW_FROM, time::format(from));
        snapshot.set(WINDOW_TO, time::format(to)).set(WATERMARK, time::format(to));
        let built = snapshot.build(&planner.base.file_io).await?;
        let id = built.snapshot.snapshot_id();
        let properties = self.properties(base, columns, plan, gap, to, id)?;
        let made = builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.set_properties(properties)?.build()?;

        let requirements = base_requirements(&base.metadata);
        let patience = self.catalog.patience();
        let commit = commit_and_settle(self.catalog, base, requirements, made.changes, id, patience);
        staging.commit(commit).await
    }

    /// Properties that the commit sets.
    fn properties(
        &self,
        base: &LoadedTable,
        columns: &TableSchema,
        plan: &Plan,
        gap: Option<Gap>,
        to: Time,
        snapshot_id: i64,
    ) -> Result<HashMap<String, String>> {
        let known = base.metadata.properties();
        let mut set = HashMap::from([(WATERMARK.to_owned(), watermark::watermark_property(to, snapshot_id))]);
        if plan.evolved.is_some() || !known.contains_key(watermark::SCHEMA) {
            set.insert(watermark::SCHEMA.to_owned(), columns.mapping.to_text());
        }
        let mut facts = watermark::source_properties(self.export.source());
        facts.insert(watermark::VERSION.to_owned(), watermark::VERSION_KNOWN.to_string());
        facts.retain(|name, _| !known.contains_key(name));
        set.extend(facts);
        let mut gaps = watermark::gaps(&base.metadata)?;
        let is_new = gap.is_some();
        gaps.extend(gap);
        let text =
            serde_json::to_string(&gaps).map_err(|e| Error::failed("the gaps cannot be written").caused_by(e))?;
        if !gaps.is_empty() {
            let seen = self.seen.property(&base.metadata, is_new.then_some(text.as_str()));
            set.extend(seen.map(|text| (GAPS_SEEN.to_owned(), text)));
        }
        if is_new {
            set.insert(GAPS.to_owned(), text);
        }
        Ok(set)
    }
}
