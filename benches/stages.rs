//! The hot stages of a load and of a merge, one at a time, on one thread.
//!
//! `cargo bench` runs all of them, `cargo bench -- parse` those with that in their names. Throughput is that of the export's JSON
//! in all stages of a load, so that they compare: what a load takes on one core is about `lines` + `columns` + `sort` + `encode`,
//! and `load` is all of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use ddb_iceberg::attribute::Parser;
use ddb_iceberg::catalog::{LoadedTable, connect};
use ddb_iceberg::columns::ItemBuilder;
use ddb_iceberg::commands::{Context, FullLoad, IfExists, Report, full_load};
use ddb_iceberg::export;
use ddb_iceberg::export::{Export, LineReader};
use ddb_iceberg::load::Load;
use ddb_iceberg::merge::{NewAttributes, Planner, RowCounts, WriteMode};
use ddb_iceberg::runtime::progress::Progress;
use ddb_iceberg::runtime::resources::Resources;
use ddb_iceberg::runtime::task::Runner;
use ddb_iceberg::schema::{Fields, Limits, SchemaFile, TableSchema};
use ddb_iceberg::storage::Store;
use ddb_iceberg::table::write::sorted_runs::RunWriter;
use ddb_iceberg::table::{
    ClosingFiles, DataPaths, DeleteCache, Partitioner, WriteOptions, live_files, scan_keys, watermark,
};
use flate2::bufread::MultiGzDecoder;
use iceberg::TableIdent;
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[path = "../examples/make_exports/layout.rs"]
mod layout;
#[path = "../examples/make_exports/orders.rs"]
mod orders;

/// Items of the export, in one file: about as many as a load sorts and writes at once.
const ITEMS: u64 = 60_000;
/// Changes of the window that is merged into them.
const CHANGES: u64 = 3_000;
const KEY: [&str; 2] = ["customer_id", "order_id"];
const MEMORY: usize = 512 << 20;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() -> Result<()> {
    let runtime = Runtime::new()?;
    let _inside = runtime.enter();
    let site = Site::new(&runtime)?;
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    load_stages(&mut criterion, &runtime, &site)?;
    merge_stages(&mut criterion, &runtime, &site)?;
    criterion.final_summary();
    Ok(())
}

/// An export, a window after it, and the table of the export.
struct Site {
    _folder: TempDir,
    store: Store,
    full: Export,
    window: Export,
    base: LoadedTable,
}

impl Site {
    fn new(runtime: &Runtime) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (full, _) = orders::full(folder.path(), ITEMS, 1)?;
        let (window, _) = orders::Window::new(ITEMS, CHANGES, 1)?.write(folder.path(), 1)?;
        let store = Store::local();
        let table = TableIdent::from_strs(["bench", "orders"])?;
        let base = runtime.block_on(async {
            let warehouse = BTreeMap::from([("warehouse".to_owned(), text(&folder.path().join("warehouse")))]);
            let catalog = connect::connect("default", &warehouse, store.clone()).await?;
            let context = Context {
                exports: store.clone(),
                catalog: Some(Arc::clone(&catalog)),
                threads: 2,
                memory_limit: MEMORY,
                progress: Arc::default(),
            };
            let request = FullLoad {
                export: text(&full),
                without_manifest: false,
                table: table.clone(),
                schema: None,
                key: KEY.map(str::to_owned).to_vec(),
                partition_by: Vec::new(),
                if_exists: IfExists::Fail,
                allow_other_table: false,
                max_struct_fields: Limits::DEFAULT_STRUCT_FIELDS,
                dry_run: false,
            };
            full_load(&context, &request, &mut Report::new("full-load", None)).await?;
            catalog.load(&table).await
        })?;
        let base = base.ok_or("the table is missing")?;
        let open = |folder: &Path| runtime.block_on(export::open(&store, &text(folder)));
        let (full, window) = (open(&full)?, open(&window)?);
        Ok(Self { _folder: folder, store, full, window, base })
    }

    /// The table's columns, with the attributes that they are of.
    fn columns(&self) -> Result<TableSchema> {
        let metadata = &self.base.metadata;
        let mapping = metadata.properties().get(watermark::SCHEMA).map(String::as_str);
        Ok(TableSchema::of_table(metadata.current_schema().clone(), mapping)?)
    }
}

