//! What a catalog, or whoever can write a table's metadata, may make the program do: nothing outside of the table's place is
//! read, written or deleted, no key goes to a server that the user did not name, and honest tables elsewhere take one setting.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "hostile_places/any_metadata.rs"]
mod any_metadata;
#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/random.rs"]
mod random;
#[path = "common/reader.rs"]
mod reader;
#[path = "common/rest_server.rs"]
mod rest_server;
#[path = "common/s3_server.rs"]
mod s3_server;
#[path = "hostile_places/servers.rs"]
mod servers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use program::{Run, Site, full, pairs, put, simple};
use serde_json::{Value, json};

type Files = BTreeMap<String, Vec<u8>>;

/// A table with some history, another one beside it, and what is nobody's business.
struct Scene {
    site: Site,
}

impl Scene {
    fn new() -> Self {
        let site = Site::loaded(vec![simple("a", 1), simple("b", 2)], &["pk"]);
        for n in 0..3 {
            let window = site.window(n, n + 1, vec![put(&format!("w{n}"), 1)]);
            site.incremental(&[&window], &["--maintenance", "off"]).expect(0);
        }
        let export = full(0).files([[simple("theirs", 1)]]).write(site.bucket());
        let load = ["full-load", export.to_str().unwrap(), "--key", "pk", "--table", "shop.other", "--format", "json"];
        site.plain(&load).expect(0);
        let scene = Self { site };
        for name in ["a.parquet", "data/b.parquet", "metadata/c.avro", "metadata/d.puffin", "metadata/e.metadata.json"]
        {
            write(&scene.victim().join(name));
        }
        scene.age();
        scene
    }

    fn victim(&self) -> PathBuf {
        self.site.path().join("victim")
    }

    fn table(&self) -> PathBuf {
        self.site.warehouse().join("shop/orders")
    }

    /// All files are old enough to be taken for orphans.
    fn age(&self) {
        let old = SystemTime::now() - Duration::from_hours(24 * 30);
        for (name, _) in self.site.files().iter().filter(|(name, _)| !name.ends_with('/') && !name.contains(".db")) {
            fs::File::options().append(true).open(self.site.path().join(name)).unwrap().set_modified(old).unwrap();
        }
    }

    /// The newest metadata file says something else.
    fn rewrite(&self, edit: impl FnOnce(&mut Value)) {
        let path = self.newest();
        let mut metadata = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut metadata);
        fs::write(&path, metadata.to_string()).unwrap();
        self.age();
    }

    fn newest(&self) -> PathBuf {
        let folder = fs::read_dir(self.table().join("metadata")).unwrap().map(|entry| entry.unwrap().path());
        folder.filter(|path| path.to_str().unwrap().ends_with(".metadata.json")).max().unwrap()
    }

    /// Everything but the table's own folder and the catalog.
    fn others(&self) -> Files {
        let own = |name: &str| name.starts_with("warehouse/shop/orders/") || name.contains("catalog.db");
        self.site.files().into_iter().filter(|(name, _)| !own(name)).collect()
    }
}

fn write(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "precious").unwrap();
}

/// The oldest snapshot has statistics at this path, which go when it expires.
fn statistics(metadata: &mut Value, path: &str) {
    let oldest = metadata["snapshots"].as_array().unwrap().iter().min_by_key(|one| one["sequence-number"].as_i64());
    let entry = json!({"snapshot-id": oldest.unwrap()["snapshot-id"], "statistics-path": path,
        "file-size-in-bytes": 8, "file-footer-size-in-bytes": 4, "blob-metadata": []});
    metadata["statistics"] = json!([entry]);
}

const EXPIRE: [&str; 5] = ["expire", "--older-than", "0s", "--retain-last", "1"];

/// Commands that write or delete.
fn commands(site: &Site) -> Vec<Vec<String>> {
    let window = site.window(3, 4, vec![put("a", 7)]);
    let incremental = ["incremental", window.to_str().unwrap()];
    [&EXPIRE[..], &["orphans", "--delete"], &["compact"], &incremental]
        .iter()
        .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
        .collect()
}

fn run(site: &Site, command: &[String], more: &[&str]) -> Run {
    let words: Vec<&str> = command.iter().map(String::as_str).chain(more.iter().copied()).collect();
    site.run(&words)
}

