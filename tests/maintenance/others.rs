//! Beside other programs that do what this one never does: deletes in the commit that adds the file, data that is older than
//! its file, columns that were widened, statistics, files elsewhere and by other paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::{Catalog, Commit, LoadedTable, NewTable, TableHome};
use ddb_iceberg::commands::{Context, Expire, Orphans, Report, Status, expire, orphans};
use ddb_iceberg::error::{Error, Result};
use ddb_iceberg::storage::Store;
use ddb_iceberg::table::{live_files, manifests};
use futures::future::BoxFuture;
use iceberg::spec::{
    Literal, NestedField, Operation, PartitionStatisticsFile, PrimitiveType, SnapshotReference, SnapshotRetention,
    StatisticsFile, Struct, TableMetadata, Type,
};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use serde_json::json;

use super::other_writer::{OtherCommit, batch, list, schema_of, write_at, write_deletes};
use super::partial::counted_rows;
use super::program::{Site, TABLE, change, full, pairs, put, simple};
use super::{Model, apply, counted, model_of, partitioned, reader, rows_at, set_properties, site, update};

async fn catalog(site: &Site) -> Arc<dyn Catalog> {
    let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
    connect("default", &properties, Store::local()).await.unwrap()
}

/// The rows are the model's, as the tests' reader reads them and as the crate does.
async fn is(site: &Site, model: &Model, when: &str) -> LoadedTable {
    let table = site.table().await.unwrap();
    let rows = reader::rows_of(&table).await;
    assert_eq!(model_of(&rows), *model, "{when}");
    assert_eq!(pairs(&rows).len(), model.len(), "{when}");
    assert_eq!(counted_rows(&table).await, model.len() as u64, "{when}");
    table
}

/// A row that is updated twice by one commit of another program, as streaming upserts are: the delete file is of the commit of
/// its data file, and applies.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_of_its_data_files_own_commit_applies() {
    for both in [false, true] {
        let (site, mut model) = site();
        let table = site.table().await.unwrap();
        let rows = [("x", 1), ("y", 2), ("x", 3), ("z", 4)];
        let added = write_at(&table, None, 0, Struct::empty(), batch(&table, &rows, &[])).await;
        let old = live_files(&table).await.unwrap()[0].file.file_path().to_owned();
        let mut positions = vec![(added.file_path().to_owned(), vec![0, 3])];
        if both {
            positions.push((old, vec![0]));
            model.remove("k00");
        }
        let deletes = write_deletes(&table, 0, Struct::empty(), positions).await;
        let catalog = catalog(&site).await;
        OtherCommit::new(&table, Operation::Overwrite).add(0, added).add(0, deletes).commit(&*catalog).await;
        model.extend([("x".to_owned(), 3), ("y".to_owned(), 2)]);
        is(&site, &model, "committed").await;
        // A window finds each row once.
        let window = site.window(0, 1, vec![put("x", 30), put("z", 40)]);
        assert_eq!(site.incremental(&[&window], &["--maintenance", "off"]).expect(0).counts(0), [1, 1, 0]);
        model.extend([("x".to_owned(), 30), ("z".to_owned(), 40)]);
        is(&site, &model, "a window later").await;
        for n in 1..6 {
            apply(&site, n, &mut model, &["--maintenance", "off"]);
        }
        site.run(&["compact"]).expect(0);
        is(&site, &model, "compacted").await;
    }
}

