//! `full-load`: a full export becomes a table. A table that appears is complete.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use hashbrown::HashSet;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, NullOrder, Operation, PartitionSpec, SortDirection, SortField, SortOrder,
    TableMetadata, TableMetadataBuilder, Transform,
};
use tokio::runtime::Handle;

use super::detect_schema::{observe, open_full};
use super::report::{FileCounts, Report, RowCounts, Status, WindowReport};
use super::request::{Context, FullLoad, IfExists};
use crate::catalog::settle::{Outcome, Patience, create_and_settle};
use crate::catalog::{Catalog, LoadedTable, NewTable};
use crate::error::{Error, Result};
use crate::export::{Export, ExportKind};
use crate::load::{KeyHasher, KeyHashes, LoadTask, Loaded, Loader, duplicate, find_duplicate, key_converter, split};
use crate::pool;
use crate::schema::{Limits, SchemaFile, TableSchema};
use crate::storage::Location;
use crate::table::watermark::{self, EXPORT_ARN, WATERMARK, WINDOW_TO};
use crate::table::{DataPaths, DeleteCache, LiveFile, SnapshotBuilder, WriteOptions, scan_keys};
use crate::time;

/// A schema file larger than this is none.
const SCHEMA_FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// Loads a full export into a new table, with one commit.
///
/// Errors: the table exists (`Failed`), unless it holds this very export, which is success.
pub async fn full_load(context: &Context, request: &FullLoad, report: &mut Report) -> Result<()> {
    if request.if_exists == IfExists::Replace {
        return Err(Error::usage("--if-exists replace is not supported yet"));
    }
    if !request.partition_by.is_empty() {
        return Err(Error::usage("--partition-by is not supported yet"));
    }
    let catalog = context.catalog()?;
    let export = open_full(context, &request.export, request.without_manifest).await?;
    let mut window = window_of(&export);
    if let Some(table) = catalog.load(&request.table).await? {
        return exists(&table, &export, window, report);
    }
    if let ExportKind::Full { time: Some(time) } = export.kind()
        && time.timestamp_subsec_millis() != 0
    {
        report.warnings.push(format!(
            "the export's time {} has milliseconds, but windows start at whole seconds: the first increment starts \
             within that second. To be exact, ask for a full export with --export-time at a whole second",
            time::format(time)
        ));
    }
    let table = columns(context, request, &export).await?;
    if request.dry_run {
        window.status = Status::DryRun;
        report.windows.push(window);
        report.status = Status::DryRun;
        return Ok(());
    }
    let location = catalog.new_table_location(&request.table).await?;
    let metadata = new_table(&table, &export, location)?;
    let loaded = load(context, catalog.as_ref(), &table, &metadata.clone().build()?.metadata, &export).await?;
    window.rows = RowCounts { inserted: loaded.rows, ..RowCounts::default() };
    window.files = FileCounts { data_added: loaded.files.len() as u64, ..FileCounts::default() };
    window.rescued = loaded.rescued;
    let committed = commit(context, catalog.as_ref(), request, &export, metadata, loaded.files).await?;
    match committed {
        Outcome::Committed(table) => {
            window.status = Status::Applied;
            window.snapshot_id = table.metadata.current_snapshot_id().map(|id| id.to_string());
            report.windows.push(window);
            report.status = Status::Applied;
            report.describe(&table)
        }
        Outcome::Moved(Some(table)) => exists(&table, &export, window, report),
        Outcome::Moved(None) => Err(Error::failed("the table could not be created: another writer was in the way")),
    }
}

fn window_of(export: &Export) -> WindowReport {
    let time = match export.kind() {
        ExportKind::Full { time } => time,
        ExportKind::Incremental { to, .. } => Some(to),
    };
    WindowReport::new(export.arn(), None, time)
}

/// The table is there: fine if it holds this very export.
fn exists(table: &LoadedTable, export: &Export, mut window: WindowReport, report: &mut Report) -> Result<()> {
    let held = table.metadata.snapshots().find(|snapshot| {
        let summary = &snapshot.summary().additional_properties;
        export.arn().is_some() && summary.get(EXPORT_ARN).map(String::as_str) == export.arn()
    });
    let Some(snapshot) = held else {
        return Err(Error::failed(format!("the table {} exists", table.ident))
            .advice("Load into another table, or drop this one first"));
    };
    window.status = Status::AlreadyApplied;
    window.snapshot_id = Some(snapshot.snapshot_id().to_string());
    report.windows.push(window);
    report.status = Status::AlreadyApplied;
    report.describe(table)
}

