//! Tasks are values: a table's life is the same if everything that a task takes and returns is sent through bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iceberg::TableIdent;
use iceberg::arrow::schema_to_arrow_schema;
use serde_json::{Value, json};

use crate::catalog::LoadedTable;
use crate::catalog::connect::connect;
use crate::catalog::settle::Outcome;
use crate::export::{self, Export};
use crate::load::Publish;
use crate::maintenance::{Compactor, Policy};
use crate::merge::window::WindowMerge;
use crate::merge::{NewAttributes, WriteMode};
use crate::profile::observe::observe_files;
use crate::runtime::resources::Resources;
use crate::runtime::task::Runner;
use crate::runtime::task::bytes::Names;
use crate::schema::{Limits, SchemaFile, TableSchema};
use crate::storage::Store;
use crate::table::columns::columns_with_key;
use crate::table::commit::partitioning::Partitioning;
use crate::table::{DeleteCache, live_files, scan_rows};
use crate::verify::Verifier;

#[path = "../../tests/common/exports.rs"]
mod exports;

use exports::{FullExport, IncrementalExport};

/// An item with values of all types; some that fit no column.
fn item(n: usize, version: usize) -> Value {
    let odd = if n % 50 == 7 { json!({"BOOL": true}) } else { json!({"N": format!("{n}.5")}) };
    let mut item = json!({
        "pk": {"S": format!("é{:04}", n)}, "sk": {"N": (n * 3).to_string()}, "tag": {"S": format!("t{}", n % 3)},
        "version": {"N": version.to_string()}, "odd": odd, "blob": {"B": "AP8="}, "flag": {"BOOL": n.is_multiple_of(2)},
        "names": {"SS": ["a", format!("b{n}")]}, "list": {"L": [{"N": "1"}, {"N": n.to_string()}]},
        "map": {"M": {"x": {"S": "y"}, "deep": {"M": {"n": {"N": "1"}}}}}, "secret": {"S": "left out"},
        "at": {"S": "2026-01-14T10:20:00Z"},
    });
    if n.is_multiple_of(4) {
        item["rare"] = json!({"NULL": true});
    }
    if version > 1 {
        item["new"] = json!({"S": format!("v{version}")});
    }
    item
}

fn change(n: usize, version: Option<usize>, at: usize) -> String {
    let all = item(n, version.unwrap_or(1));
    let mut record = json!({
        "Metadata": {"WriteTimestampMicros": {"N": (1_768_386_096_000_000 + at).to_string()}},
        "Keys": {"pk": all["pk"], "sk": all["sk"]},
    });
    if version.is_some() {
        record["NewImage"] = all;
    }
    record.to_string()
}

/// A full export and two windows after it.
struct Site {
    root: tempfile::TempDir,
    full: PathBuf,
    windows: [PathBuf; 2],
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let items = |from: usize| (from..from + 200).map(|n| json!({"Item": item(n, 1)}).to_string());
        let full = FullExport::new("t").files([items(0), items(200), items(400)]).write(root.path());
        let window = |number: usize| {
            // Updates, of some keys twice and in two files; deletes; inserts.
            let first = (0..90).map(|n| change(n * 5 + number, Some(2 + number), n));
            let second = (40..120).map(|n| change(n * 5 + number, (n % 7 != 0).then_some(5 + number), 1000 + n));
            let third = (0..20).map(|n| change(700 + n * (number + 1), Some(3), n));
            let at = |minutes: usize| format!("2026-01-14T10:{minutes}:00Z");
            let export = IncrementalExport::new("t").from(&at(20 + number * 15)).to(&at(35 + number * 15));
            export.files([first.collect(), second.collect(), third.collect::<Vec<_>>()]).write(root.path())
        };
        let windows = [window(0), window(1)];
        Self { root, full, windows }
    }

    async fn open(&self, folder: &Path) -> Export {
        export::open(&Store::local(), folder.to_str().unwrap()).await.unwrap()
    }
}

