//! Runs the commands on a model's exports and compares everything that they say and do with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ddb_iceberg::catalog::{LoadedTable, clock};
use ddb_iceberg::commands::{
    Context, FullLoad, IfExists, Incremental, Maintenance, Report, Status, full_load, incremental,
};
use ddb_iceberg::error::{Error, Kind};
use ddb_iceberg::merge::{NewAttributes, WriteMode};
use ddb_iceberg::runtime::progress::Progress;
use iceberg::TableIdent;
use iceberg::spec::{MAIN_BRANCH, Snapshot, SnapshotReference, SnapshotRetention};
use serde_json::{Value, json};

use super::columns::{RESCUED, Row, Table};
use super::exports::IncrementalExport;
use super::home::{Bucket, Home};
use super::metadata::{Checked, history};
use super::partitions;
use super::profile::Profile;
use super::random::Random;
use super::reader::Seen;
use super::world::{Rows, TABLE, Window, World};

const NAME: &str = "shop.orders";

pub struct Runner {
    pub(super) world: World,
    pub(super) home: Home,
    pub(super) bucket: Bucket,
    pub(super) load: FullLoad,
    pub(super) threads: usize,
    pub(super) memory: usize,
    pub(super) checked: Checked,
    pub(super) mode: Option<WriteMode>,
    /// Some window was applied by copy-on-write.
    pub(super) rewritten: bool,
    /// `--allow-gap` and `--allow-overlap`.
    pub(super) allowed: (bool, bool),
    /// A gap is recorded: below a folder, windows after it are looked at again.
    pub(super) gaps: bool,
    /// Every window that was applied.
    pub(super) applied: Vec<Window>,
    /// Snapshots that another program has tagged, with their columns and rows.
    pub(super) tags: Vec<(i64, Table, Rows)>,
}

impl Runner {
    /// Loads the full export.
    pub async fn load(
        home: Home,
        random: Random,
        profile: Profile,
        operations: usize,
        threads: usize,
        memory: usize,
    ) -> Self {
        let bucket = Bucket::new(&home);
        let (mut world, load) = World::load(random, profile, bucket.clone(), operations);
        // Not the large histories: partitions by whole keys would be too many.
        let partition_by = if operations < 1000 && world.random.percent(60) {
            partitions::fields(&mut world.random, &world.table)
        } else {
            Vec::new()
        };
        let request = FullLoad {
            export: text(&load.folder),
            without_manifest: false,
            table: TableIdent::from_strs(NAME.split('.')).unwrap(),
            schema: load.schema.as_deref().map(text),
            key: world.profile.key.clone(),
            partition_by,
            if_exists: IfExists::Fail,
            allow_other_table: false,
            max_struct_fields: load.struct_fields,
            dry_run: false,
        };
        let checked = Checked::default();
        let mut runner = Self {
            world,
            home,
            bucket,
            load: request.clone(),
            threads,
            memory,
            checked,
            mode: None,
            rewritten: false,
            allowed: (false, false),
            gaps: false,
            applied: Vec::new(),
            tags: Vec::new(),
        };
        let context = runner.context().await;
        if runner.world.random.percent(20) {
            let mut report = Report::new("full-load", None);
            let dry = FullLoad { dry_run: true, ..request.clone() };
            full_load(&context, &dry, &mut report).await.unwrap();
            assert_eq!(report.status, Status::DryRun);
            assert!(runner.reload().await.is_none(), "a dry run makes no table");
        }

        let mut report = Report::new("full-load", None);
        full_load(&context, &request, &mut report).await.unwrap();
        let table = runner.reload().await.expect("the table");
        assert_eq!(report.status, Status::Applied);
        assert_eq!(report.watermark.as_deref(), Some(load.time.as_str()));
        let of_rescued = |warning: &&String| warning.contains("_ddb_rescued");
        let rescued = report.warnings.iter().filter(of_rescued).count();
        assert_eq!(rescued, load.misfits.len(), "{:?}", report.warnings);
        let others = report.warnings.len() - rescued;
        assert_eq!(others == 0, load.time.ends_with(".000Z"), "{:?}", report.warnings);
        let [window] = report.windows.as_slice() else { panic!("one element for the load: {:?}", report.windows) };
        assert_eq!((window.export_arn.as_deref(), window.to.as_ref()), (Some(load.arn.as_str()), Some(&load.time)));
        assert_eq!((&window.from, window.status), (&None, Status::Applied));
        let rows = (window.rows.inserted, window.rows.updated, window.rows.deleted);
        assert_eq!(rows, (runner.world.rows.len() as u64, 0, 0));
        assert_eq!(window.rescued, load.rescued);
        let snapshots = history(&table);
        assert_eq!(snapshots.len(), 1);
        check_summary(snapshots[0], &load.arn, None, &load.time);
        assert_eq!(window.snapshot_id, Some(snapshots[0].snapshot_id().to_string()));
        check_columns(&table, &runner.world.table);
        compare(&mut runner.checked.seen, &table, snapshots[0], &runner.world.table, &runner.world.rows).await;
        runner.checked.check(&table, &runner.home).await;

        if runner.world.random.percent(20) {
            runner.load_again().await;
        }
        runner
    }

