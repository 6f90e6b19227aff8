//! What the cases run, what the table may look like then, and what it does look like.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ddb_iceberg::catalog::{Catalog, LoadedTable};
use ddb_iceberg::commands::{Context, FullLoad, IfExists, Incremental, Report, full_load, incremental};
use ddb_iceberg::error::Result;
use ddb_iceberg::merge::{NewAttributes, WriteMode};
use iceberg::TableIdent;
use iceberg::spec::ManifestList;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exports::{ExportWriter, FullExport, IncrementalExport};
use crate::faults::{self, Faults};
use crate::reader::{self, Row};

pub const TABLE: &str = "shop.orders";
/// The key of a snapshot's summary that names the export.
pub const ARN: &str = "ddb-iceberg.export-arn";

/// What is run, and what the table may look like.
#[derive(Debug, Clone)]
pub struct Job {
    pub kind: JobKind,
    /// The export, the folder of exports, or the folder of bare data files.
    pub input: PathBuf,
    /// The table before, after each window, and after the whole; `None`: there is no table.
    pub states: Vec<Option<Vec<Row>>>,
    /// The exports in the table once all is done, in order; those of the first state too.
    pub arns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    Load,
    BareLoad,
    /// Merge-on-read.
    Windows,
    /// Copy-on-write.
    Rewrites,
    /// A full load in place of a table's rows.
    Replace,
}

/// Exports that all cases share.
pub struct Inputs {
    _dir: TempDir,
    pub load: Job,
    pub windows: Job,
    pub rewrites: Job,
    pub bare: Job,
    pub replace: Job,
}

pub fn item(text: &str) -> String {
    format!(r#"{{"Item":{}}}"#, attributes(text))
}

/// `a v=1 w=x`: key, numbers, strings.
pub fn attributes(text: &str) -> Value {
    let mut words = text.split(' ');
    let mut object = json!({"pk": {"S": words.next().unwrap()}});
    for (name, value) in words.map(|word| word.split_once('=').unwrap()) {
        let kind = if value.parse::<i64>().is_ok() { "N" } else { "S" };
        object[name] = json!({kind: value});
    }
    object
}

/// A change: `a v=1 w=x` is the new image, `a` alone a delete.
pub fn change(text: &str) -> String {
    let image = attributes(text);
    let mut record = json!({"Metadata": {"WriteTimestampMicros": {"N": "1"}}, "Keys": {"pk": image["pk"]}});
    if text.contains(' ') {
        record["NewImage"] = image;
    }
    record.to_string()
}

/// The rows as the reader gives them.
pub fn rows(texts: &[&str]) -> Option<Vec<Row>> {
    let plain = |value: &Value| match value.as_object().unwrap().iter().next().unwrap() {
        (kind, text) if kind == "N" => json!(text.as_str().unwrap().parse::<i64>().unwrap()),
        (_, text) => text.clone(),
    };
    let row = |text: &&str| attributes(text).as_object().unwrap().iter().map(|(k, v)| (k.clone(), plain(v))).collect();
    let mut rows: Vec<Row> = texts.iter().map(row).collect();
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    Some(rows)
}

pub fn minute(n: usize) -> String {
    format!("2026-01-14T10:{n:02}:00Z")
}

pub fn full(files: &[&[&str]]) -> ExportWriter {
    let lines = files.iter().map(|file| file.iter().map(|text| item(text)).collect::<Vec<_>>());
    FullExport::new("orders").time(&minute(0)).files(lines)
}

pub fn window(n: usize, files: &[&[&str]]) -> ExportWriter {
    let lines = files.iter().map(|file| file.iter().map(|text| change(text)).collect::<Vec<_>>());
    IncrementalExport::new("orders").from(&minute(n)).to(&minute(n + 1)).files(lines)
}

impl Inputs {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let load = full(&[&["a v=1", "b v=2", "c v=3"], &["d v=4", "e v=5"]]);
        // A new column, an update, a delete, an insert.
        let first = window(0, &[&["a v=10 w=x", "b"], &["f v=6"]]);
        // Old rows in both data files, one that comes back, one that was never there.
        let second = window(1, &[&["a v=11", "f", "c v=30", "b v=20", "zz"]]);
        let arns = vec![load.arn(), first.arn(), second.arn()];
        let before = rows(&["a v=1", "b v=2", "c v=3", "d v=4", "e v=5"]);
        let between = rows(&["a v=10 w=x", "c v=3", "d v=4", "e v=5", "f v=6"]);
        let after = rows(&["a v=11", "b v=20", "c v=30", "d v=4", "e v=5"]);
        let root = dir.path().join("exports");
        let folder = load.write(&root);
        first.write(&root);
        second.write(&root);
        let later = full(&[&["a v=7", "x v=8 w=y"]]).time(&minute(5));
        let replace = Job {
            kind: JobKind::Replace,
            input: later.write(dir.path().join("later")),
            states: vec![before.clone(), rows(&["a v=7", "x v=8 w=y"])],
            arns: vec![load.arn(), later.arn()],
        };
        // Bare files are one task each: what one has finished must go when another fails.
        let bare = dir.path().join("bare");
        fs::create_dir(&bare).unwrap();
        for (n, text) in ["a v=1", "b v=2", "c v=3"].iter().enumerate() {
            fs::write(bare.join(format!("{n}.json")), item(text)).unwrap();
        }
        let windows = Job {
            kind: JobKind::Windows,
            input: root,
            states: vec![before.clone(), between, after],
            arns: arns.clone(),
        };
        Self {
            load: Job { kind: JobKind::Load, input: folder, states: vec![None, before], arns: arns[..1].to_vec() },
            rewrites: Job { kind: JobKind::Rewrites, ..windows.clone() },
            windows,
            replace,
            bare: Job {
                kind: JobKind::BareLoad,
                input: bare,
                states: vec![None, rows(&["a v=1", "b v=2", "c v=3"])],
                arns: Vec::new(),
            },
            _dir: dir,
        }
    }
}

