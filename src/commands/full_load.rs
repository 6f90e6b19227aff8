//! `full-load`: a full export becomes a table. A table that appears is complete.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, NullOrder, Operation, SortDirection, SortField, SortOrder, TableMetadata,
    TableMetadataBuilder, Transform,
};

use super::detect_schema::{no_items, observe, open_full};
use super::history::{set_schema, set_sort_order};
use super::partitioning::{Partitioning, replaced};
use super::report::{FileCounts, Report, RowCounts, Status, WindowReport, rescue_warnings};
use super::request::{Context, FullLoad, IfExists};
use crate::catalog::settle::{Outcome, commit_and_settle, create_and_settle};
use crate::catalog::{Catalog, LoadedTable, NewTable, clock, is_unfinished};
use crate::error::{Error, Kind, Result};
use crate::export::{Export, ExportKind};
use crate::load::{Load, Loaded};
use crate::schema::{SchemaFile, TableSchema, Target};
use crate::storage::Location;
use crate::table::watermark::{self, EXPORT_ARN, GAPS, LOAD, WATERMARK, WINDOW_TO};
use crate::table::{BuiltSnapshot, LiveFile, SnapshotBuilder, base_requirements, check_supported, live_files};
use crate::time::{self, Time};

/// A schema file larger than this is none.
const SCHEMA_FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// Attempts to replace a table before other writers have won.
const ATTEMPTS: u32 = 10;

/// Loads a full export into a new table, or in place of a table's rows, with one commit.
///
/// Errors: the table exists (`Failed`), unless it holds this very export, which is success; with `replace`, an export
/// older than what the table holds (`Window`).
pub async fn full_load(context: &Context, request: &FullLoad, report: &mut Report) -> Result<()> {
    let partitioning = Partitioning::parse(&request.partition_by)?;
    let catalog = context.catalog()?;
    // The items are read once for their types and once for their values.
    let context = &Context { exports: context.exports.keeping(context.memory_limit / 16), ..context.clone() };
    let export = open_full(context, &request.export, request.without_manifest).await?;
    let mut window = window_of(&export);
    let mut old = catalog.load(&request.table).await?.filter(|table| !is_unfinished(&table.metadata));
    if let Some(table) = &old
        && may_replace(table, request, &export, &mut window, report)?.is_none()
    {
        return Ok(());
    }
    if let Some(time) = time_of(&export)
        && time.timestamp_subsec_millis() != 0
    {
        report.warnings.push(format!(
            "the export's time {} has milliseconds, but windows start at whole seconds: the first increment starts \
             within that second. To be exact, ask for a full export with --export-time at a whole second",
            time::format(time)
        ));
    }
    let columns = columns(context, request, &export).await?;
    partitioning.check(old.as_ref(), &columns)?;
    if request.dry_run {
        window.status = Status::DryRun;
        report.windows.push(window);
        report.status = Status::DryRun;
        return Ok(());
    }
    for _ in 0..ATTEMPTS {
        let (catalog, warnings) = (catalog.as_ref(), Mutex::default());
        let work = Work { context, catalog, request, export: &export, partitioning: &partitioning, warnings };
        let outcome = match &old {
            None => work.create(&columns, &mut window).await?,
            Some(table) => work.replace(table, &columns, &mut window).await?,
        };
        match outcome {
            Outcome::Committed(table) => {
                window.status = Status::Applied;
                report.warnings.extend(work.warnings.into_inner().unwrap_or_else(PoisonError::into_inner));
                report.windows.push(window);
                report.status = Status::Applied;
                return report.describe(&table);
            }
            Outcome::Moved(found) => {
                // What was written is gone again.
                window = window_of(&export);
                let found = found.filter(|table| !is_unfinished(&table.metadata));
                if let Some(table) = &found
                    && may_replace(table, request, &export, &mut window, report)?.is_none()
                {
                    return Ok(());
                }
                old = found;
            }
        }
    }
    Err(Error::new(Kind::Contended, format!("other writers changed the table {ATTEMPTS} times during the load"))
        .advice("Nothing was applied; run the command again"))
}