    /// Windows made so far.
    pub fn windows(&self) -> usize {
        self.world.windows
    }

    /// Makes one to three windows and applies them by one command line or another.
    pub async fn step(&mut self) {
        let add = !self.world.random.percent(15);
        let policy = if add { NewAttributes::Add } else { NewAttributes::Rescue };
        match self.world.random.range(0, 12) {
            0 => self.beside(policy, add, 15).await,
            1 => self.beside(policy, add, -5).await,
            2 => self.rolled_back(policy).await,
            _ => {}
        }
        if self.world.operations < 1000 {
            match self.world.random.range(0, 10) {
                0 => self.rewritten_by_another().await,
                1 => self.appended_by_another().await,
                2 => self.compacted().await,
                3 => self.expired().await,
                4 => self.altered_by_another().await,
                5 => self.marked_by_another().await,
                _ => {}
            }
        }
        let count = self.world.random.range(1, 4);
        let windows: Vec<Window> = (0..count).map(|_| self.world.window(add)).collect();
        self.foreign(&windows[0]);
        if self.world.operations < 1000 && self.world.random.percent(15) {
            self.repartition().await;
        }
        self.mode = match self.world.random.range(0, 10) {
            0 | 1 => Some(WriteMode::CopyOnWrite),
            2 => Some(WriteMode::MergeOnRead),
            _ => None,
        };
        match self.world.random.range(0, 5) {
            0 => {
                for window in windows {
                    self.refused(&window, policy).await;
                    let folder = match self.world.random.range(0, 3) {
                        0 => format!("{}/", text(&window.folder)),
                        1 => format!("{}/manifest-summary.json", text(&window.folder)),
                        _ => text(&window.folder),
                    };
                    self.apply(&[folder], policy, &[], vec![window]).await;
                }
            }
            1 => {
                let mut exports: Vec<String> = windows.iter().map(|w| text(&w.folder)).collect();
                let older: Vec<Window> = self.applied.iter().rev().take(2).rev().cloned().collect();
                exports.extend(older.iter().map(|w| text(&w.folder)));
                exports.push(exports[0].clone());
                self.world.random.shuffle(&mut exports);
                self.apply(&exports, policy, &older, windows).await;
            }
            2 if windows.len() > 1 => self.with_a_gap(windows, policy).await,
            _ => {
                let root = text(self.bucket.root());
                self.apply(std::slice::from_ref(&root), policy, &[], windows).await;
                let location = self.reload().await.unwrap().metadata_location;
                let (report, result) = self.incremental(&[root], policy, false).await;
                result.unwrap();
                let nothing = report.status == Status::NothingToDo;
                assert!(nothing || (self.gaps && report.status == Status::AlreadyApplied), "{:?}", report.status);
                assert_eq!(self.reload().await.unwrap().metadata_location, location);
            }
        }
    }

