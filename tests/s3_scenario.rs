//! The main job with exports and warehouse on S3, through the real binary, against a server in this process.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/reader.rs"]
mod reader;
#[path = "common/s3_server.rs"]
mod s3_server;
#[path = "s3_scenario/windows.rs"]
mod windows;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use ddb_iceberg::storage::S3Config;
use ddb_iceberg::storage::Store;
use exports::{ExportWriter, FullExport, IncrementalExport};
use s3_server::{Fault, Request, S3Server};
use serde_json::{Value, json};

const PREFIX: &str = "backups/daily";

struct Place {
    server: S3Server,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { server: S3Server::start(&["exports", "lake"]), dir: tempfile::tempdir().unwrap() }
    }

    fn properties(&self) -> BTreeMap<String, String> {
        let mut properties = self.server.properties();
        properties.insert("uri".to_owned(), format!("sqlite:///{}/catalog.db", self.dir.path().display()));
        properties.insert("warehouse".to_owned(), "s3://lake/warehouse".to_owned());
        properties
    }

    /// Writes an export and uploads it; gives its `s3://` folder.
    fn upload(&self, export: &ExportWriter) -> String {
        let folder = tempfile::tempdir().unwrap();
        let written = export.write(folder.path());
        self.server.put_folder("exports", folder.path());
        format!("s3://exports/{}", written.strip_prefix(folder.path()).unwrap().display())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"));
        command.env_clear().env("HOME", self.dir.path()).current_dir(self.dir.path());
        command.args(arguments).args(["--format", "json", "--threads", "2"]);
        for (key, value) in self.properties() {
            command.arg("--catalog-property").arg(format!("{key}={value}"));
        }
        command
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn table(&self) -> Option<ddb_iceberg::catalog::LoadedTable> {
        let properties = self.properties();
        let store = Store::routed(S3Config::from_properties(&properties).unwrap());
        reader::load_with(&properties, store, "shop.orders").await
    }

    async fn rows(&self) -> Vec<reader::Row> {
        reader::rows_of(&self.table().await.unwrap()).await
    }
}