/// Runs the command on a catalog, with storage behind the same faults.
pub async fn command(job: &Job, faults: &Arc<Faults>, catalog: Arc<dyn Catalog>) -> (Result<()>, Report) {
    let context = Context {
        exports: faults::store(faults),
        catalog: Some(catalog),
        threads: if job.kind == JobKind::BareLoad { 2 } else { 1 },
        memory_limit: 64 << 20,
        progress: Arc::default(),
    };
    let table = TableIdent::from_strs(TABLE.split('.')).unwrap();
    let input = job.input.to_str().unwrap().to_owned();
    let mut report = Report::new("test", Some(TABLE.to_owned()));
    let result = if matches!(job.kind, JobKind::Windows | JobKind::Rewrites) {
        let request = Incremental {
            exports: vec![input],
            table,
            key: Vec::new(),
            write_mode: (job.kind == JobKind::Rewrites).then_some(WriteMode::CopyOnWrite),
            new_attributes: NewAttributes::Add,
            allow_gap: false,
            allow_overlap: false,
            maintenance: ddb_iceberg::commands::Maintenance::Off,
            dry_run: false,
        };
        incremental(&context, &request, &mut report).await
    } else {
        let request = FullLoad {
            export: input,
            without_manifest: job.kind == JobKind::BareLoad,
            table,
            schema: None,
            key: vec!["pk".to_owned()],
            partition_by: Vec::new(),
            if_exists: if job.kind == JobKind::Replace { IfExists::Replace } else { IfExists::Fail },
            allow_other_table: false,
            max_struct_fields: 256,
            dry_run: false,
        };
        full_load(&context, &request, &mut report).await
    };
    (result.map(|_| ()), report)
}

pub async fn run(job: &Job, faults: &Arc<Faults>, warehouse: &Path) -> (Result<()>, Report) {
    command(job, faults, faults::catalog(faults, warehouse, None)).await
}

/// A warehouse that is put back to how it was before each case.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    /// A warehouse in the job's first state.
    pub async fn before(inputs: &Inputs, job: &Job) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(place.warehouse()).unwrap();
        if job.states[0].is_some() {
            run(&inputs.load, &Faults::none(), &place.warehouse()).await.0.unwrap();
        }
        copy(&place.warehouse(), &place.dir.path().join("saved"));
        place
    }

    pub fn warehouse(&self) -> PathBuf {
        self.dir.path().join("warehouse")
    }

    pub fn reset(&self) {
        fs::remove_dir_all(self.warehouse()).unwrap();
        copy(&self.dir.path().join("saved"), &self.warehouse());
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The last of the job's states that the table is in, if it is whole: rows, and one snapshot an export.
pub async fn state(job: &Job, warehouse: &Path) -> usize {
    let Some(table) = reader::load(warehouse, TABLE).await else {
        assert_eq!(job.states[0], None, "the table is gone");
        return 0;
    };
    let found = Some(reader::rows_of(&table).await);
    let state = job.states.iter().position(|state| *state == found);
    let state = state.unwrap_or_else(|| panic!("the table reads as at no time: {found:?}"));
    let mut snapshots: Vec<_> = table.metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
    let held: Vec<_> = snapshots.iter().filter_map(|s| s.summary().additional_properties.get(ARN)).collect();
    let expected = job.arns.len().saturating_sub(job.states.len() - 1 - state);
    assert_eq!(held, job.arns[..expected].iter().collect::<Vec<_>>(), "each export is there once");
    if !job.arns.is_empty() {
        assert_eq!(snapshots.len(), expected, "no other snapshots");
    }
    state
}

/// Files in the warehouse that no snapshot and no metadata log names.
pub async fn orphans(warehouse: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut folders = vec![warehouse.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if !entry.file_name().to_str().unwrap().starts_with("catalog.db") {
                files.insert(entry.path());
            }
        }
    }
    if let Some(table) = reader::load(warehouse, TABLE).await {
        for named in references(&table).await {
            let path = named.strip_prefix("file://").unwrap();
            files.remove(Path::new(path));
            assert!(Path::new(path).exists(), "{path} is named and missing");
        }
    }
    files
}

pub async fn references(table: &LoadedTable) -> BTreeSet<String> {
    let mut named = BTreeSet::from([table.metadata_location.clone()]);
    named.extend(table.metadata.metadata_log().iter().map(|log| log.metadata_file.clone()));
    for snapshot in table.metadata.snapshots() {
        let list = snapshot.manifest_list().to_owned();
        let bytes = table.file_io.new_input(&list).unwrap().read().await.unwrap();
        named.insert(list);
        for manifest in ManifestList::parse_with_version(&bytes, table.metadata.format_version()).unwrap().entries() {
            named.insert(manifest.manifest_path.clone());
            let manifest = manifest.load_manifest(&table.file_io).await.unwrap();
            named.extend(manifest.entries().iter().map(|entry| entry.file_path().to_owned()));
        }
    }
    named
}

pub async fn no_orphans(warehouse: &Path) {
    let found = orphans(warehouse).await;
    assert!(found.is_empty(), "left behind: {found:#?}");
}