/// Where manifests are merged, a file's data stays as old as it is, though the file is newer: an older delete applies.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_older_than_its_file_stays_so() {
    let (site, mut model) = site();
    let catalog = catalog(&site).await;
    let first = site.table().await.unwrap();
    let old = live_files(&first).await.unwrap()[0].clone();
    // What the rewrite will put there, and a delete that comes before it.
    let rows: Vec<(String, i64)> = model.iter().map(|(key, value)| (key.clone(), *value)).collect();
    let rows: Vec<(&str, i64)> = rows.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let rewritten = write_at(&first, None, 0, Struct::empty(), batch(&first, &rows, &[])).await;
    let paths = [rewritten.file_path(), old.file.file_path()].map(|path| (path.to_owned(), vec![3, 4]));
    let deletes = write_deletes(&first, 0, Struct::empty(), paths.into()).await;
    let second = OtherCommit::new(&first, Operation::Delete).add(0, deletes).commit(&*catalog).await;
    let third = OtherCommit::new(&second, Operation::Replace)
        .add_as_old_as(0, rewritten, old.sequence_number)
        .remove(old.file.file_path())
        .commit(&*catalog)
        .await;
    for key in ["k03", "k04"] {
        model.remove(key);
    }
    is(&site, &model, "rewritten").await;
    let live = live_files(&third).await.unwrap();
    assert!(live[0].sequence_number < third.metadata.last_sequence_number() - 1, "{}", live[0].sequence_number);
    // Windows add manifests; nothing but manifests is worth being merged.
    for n in 0..2 {
        let window = site.window(n, n + 1, vec![put(&format!("new{n}"), i64::from(n))]);
        site.incremental(&[&window], &["--maintenance", "off"]).expect(0);
        model.insert(format!("new{n}"), i64::from(n));
    }
    set_properties(&site, &[("commit.manifest.min-count-to-merge", "2")]).await;
    let before = manifests(&site.table().await.unwrap()).await.unwrap().len();
    let run = site.run(&["compact"]).expect(0);
    assert_eq!((run.report["status"].as_str(), counted(&run, "data_files_removed")), (Some("applied"), 0));
    let table = is(&site, &model, "merged").await;
    assert!(manifests(&table).await.unwrap().len() < before);
    // Once more, now that they are entries of a merged manifest; and rewritten entry by entry.
    let window = site.window(2, 3, vec![put("k05", 500)]);
    site.incremental(&[&window], &["--maintenance", "off", "--write-mode", "merge-on-read"]).expect(0);
    model.insert("k05".to_owned(), 500);
    site.run(&["compact"]).expect(0);
    is(&site, &model, "merged again").await;
    let window = site.window(3, 4, vec![put("new0", 9)]);
    site.incremental(&[&window], &["--maintenance", "off", "--write-mode", "copy-on-write"]).expect(0);
    model.insert("new0".to_owned(), 9);
    is(&site, &model, "after a manifest lost an entry").await;
}

/// A column of another program that is widened, and partitions by it: manifests say of both types what they said.
#[tokio::test(flavor = "multi_thread")]
async fn manifests_from_before_and_after_a_widening() {
    for oldest_first in [false, true] {
        let (site, mut model) = site();
        let catalog = catalog(&site).await;
        let wide = |ty| {
            move |fields: &mut Vec<NestedField>| {
                fields.retain(|field| field.name != "n");
                fields.push(NestedField::optional(100, "n", Type::Primitive(ty)));
            }
        };
        update(&site, schema_of(&site.table().await.unwrap(), wide(PrimitiveType::Int))).await;
        partitioned::partition_by_column(&site, "n").await;
        let mut commits = 0_i64;
        for (ty, literal) in [
            (PrimitiveType::Int, Literal::int as fn(i32) -> Literal),
            (PrimitiveType::Long, |n| Literal::long(i64::from(n))),
        ] {
            if ty == PrimitiveType::Long {
                update(&site, schema_of(&site.table().await.unwrap(), wide(ty))).await;
            }
            for n in 0..2 {
                let table = site.table().await.unwrap();
                let spec = table.metadata.default_partition_spec_id();
                let partition = Struct::from_iter([Some(literal(n))]);
                let name = format!("w{commits}");
                let rows = [(name.as_str(), i64::from(n))];
                let file = write_at(&table, None, spec, partition, batch(&table, &rows, &["n"])).await;
                let commit = OtherCommit::new(&table, Operation::Append).add(spec, file);
                let commit = if oldest_first { commit.oldest_first() } else { commit };
                commit.commit(&*catalog).await;
                model.insert(name.clone(), i64::from(n));
                commits += 1;
            }
        }
        is(&site, &model, "appended").await;
        set_properties(&site, &[("commit.manifest.min-count-to-merge", "2")]).await;
        assert_eq!(site.run(&["compact"]).expect(0).report["status"], "applied");
        is(&site, &model, "merged").await;
        // Keys of the files of both types are found.
        let changes = (0..commits).map(|n| put(&format!("w{n}"), 100 + n)).collect();
        let window = site.window(0, 1, changes);
        assert_eq!(site.incremental(&[&window], &[]).expect(0).counts(0), [0, 4, 0], "{oldest_first}");
        model.extend((0..commits).map(|n| (format!("w{n}"), 100 + n)));
        is(&site, &model, "a window later").await;
    }
}