    /// What must be refused, or only be told, and leave the table as it is.
    async fn refused(&mut self, window: &Window, policy: NewAttributes) {
        let before = self.reload().await.unwrap();
        let export = [text(&window.folder)];
        let (report, result) = self.incremental(&export, policy, true).await;
        result.unwrap();
        assert_eq!((report.status, report.windows.len()), (Status::DryRun, 1));
        if !window.columns_added.is_empty() {
            let error = self.incremental(&export, NewAttributes::Fail, false).await.1.unwrap_err();
            assert_eq!(error.kind(), Kind::Input, "{error}");
        }
        let unfit = self.world.profile.keys.iter().find(|key| !self.world.table.takes_key(key));
        if let Some(key) = unfit {
            let names = self.world.profile.key.iter().cloned();
            let item = super::values::item_json(&names.zip(key.iter().cloned()).collect());
            let record = json!({"Metadata": {"WriteTimestampMicros": {"N": "1"}}, "Keys": item, "NewImage": item});
            let other = Bucket::new(&self.home);
            let export = IncrementalExport::new(TABLE).from(&window.from).to(&window.to).files([[record.to_string()]]);
            let folder = other.write(&export);
            let error = self.incremental(&[text(&folder)], policy, false).await.1.unwrap_err();
            assert_eq!((error.kind(), error.line()), (Kind::Input, Some(1)), "{error}");
        }
        let after = self.reload().await.unwrap();
        assert_eq!(before.metadata_location, after.metadata_location, "the table is untouched");
        self.checked.check(&after, &self.home).await;
    }