fn time_of(export: &Export) -> Option<Time> {
    match export.kind() {
        ExportKind::Full { time } => time,
        ExportKind::Incremental { .. } => None,
    }
}

fn window_of(export: &Export) -> WindowReport {
    WindowReport::new(export.arn(), None, time_of(export))
}

/// Whether a table that exists is to be replaced; `None` if it holds this very export already, which is then reported.
fn may_replace(
    table: &LoadedTable,
    request: &FullLoad,
    export: &Export,
    window: &mut WindowReport,
    report: &mut Report,
) -> Result<Option<()>> {
    let holds = |summary: &HashMap<String, String>| {
        export.arn().is_some() && summary.get(EXPORT_ARN).map(String::as_str) == export.arn()
    };
    let replaces = request.if_exists == IfExists::Replace;
    let mut loads = watermark::ancestors(&table.metadata).filter(|s| {
        let summary = &s.summary().additional_properties;
        // To replace means to take away windows too: then only the last thing done counts.
        summary.contains_key(WATERMARK) || (!replaces && holds(summary))
    });
    let found = if replaces {
        loads.next().filter(|s| holds(&s.summary().additional_properties))
    } else {
        loads.find(|s| holds(&s.summary().additional_properties))
    };
    if let Some(snapshot) = found {
        window.status = Status::AlreadyApplied;
        window.snapshot_id = Some(snapshot.snapshot_id().to_string());
        report.windows.push(window.clone());
        report.status = Status::AlreadyApplied;
        report.describe(table)?;
        return Ok(None);
    }
    if !replaces && export.arn().is_some() && watermark::expired_load(&table.metadata).as_deref() == export.arn() {
        window.status = Status::AlreadyApplied;
        report.windows.push(window.clone());
        report.status = Status::AlreadyApplied;
        report.describe(table)?;
        return Ok(None);
    }
    if !replaces {
        return Err(Error::failed(format!("the table {} exists", table.ident))
            .advice("Load into another table, or replace its rows with --if-exists replace"));
    }
    watermark::check_version(&table.metadata)?;
    check_supported(&table.metadata)?;
    // Replacing is also the way back after a rollback, so an unclear watermark is no obstacle.
    let mark = watermark::watermark(&table.metadata).ok().flatten();
    if let (Some(mark), Some(time)) = (mark, time_of(export))
        && time < mark.time
    {
        return Err(Error::window(format!(
            "the export is of {}, the table is complete up to {}",
            time::format(time),
            time::format(mark.time)
        ))
        .advice("Replace it with a newer full export"));
    }
    Ok(Some(()))
}

