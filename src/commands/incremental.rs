//! `incremental`: due windows are merged into the table in order, one commit each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use iceberg::spec::{MAIN_BRANCH, Operation};

use super::report::{FileCounts, Report, RowCounts, Status, WindowReport, rescue_warnings};
use super::request::{Context, Incremental, Maintenance, NewAttributes, WriteMode};
use super::upkeep::upkeep;
use crate::catalog::settle::{Outcome, commit_and_settle};
use crate::catalog::{Catalog, LoadedTable, clock, is_unfinished};
use crate::error::{Error, Kind, Result};
use crate::export::{Export, Prefix, resolve};
use crate::merge::{Allow, NewAttributesPolicy, Plan, Planner, Removal, Verdict, judge};
use crate::schema::{Limits, TableSchema};
use crate::table::watermark::{self, EXPORT_ARN, GAPS, Gap, WATERMARK, WINDOW_FROM, WINDOW_TO, Watermark};
use crate::table::{Partitioner, SnapshotBuilder, base_requirements, check_supported};
use crate::time::{self, Time};

/// The table property that says how old rows are taken away, as Spark's MERGE reads it.
const MERGE_MODE: &str = "write.merge.mode";

/// Plans of one window before other writers have won: each starts from the table as it is then.
const ATTEMPTS: u32 = 10;

/// Applies every window that is due, in order.
///
/// Windows applied before an error stay applied, and are in the report. Where an export below a folder is damaged, those
/// that follow the watermark without a gap are applied before that is the error.
pub async fn incremental(context: &Context, request: &Incremental, report: &mut Report) -> Result<()> {
    let catalog = context.catalog()?;
    let mut table = load(catalog.as_ref(), request).await?;
    report.describe(&table)?;
    let Collected { exports, mut damaged } = collect(context, &request.exports, &table, report).await?;
    // What is damaged may hold the very window that is missing.
    let sound = damaged.is_none();
    let allow = Allow { gap: request.allow_gap && sound, overlap: request.allow_overlap && sound };

    let mut imagined: Option<Watermark> = None;
    for export in exports {
        let Some((from, to, _)) = export.window() else { continue };
        let mut window = WindowReport::new(export.arn(), Some(from), Some(to));
        let mut attempt = 0;
        loop {
            let mark = match imagined {
                Some(mark) => Some(mark),
                None => watermark::watermark(&table.metadata)?,
            };
            let gaps = watermark::gaps(&table.metadata)?;
            let verdict = judge(mark, &gaps, from, to, allow).map_err(|error| damaged.take().unwrap_or(error))?;
            let (gap, warning) = match verdict {
                Verdict::Already => {
                    window.status = Status::AlreadyApplied;
                    window.snapshot_id = holder(&table, &export);
                    break;
                }
                Verdict::Due { gap, warning } => (gap, warning),
            };
            if request.dry_run {
                report.warnings.extend(warning);
                imagined = Some(Watermark { time: to, of_load: false });
                window.status = Status::DryRun;
                break;
            }
            let work = Work { context, catalog: catalog.as_ref(), request, export: &export };
            match work.apply(&table, gap, from, to, &mut window).await? {
                Applied::Yes(committed, warnings) => {
                    table = committed;
                    report.warnings.extend(warning);
                    report.warnings.extend(warnings);
                    report.describe(&table)?;
                    break;
                }
                Applied::Moved => {
                    attempt += 1;
                    if attempt >= ATTEMPTS {
                        return Err(Error::new(
                            Kind::Contended,
                            format!("other writers changed the table {ATTEMPTS} times while this window was merged"),
                        )
                        .advice("Nothing of the window was applied; run the command again"));
                    }
                    let pause = Duration::from_millis(50 << attempt.min(6));
                    tracing::info!("another writer changed the table; planning again");
                    tokio::time::sleep(pause).await;
                    table = load(catalog.as_ref(), request).await?;
                    report.describe(&table)?;
                }
            }
        }
        let applied = window.status == Status::Applied;
        report.windows.push(window);
        if applied && request.maintenance == Maintenance::Auto {
            // Also in between: a long run of late windows would slow down with every small file.
            table = upkeep(context, catalog.as_ref(), table, false, report).await;
        }
    }
    if let Some(error) = damaged {
        return Err(error);
    }
    report.status = overall(&report.windows);
    if report.status == Status::Applied && request.maintenance == Maintenance::Auto {
        upkeep(context, catalog.as_ref(), table, true, report).await;
    }
    Ok(())
}

/// The snapshot that holds an export, unless it was expired.
fn holder(table: &LoadedTable, export: &Export) -> Option<String> {
    let arn = export.arn()?;
    watermark::ancestors(&table.metadata)
        .find(|s| s.summary().additional_properties.get(EXPORT_ARN).is_some_and(|held| held == arn))
        .map(|s| s.snapshot_id().to_string())
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
    let Some(table) = catalog.load(&request.table).await? else {
        return Err(Error::failed(format!("there is no table {}", request.table))
            .advice("Create it from a full export with `ddb-iceberg full-load`"));
    };
    if is_unfinished(&table.metadata) {
        return Err(Error::failed(format!(
            "the first load of table {} has not finished; the table is empty",
            request.table
        ))
        .advice("Run that `ddb-iceberg full-load` again: it goes on with this table"));
    }
    watermark::check_version(&table.metadata)?;
    check_supported(&table.metadata)?;
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
    let property = table.metadata.properties().get(watermark::SCHEMA).map(String::as_str);
    let mut columns = TableSchema::of_table(table.metadata.current_schema().clone(), property)?;
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
    let unknown = |e: Error| match e.attribute() {
        Some(name) => Error::usage("the table has no column for this key attribute")
            .of_attribute(name)
            .advice("Check --key: it takes the attribute's name, as DynamoDB has it"),
        None => e,
    };
    for field in columns.key_fields().map_err(unknown)? {
        if !columns.source(&field)?.is_some_and(|(_, ty)| ty.is_key()) {
            return Err(Error::usage(format!("the column {:?} is of a type that no key can have", field.name)));
        }
    }
    Ok(columns)
}