/// What a life leaves: what the jobs say, and what the table holds after each of them.
type Life = Vec<(&'static str, String)>;

async fn life(site: &Site, runner: Runner, threads: usize) -> Life {
    let mut life = Life::new();
    let resources = Resources { threads, memory_limit: 256 << 20, progress: Arc::default(), runner };
    let folder = tempfile::tempdir().unwrap();
    let warehouse = BTreeMap::from([("warehouse".to_owned(), folder.path().to_str().unwrap().to_owned())]);
    let catalog = connect("default", &warehouse, Store::local()).await.unwrap();
    let ident = TableIdent::from_strs(["n", "t"]).unwrap();

    let full = site.open(&site.full).await;
    let left_out = BTreeSet::from(["secret".to_owned()]);
    let seen = observe_files(Store::local(), full.files(), Limits::default(), &left_out, resources.clone());
    let seen = seen.await.unwrap();
    let file = SchemaFile::suggest(&["pk".to_owned(), "sk".to_owned()], seen.items, &seen.fields);
    life.push(("observed", format!("{} {:?} {}", seen.items, seen.files, file.to_text())));

    let columns = TableSchema::create(&file, &file.key).unwrap();
    let publish = Publish {
        catalog: catalog.as_ref(),
        ident: &ident,
        exports: Store::local(),
        export: &full,
        columns: &columns,
        partitioning: &Partitioning::parse(&["tag".to_owned(), "bucket(2, pk)".to_owned()]).unwrap(),
        forget_source: false,
        resources: resources.clone(),
    };
    let (published, outcome) = publish.create().await.unwrap();
    let Outcome::Committed(mut table) = outcome else { panic!("another writer") };
    life.push(("loaded", format!("{} {} {:?}", published.rows, published.data_added, published.rescued)));
    assert!(!published.rescued.is_empty());
    life.extend(content(&table, threads).await);

    for (folder, write_mode) in site.windows.iter().zip([WriteMode::MergeOnRead, WriteMode::CopyOnWrite]) {
        let export = site.open(folder).await;
        let (from, to, _) = export.window().unwrap();
        let merge = WindowMerge {
            catalog: catalog.as_ref(),
            exports: Store::local(),
            export: &export,
            from,
            to,
            gap: None,
            columns: columns_with_key(&table, &[]).unwrap(),
            new_attributes: NewAttributes::Add,
            write_mode,
            resources: resources.clone(),
        };
        let merged = merge.run(&table, |_| None).await.unwrap().expect("no other writer");
        let counts = merged.effect.counts;
        assert!(counts.inserted > 0 && counts.updated > 0 && counts.deleted > 0, "{counts:?}");
        assert_eq!(merged.effect.deletes_added > 0, write_mode == WriteMode::MergeOnRead);
        life.push(("merged", format!("{:?}", merged.effect)));
        table = merged.table;
        life.extend(content(&table, threads).await);
    }

    let compactor = Compactor { base: table.clone(), resources: resources.clone() };
    let compaction = compactor.plan(&Policy { min_files: 2, ..Policy::thorough(1 << 20) }).await.unwrap();
    assert!(compaction.rewritten().count() > 2, "nothing to compact");
    table = compactor.run(catalog.as_ref(), compaction).await.unwrap().expect("no other writer").table;
    life.extend(content(&table, threads).await);

    let verifier = Verifier {
        exports: Store::local(),
        files: full.files().to_vec(),
        file_io: table.file_io.clone(),
        live: live_files(&table).await.unwrap(),
        table: columns_with_key(&table, &[]).unwrap(),
        resources,
    };
    let differences = verifier.run(&full, 5).await.unwrap();
    assert!(differences.equal > 100 && differences.counts.len() == 3, "{differences:?}");
    life.push(("compared", format!("{differences:?}")));
    drop(catalog);
    life
}

/// The rows of the table. If tasks run one after the other, also the entries of its files, without their names.
async fn content(table: &LoadedTable, threads: usize) -> Life {
    let files = live_files(table).await.unwrap();
    let mut entries = Vec::new();
    for live in files.iter().filter(|_| threads == 1) {
        let mut entry = serde_json::to_value(live).unwrap();
        for name in ["file_path", "column_sizes"] {
            entry["file"].as_object_mut().unwrap().remove(name).unwrap();
        }
        entry["manifest"] = Value::Null;
        entry["deletes"] = live.deletes.iter().map(|delete| delete.file.record_count()).collect();
        entries.push(entry.to_string());
    }
    entries.sort();
    let (file_io, metadata) = (table.file_io.clone(), table.metadata.clone());
    let handle = tokio::runtime::Handle::current();
    let scan = move || {
        let schema = Arc::new(schema_to_arrow_schema(metadata.current_schema()).unwrap());
        let deletes = DeleteCache::new(file_io.clone(), handle.clone(), 1 << 20);
        let mut rows = Vec::new();
        for live in &files {
            let without = deletes.positions(live).unwrap();
            scan_rows(&file_io, &handle, live, &schema, &without, &mut |batch| {
                rows.extend((0..batch.num_rows()).map(|n| format!("{:?}", batch.slice(n, 1).columns())));
                Ok(())
            })
            .unwrap();
        }
        rows.sort();
        rows.join("\n")
    };
    let rows = crate::runtime::thread::spawn(scan).unwrap().await.unwrap();
    vec![("entries", entries.join("\n")), ("rows", rows)]
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_tasks_take_and_return_can_be_sent() {
    let site = Site::new();
    for threads in [1, 3] {
        let names = Names::default();
        let direct = life(&site, Runner::Local, threads).await;
        let sent = life(&site, Runner::Bytes(names.clone()), threads).await;
        assert_eq!(direct.len(), sent.len());
        for ((what, direct), (_, sent)) in direct.iter().zip(&sent) {
            assert!(direct == sent, "{what}, {threads} threads:\n{direct}\n{sent}");
        }
        assert_eq!(names.noted().into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), all_tasks());
    }
    drop(site.root);
}

/// The names of all kinds of tasks in the sources.
fn all_tasks() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut kinds = 0;
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        kinds += text.lines().filter(|line| line.starts_with("impl Task for ")).count();
        let named = text.lines().filter_map(|line| line.trim().strip_prefix("const NAME: &'static str = \""));
        names.extend(named.filter_map(|rest| rest.strip_suffix("\";")).map(str::to_owned));
    }
    assert_eq!(names.len(), kinds, "a kind without a name of its own: {names:?}");
    names
}