/// The columns: from the schema file, from the items, or from both.
async fn columns(context: &Context, request: &FullLoad, export: &Export) -> Result<TableSchema> {
    let given = match &request.schema {
        Some(name) => {
            let location = Location::parse(name)?;
            let bytes = context.exports.read(&location, SCHEMA_FILE_LIMIT).await.map_err(|e| match e.kind() {
                // It is no part of the export.
                Kind::Input => {
                    Error::usage(format!("the schema file cannot be read: {}", e.message())).in_file(name.as_str())
                }
                _ => e,
            })?;
            let text = std::str::from_utf8(&bytes).map_err(|e| {
                let line = bytes.iter().take(e.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
                Error::usage("the schema file is not UTF-8").in_file(name.as_str()).on_line(line as u64)
            })?;
            Some(SchemaFile::parse(text).map_err(|e| e.in_file(name.as_str()))?)
        }
        None => None,
    };
    let named = given.as_ref().map(|file| file.key.as_slice()).unwrap_or_default();
    let key = match (named, request.key.as_slice()) {
        ([], []) => {
            return Err(Error::usage("the table's key is not known")
                .advice("Name the partition key, then the sort key if there is one: --key pk --key sk"));
        }
        (named, []) => named,
        ([], typed) => typed,
        (named, typed) if named == typed => named,
        (named, typed) => {
            return Err(Error::usage(format!(
                "--key says {}, the schema file says {}",
                typed.join(", "),
                named.join(", ")
            )));
        }
    };
    let key = key.to_vec();
    if key.len() > 2 || key.first() == key.get(1) {
        return Err(Error::usage("a key has one or two attributes: the partition key, then the sort key"));
    }
    let file = match given {
        Some(file) if !file.needs_observation() => {
            key.iter().try_for_each(|name| check_listed(&file, name))?;
            return TableSchema::create(&file, &key).map_err(|e| match &request.schema {
                Some(name) if e.kind() == Kind::Usage => e.in_file(name.as_str()),
                _ => e,
            });
        }
        given => {
            let left_out = given.as_ref().map(SchemaFile::excluded).unwrap_or_default();
            let seen = observe(context, export.files(), request.max_struct_fields, &left_out).await?;
            match given {
                Some(file) => file.with_observations(&seen.fields),
                None if seen.items == 0 => {
                    return Err(no_items());
                }
                None => SchemaFile::suggest(&key, seen.items, &seen.fields),
            }
        }
    };
    TableSchema::create(&file, &key)
}

/// Makes sure that the schema file has a column that a key can have for an attribute that `--key` names.
fn check_listed(file: &SchemaFile, name: &str) -> Result<()> {
    match file.attributes.iter().find(|a| a.name == name).map(|a| &a.target) {
        Some(Target::Column(ty)) if !ty.is_key() => {
            Err(Error::usage(format!("the schema file makes this key attribute {ty}, which no key can be"))
                .of_attribute(name)
                .advice("Keys are string, long, decimal(P,S), number-string or binary"))
        }
        Some(Target::Column(_)) => Ok(()),
        Some(Target::Exclude) => Err(Error::usage("the schema file leaves out this key attribute").of_attribute(name)),
        _ => Err(Error::usage("the schema file does not list this key attribute").of_attribute(name)),
    }
}

/// Properties that every load sets.
fn properties(table: &TableSchema, export: &Export) -> HashMap<String, String> {
    let mut properties = HashMap::from([
        (watermark::VERSION.to_owned(), watermark::VERSION_KNOWN.to_string()),
        (watermark::SCHEMA.to_owned(), table.mapping.to_text()),
    ]);
    for (name, value) in [(watermark::TABLE_ARN, export.table_arn()), (watermark::TABLE_ID, export.table_id())] {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value.to_owned());
        }
    }
    properties
}

/// By key, ascending.
fn sort_order(table: &TableSchema) -> Result<SortOrder> {
    let fields = table.key_fields()?.into_iter().map(|field| SortField {
        source_id: field.id,
        transform: Transform::Identity,
        direction: SortDirection::Ascending,
        null_order: NullOrder::First,
    });
    Ok(SortOrder { order_id: 1, fields: fields.collect() })
}

/// A new table's metadata, but for the snapshot. `given` are the catalog's own properties.
fn new_table(
    table: &TableSchema,
    export: &Export,
    location: String,
    given: HashMap<String, String>,
    partitioning: &Partitioning,
) -> Result<TableMetadataBuilder> {
    let mut properties: HashMap<String, String> = given.into_iter().chain(properties(table, export)).collect();
    for (name, value) in [
        ("write.merge.mode", "merge-on-read"),
        ("write.delete.mode", "merge-on-read"),
        ("write.update.mode", "merge-on-read"),
        ("write.parquet.compression-codec", "zstd"),
        // A commit writes the whole metadata: without this every one of them would stay for ever.
        ("write.metadata.delete-after-commit.enabled", "true"),
    ] {
        properties.insert(name.to_owned(), value.to_owned());
    }
    let builder = TableMetadataBuilder::new(
        (*table.schema).clone(),
        partitioning.of_new(table)?,
        sort_order(table)?,
        location,
        FormatVersion::V2,
        properties,
    )?;
    let made = builder.clone().build()?.metadata;
    if made.current_schema().as_struct() != table.schema.as_struct() {
        return Err(Error::failed("the table's field ids came out differently; please report this as a bug"));
    }
    Ok(builder)
}