    /// One window in the middle comes late.
    async fn with_a_gap(&mut self, windows: Vec<Window>, policy: NewAttributes) {
        let root = text(self.bucket.root());
        let late = self.world.random.range(0, windows.len() - 1);
        let (from, to) = (&windows[late].folder, self.bucket.root().with_extension("hidden"));
        self.bucket.rename(from, &to);
        let (mut report, result) = self.incremental(std::slice::from_ref(&root), policy, false).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), Kind::Window, "{error}");
        let failed = report.windows.pop().map(|window| (window.status, window.export_arn));
        assert_eq!(failed, Some((Status::Failed, Some(windows[late + 1].arn.clone()))));
        self.bucket.rename(&to, from);
        let rest = windows[late..].to_vec();
        let done = windows[..late].to_vec();
        self.check(&report, &[], done).await;
        self.apply(&[root], policy, &[], rest).await;
    }

    /// Runs the command, which must apply these windows, and find these older ones applied.
    pub(super) async fn apply(
        &mut self,
        exports: &[String],
        policy: NewAttributes,
        older: &[Window],
        windows: Vec<Window>,
    ) {
        let (report, result) = self.incremental(exports, policy, false).await;
        if let Err(error) = result {
            panic!("{exports:?}: {error}");
        }
        assert_eq!(report.status, Status::Applied);
        assert_eq!(report.pending, 0);
        self.check(&report, older, windows).await;
    }

    /// Compares a report, and the table after every window, with the model.
    async fn check(&mut self, report: &Report, older: &[Window], windows: Vec<Window>) {
        let table = self.reload().await.unwrap();
        let again = |arn: &Option<String>| {
            let is = |window: &Window| Some(&window.arn) == arn.as_ref();
            self.gaps && self.applied.iter().any(is) && !older.iter().any(is)
        };
        let (repeated, told): (Vec<_>, Vec<_>) = report.windows.iter().partition(|window| again(&window.export_arn));
        assert!(repeated.iter().all(|window| window.status == Status::AlreadyApplied), "{repeated:?}");
        assert_eq!(told.len(), older.len() + windows.len(), "{:?}", report.windows);
        let misfits = report.warnings.iter().filter(|warning| warning.contains("did not fit their column")).count();
        assert_eq!(misfits, windows.iter().map(|w| w.misfits.len()).sum::<usize>(), "{:?}", report.warnings);
        for (window, expected) in told.iter().zip(older) {
            assert_eq!((window.status, window.export_arn.as_ref()), (Status::AlreadyApplied, Some(&expected.arn)));
        }
        let mut snapshots = history(&table);
        snapshots.retain(|snapshot| is_ours(snapshot));
        let made = 1 + self.applied.len() + windows.len();
        assert!(snapshots.len() == made || self.checked.expired && snapshots.len() < made, "one snapshot a window");
        let new = &snapshots[snapshots.len() - windows.len()..];
        for ((window, expected), snapshot) in told[older.len()..].iter().zip(&windows).zip(new) {
            let about = format!("window {} to {}", expected.from, expected.to);
            assert_eq!(window.status, Status::Applied, "{about}");
            assert_eq!(window.export_arn.as_ref(), Some(&expected.arn), "{about}");
            assert_eq!((&window.from, &window.to), (&Some(expected.from.clone()), &Some(expected.to.clone())));
            assert_eq!(window.snapshot_id, Some(snapshot.snapshot_id().to_string()), "{about}");
            let rows = (window.rows.inserted, window.rows.updated, window.rows.deleted);
            assert_eq!(
                rows,
                (expected.inserted, expected.updated, expected.deleted),
                "{about}: inserted, updated, deleted"
            );
            assert_eq!(window.rescued, expected.rescued, "{about}: rescued");
            let added: BTreeSet<String> = window.columns_added.iter().cloned().collect();
            assert_eq!(added, expected.columns_added, "{about}: columns added");
            assert_eq!(added.len(), window.columns_added.len(), "{about}: each column added once");
            let summary = &snapshot.summary().additional_properties;
            let count = |name: &str| summary.get(name).map_or(0, |n| n.parse::<u64>().unwrap());
            assert_eq!(window.files.data_added, count("added-data-files"), "{about}");
            assert_eq!(window.files.deletes_added, count("added-delete-files"), "{about}");
            assert_eq!(window.files.data_removed, count("deleted-data-files"), "{about}");
            let (added, removed) = (count("added-records"), count("deleted-records"));
            let (gone, back) = (count("added-position-deletes"), count("removed-position-deletes"));
            let old = expected.updated + expected.deleted;
            if removed > 0 {
                assert_eq!(gone, 0, "{about}: copy-on-write writes no deletes");
                self.rewritten = true;
            } else {
                assert_eq!(added, expected.inserted + expected.updated, "{about}");
                // Deletes of data files that were rewritten may go when delete files are merged.
                let exact = if self.rewritten { gone >= back.min(old) } else { gone - back == old };
                assert!(exact, "{about}: {gone} position deletes added, {back} removed, for {old} old rows");
            }
            check_summary(snapshot, &expected.arn, Some(&expected.from), &expected.to);
            compare(&mut self.checked.seen, &table, snapshot, &expected.table, &expected.rows).await;
        }
        if let Some(last) = windows.last() {
            assert_eq!(report.watermark.as_ref(), Some(&last.to));
            let property: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.watermark"]).unwrap();
            assert_eq!(property["time"], json!(last.to));
            assert_eq!(property["snapshot-id"], json!(snapshots.last().unwrap().snapshot_id().to_string()));
            check_columns(&table, &last.table);
        }
        assert_eq!(report.metadata_location.as_ref(), Some(&table.metadata_location));
        self.checked.check(&table, &self.home).await;
        self.applied.extend(windows);
    }

    pub(super) async fn incremental(
        &self,
        exports: &[String],
        new_attributes: NewAttributes,
        dry_run: bool,
    ) -> (Report, Result<(), Error>) {
        let request = Incremental {
            exports: exports.to_vec(),
            table: TableIdent::from_strs(NAME.split('.')).unwrap(),
            key: Vec::new(),
            write_mode: self.mode,
            new_attributes,
            allow_gap: self.allowed.0,
            allow_overlap: self.allowed.1,
            maintenance: Maintenance::Off,
            dry_run,
        };
        let mut report = Report::new("incremental", None);
        let result = incremental(&self.context().await, &request, &mut report).await;
        (report, result.map(|_| ()))
    }

    pub(super) async fn context(&self) -> Context {
        Context {
            exports: self.bucket.store(),
            catalog: Some(self.home.catalog().await),
            threads: self.threads,
            memory_limit: self.memory,
            progress: Arc::new(Progress::default()),
        }
    }

    pub(super) async fn reload(&self) -> Option<LoadedTable> {
        self.home.catalog().await.load(&TableIdent::from_strs(NAME.split('.')).unwrap()).await.unwrap()
    }
}