#[test]
fn a_table_that_is_said_to_lie_elsewhere_is_neither_written_nor_deleted_from() {
    let scene = Scene::new();
    let victim = scene.victim().display().to_string();
    let warehouse = scene.site.warehouse().display().to_string();
    std::os::unix::fs::symlink(&victim, scene.site.warehouse().join("shop/link")).unwrap();
    let original = fs::read(scene.newest()).unwrap();
    let commands = commands(&scene.site);
    let locations = [
        victim.clone(),
        format!("file://{victim}/"),
        format!("file:{victim}"),
        format!("{warehouse}/shop/orders/../../../victim"),
        format!("{warehouse}/shop/link"),
        format!("{warehouse}/shop/link/deeper"),
        format!("{warehouse}-2/shop/orders"),
        warehouse.clone(),
        format!("{warehouse}/shop/.."),
        String::new(),
        "/".to_owned(),
        "file:///".to_owned(),
        "victim".to_owned(),
        "../victim".to_owned(),
        "s3://bucket".to_owned(),
        "s3://bucket/shop/orders".to_owned(),
        "https://127.0.0.1:9/x".to_owned(),
    ];
    let others = scene.others();
    for name in ["location", "write.data.path", "write.metadata.path", "write.object-storage.path"] {
        // An empty property is none.
        for location in locations.iter().filter(|location| name == "location" || !location.is_empty()) {
            scene.rewrite(|metadata| match name {
                "location" => metadata["location"] = json!(location),
                name => metadata["properties"][name] = json!(location),
            });
            for command in &commands {
                let own = scene.site.table_files();
                let run = run(&scene.site, command, &[]).expect(1);
                assert!(run.message().contains("is said to lie at"), "{name} {location:?}: {}", run.stdout);
                assert!(run.stdout.contains("allowed-locations="), "{name} {location:?}: {}", run.stdout);
                assert!(scene.others() == others, "{name} {location:?} {command:?}");
                assert_eq!(scene.site.table_files(), own, "{name} {location:?} {command:?}");
            }
            fs::write(scene.newest(), &original).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_metadata_names_elsewhere_stay() {
    let scene = Scene::new();
    let (victim, table) = (scene.victim().display().to_string(), scene.table().display().to_string());
    std::os::unix::fs::symlink(&victim, scene.table().join("data/link")).unwrap();
    // A table within the table's folder.
    write(&scene.table().join("inner/metadata/00000-x.metadata.json"));
    write(&scene.table().join("inner/data/x.parquet"));
    let theirs = scene.site.files().into_keys().find(|name| name.starts_with("warehouse/shop/other/data/0")).unwrap();
    let paths = [
        format!("{victim}/a.parquet"),
        format!("file://{victim}/data/b.parquet"),
        format!("file:{victim}/metadata/d.puffin"),
        format!("{table}/../../../victim/metadata/c.avro"),
        format!("{table}/data/link/a.parquet"),
        format!("{table}/inner/data/x.parquet"),
        scene.site.path().join(theirs).display().to_string(),
        "victim/a.parquet".to_owned(),
        "s3://bucket/key".to_owned(),
        String::new(),
        format!("{table}/"),
    ];
    let others = scene.others();
    let inner = scene.table().join("inner/data/x.parquet");
    let original = scene.site.files();
    for path in paths {
        scene.rewrite(|metadata| statistics(metadata, &path));
        let run = scene.site.run(&EXPIRE).expect(0);
        assert!(run.warnings().contains("1 files outside of the table's folders"), "{path:?}: {}", run.stdout);
        assert!(scene.others() == others, "{path:?}");
        assert!(inner.exists(), "{path:?}");
        assert_eq!(pairs(&scene.site.rows().await).len(), 5, "{path:?}");
        any_metadata::restore(&scene, &original);
    }
}

/// The list of the newest snapshot, which an older one names too, in another spelling.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_named_in_two_ways_stays() {
    let scene = Scene::new();
    scene.rewrite(|metadata| {
        let snapshots = metadata["snapshots"].as_array_mut().unwrap();
        snapshots.sort_by_key(|one| one["sequence-number"].as_i64());
        let list = snapshots.last().unwrap()["manifest-list"].as_str().unwrap().replacen("file://", "file:", 1);
        snapshots[0]["manifest-list"] = json!(list);
    });
    let run = scene.site.run(&EXPIRE).expect(0);
    assert_eq!(run.report["maintenance"][0]["snapshots_removed"], 3, "{}", run.stdout);
    assert_eq!(pairs(&scene.site.rows().await).len(), 5);
}

#[test]
fn metadata_files_that_a_log_names_elsewhere_stay() {
    let scene = Scene::new();
    let victim = scene.victim().join("metadata/e.metadata.json");
    scene.rewrite(|metadata| {
        let properties = &mut metadata["properties"];
        properties["write.metadata.delete-after-commit.enabled"] = json!("true");
        properties["write.metadata.previous-versions-max"] = json!("1");
        metadata["metadata-log"].as_array_mut().unwrap()[0]["metadata-file"] = json!(victim.display().to_string());
    });
    let others = scene.others();
    let window = scene.site.window(3, 4, vec![put("a", 7)]);
    let with_window = scene.others();
    scene.site.incremental(&[&window], &[]).expect(0);
    assert!(others.keys().all(|name| with_window.contains_key(name)));
    assert!(scene.others() == with_window);
}

/// The folder of a namespace lies below the warehouse, and holds tables.
#[test]
fn a_folder_that_holds_other_tables_is_no_tables_place() {
    let scene = Scene::new();
    let namespace = scene.site.warehouse().join("shop");
    write(&namespace.join("stray/old.parquet"));
    scene.rewrite(|metadata| {
        metadata["location"] = json!(namespace.display().to_string());
        statistics(metadata, &namespace.join("other/metadata/x.puffin").display().to_string());
    });
    write(&namespace.join("other/metadata/x.puffin"));
    scene.age();
    let others = scene.others();
    let run = scene.site.run(&["orphans", "--delete"]).expect(1);
    assert!(run.message().contains("holds another table"), "{}", run.stdout);
    scene.site.run(&EXPIRE).expect(0);
    let now = scene.others();
    let gone: Vec<&String> =
        others.iter().filter(|(name, bytes)| now.get(*name) != Some(*bytes)).map(|(n, _)| n).collect();
    assert_eq!(gone, Vec::<&String>::new());
}

/// A second place for data files, by one setting; without it nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_its_data_in_a_second_place_takes_one_setting() {
    let scene = Scene::new();
    let second = scene.site.path().join("second/disk");
    scene.rewrite(|metadata| metadata["properties"]["write.data.path"] = json!(second.display().to_string()));
    let window = scene.site.window(3, 4, vec![put("a", 7)]);
    scene.site.incremental(&[&window], &[]).expect(1);
    assert!(!second.exists());
    let allowed = format!("allowed-locations=s3://elsewhere/x, {}", second.parent().unwrap().display());
    let setting = ["--catalog-property", allowed.as_str()];
    scene.site.incremental(&[&window], &setting).expect(0);
    let written = || fs::read_dir(&second).map_or(0, Iterator::count);
    assert!(written() > 0);
    scene.site.run(&[&["compact"], &setting[..]].concat()).expect(0);
    scene.site.run(&[&EXPIRE[..], &setting].concat()).expect(0);
    scene.age();
    scene.site.run(&[&["orphans", "--delete"], &setting[..]].concat()).expect(0);
    let rows = read_with(&scene.site.warehouse(), &allowed).await;
    assert_eq!(pairs(&rows), [("a", 7), ("b", 2), ("w0", 1), ("w1", 1), ("w2", 1)]);
    // Read without the setting as well: a catalog in a local file is no other's word.
    assert_eq!(scene.site.rows().await, rows);
}

async fn read_with(warehouse: &Path, allowed: &str) -> Vec<reader::Row> {
    let (key, value) = allowed.split_once('=').unwrap();
    let properties =
        BTreeMap::from([("warehouse".to_owned(), warehouse.display().to_string()), (key.to_owned(), value.to_owned())]);
    let store = ddb_iceberg::storage::Store::local();
    reader::rows_of(&reader::load_with(&properties, store, program::TABLE).await.unwrap()).await
}

/// New tables go into a new warehouse, the old ones stay where they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_moved_takes_one_setting() {
    let scene = Scene::new();
    let uri = format!("uri=sqlite:///{}", scene.site.warehouse().join("catalog.db").display());
    let moved = ["--warehouse", "new", "--catalog-property", &uri];
    let window = scene.site.window(3, 4, vec![put("a", 7)]);
    scene.site.incremental(&[&window], &moved).expect(1);
    let run = scene.site.run(&[&["status"], &moved[..]].concat()).expect(0);
    assert_eq!(run.report["watermark"], program::at(3), "it can still be looked at");
    let allowed = format!("allowed-locations={}", scene.site.warehouse().display());
    let setting = [&moved[..], &["--catalog-property", &allowed]].concat();
    scene.site.incremental(&[&window], &setting).expect(0);
    assert_eq!(pairs(&scene.site.rows().await)[0], ("a", 7));
    let refused = scene.site.run(&["status", "--catalog-property", "allowed-locations=/"]).expect(2);
    assert!(refused.message().contains("root of the file system"), "{}", refused.message());
}