/// The files that a load has written, and where.
#[derive(Default)]
struct Written {
    file_io: Option<FileIO>,
    paths: Vec<String>,
}

/// One load on its way into a table.
struct Work<'a> {
    context: &'a Context,
    catalog: &'a dyn Catalog,
    request: &'a FullLoad,
    export: &'a Export,
    partitioning: &'a Partitioning,
    /// What the last load should say.
    warnings: Mutex<Vec<String>>,
}

impl Work<'_> {
    /// A new table, complete with its first snapshot.
    async fn create(&self, columns: &TableSchema, window: &mut WindowReport) -> Result<Outcome> {
        let mut written = Written::default();
        let outcome = self.try_create(columns, window, &mut written).await;
        Self::settled(outcome, &written).await
    }

    /// `written` is told of every file.
    async fn try_create(
        &self,
        columns: &TableSchema,
        window: &mut WindowReport,
        written: &mut Written,
    ) -> Result<Outcome> {
        let planned =
            new_table(columns, self.export, String::new(), HashMap::new(), self.partitioning)?.build()?.metadata;
        let Some(home) = self.catalog.prepare(&self.request.table, &planned).await? else {
            return Ok(Outcome::Moved(self.catalog.load(&self.request.table).await?));
        };
        let mut builder = new_table(columns, self.export, home.location, home.properties, self.partitioning)?;
        if let Some(uuid) = home.uuid {
            builder = builder.assign_uuid(uuid);
        }
        let empty = builder.clone().build()?.metadata;
        written.file_io = Some(home.file_io.clone());
        let loaded = self.load(columns, &empty, &home.file_io, window).await?;
        written.paths.extend(paths(&loaded));
        let built = self.snapshot(None, &empty, &loaded, &[], &home.file_io).await?;
        written.paths.extend(built.files);
        let id = built.snapshot.snapshot_id();
        window.snapshot_id = Some(id.to_string());
        let property = self.marks(id);
        let made = builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.set_properties(property)?.build()?;
        let table = NewTable { metadata: made.metadata, updates: made.changes };
        self.catalog.ensure_namespace(self.request.table.namespace()).await?;
        let commit = create_and_settle(self.catalog, &self.request.table, table, self.catalog.patience());
        self.context.progress.commit(commit).await
    }

    /// All rows of a table replaced in one commit. History, foreign properties and the ids of fitting columns stay.
    async fn replace(&self, base: &LoadedTable, columns: &TableSchema, window: &mut WindowReport) -> Result<Outcome> {
        let mut written = Written::default();
        let outcome = self.try_replace(base, columns, window, &mut written).await;
        Self::settled(outcome, &written).await
    }

    /// `written` is told of every file.
    async fn try_replace(
        &self,
        base: &LoadedTable,
        columns: &TableSchema,
        window: &mut WindowReport,
        written: &mut Written,
    ) -> Result<Outcome> {
        let (_, columns) = replaced(base, columns)?;
        let builder = clock::draft(&base.metadata)?;
        let builder = set_schema(&base.metadata, builder, &columns.schema)?;
        let builder = self.partitioning.set(&base.metadata, &columns, builder)?;
        let mut builder = set_sort_order(&base.metadata, builder, sort_order(&columns)?)?;
        let after = builder.clone().build()?.metadata;
        let live = live_files(base).await?;
        written.file_io = Some(base.file_io.clone());
        let loaded = self.load(&columns, &after, &base.file_io, window).await?;
        written.paths.extend(paths(&loaded));
        window.files.data_removed = live.len() as u64;
        let built = self.snapshot(Some(base), &after, &loaded, &live, &base.file_io).await?;
        written.paths.extend(built.files);
        let id = built.snapshot.snapshot_id();
        window.snapshot_id = Some(id.to_string());
        let mut properties = properties(&columns, self.export);
        properties.extend(self.marks(id));
        let mut gone = vec![GAPS.to_owned()];
        if time_of(self.export).is_none() {
            gone.push(WATERMARK.to_owned());
        }
        if self.export.arn().is_none() {
            gone.push(LOAD.to_owned());
        }
        gone.retain(|name| base.metadata.properties().contains_key(name));
        builder = builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.set_properties(properties)?;
        if !gone.is_empty() {
            builder = builder.remove_properties(&gone)?;
        }
        let made = builder.build()?;
        let requirements = base_requirements(&base.metadata);
        let patience = self.catalog.patience();
        let commit = commit_and_settle(self.catalog, base, requirements, made.changes, id, patience);
        self.context.progress.commit(commit).await
    }

    async fn load(
        &self,
        columns: &TableSchema,
        metadata: &TableMetadata,
        file_io: &FileIO,
        window: &mut WindowReport,
    ) -> Result<Loaded> {
        let load = Load {
            exports: self.context.exports.clone(),
            export: self.export,
            metadata,
            table: columns,
            file_io: file_io.clone(),
            threads: self.context.threads,
            memory_limit: self.context.memory_limit,
            progress: self.context.progress.clone(),
        };
        let loaded = load.run().await?;
        window.rows = RowCounts { inserted: loaded.rows, ..RowCounts::default() };
        window.files = FileCounts { data_added: loaded.files.len() as u64, ..FileCounts::default() };
        window.rescued.clone_from(&loaded.rescued.values);
        *self.warnings.lock().unwrap_or_else(PoisonError::into_inner) = rescue_warnings(&loaded.rescued);
        Ok(loaded)
    }

    /// The load's snapshot.
    async fn snapshot(
        &self,
        base: Option<&LoadedTable>,
        after: &TableMetadata,
        loaded: &Loaded,
        live: &[LiveFile],
        file_io: &FileIO,
    ) -> Result<BuiltSnapshot> {
        let operation = if base.is_some() { Operation::Overwrite } else { Operation::Append };
        let mut snapshot = SnapshotBuilder::new(base.map(|base| base.metadata.as_ref()), after, operation);
        for file in &loaded.files {
            snapshot.add_data_file(after.default_partition_spec_id(), file.clone());
        }
        for live in live {
            snapshot.remove_data_file(live);
            for delete in &live.deletes {
                snapshot.remove_delete_file(delete);
            }
        }
        if let Some(arn) = self.export.arn() {
            snapshot.set(EXPORT_ARN, arn);
        }
        if let Some(time) = time_of(self.export) {
            snapshot.set(WINDOW_TO, time::format(time)).set(WATERMARK, time::format(time));
        }
        snapshot.build(file_io).await
    }

    /// Properties that name the load's snapshot.
    fn marks(&self, snapshot_id: i64) -> HashMap<String, String> {
        let mark = |time| (WATERMARK.to_owned(), watermark::watermark_property(time, snapshot_id));
        let load = |arn| (LOAD.to_owned(), watermark::load_property(arn, snapshot_id));
        time_of(self.export).map(mark).into_iter().chain(self.export.arn().map(load)).collect()
    }

    /// Deletes the files of a load that surely is in no table.
    async fn settled(outcome: Result<Outcome>, written: &Written) -> Result<Outcome> {
        let unknown = matches!(&outcome, Err(error) if error.kind() == Kind::Unknown);
        if !unknown
            && !matches!(outcome, Ok(Outcome::Committed(_)))
            && let Some(file_io) = &written.file_io
        {
            discard(file_io, written.paths.iter().map(String::as_str)).await;
        }
        outcome
    }
}

fn paths(loaded: &Loaded) -> impl Iterator<Item = String> {
    loaded.files.iter().map(|file| file.file_path().to_owned())
}

/// Deletes files that no table will ever name, as far as possible.
pub(super) async fn discard(file_io: &FileIO, paths: impl Iterator<Item = &str>) {
    for path in paths {
        if let Err(error) = file_io.delete(path).await {
            tracing::warn!("{path} was left behind: {error}");
        }
    }
}