fn load_stages(criterion: &mut Criterion, runtime: &Runtime, site: &Site) -> Result<()> {
    let file = site.full.files().first().ok_or("the export has no files")?;
    let compressed = std::fs::read(file.location.local_path().ok_or("the export is not local")?)?;
    let mut text = Vec::new();
    MultiGzDecoder::new(compressed.as_slice()).read_to_end(&mut text)?;
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let progress = Arc::new(Progress::default());
    let limits = Limits::default();

    let mut group = criterion.benchmark_group("load");
    group.throughput(Throughput::Bytes(u64::try_from(text.len())?));
    group.bench_function("inflate", |b| {
        b.iter(|| {
            let mut decoder = MultiGzDecoder::new(compressed.as_slice());
            io::copy(&mut decoder, &mut io::sink()).expect("it was inflated before")
        });
    });
    // Read, hash, inflate, split.
    group.bench_function("lines", |b| {
        b.iter(|| {
            let mut reader = LineReader::open(&site.store, file, Arc::clone(&progress)).expect("the file is there");
            let mut bytes = 0;
            while let Some(line) = reader.next_line().expect("the file is whole") {
                bytes += line.bytes.len();
            }
            bytes
        });
    });
    group.bench_function("parse", |b| {
        let mut scratch = String::new();
        b.iter(|| {
            for line in &lines {
                skip(line, &mut scratch).expect("the line is an item");
            }
        });
    });
    group.bench_function("observe", |b| {
        b.iter(|| observe(&lines, &limits).expect("the lines are items"));
    });

    // A schema file's columns, as `full-load --schema` makes them.
    let file = SchemaFile::suggest(&KEY.map(str::to_owned), ITEMS, &observe(&lines, &limits)?);
    let table = TableSchema::create(&file, &file.key)?;
    let mut builder = ItemBuilder::new(&table, limits)?;
    group.bench_function("columns", |b| {
        b.iter(|| build(&lines, &mut builder).expect("the lines are items"));
    });
    let rows = build(&lines, &mut builder)?;
    write_stages(&mut group, runtime, site, &rows)?;

    group.sample_size(10);
    group.bench_function("load", |b| {
        b.iter(|| {
            let load = Load {
                exports: site.store.clone(),
                export: &site.full,
                metadata: &site.base.metadata,
                table: &table,
                file_io: site.base.file_io.clone(),
                resources: Resources {
                    threads: 1,
                    memory_limit: MEMORY,
                    progress: Arc::clone(&progress),
                    runner: Runner::Local,
                },
            };
            let loaded = runtime.block_on(load.run()).expect("the export is sound");
            assert_eq!(loaded.rows, ITEMS);
            for file in &loaded.files {
                runtime.block_on(site.base.file_io.delete(file.file_path())).expect("the file was just written");
            }
        });
    });
    group.finish();
    Ok(())
}

/// Sorting a run of rows, and writing it in that order: Parquet, and the bounds for the manifest.
fn write_stages(group: &mut Group<'_>, runtime: &Runtime, site: &Site, rows: &RecordBatch) -> Result<()> {
    let metadata = &site.base.metadata;
    let table = site.columns()?;
    let writer = RunWriter {
        file_io: site.base.file_io.clone(),
        handle: runtime.handle().clone(),
        partitioner: Partitioner::new(metadata.default_partition_spec(), &table.schema)?,
        partitions: None,
        sort_order_id: None,
        paths: DataPaths::new(metadata),
        options: WriteOptions::for_table(metadata, &table.schema),
        helpers: Arc::default(),
        files: ClosingFiles::new(1),
        progress: Arc::default(),
        table,
    };
    group.bench_function("sort", |b| b.iter(|| writer.sort(rows).expect("the rows have keys")));
    let sorted = writer.sort(rows)?;
    group.bench_function("encode", |b| {
        b.iter(|| {
            let files = writer.write(0, rows, &sorted.order).expect("there is room for it");
            runtime.block_on(async {
                writer.files.settle().await.expect("there is room for it");
                for file in files {
                    writer.file_io.delete(file.file_path()).await.expect("the file was just written");
                }
            });
        });
    });
    Ok(())
}

fn merge_stages(criterion: &mut Criterion, runtime: &Runtime, site: &Site) -> Result<()> {
    let table = site.columns()?;
    let keys = table.key_fields()?;
    let files = runtime.block_on(live_files(&site.base))?;
    let file_io = &site.base.file_io;

    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("keys", |b| {
        b.iter(|| {
            let deletes = DeleteCache::new(file_io.clone(), runtime.handle().clone(), MEMORY / 8);
            let mut rows = 0;
            for file in &files {
                let mut count = |batch: RecordBatch| {
                    rows += batch.num_rows();
                    black_box(batch);
                    Ok(())
                };
                scan_keys(file_io, runtime.handle(), file, &keys, None, &deletes, &mut count).expect("keys are there");
            }
            rows
        });
    });

    // Read the changes, join them with the keys, write new rows and deletes; all but the commit.
    let planner = Planner {
        exports: site.store.clone(),
        base: site.base.clone(),
        table,
        new_attributes: NewAttributes::Add,
        write_mode: WriteMode::MergeOnRead,
        limits: Limits::default(),
        resources: Resources { threads: 1, memory_limit: MEMORY, progress: Arc::default(), runner: Runner::Local },
    };
    group.throughput(Throughput::Elements(CHANGES));
    group.sample_size(10);
    group.bench_function("plan", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let plan = planner.plan(&site.window).await.expect("the window is sound");
                let RowCounts { inserted, updated, deleted } = plan.counts;
                assert_eq!(inserted + updated + deleted, CHANGES);
                for (_, file) in plan.images.iter().chain(&plan.removed.delete_files) {
                    site.base.file_io.delete(file.file_path()).await.expect("the file was just written");
                }
            });
        });
    });
    group.finish();
    Ok(())
}

/// Walks over an item, checking it.
fn skip(line: &[u8], scratch: &mut String) -> Result<()> {
    let mut parser = enter(line)?;
    let (mut first, mut name) = (true, String::new());
    parser.begin_object()?;
    while parser.next_name(&mut first, &mut name)?.is_some() {
        parser.skip_value(scratch)?;
    }
    Ok(())
}

fn observe(lines: &[&[u8]], limits: &Limits) -> Result<Fields> {
    let (mut fields, mut scratch) = (Fields::default(), String::new());
    for line in lines {
        fields.observe_item(&mut enter(line)?, limits, &mut scratch)?;
    }
    Ok(fields)
}

fn build(lines: &[&[u8]], builder: &mut ItemBuilder) -> Result<RecordBatch> {
    for line in lines {
        builder.append(&mut enter(line)?)?;
    }
    Ok(builder.finish()?)
}

/// Enters `{"Item":`.
fn enter(line: &[u8]) -> Result<Parser<'_>> {
    let mut parser = Parser::new(line)?;
    parser.begin_object()?;
    match parser.next_name(&mut true, &mut String::new())? {
        Some("Item") => Ok(parser),
        _ => Err("the line is no item".into()),
    }
}