/// What lies elsewhere was put there by somebody else, and may be somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_leaves_files_outside_of_the_table_where_they_are() {
    let (site, mut model) = site();
    let catalog = catalog(&site).await;
    let root = site.table().await.unwrap().metadata.location().to_owned();
    let elsewhere = [
        format!("file://{}/elsewhere/data/a.parquet", site.path().display()),
        format!("{root}-old/data/b.parquet"),
        format!("{root}/../c.parquet").replace("/orders/..", ""),
    ];
    for (n, path) in elsewhere.iter().enumerate() {
        let table = site.table().await.unwrap();
        let name = format!("e{n}");
        let rows = batch(&table, &[(name.as_str(), 1)], &[]);
        let file = write_at(&table, Some(path.clone()), 0, Struct::empty(), rows).await;
        OtherCommit::new(&table, Operation::Append).add(0, file).commit(&*catalog).await;
        model.insert(name, 1);
    }
    is(&site, &model, "added").await;
    let table = site.table().await.unwrap();
    let commit = elsewhere.iter().fold(OtherCommit::new(&table, Operation::Delete), |commit, path| commit.remove(path));
    commit.commit(&*catalog).await;
    model.retain(|key, _| !key.starts_with('e'));
    for n in 0..3 {
        apply(&site, n, &mut model, &["--maintenance", "off"]);
    }
    let run = site.run(&["expire", "--older-than", "0s"]).expect(0);
    assert!(counted(&run, "snapshots_removed") >= 4, "{}", run.stdout);
    for path in &elsewhere {
        assert!(Path::new(path.strip_prefix("file://").unwrap()).exists(), "{path}");
    }
    is(&site, &model, "expired").await;
}

fn statistics_of(table: &LoadedTable, snapshot_id: i64, name: &str) -> Vec<TableUpdate> {
    let mut updates = Vec::new();
    for ending in [".stats", "-partitions.parquet"] {
        let path = format!("{}/metadata/{name}{ending}", table.metadata.location());
        fs::write(path.strip_prefix("file://").unwrap(), "statistics").unwrap();
        updates.push(if ending == ".stats" {
            TableUpdate::SetStatistics {
                statistics: StatisticsFile {
                    snapshot_id,
                    statistics_path: path,
                    file_size_in_bytes: 10,
                    file_footer_size_in_bytes: 5,
                    key_metadata: None,
                    blob_metadata: Vec::new(),
                },
            }
        } else {
            TableUpdate::SetPartitionStatistics {
                partition_statistics: PartitionStatisticsFile {
                    snapshot_id,
                    statistics_path: path,
                    file_size_in_bytes: 10,
                },
            }
        });
    }
    updates
}

/// Statistics go with their snapshot, and stay with it: in an expiry, and where orphans are looked for.
#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_snapshots_that_are_kept_stay() {
    let (site, mut model) = site();
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(site.table().await.unwrap().metadata.current_snapshot_id().unwrap());
        apply(&site, n, &mut model, &["--maintenance", "off"]);
    }
    let table = site.table().await.unwrap();
    let current = table.metadata.current_snapshot_id().unwrap();
    // The second has the first one's, as a program may do that finds nothing changed.
    let mut updates = statistics_of(&table, ids[0], "old");
    updates.extend(statistics_of(&table, ids[1], "shared"));
    updates.extend(statistics_of(&table, current, "kept"));
    update(&site, updates).await;
    let of_last = statistics_of(&table, ids[3], "shared");
    update(&site, of_last).await;
    let folder = site.warehouse().join("shop/orders/metadata");
    let there =
        |name: &str| [".stats", "-partitions.parquet"].map(|ending| folder.join(format!("{name}{ending}")).exists());
    let old = SystemTime::now() - Duration::from_hours(10 * 24);
    for name in site.table_files() {
        fs::File::options().write(true).open(site.warehouse().join(name)).unwrap().set_modified(old).unwrap();
    }
    let run = site.run(&["orphans", "--delete"]).expect(0);
    assert_eq!(run.report["status"], "nothing_to_do", "{}", run.stdout);

    site.run(&["expire", "--older-than", "0s", "--retain-last", "2"]).expect(0);
    let table = site.table().await.unwrap();
    assert!(ids[..3].iter().all(|id| table.metadata.snapshot_by_id(*id).is_none()));
    assert_eq!(table.metadata.statistics_iter().count(), 2);
    assert_eq!(table.metadata.partition_statistics_iter().count(), 2);
    assert_eq!((there("old"), there("shared"), there("kept")), ([false; 2], [true; 2], [true; 2]));
    for name in site.table_files() {
        fs::File::options().write(true).open(site.warehouse().join(name)).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(site.run(&["orphans", "--delete"]).expect(0).report["status"], "nothing_to_do");
    assert_eq!((there("shared"), there("kept")), ([true; 2], [true; 2]));
    is(&site, &model, "expired").await;
}