/// What the arguments name.
pub(super) struct Collected {
    /// Each export once, ordered by window.
    pub(super) exports: Vec<Export>,
    /// The first export below a folder that is damaged; the others are warnings.
    pub(super) damaged: Option<Error>,
}

/// Finds the exports that the arguments name.
pub(super) async fn collect(
    context: &Context,
    arguments: &[String],
    table: &LoadedTable,
    report: &mut Report,
) -> Result<Collected> {
    let property = |name: &str| table.metadata.properties().get(name).map(String::as_str);
    let mark = watermark::watermark(&table.metadata)?.map(|mark| mark.time);
    // A window of a gap may come late; it must be seen, to be refused.
    let gaps = watermark::gaps(&table.metadata)?;
    let since = gaps.iter().filter_map(|gap| time::parse(&gap.from)).chain(mark).min();
    let hint = Prefix {
        table_arn: property(watermark::TABLE_ARN),
        table_id: property(watermark::TABLE_ID),
        watermark: since,
        now: Utc::now(),
    };
    let (mut exports, mut damaged): (Vec<Export>, Vec<Error>) = (Vec::new(), Vec::new());
    for argument in arguments {
        let resolved = resolve(&context.exports, argument, &hint).await?;
        report.pending += resolved.pending;
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
        for export in resolved.exports {
            check_source(&export, &hint)?;
            let known = |other: &Export| match (other.arn(), export.arn()) {
                (Some(a), Some(b)) => a == b,
                _ => other.location() == export.location(),
            };
            if !exports.iter().any(known) {
                exports.push(export);
            }
        }
    }
    exports.sort_by_key(|export| export.window().map(|(from, to, _)| (from, to)));
    let mut damaged = damaged.into_iter();
    let first = damaged.next();
    report.warnings.extend(damaged.map(|error| error.to_string()));
    Ok(Collected { exports, damaged: first })
}

/// Refuses an export that is not an incremental one of this table.
fn check_source(export: &Export, hint: &Prefix<'_>) -> Result<()> {
    let name = export.location().to_string();
    if export.window().is_none() {
        return Err(Error::input("this is a full export, an incremental one is needed")
            .in_file(name)
            .advice("Load full exports with `ddb-iceberg full-load`"));
    }
    if let (Some(expected), Some(found)) = (hint.table_arn, export.table_arn())
        && expected != found
    {
        return Err(Error::input(format!("the export is of {found}, the table holds {expected}")).in_file(name));
    }
    if let (Some(expected), Some(found)) = (hint.table_id, export.table_id())
        && expected != found
    {
        return Err(Error::input(format!(
            "the export is of a DynamoDB table that was made again under the same name (table id {found}, not {expected})"
        ))
        .in_file(name)
        .advice("Load the new table with full-load from a full export"));
    }
    Ok(())
}

/// What became of one plan.
enum Applied {
    Yes(LoadedTable, Vec<String>),
    Moved,
}

/// One window on its way into the table.
struct Work<'a> {
    context: &'a Context,
    catalog: &'a dyn Catalog,
    request: &'a Incremental,
    export: &'a Export,
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
        let planner = Planner {
            exports: self.context.exports.clone(),
            base: base.clone(),
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
        let mut manifests = Vec::new();
        let committed = self.commit(base, &planner, &plan, gap, from, to, &mut manifests).await;
        let unknown = matches!(&committed, Err(error) if error.kind() == Kind::Unknown);
        if !unknown && !matches!(committed, Ok(Outcome::Committed(_))) {
            plan.discard(base).await;
            super::full_load::discard(&base.file_io, manifests.iter().map(String::as_str)).await;
        }
        let Outcome::Committed(table) = committed? else { return Ok(Applied::Moved) };
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
        Ok(Applied::Yes(table, warnings))
    }

    /// Schema, snapshot and properties in one commit, on the very base that the plan was made on. `manifests` is told of
    /// every file that it writes.
    #[expect(clippy::too_many_arguments, reason = "each is one part of the commit")]
    async fn commit(
        &self,
        base: &LoadedTable,
        planner: &Planner,
        plan: &Plan,
        gap: Option<Gap>,
        from: Time,
        to: Time,
        manifests: &mut Vec<String>,
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
        let built = snapshot.build(&base.file_io).await?;
        manifests.extend(built.files);
        let id = built.snapshot.snapshot_id();
        let properties = self.properties(base, columns, plan, gap, to, id)?;
        let made = builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.set_properties(properties)?.build()?;

        let requirements = base_requirements(&base.metadata);
        let patience = self.catalog.patience();
        let commit = commit_and_settle(self.catalog, base, requirements, made.changes, id, patience);
        self.context.progress.commit(commit).await
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
        let version = watermark::VERSION_KNOWN.to_string();
        let facts = [
            (watermark::VERSION, Some(version.as_str())),
            (watermark::TABLE_ARN, self.export.table_arn()),
            (watermark::TABLE_ID, self.export.table_id()),
        ];
        for (name, value) in facts {
            if let (Some(value), false) = (value, known.contains_key(name)) {
                set.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(gap) = gap {
            let mut gaps = watermark::gaps(&base.metadata)?;
            gaps.push(gap);
            let text =
                serde_json::to_string(&gaps).map_err(|e| Error::failed("the gaps cannot be written").caused_by(e))?;
            set.insert(GAPS.to_owned(), text);
        }
        Ok(set)
    }
}
