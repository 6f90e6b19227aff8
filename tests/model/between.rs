//! What happens between windows: other programs rewrite, append, roll back and change the partitions; maintenance runs;
//! windows come that must be refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ddb_iceberg::catalog::{Commit, LoadedTable, clock};
use ddb_iceberg::commands::{Compact, Expire, Report, Status, compact, expire, full_load};
use ddb_iceberg::error::Kind;
use ddb_iceberg::merge::NewAttributes;
use ddb_iceberg::schema::{PartitionTerm, TableSchema, partition_spec};
use iceberg::TableUpdate;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use serde_json::{Value, json};

use super::columns::{Row, Ty};
use super::exports::IncrementalExport;
use super::foreign;
use super::home::Bucket;
use super::metadata::history;
use super::partitions;
use super::runner::{Runner, compare, is_ours, mark, named, read_rescued, text};
use super::world::{TABLE, Window, key_of};

/// How often what happened in between, in all histories: so that no step does nothing unseen.
pub static DONE: Mutex<BTreeMap<&str, usize>> = Mutex::new(BTreeMap::new());

fn done(step: &'static str) {
    *DONE.lock().unwrap_or_else(PoisonError::into_inner).entry(step).or_default() += 1;
}

impl Runner {
    /// A window that leaves a gap, or overlaps what was applied: refused unless just that is allowed. What lies in a gap
    /// comes too late, whatever is allowed.
    pub(super) async fn beside(&mut self, policy: NewAttributes, add: bool, minutes: i64) {
        let gap = minutes > 0;
        let mark = mark(&self.reload().await.unwrap());
        let window = self.world.window_beside(add, minutes);
        let exports = [text(&window.folder)];
        for allowed in [(false, false), (!gap, gap)] {
            self.allowed = allowed;
            self.refuses(&exports, policy).await;
        }
        self.allowed = (gap, !gap);
        self.gaps |= gap;
        let from = window.from.clone();
        self.apply(&exports, policy, &[], vec![window]).await;
        if gap {
            let gaps = self.reload().await.unwrap().metadata.properties()["ddb-iceberg.gaps"].clone();
            let gaps: Vec<Value> = serde_json::from_str(&gaps).unwrap();
            assert!(gaps.contains(&json!({"from": mark, "to": from})), "{gaps:?}");
            let other = Bucket::new(&self.home);
            let none: [[&str; 0]; 1] = [[]];
            let late = other.write(&IncrementalExport::new(TABLE).from(&mark).to(&from).files(none));
            self.allowed = (true, true);
            self.refuses(&[text(&late)], policy).await;
        }
        self.allowed = (false, false);
    }

    /// Another program writes data files again; no row changes.
    pub(super) async fn rewritten_by_another(&mut self) {
        let (base, catalog) = (self.reload().await.unwrap(), self.home.catalog().await);
        if foreign::rewrite(&base, catalog.as_ref(), &mut self.world.random).await {
            (self.rewritten, self.checked.foreign) = (true, true);
            done("rewrites of another program");
            self.unchanged(&base).await;
        }
    }

    /// Another program appends rows of keys that are not there.
    pub(super) async fn appended_by_another(&mut self) {
        let (base, catalog) = (self.reload().await.unwrap(), self.home.catalog().await);
        let keys = self.world.absent(3);
        let rows: Vec<Row> = keys.iter().map(|key| self.world.key_row(key)).collect();
        let added = foreign::append(&base, catalog.as_ref(), &rows, &mut self.world.random).await;
        for (key, row) in keys.iter().zip(added) {
            self.checked.foreign = true;
            done("rows appended by another program");
            self.world.rows.insert(key_of(key), read_rescued(row));
        }
        self.unchanged(&base).await;
    }