/// What a snapshot that stays names is not known while its list or one of its manifests cannot be read: then no data file goes.
#[tokio::test(flavor = "multi_thread")]
async fn where_what_is_kept_cannot_be_read_no_data_file_is_deleted() {
    for hides_list in [false, true] {
        let (site, mut model) = partitioned::site(&["bucket(4, pk)"]);
        let mut tagged = (0, Model::new());
        // Each rewrites one of the files, and a manifest that goes on naming the others.
        for n in 0..4 {
            let window = site.window(n, n + 1, vec![put("k00", 100 + i64::from(n))]);
            site.incremental(&[&window], &["--maintenance", "off", "--write-mode", "copy-on-write"]).expect(0);
            model.insert("k00".to_owned(), 100 + i64::from(n));
            if n == 1 {
                tagged = (site.table().await.unwrap().metadata.current_snapshot_id().unwrap(), model.clone());
            }
        }
        // From now on only old snapshots need these files.
        let load = full(4).files([[simple("only", 1)]]).write(site.bucket());
        site.run(&["full-load", load.to_str().unwrap(), "--if-exists", "replace"]).expect(0);
        let retention = SnapshotRetention::Tag { max_ref_age_ms: None };
        let reference = SnapshotReference { snapshot_id: tagged.0, retention };
        update(&site, vec![TableUpdate::SetSnapshotRef { ref_name: "keep".to_owned(), reference }]).await;
        let table = site.table().await.unwrap();
        let snapshot = table.metadata.snapshot_by_id(tagged.0).unwrap();
        let hidden = if hides_list {
            vec![snapshot.manifest_list().to_owned()]
        } else {
            list(&table, snapshot).await.into_iter().map(|manifest| manifest.manifest_path).collect()
        };
        let hidden: Vec<_> = hidden.iter().map(|path| path.strip_prefix("file://").unwrap().to_owned()).collect();
        for path in &hidden {
            fs::rename(path, format!("{path}.hidden")).unwrap();
        }
        site.run(&["expire", "--older-than", "0s"]);
        for path in &hidden {
            fs::rename(format!("{path}.hidden"), path).unwrap();
        }
        let table = site.table().await.unwrap();
        assert_eq!(rows_at(&table, tagged.0).await, tagged.1, "the tag");
        is(&site, &Model::from([("only".to_owned(), 1)]), "expired").await;
    }
}

/// A file that the table names by another path than it is found by is no orphan.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_file_that_is_named_by_another_path_is_no_orphan() {
    let (site, mut model) = site();
    let catalog = catalog(&site).await;
    let alias = site.path().join("alias");
    std::os::unix::fs::symlink(site.warehouse(), &alias).unwrap();
    let table = site.table().await.unwrap();
    let path = format!("file://{}/shop/orders/data/by-alias.parquet", alias.display());
    let rows = batch(&table, &[("aliased", 1)], &[]);
    let file = write_at(&table, Some(path), 0, Struct::empty(), rows).await;
    OtherCommit::new(&table, Operation::Append).add(0, file).commit(&*catalog).await;
    model.insert("aliased".to_owned(), 1);
    let found = site.warehouse().join("shop/orders/data/by-alias.parquet");
    let old = SystemTime::now() - Duration::from_hours(10 * 24);
    fs::File::options().write(true).open(&found).unwrap().set_modified(old).unwrap();
    let run = site.run(&["orphans", "--delete"]).expect(0);
    assert!(found.exists(), "{}", run.stdout);
    assert_eq!(run.report["status"], "nothing_to_do");
    apply(&site, 0, &mut model, &[]);
    is(&site, &model, "after").await;
}

