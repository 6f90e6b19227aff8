//! Runs the real program in a folder of its own, as a user does, and looks at what it left behind.
#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ddb_iceberg::catalog::LoadedTable;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::exports::{ExportWriter, FullExport, IncrementalExport};
use super::reader::{self, Row};

/// The DynamoDB table of the exports.
pub const SOURCE: &str = "orders";
/// The Iceberg table.
pub const TABLE: &str = "shop.orders";

/// A folder with exports in `bucket/` and a warehouse beside it.
pub struct Site {
    dir: TempDir,
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The result, if stdout has one as JSON.
    pub report: Value,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bucket")).unwrap();
        Self { dir }
    }

    /// A site whose table was loaded from `items` at 10:00.
    pub fn loaded<L: Into<String>>(items: Vec<L>, key: &[&str]) -> Self {
        let site = Self::new();
        let export = full(0).files([items]).write(site.bucket());
        site.load(&export, key).expect(0);
        site
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn bucket(&self) -> PathBuf {
        self.dir.path().join("bucket")
    }

    pub fn warehouse(&self) -> PathBuf {
        self.dir.path().join("warehouse")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PYICEBERG_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.path());
        command
    }

    /// Runs it with exactly these arguments.
    pub fn plain(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    /// Runs it on the table, for a result as JSON.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.plain(&with_table(arguments))
    }

    /// Starts it on the table, for a result as JSON.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(&with_table(arguments));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it on the table with the least memory; gives its peak of resident memory in MiB too.
    pub fn measured(&self, arguments: &[&str]) -> (Run, u64) {
        self.watched(&[arguments, &["--memory-limit", "512MB"]].concat())
    }

    /// Runs it on the table; gives its peak of resident memory in MiB too, as Linux tells it while it runs.
    pub fn watched(&self, arguments: &[&str]) -> (Run, u64) {
        let child = self.start(arguments);
        let status = format!("/proc/{}/status", child.id());
        let (done, over) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            let mut peak = 0;
            while over.recv_timeout(Duration::from_millis(2)) == Err(mpsc::RecvTimeoutError::Timeout) {
                let text = fs::read_to_string(&status).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
                peak = kib.map_or(peak, |kib| peak.max(kib / 1024));
            }
            peak
        });
        let run = Run::of(child.wait_with_output().unwrap());
        drop(done);
        (run, watch.join().unwrap())
    }

    pub fn load(&self, export: &Path, key: &[&str]) -> Run {
        let mut arguments = vec!["full-load", export.to_str().unwrap()];
        arguments.extend(key.iter().flat_map(|name| ["--key", name]));
        self.run(&arguments)
    }

    pub fn incremental(&self, exports: &[&Path], flags: &[&str]) -> Run {
        let mut arguments = vec!["incremental"];
        arguments.extend(exports.iter().map(|path| path.to_str().unwrap()));
        arguments.extend(flags);
        self.run(&arguments)
    }

    /// Writes one window of changes, one file.
    pub fn window(&self, from: u32, to: u32, changes: Vec<String>) -> PathBuf {
        window(from, to).files([changes]).write(self.bucket())
    }

    pub async fn rows(&self) -> Vec<Row> {
        reader::rows(&self.warehouse(), TABLE).await
    }

    pub async fn table(&self) -> Option<LoadedTable> {
        reader::load(&self.warehouse(), TABLE).await
    }

    /// A summary's value in each of the table's snapshots, oldest first.
    pub async fn summaries(&self, property: &str) -> Vec<Option<String>> {
        let table = self.table().await.unwrap();
        let mut snapshots: Vec<_> = table.metadata.snapshots().collect();
        snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
        snapshots.iter().map(|s| s.summary().additional_properties.get(property).cloned()).collect()
    }

    /// Every file of the site and its bytes; folders end in `/`.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(self.path())
    }

    /// Every file of the warehouse but the catalog's.
    pub fn table_files(&self) -> Vec<String> {
        let all = files_below(&self.warehouse()).into_keys();
        all.filter(|name| !name.ends_with('/') && !name.starts_with("catalog.db")).collect()
    }
}