    /// Another program drops a column, adds one of its own, or widens that.
    pub(super) async fn altered_by_another(&mut self) {
        let (base, catalog) = (self.reload().await.unwrap(), self.home.catalog().await);
        let own = self.world.table.columns.iter().any(|column| column.ty == Ty::Foreign);
        if !own && self.world.random.percent(60) {
            foreign::own_column(&base, catalog.as_ref()).await;
            self.world.table.add_foreign();
            done("columns added by another program");
            self.appended_by_another().await;
            if self.world.random.percent(60) {
                foreign::own_column(&self.reload().await.unwrap(), catalog.as_ref()).await;
                done("columns widened by another program");
                self.appended_by_another().await;
            }
            return;
        }
        let schema = base.metadata.current_schema();
        let specs = || base.metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        let free = |name: &str| schema.field_by_name(name).is_some_and(|f| specs().all(|s| s.source_id != f.id));
        let columns = &self.world.table.columns[self.world.table.key.len()..];
        let names: Vec<String> = columns.iter().map(|c| c.name.clone()).filter(|name| free(name)).collect();
        if names.is_empty() {
            return;
        }
        let name = self.world.random.pick(&names).clone();
        foreign::drop_column(&base, catalog.as_ref(), &name).await;
        self.world.table.drop_column(&name);
        self.world.rows.values_mut().for_each(|row| drop(row.remove(&name)));
        for (_, table, rows) in &mut self.tags {
            if table.columns.iter().any(|column| column.name == name) {
                table.drop_column(&name);
                rows.values_mut().for_each(|row| drop(row.remove(&name)));
            }
        }
        done("columns dropped by another program");
        self.unchanged(&base).await;
    }

    /// Another program sets statistics, and a tag or a branch.
    pub(super) async fn marked_by_another(&mut self) {
        let (base, catalog) = (self.reload().await.unwrap(), self.home.catalog().await);
        let id = base.metadata.current_snapshot_id().unwrap();
        let name = format!("mark{}", self.tags.len());
        foreign::mark(&base, catalog.as_ref(), &name, &mut self.world.random).await;
        self.checked.tagged.insert(id);
        self.tags.push((id, self.world.table.clone(), self.world.rows.clone()));
        done("tags, branches and statistics");
        self.unchanged(&base).await;
    }

    /// `compact`; no row changes.
    pub(super) async fn compacted(&mut self) {
        let base = self.reload().await.unwrap();
        let request = Compact { table: base.ident.clone(), dry_run: false };
        let mut report = Report::new("compact", None);
        compact(&self.context().await, &request, &mut report).await.unwrap();
        let now = self.reload().await.unwrap();
        assert_eq!(report.status == Status::Applied, now.metadata_location != base.metadata_location, "{report:?}");
        if report.status == Status::Applied {
            self.rewritten = true;
            done("compactions");
        }
        self.unchanged(&base).await;
    }

    /// `expire`; the last snapshots stay, and what tells the watermark.
    pub(super) async fn expired(&mut self) {
        let base = self.reload().await.unwrap();
        let kept = self.world.random.range(1, 5);
        // Also what a clock that was ahead committed.
        let newest = base.metadata.last_updated_ms().max(chrono::Utc::now().timestamp_millis());
        let older_than = chrono::DateTime::from_timestamp_millis(newest + 1_000);
        let request = Expire { table: base.ident.clone(), older_than, retain_last: Some(kept), dry_run: false };
        let mut report = Report::new("expire", None);
        expire(&self.context().await, &request, &mut report).await.unwrap();
        let (before, now) = (history(&base).len(), history(&self.reload().await.unwrap()).len());
        assert!(now >= kept.min(before) && now <= before, "{before} snapshots, {kept} to keep, {now} left");
        if now < before {
            self.checked.expired = true;
            done("expiries");
        }
        self.unchanged(&base).await;
        let table = self.reload().await.unwrap();
        for (id, columns, rows) in &self.tags {
            let snapshot = table.metadata.snapshot_by_id(*id).expect("a tagged snapshot stays");
            compare(&mut self.checked.seen, &table, snapshot, columns, rows).await;
        }
        self.load_again().await;
    }