/// A file that expired snapshots name by one spelling of its path, and kept ones by another.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_file_that_was_spelled_otherwise_stays() {
    let (site, mut model) = site();
    let catalog = catalog(&site).await;
    let table = site.table().await.unwrap();
    let path = site.warehouse().join("shop/orders/data/spelled.parquet");
    let [before, now] = ["file://", "file:"].map(|scheme| format!("{scheme}{}", path.display()));
    let write = async |name: &str| {
        write_at(&table, Some(name.to_owned()), 0, Struct::empty(), batch(&table, &[("spelled", 1)], &[])).await
    };
    let added = OtherCommit::new(&table, Operation::Append).add(0, write(&before).await).commit(&*catalog).await;
    // The same file once more, by its other name.
    fs::remove_file(&path).unwrap();
    let renamed = OtherCommit::new(&added, Operation::Replace).remove(&before).add(0, write(&now).await);
    renamed.commit(&*catalog).await;
    model.insert("spelled".to_owned(), 1);
    is(&site, &model, "renamed").await;
    apply(&site, 0, &mut model, &["--maintenance", "off"]);
    let run = site.run(&["expire", "--older-than", "0s"]).expect(0);
    assert!(counted(&run, "snapshots_removed") >= 2, "{}", run.stdout);
    assert!(path.exists(), "{}", run.stdout);
    is(&site, &model, "expired").await;
}

/// A catalog before whose second look at a table another program commits to it.
struct Beside {
    inner: Arc<dyn Catalog>,
    looks: AtomicUsize,
    second: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

#[async_trait]
impl Catalog for Beside {
    async fn prepare(&self, _: &TableIdent, _: &TableMetadata) -> Result<Option<TableHome>> {
        unreachable!()
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        if self.looks.fetch_add(1, SeqCst) == 1 {
            let second = self.second.lock().unwrap().take().unwrap();
            second.await;
        }
        self.inner.load(ident).await
    }

    async fn ensure_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        unreachable!()
    }

    async fn create(&self, _: &TableIdent, _: NewTable) -> Result<Commit> {
        unreachable!()
    }

    async fn commit(&self, _: &LoadedTable, _: Vec<TableRequirement>, _: Vec<TableUpdate>) -> Result<Commit> {
        unreachable!()
    }
}

/// An old file that another program takes into the table, as `add_files` does, while orphans are looked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_named_while_orphans_are_looked_for_is_none() {
    let (site, mut model) = site();
    let catalog = catalog(&site).await;
    let table = site.table().await.unwrap();
    let old = SystemTime::now() - Duration::from_hours(10 * 24);
    let mut files = Vec::new();
    let paths = ["added", "orphan"].map(|name| site.warehouse().join(format!("shop/orders/data/{name}.parquet")));
    for (name, path) in ["added", "orphan"].iter().zip(&paths) {
        let location = format!("file://{}", path.display());
        files.push(write_at(&table, Some(location), 0, Struct::empty(), batch(&table, &[(*name, 1)], &[])).await);
        fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let (theirs, added) = (Arc::clone(&catalog), files.swap_remove(0));
    let second: BoxFuture<'static, ()> = Box::pin(async move {
        OtherCommit::new(&table, Operation::Append).add(0, added).commit(&*theirs).await;
    });
    let looks = AtomicUsize::new(0);
    let beside: Arc<dyn Catalog> = Arc::new(Beside { inner: catalog, looks, second: Mutex::new(Some(second)) });
    let context = Context {
        exports: Store::local(),
        catalog: Some(beside),
        threads: 1,
        memory_limit: 64 << 20,
        progress: Arc::default(),
    };
    let request = Orphans {
        table: TableIdent::from_strs(TABLE.split('.')).unwrap(),
        older_than: chrono::Utc::now() - chrono::TimeDelta::days(5),
        delete: true,
        dry_run: false,
    };
    let mut report = Report::new("orphans", None);
    orphans(&context, &request, &mut report).await.unwrap();
    assert_eq!(report.maintenance[0].files_deleted, 1);
    assert_eq!(paths.map(|path| path.exists()), [true, false]);
    model.insert("added".to_owned(), 1);
    is(&site, &model, "looked for").await;
}