/// The columns: from the schema file, from the items, or from both.
async fn columns(context: &Context, request: &FullLoad, export: &Export) -> Result<TableSchema> {
    let given = match &request.schema {
        Some(name) => {
            let location = Location::parse(name)?;
            let bytes = context.exports.read(&location, SCHEMA_FILE_LIMIT).await?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| Error::usage("the schema file is not UTF-8").in_file(name.as_str()))?;
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
        Some(file) if !file.needs_observation() => file,
        given => {
            let seen = observe(context, export.files(), request.max_struct_fields).await?;
            match given {
                Some(file) => file.with_observations(&seen.fields),
                None if seen.items == 0 => {
                    return Err(Error::input("the export has no items, so the types of its columns are not known")
                        .advice("Give them in a file with --schema, at least the key's: {\"pk\":\"S\"}"));
                }
                None => SchemaFile::suggest(&key, seen.items, &seen.fields),
            }
        }
    };
    TableSchema::create(&file, &key)
}

/// The table's metadata, but for the snapshot.
fn new_table(table: &TableSchema, export: &Export, location: String) -> Result<TableMetadataBuilder> {
    let mut properties = HashMap::from([
        (watermark::VERSION.to_owned(), watermark::VERSION_KNOWN.to_string()),
        (watermark::SCHEMA.to_owned(), table.mapping.to_text()),
        ("write.merge.mode".to_owned(), "merge-on-read".to_owned()),
        ("write.delete.mode".to_owned(), "merge-on-read".to_owned()),
        ("write.update.mode".to_owned(), "merge-on-read".to_owned()),
        ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
    ]);
    for (name, value) in [(watermark::TABLE_ARN, export.table_arn()), (watermark::TABLE_ID, export.table_id())] {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value.to_owned());
        }
    }
    let fields = table.key_fields()?.into_iter().map(|field| SortField {
        source_id: field.id,
        transform: Transform::Identity,
        direction: SortDirection::Ascending,
        null_order: NullOrder::First,
    });
    let builder = TableMetadataBuilder::new(
        (*table.schema).clone(),
        PartitionSpec::unpartition_spec(),
        SortOrder { order_id: 1, fields: fields.collect() },
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

/// Writes the data files.
async fn load(
    context: &Context,
    catalog: &dyn Catalog,
    table: &TableSchema,
    metadata: &TableMetadata,
    export: &Export,
) -> Result<Loaded> {
    let share = context.memory_limit / context.threads.max(1);
    let loader = Arc::new(Loader {
        exports: context.exports.clone(),
        file_io: catalog.file_io().clone(),
        handle: Handle::current(),
        table: table.clone(),
        spec_id: metadata.default_partition_spec_id(),
        sort_order_id: i32::try_from(metadata.default_sort_order_id())
            .map_err(|_| Error::failed("the sort order's id does not fit"))?,
        paths: DataPaths::new(metadata),
        options: WriteOptions::for_table(metadata, &table.schema),
        // The rows, the order they are written in and the encoded pages are in memory at once.
        run_bytes: (share / 4).clamp(8 << 20, 512 << 20),
        limits: Limits::default(),
        hashes: KeyHashes::new(context.memory_limit / 16),
        hasher: KeyHasher::default(),
        progress: context.progress.clone(),
    });
    let tasks = (0..).zip(split(export.files(), context.threads)).map(|(number, files)| LoadTask { number, files });
    context.progress.start("loading", export.files().len() as u64);
    let work = {
        let loader = loader.clone();
        move |task: LoadTask, stop: &pool::Stop| loader.run(task, stop)
    };
    let (abandoned, finished) = (std::sync::Mutex::new(Vec::new()), context.threads);
    let undo = |loaded: Loaded| {
        if let Ok(mut all) = abandoned.lock() {
            all.extend(loaded.files);
        }
    };
    let result = pool::run(finished, tasks.collect(), work, undo).await;
    let mut all = Loaded { files: abandoned.into_inner().unwrap_or_default(), ..Loaded::default() };
    let check = match result {
        Ok(parts) => {
            for part in parts {
                all.files.extend(part.files);
                all.rows += part.rows;
                for (name, count) in part.rescued {
                    *all.rescued.entry(name).or_default() += count;
                }
            }
            check(loader, &all.files).await
        }
        Err(error) => Err(error),
    };
    match check {
        Ok(()) => Ok(all),
        Err(error) => {
            discard(catalog, all.files.iter().map(DataFile::file_path)).await;
            Err(error)
        }
    }
}

/// Makes sure that no key is twice in the whole load.
async fn check(loader: Arc<Loader>, files: &[DataFile]) -> Result<()> {
    let files: Vec<DataFile> = files.to_vec();
    let work = move || {
        let Some(loader) = Arc::into_inner(loader) else {
            return Err(Error::failed("a load task is still running"));
        };
        let suspected = loader.hashes.repeated().map(|suspected| (!suspected.is_empty()).then_some(suspected))?;
        let Some(suspected) = suspected else { return Ok(()) };
        find(&loader.table, &loader.file_io, &loader.handle, &loader.hasher, &suspected, &files)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::failed("the check for equal keys broke down").caused_by(e))?
}

fn find(
    table: &TableSchema,
    file_io: &iceberg::io::FileIO,
    handle: &Handle,
    hasher: &KeyHasher,
    suspected: &HashSet<u64>,
    files: &[DataFile],
) -> Result<()> {
    let keys = table.key_fields()?;
    let deletes = DeleteCache::new(file_io.clone(), handle.clone(), 0);
    let scan = |on_batch: &mut dyn FnMut(&RecordBatch) -> Result<()>| {
        for file in files {
            let live = LiveFile::unlisted(file.clone());
            scan_keys(file_io, handle, &live, &keys, None, &deletes, &mut |batch| {
                on_batch(&batch.project(&(0..keys.len()).collect::<Vec<_>>())?)
            })?;
        }
        Ok(())
    };
    let arrow = iceberg::arrow::schema_to_arrow_schema(&table.schema)?;
    let converter = key_converter(&crate::load::key_batch(table, &RecordBatch::new_empty(Arc::new(arrow)))?)?;
    match find_duplicate(suspected, hasher, &converter, scan)? {
        Some(key) => Err(duplicate(&key)),
        None => Ok(()),
    }
}

/// One commit makes it true.
async fn commit(
    context: &Context,
    catalog: &dyn Catalog,
    request: &FullLoad,
    export: &Export,
    builder: TableMetadataBuilder,
    files: Vec<DataFile>,
) -> Result<Outcome> {
    let empty = builder.clone().build()?.metadata;
    let mut snapshot = SnapshotBuilder::new(None, &empty, Operation::Append);
    let paths: Vec<String> = files.iter().map(|file| file.file_path().to_owned()).collect();
    for file in files {
        snapshot.add_data_file(empty.default_partition_spec_id(), file);
    }
    if let Some(arn) = export.arn() {
        snapshot.set(EXPORT_ARN, arn);
    }
    let time = match export.kind() {
        ExportKind::Full { time } => time,
        ExportKind::Incremental { .. } => None,
    };
    if let Some(time) = time {
        snapshot.set(WINDOW_TO, time::format(time)).set(WATERMARK, time::format(time));
    }
    let built = match snapshot.build(catalog.file_io()).await {
        Ok(built) => built,
        Err(error) => {
            discard(catalog, paths.iter().map(String::as_str)).await;
            return Err(error);
        }
    };
    let id = built.snapshot.snapshot_id();
    let property = time.map(|time| (WATERMARK.to_owned(), watermark::watermark_property(time, id)));
    let made =
        builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.set_properties(property.into_iter().collect())?;
    let made = made.build()?;
    let table = NewTable { metadata: made.metadata, updates: made.changes };
    catalog.ensure_namespace(request.table.namespace()).await?;
    context.progress.set_committing(true);
    let outcome = create_and_settle(catalog, &request.table, table, Patience::default()).await;
    context.progress.set_committing(false);
    let unknown = matches!(&outcome, Err(error) if error.kind() == crate::error::Kind::Unknown);
    if !unknown && !matches!(outcome, Ok(Outcome::Committed(_))) {
        discard(catalog, paths.iter().chain(&built.files).map(String::as_str)).await;
    }
    outcome
}

/// Deletes files that no table will ever name, as far as possible.
pub(super) async fn discard(catalog: &dyn Catalog, paths: impl Iterator<Item = &str>) {
    for path in paths {
        if let Err(error) = catalog.file_io().delete(path).await {
            tracing::warn!("{path} was left behind: {error}");
        }
    }
}