    /// Rows and watermark are the model's, and as before.
    pub(super) async fn unchanged(&mut self, base: &LoadedTable) {
        let table = self.reload().await.unwrap();
        assert_eq!(mark(&table), mark(base));
        assert_eq!(named(&table), named(base));
        let current = table.metadata.current_snapshot().unwrap();
        compare(&mut self.checked.seen, &table, current, &self.world.table, &self.world.rows).await;
        self.checked.check(&table, &self.home).await;
    }

    /// It is exit 4, and the table stays as it is.
    pub(super) async fn refuses(&self, exports: &[String], policy: NewAttributes) {
        let before = self.reload().await.unwrap().metadata_location;
        let error = self.incremental(exports, policy, false).await.1.unwrap_err();
        assert_eq!(error.kind(), Kind::Window, "{error}");
        assert_eq!(self.reload().await.unwrap().metadata_location, before, "the table is untouched");
    }

    /// Another program rolls the table back, and forward again.
    pub(super) async fn rolled_back(&mut self, policy: NewAttributes) {
        let base = self.reload().await.unwrap();
        let snapshots = history(&base);
        let newest = base.metadata.current_snapshot_id().unwrap();
        // Back to before the last window: what others did since does not matter.
        let last = snapshots.iter().rposition(|snapshot| is_ours(snapshot)).unwrap();
        if last == 0 || self.applied.is_empty() {
            return;
        }
        let older = self.world.random.pick(&snapshots[..last]).snapshot_id();
        self.set_main(older).await;
        let last = self.applied.last().map(|window| text(&window.folder)).unwrap();
        self.refuses(&[last], policy).await;
        self.allowed = (true, true);
        self.refuses(&[text(self.bucket.root())], policy).await;
        self.allowed = (false, false);
        self.set_main(newest).await;
        done("rollbacks");
    }

    pub(super) async fn set_main(&self, snapshot: i64) {
        let base = self.reload().await.unwrap();
        let reference = SnapshotReference::new(snapshot, SnapshotRetention::branch(None, None, None));
        let update = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference };
        let done = self.context().await.catalog.unwrap().commit(&base, Vec::new(), vec![update]).await.unwrap();
        assert!(matches!(done, Commit::Done(_)));
    }

    /// Another program makes another partition spec the default.
    pub(super) async fn repartition(&mut self) {
        let fields = partitions::fields(&mut self.world.random, &self.world.table);
        let base = self.reload().await.unwrap();
        let property = base.metadata.properties().get("ddb-iceberg.schema").map(String::as_str);
        let columns = TableSchema::of_table(base.metadata.current_schema().clone(), property).unwrap();
        let specs: Vec<_> = base.metadata.partition_specs_iter().cloned().collect();
        let terms: Vec<_> = fields.iter().map(|field| PartitionTerm::parse(field).unwrap()).collect();
        // A column that the model expects may not have come yet.
        let Ok(spec) = partition_spec(&terms, &columns, &specs) else { return };
        let builder = clock::draft(&base.metadata).unwrap();
        let made = builder.add_default_partition_spec(spec).unwrap().build().unwrap();
        if !made.changes.is_empty() {
            let catalog = self.context().await.catalog.unwrap();
            let done = catalog.commit(&base, Vec::new(), made.changes).await.unwrap();
            assert!(matches!(done, Commit::Done(_)));
            self::done("changes of the partitions");
        }
    }

    /// Another table's export of the same time, in the same bucket.
    pub(super) fn foreign(&mut self, window: &Window) {
        if self.world.random.percent(30) {
            let record = r#"{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"other":{"S":"1"}}}"#;
            let export = IncrementalExport::new("another").from(&window.from).to(&window.to).files([[record]]);
            self.bucket.write(&export);
        }
    }

    /// The same load is known.
    pub(super) async fn load_again(&self) {
        let before = self.reload().await.unwrap().metadata_location;
        let mut report = Report::new("full-load", None);
        full_load(&self.context().await, &self.load, &mut report).await.unwrap();
        assert_eq!(report.status, Status::AlreadyApplied);
        assert_eq!(self.reload().await.unwrap().metadata_location, before);
    }
}