/// Schemas go with the last snapshot that names them: the current one stays, those of snapshots that are kept, and no column's id is
/// given again.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_go_with_the_last_snapshot_that_names_them() {
    let site = Site::loaded(vec![simple("a", 0)], &["pk"]);
    let window = |minute: u32| {
        let image = json!({"pk": {"S": format!("{minute}")}, "v": {"N": "1"}, format!("x{minute}"): {"S": "new"}});
        site.window(minute - 1, minute, vec![change(&json!({"pk": image["pk"]}), Some(&image))])
    };
    for minute in 1..6 {
        site.incremental(&[&window(minute)], &["--maintenance", "off"]).expect(0);
    }
    let ids =
        |table: &LoadedTable| table.metadata.schemas_iter().map(|schema| schema.schema_id()).collect::<BTreeSet<_>>();
    let before = site.table().await.unwrap();
    assert_eq!(ids(&before).len(), 6);
    site.run(&["expire", "--older-than", "0s", "--retain-last", "2"]).expect(0);
    let after = site.table().await.unwrap();
    let named: BTreeSet<i32> = after.metadata.snapshots().map(|snapshot| snapshot.schema_id().unwrap()).collect();
    assert_eq!(named.len(), 2);
    assert_eq!(ids(&after), named);
    assert_eq!(after.metadata.current_schema(), before.metadata.current_schema());
    site.incremental(&[&window(6)], &["--maintenance", "off"]).expect(0);
    let last = site.table().await.unwrap();
    let new = last.metadata.current_schema().field_by_name("x6").unwrap().id;
    assert!(new > before.metadata.last_column_id(), "{new}");
    let rows = site.rows().await;
    assert_eq!(rows.len(), 7);
    assert!((1..7).all(|n| rows.iter().any(|row| row.get(&format!("x{n}")) == Some(&json!("new")))));
}

/// What a catalog says to the removal of schemas.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Refused,
    Conflict,
    /// It is done, but the answer is lost.
    Lost,
}

/// A catalog that gives this answer, as a REST server may that does not know the update.
#[derive(Debug)]
struct WithoutRemoval(Arc<dyn Catalog>, Answer);

#[async_trait]
impl Catalog for WithoutRemoval {
    async fn prepare(&self, _: &TableIdent, _: &TableMetadata) -> Result<Option<TableHome>> {
        unreachable!()
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<LoadedTable>> {
        self.0.load(ident).await
    }

    async fn ensure_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        unreachable!()
    }

    async fn create(&self, _: &TableIdent, _: NewTable) -> Result<Commit> {
        unreachable!()
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Commit> {
        if !updates.iter().any(|update| matches!(update, TableUpdate::RemoveSchemas { .. })) {
            return self.0.commit(base, requirements, updates).await;
        }
        match self.1 {
            Answer::Refused => Err(Error::failed("unknown update remove-schemas")),
            Answer::Conflict => Ok(Commit::Conflict("the table has moved".to_owned())),
            Answer::Lost => {
                self.0.commit(base, requirements, updates).await?;
                Ok(Commit::Unknown("no answer".to_owned()))
            }
        }
    }
}

/// Snapshots and their files are gone whatever a catalog says to the removal of schemas, and the expiry has succeeded.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_a_catalog_keeps_do_not_hinder_an_expiry() {
    for (answer, left) in [(Answer::Refused, 2), (Answer::Conflict, 2), (Answer::Lost, 1)] {
        let site = Site::loaded(vec![simple("a", 0)], &["pk"]);
        let image = json!({"pk": {"S": "b"}, "v": {"N": "1"}, "x": {"S": "new"}});
        let window = site.window(0, 1, vec![change(&json!({"pk": {"S": "b"}}), Some(&image))]);
        site.incremental(&[&window], &["--maintenance", "off"]).expect(0);
        let context = Context {
            exports: Store::local(),
            catalog: Some(Arc::new(WithoutRemoval(catalog(&site).await, answer))),
            threads: 1,
            memory_limit: 64 << 20,
            progress: Arc::default(),
        };
        let request = Expire {
            table: TableIdent::from_strs(TABLE.split('.')).unwrap(),
            older_than: Some(chrono::Utc::now()),
            retain_last: None,
            dry_run: false,
        };
        let mut report = Report::new("expire", None);
        expire(&context, &request, &mut report).await.unwrap();
        assert_eq!((report.status, report.maintenance[0].snapshots_removed), (Status::Applied, 1), "{answer:?}");
        let table = site.table().await.unwrap();
        assert_eq!(table.metadata.schemas_iter().count(), left, "{answer:?}");
        assert_eq!(table.metadata.snapshots().count(), 1, "{answer:?}");
        assert_eq!(site.rows().await.len(), 2, "{answer:?}");
        // The next one finds nothing wrong.
        site.run(&["expire", "--older-than", "0s"]).expect(0);
    }
}