impl Run {
    pub fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        Self {
            code: output.status.code().expect("no signal ended it"),
            report: serde_json::from_str(&stdout).unwrap_or_default(),
            stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails the test unless it ended with this exit code, and says the same in its result.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("a bug"), "{}", self.stderr);
        if code == 0 {
            assert_eq!(self.report["error"], Value::Null, "{}", self.stdout);
        } else {
            assert_eq!(self.report["error"]["exit"], code, "{}", self.stdout);
            assert_eq!(self.report["status"], "failed", "{}", self.stdout);
        }
        self
    }

    /// The same for `catalog check`.
    #[track_caller]
    pub fn expect_check(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("a bug"), "{}", self.stderr);
        assert_eq!(self.report["command"], "catalog check", "{}", self.stdout);
        assert_eq!(self.report["status"], if code == 0 { "ok" } else { "failed" }, "{}", self.stdout);
        let exit = if code == 0 { Value::Null } else { code.into() };
        assert_eq!(self.report["error"]["exit"], exit, "{}", self.stdout);
        self
    }

    /// The status, and those of the windows.
    pub fn statuses(&self) -> (&str, Vec<&str>) {
        let windows = self.report["windows"].as_array().unwrap();
        (self.report["status"].as_str().unwrap(), windows.iter().map(|w| w["status"].as_str().unwrap()).collect())
    }

    /// Rows inserted, updated and deleted by a window.
    #[track_caller]
    pub fn counts(&self, window: usize) -> [u64; 3] {
        let rows = &self.report["windows"][window]["rows"];
        ["inserted", "updated", "deleted"].map(|name| rows[name].as_u64().unwrap())
    }

    pub fn message(&self) -> &str {
        self.report["error"]["message"].as_str().unwrap_or_default()
    }

    pub fn warnings(&self) -> String {
        self.report["warnings"].to_string()
    }
}

fn with_table<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let threads: &[&str] = if arguments.contains(&"--threads") { &[] } else { &["--threads", "2"] };
    [arguments, &["--table", TABLE, "--format", "json"], threads].concat()
}

fn files_below(top: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                waiting.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A time, in minutes after 10:00.
pub fn at(minutes: u32) -> String {
    format!("2026-01-14T{:02}:{:02}:00.000Z", 10 + minutes / 60, minutes % 60)
}

/// A full export of minutes after 10:00.
pub fn full(minutes: u32) -> ExportWriter {
    FullExport::new(SOURCE).time(&at(minutes))
}

/// An incremental export of minutes after 10:00.
pub fn window(from: u32, to: u32) -> ExportWriter {
    IncrementalExport::new(SOURCE).from(&at(from)).to(&at(to))
}

/// A line of a full export.
pub fn item(attributes: &Value) -> String {
    json!({ "Item": attributes }).to_string()
}

/// A line of an incremental export: a new image, or a delete.
pub fn change(keys: &Value, image: Option<&Value>) -> String {
    let mut record = json!({"Metadata": {"WriteTimestampMicros": {"N": "1768386096366933"}}, "Keys": keys});
    if let Some(image) = image {
        record["NewImage"] = image.clone();
    }
    record.to_string()
}

/// `{"Item":{"pk":…,"v":…}}`
pub fn simple(pk: &str, v: i64) -> String {
    item(&json!({"pk": {"S": pk}, "v": {"N": v.to_string()}}))
}

/// The item `pk` now has this value.
pub fn put(pk: &str, v: i64) -> String {
    change(&json!({"pk": {"S": pk}}), Some(&json!({"pk": {"S": pk}, "v": {"N": v.to_string()}})))
}

/// The item `pk` is gone.
pub fn gone(pk: &str) -> String {
    change(&json!({"pk": {"S": pk}}), None)
}

/// The rows of tables with the columns `pk` and `v`.
pub fn pairs(rows: &[Row]) -> Vec<(&str, i64)> {
    rows.iter().map(|row| (row["pk"].as_str().unwrap(), row["v"].as_i64().unwrap())).collect()
}