/// The time up to which the table is complete, as its property says.
pub(super) fn mark(table: &LoadedTable) -> String {
    let property: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.watermark"]).unwrap();
    property["time"].as_str().unwrap().to_owned()
}

/// The snapshot that the watermark's property names.
pub(super) fn named(table: &LoadedTable) -> String {
    let property: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.watermark"]).unwrap();
    property["snapshot-id"].as_str().unwrap().to_owned()
}

/// A load or a window, not what maintenance or others did.
pub(super) fn is_ours(snapshot: &Snapshot) -> bool {
    snapshot.summary().additional_properties.contains_key("ddb-iceberg.export-arn")
}

pub(super) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn check_summary(snapshot: &Snapshot, arn: &str, from: Option<&String>, to: &str) {
    let summary = &snapshot.summary().additional_properties;
    let get = |name: &str| summary.get(&format!("ddb-iceberg.{name}")).map(String::as_str);
    assert_eq!(get("export-arn"), Some(arn));
    assert_eq!(get("window-from"), from.map(String::as_str));
    assert_eq!((get("window-to"), get("watermark")), (Some(to), Some(to)));
}

fn check_columns(table: &LoadedTable, expected: &Table) {
    let schema = table.metadata.current_schema();
    let fields = schema.as_struct().fields();
    assert_eq!(fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), expected.names());
    let identifiers: BTreeSet<i32> = schema.identifier_field_ids().collect();
    for (n, field) in fields.iter().enumerate() {
        let is_key = n < expected.key.len();
        assert_eq!((field.required, identifiers.contains(&field.id)), (is_key, is_key), "{}", field.name);
        if let Some(column) = expected.columns.iter().find(|c| c.name == field.name) {
            assert!(column.ty.is(&field.field_type), "{}: {} is not {:?}", field.name, field.field_type, column.ty);
        }
    }
}

/// The row with what was rescued as JSON.
pub(super) fn read_rescued(mut row: Row) -> Row {
    if let Some(Value::String(text)) = row.get(RESCUED) {
        let rescued = serde_json::from_str(text).unwrap_or_else(|e| panic!("{RESCUED} is no JSON: {e}: {text}"));
        row.insert(RESCUED.to_owned(), rescued);
    }
    row
}

/// Compares all rows as of a snapshot.
pub(super) async fn compare(
    seen: &mut Seen,
    table: &LoadedTable,
    snapshot: &Snapshot,
    columns: &Table,
    expected: &Rows,
) {
    let mut table = table.clone();
    if table.metadata.current_snapshot_id() != Some(snapshot.snapshot_id()) {
        let retention = SnapshotRetention::branch(None, None, None);
        let main = SnapshotReference::new(snapshot.snapshot_id(), retention);
        let builder = clock::draft(&table.metadata).unwrap().set_ref(MAIN_BRANCH, main).unwrap();
        table.metadata = Arc::new(builder.build().unwrap().metadata);
    }
    let mut found: BTreeMap<String, Row> = BTreeMap::new();
    for row in seen.rows(&table).await {
        let row = read_rescued(row);
        let key = columns.key_of(&row);
        if let Some(twin) = found.insert(key.clone(), row) {
            panic!("the key {key} is there twice, once as {twin:?}");
        }
    }
    for row in expected.values() {
        let key = columns.key_of(row);
        let Some(found) = found.remove(&key) else { panic!("the row of key {key} is missing: {row:?}") };
        for name in found.keys().chain(row.keys()) {
            assert_eq!(found.get(name), row.get(name), "column {name:?} of key {key} (table, model)");
        }
    }
    assert!(found.is_empty(), "rows that must not be: {found:?}");
}