fn item(pk: &str, v: usize) -> String {
    format!(r#"{{"Item":{{"pk":{{"S":"{pk}"}},"v":{{"N":"{v}"}}}}}}"#)
}

fn record(pk: &str, v: Option<usize>) -> String {
    let image = v.map(|v| format!(r#","NewImage":{{"pk":{{"S":"{pk}"}},"v":{{"N":"{v}"}}}}"#)).unwrap_or_default();
    format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1"}}}},"Keys":{{"pk":{{"S":"{pk}"}}}}{image}}}"#)
}

fn full(files: usize, items: usize) -> ExportWriter {
    let lines = (0..files).map(|f| (0..items).map(|i| item(&format!("{f:03}-{i:03}"), i)).collect::<Vec<_>>());
    FullExport::new("orders").prefix(PREFIX).time("2026-01-14T10:00:00.000Z").files(lines)
}

fn window() -> ExportWriter {
    IncrementalExport::new("orders")
        .prefix(PREFIX)
        .from("2026-01-14T10:00:00.000Z")
        .to("2026-01-14T10:15:00.000Z")
        .files([
            vec![record("000-000", Some(100)), record("001-001", None)],
            vec![record("new", Some(7)), record("never-was", None)],
        ])
}

/// What a request to the exports' bucket is about.
fn asked_for(request: &Request) -> String {
    if request.key.is_empty() { request.query["prefix"].clone() } else { request.key.clone() }
}

fn run_locally(dir: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg")).args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_and_warehouse_on_s3_give_the_same_rows_as_on_disk() {
    let place = Place::new();
    let full_folder = place.upload(&full(3, 5));
    place.upload(&window());
    // Neighbours that are nobody's business.
    place.server.put("exports", "backups/daily-other/secret", b"x");
    place.server.put("exports", "secret", b"x");
    place.server.take_requests();

    place.report(&["detect-schema", &full_folder, "--key", "pk", "--output", "s3://exports/backups/daily/schema.json"]);
    let schema: Value =
        serde_json::from_slice(&place.server.get("exports", "backups/daily/schema.json").unwrap().bytes).unwrap();
    assert!(schema.is_object());
    let schema = "s3://exports/backups/daily/schema.json";
    let load = ["full-load", full_folder.as_str(), "--table", "shop.orders", "--schema", schema];
    let report = place.report(&load);
    assert_eq!(report["windows"][0]["rows"]["inserted"], 15);
    let location = report["metadata_location"].as_str().unwrap();
    assert!(location.starts_with("s3://lake/warehouse/shop/orders/metadata/"), "{location}");
    assert_eq!(place.report(&load)["status"], "already_applied");

    let merge = ["incremental", "s3a://exports/backups/daily/", "--table", "shop.orders"];
    let report = place.report(&merge);
    assert_eq!(report["windows"][0]["rows"], json!({"inserted": 1, "updated": 1, "deleted": 1}));
    assert_eq!(report["watermark"], "2026-01-14T10:15:00.000Z");
    place.server.take_requests().iter().filter(|r| r.bucket == "exports").for_each(|request| {
        assert!(asked_for(request).starts_with("backups/daily/"), "{}", request.line());
    });
    assert_eq!(place.report(&merge)["status"], "nothing_to_do");
    let again: Vec<_> = place.server.take_requests();
    let again: Vec<_> = again.iter().filter(|r| r.bucket == "exports").map(Request::line).collect();
    assert!(again.iter().all(|line| !line.contains("/data/")), "{again:?}");
    assert_eq!(place.server.open_uploads(), 0);

    let local = tempfile::tempdir().unwrap();
    let folder = full(3, 5).write(local.path());
    window().write(local.path());
    run_locally(local.path(), &["full-load", folder.to_str().unwrap(), "--table", "shop.orders", "--key", "pk"]);
    run_locally(local.path(), &["incremental", PREFIX, "--table", "shop.orders"]);
    let rows = place.rows().await;
    assert_eq!(rows, reader::rows(&local.path().join("warehouse"), "shop.orders").await);
    assert_eq!(rows.len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_of_a_hundred_is_forbidden() {
    let place = Place::new();
    let folder = place.upload(&full(100, 3));
    let forbidden = place.server.keys("exports").into_iter().filter(|k| k.contains("/data/")).nth(57).unwrap();
    let key = forbidden.clone();
    place.server.fail(move |r| (r.key == key && r.method == "GET").then_some(Fault::Answer(403, "AccessDenied")));
    let output = place.run(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&forbidden) && text.contains("s3:GetObject"), "{text}");
    assert!(place.table().await.is_none());
    assert_eq!(
        (place.server.open_uploads(), place.server.keys("lake").len()),
        (0, 0),
        "{:?}",
        place.server.keys("lake")
    );

    // Missing is another matter than forbidden.
    place.server.fail(move |r| (r.key == forbidden).then_some(Fault::Answer(404, "NoSuchKey")));
    let output = place.run(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("listed in the manifest but missing"), "{text}");
}

/// S3 says that a key is forbidden, not that it is missing, to whom it does not list the bucket.
#[tokio::test(flavor = "multi_thread")]
async fn one_export_takes_no_permission_to_list() {
    let place = Place::new();
    let folder = place.upload(&full(3, 3));
    let keys = place.server.keys("exports");
    place
        .server
        .fail(move |r| (r.bucket == "exports" && !keys.contains(&r.key)).then_some(Fault::Answer(403, "AccessDenied")));
    assert!(place.run(&["detect-schema", &folder, "--key", "pk"]).status.success());
    place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    assert_eq!(place.rows().await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_are_asked_for_together() {
    let place = Place::new();
    let folder = place.upload(&full(200, 1));
    place.server.fail(|r| r.key.contains("/data/").then_some(Fault::Slow(Duration::from_millis(30))));
    place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    assert!(place.server.most_in_flight() >= 6, "{}", place.server.most_in_flight());
    assert_eq!(place.rows().await.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_changes_nothing_but_the_time() {
    let place = Place::new();
    let folder = place.upload(&full(4, 50));
    let windows = place.upload(&window());
    let mut number = 0_u32;
    place.server.fail(move |_| {
        number += 1;
        match number % 7 {
            1 => Some(Fault::Answer(503, "SlowDown")),
            3 => Some(Fault::Reset),
            5 => Some(Fault::Cut(20)),
            6 => Some(Fault::Unanswered),
            _ => None,
        }
    });
    place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    let report = place.report(&["incremental", &windows, "--table", "shop.orders"]);
    assert_eq!(report["windows"][0]["rows"], json!({"inserted": 1, "updated": 1, "deleted": 1}));
    place.server.heal();
    assert_eq!(place.rows().await.len(), 200);
}

fn is_data(request: &Request) -> bool {
    request.bucket == "lake" && request.method == "PUT" && request.key.ends_with(".parquet")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_before_its_files_are_there() {
    let place = Place::new();
    let folder = place.upload(&full(3, 40));
    place.upload(&window());
    place.server.fail(|r| is_data(r).then_some(Fault::Slow(Duration::from_millis(200))));
    let load = ["full-load", &folder, "--table", "shop.orders", "--key", "pk", "--partition-by", "bucket(4, pk)"];
    let report = place.report(&load);
    assert!(report["windows"][0]["files"]["data_added"].as_u64() >= Some(4), "{report}");
    assert_eq!(place.rows().await.len(), 120);
    place.report(&["incremental", "s3://exports/backups/daily/", "--table", "shop.orders"]);
    assert_eq!(place.rows().await.len(), 120);
}

/// What S3 has of a file when its delete comes is nothing: an upload that was sent must have ended before.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_during_uploads_leaves_none_behind() {
    let place = Place::new();
    let folder = place.upload(&full(3, 40));
    place.server.fail(|r| is_data(r).then_some(Fault::Slow(Duration::from_millis(400))));
    let load = ["full-load", &folder, "--table", "shop.orders", "--key", "pk", "--partition-by", "bucket(4, pk)"];
    let mut child = place.command(&load).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while !place.server.take_requests().iter().any(is_data) {
        assert!(Instant::now() < patience, "nothing is uploaded");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(place.server.keys("lake"), Vec::<String>::new());
    assert_eq!(place.server.open_uploads(), 0);
}

/// Each file in turn: also the last, which nobody waits for but the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_not_be_uploaded_ends_a_load_and_a_window_without_a_trace() {
    let place = Place::new();
    let folder = place.upload(&full(3, 40));
    place.upload(&window());
    let jobs = [
        vec!["full-load", &folder, "--table", "shop.orders", "--key", "pk", "--partition-by", "bucket(4, pk)"],
        vec!["incremental", "s3://exports/backups/daily/", "--table", "shop.orders"],
    ];
    for job in jobs {
        let before = place.server.keys("lake");
        for file in 0.. {
            let mut seen = 0;
            place.server.fail(move |r| {
                seen += usize::from(is_data(r));
                (is_data(r) && seen == file + 1).then_some(Fault::Answer(403, "AccessDenied"))
            });
            let output = place.run(&job);
            place.server.heal();
            let text = String::from_utf8_lossy(&output.stdout);
            if output.status.success() {
                assert!(file > 1, "{text}");
                break;
            }
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(report["error"]["file"].as_str().is_some_and(|name| name.ends_with(".parquet")), "{text}");
            assert_eq!(place.server.keys("lake"), before, "file {file}: {text}");
            assert_eq!(place.server.open_uploads(), 0);
        }
    }
    assert_eq!(place.rows().await.len(), 120);
}

/// S3 refuses requests whose time is a quarter of an hour from its own. Here the clock goes wrong after so many of them, for each
/// number that a window takes: it is applied, or not begun; once the clock is set, the next run makes it whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_wrong_loses_and_doubles_nothing() {
    let mut before = 0;
    loop {
        let place = Place::new();
        let folder = place.upload(&full(2, 3));
        place.upload(&window());
        let exports = "s3://exports/backups/daily/";
        place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
        let old = place.rows().await;
        let mut requests = 0;
        let right = before;
        place.server.fail(move |_| {
            requests += 1;
            (requests > right).then_some(Fault::Answer(403, "RequestTimeTooSkewed"))
        });
        let output = place.run(&["incremental", exports, "--table", "shop.orders"]);
        place.server.heal();
        let after = place.rows().await;
        let code = output.status.code().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if code == 0 {
            assert_ne!(after, old, "request {before}");
        } else {
            assert_eq!(code, 1, "request {before}: {told}");
            assert!(told.contains("clock is wrong"), "request {before}: {told}");
            assert_eq!(after, old, "request {before}");
        }
        place.report(&["incremental", exports, "--table", "shop.orders"]);
        let rows = place.rows().await;
        assert_eq!(rows.len(), 6, "request {before}: {rows:?}");
        assert!(rows.iter().any(|row| row["pk"] == "new"), "request {before}: {rows:?}");
        if code == 0 && !told.contains("clock is wrong") {
            break;
        }
        before += 1;
    }
    assert!(before > 15, "{before} requests");
    println!("{before} requests");
}

/// Files of a writer that died: listed, deleted when asked to, and never one that the table names, however old.
#[tokio::test(flavor = "multi_thread")]
async fn orphans_on_s3_are_old_objects_that_nothing_names() {
    let place = Place::new();
    let folder = place.upload(&full(2, 5));
    place.upload(&window());
    place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    place.report(&["incremental", "s3://exports/backups/daily/", "--table", "shop.orders"]);
    let rows = place.rows().await;
    let named = place.server.keys("lake");
    let below = |name: &str| format!("warehouse/shop/orders/{name}");
    let orphans = ["data/old.parquet", "data/a=1/b c/%2F/öld.avro", "metadata/00009-x.metadata.json"].map(below);
    let stay = [
        "data/young.parquet",
        "data/undated.parquet",
        "data/notes.txt",
        "data/.hidden.parquet",
        "inner/metadata/00000-y.metadata.json",
        "inner/data/theirs.parquet",
    ];
    let mut stay = stay.map(below).to_vec();
    // A neighbour whose name begins like the table's.
    stay.push("warehouse/shop/orders-2/data/theirs.parquet".to_owned());
    for key in orphans.iter().chain(&stay) {
        place.server.put("lake", key, b"x");
    }
    place.server.age("lake", TimeDelta::days(10), |key| !key.contains("/young.") && !key.contains("/undated."));
    place.server.age("lake", TimeDelta::hours(1), |key| key.contains("/young."));
    place.server.page(4);

    let command = ["orphans", "--table", "shop.orders"];
    let report = place.report(&command);
    let mut expected = orphans.clone().map(|key| format!("s3://lake/{key}"));
    expected.sort();
    assert_eq!(report["maintenance"][0]["files"], json!(expected));
    assert_eq!(report["status"], "dry_run");
    assert!(report["warnings"].to_string().contains("another table"), "{report}");
    assert!(report["warnings"].to_string().contains("1 files of unknown age"), "{report}");
    let refused = place.run(&[&command[..], &["--delete"]].concat());
    assert_eq!(refused.status.code(), Some(1), "where another table lies within");
    place.server.remove("lake", &below("inner/metadata/00000-y.metadata.json"));
    place.server.remove("lake", &below("inner/data/theirs.parquet"));
    stay.retain(|key| !key.contains("/inner/"));
    assert_eq!(place.report(&[&command[..], &["--delete", "--dry-run"]].concat())["status"], "dry_run");
    assert!(orphans.iter().all(|key| place.server.get("lake", key).is_some()), "only listed");

    let report = place.report(&[&command[..], &["--delete"]].concat());
    assert_eq!((&report["status"], &report["maintenance"][0]["files_deleted"]), (&json!("applied"), &json!(3)));
    let mut left = named;
    left.extend(stay);
    left.sort();
    assert_eq!(place.server.keys("lake"), left);
    assert_eq!(place.rows().await, rows);
    assert_eq!(place.report(&command)["status"], "nothing_to_do");
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_may_have_their_own_credentials() {
    let place = Place::new();
    let folder = place.upload(&full(1, 1));
    let wrong = [
        "--catalog-property",
        "export.s3.access-key-id=AKIDOTHER",
        "--catalog-property",
        "export.s3.secret-access-key=hush",
    ];
    let load = ["full-load", &folder, "--table", "shop.orders", "--key", "pk"];
    let output = place.run(&[&load[..], &wrong].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("SignatureDoesNotMatch") && !text.contains("hush") && !text.contains("AKIDOTHER"), "{text}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hush"));
    let key = format!("export.s3.access-key-id={}", s3_server::ACCESS_KEY);
    let secret = format!("export.s3.secret-access-key={}", s3_server::SECRET_KEY);
    let right = ["--catalog-property", &key, "--catalog-property", &secret];
    assert_eq!(place.report(&[&load[..], &right].concat())["status"], "applied");
}

#[test]
fn a_warehouse_on_s3_without_a_uri_is_exit_2() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"))
        .args(["full-load", "x", "--table", "shop.orders", "--key", "pk", "--warehouse", "s3://lake/warehouse"])
        .env_clear()
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("uri=sqlite:///"), "{text}");
}
