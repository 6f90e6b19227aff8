//! Writes exports as DynamoDB lays them out, for tests.
//!
//! ```ignore
//! let folder = FullExport::new("orders").files([vec![r#"{"Item":{"pk":{"S":"1"}}}"#]]).write(dir);
//! let folder = IncrementalExport::new("orders").from("2026-01-14T10:20:00Z").to("2026-01-14T10:35:00Z").files([…]).write(dir);
//! ```
//!
//! Everything has a default and is deterministic: the same calls write the same bytes.

#![allow(dead_code, missing_docs, clippy::format_collect, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ddb_iceberg::time;
use ddb_iceberg::time::Time;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};

const REGION: &str = "arn:aws:dynamodb:eu-north-1:123456789012";

/// Starts a full export of a table.
pub struct FullExport;

impl FullExport {
    #[allow(clippy::new_ret_no_self)]
    pub fn new(table: &str) -> ExportWriter {
        ExportWriter::new(table, false)
    }
}

/// Starts an incremental export of a table.
pub struct IncrementalExport;

impl IncrementalExport {
    #[allow(clippy::new_ret_no_self)]
    pub fn new(table: &str) -> ExportWriter {
        ExportWriter::new(table, true)
    }
}

/// The ARN that exports of this table name.
pub fn table_arn(table: &str) -> String {
    format!("{REGION}:table/{table}")
}

/// The table id that exports of this table name, unless they say otherwise.
pub fn table_id(table: &str) -> String {
    let hash = hex(&Md5::digest(table));
    format!("{}-{}-{}-{}-{}", &hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..])
}

type Edit<T> = Box<dyn Fn(&mut T)>;
type Lines = Box<dyn Fn(usize) -> Vec<String>>;

pub struct ExportWriter {
    table: String,
    table_id: String,
    incremental: bool,
    prefix: Option<String>,
    id: Option<String>,
    time: Time,
    from: Time,
    to: Time,
    view: String,
    files: Vec<Vec<String>>,
    made: Option<(usize, Lines)>,
    level: Compression,
    members: usize,
    edit_summary: Edit<Value>,
    edit_files: Edit<Vec<Value>>,
}

impl ExportWriter {
    fn new(table: &str, incremental: bool) -> Self {
        Self {
            table: table.to_owned(),
            table_id: table_id(table),
            incremental,
            prefix: None,
            id: None,
            time: at("2026-01-14T10:20:00Z"),
            from: at("2026-01-14T10:20:00Z"),
            to: at("2026-01-14T10:35:00Z"),
            view: "NEW_AND_OLD_IMAGES".to_owned(),
            files: vec![Vec::new()],
            made: None,
            level: Compression::default(),
            members: 1,
            edit_summary: Box::new(|_| {}),
            edit_files: Box::new(|_| {}),
        }
    }

    /// The time of a full export.
    pub fn time(mut self, text: &str) -> Self {
        self.time = at(text);
        self
    }

    /// The start of an incremental export's window.
    pub fn from(mut self, text: &str) -> Self {
        self.from = at(text);
        self
    }

    /// The end of an incremental export's window.
    pub fn to(mut self, text: &str) -> Self {
        self.to = at(text);
        self
    }

    /// `NEW_IMAGE` or `NEW_AND_OLD_IMAGES`.
    pub fn view(mut self, view: &str) -> Self {
        view.clone_into(&mut self.view);
        self
    }

    /// Lines, file by file.
    pub fn files<F, L>(mut self, files: F) -> Self
    where
        F: IntoIterator<Item = L>,
        L: IntoIterator,
        L::Item: Into<String>,
    {
        self.files = files.into_iter().map(|lines| lines.into_iter().map(Into::into).collect()).collect();
        self
    }

    /// So many files, whose lines are made when it is a file's turn: for exports that do not fit into memory. They are
    /// compressed quickly. Needs an id.
    pub fn made(mut self, files: usize, lines: impl Fn(usize) -> Vec<String> + 'static) -> Self {
        self.made = Some((files, Box::new(lines)));
        self.level = Compression::fast();
        self
    }

    /// The S3 prefix, as in `backups/daily`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// The table's id, for a table that was dropped and made again.
    pub fn table_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.table_id);
        self
    }

    /// The export's id, `<13-14 digit milliseconds>-<8 hex>`; by default made of its time.
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// Gzip members in each file.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// Changes the summary before it (and its checksum) is written.
    pub fn edit_summary(mut self, edit: impl Fn(&mut Value) + 'static) -> Self {
        self.edit_summary = Box::new(edit);
        self
    }

    /// Changes the lines of manifest-files.json before they (and their checksum) are written.
    pub fn edit_files(mut self, edit: impl Fn(&mut Vec<Value>) + 'static) -> Self {
        self.edit_files = Box::new(edit);
        self
    }

    /// The id that the export has.
    pub fn export_id(&self) -> String {
        self.id.clone().unwrap_or_else(|| {
            let milliseconds = self.end().timestamp_millis() + if self.incremental { 24_000 } else { 0 };
            let seed = format!("{}{}{:?}{:?}", self.table, self.incremental, self.from, self.files);
            format!("{milliseconds:014}-{}", &hex(&Md5::digest(seed))[..8])
        })
    }

    /// The export's ARN.
    pub fn arn(&self) -> String {
        format!("{}/export/{}", table_arn(&self.table), self.export_id())
    }

    fn end(&self) -> Time {
        if self.incremental { self.to } else { self.time }
    }

    /// Writes the export below `root`, which stands for the bucket; gives the folder of its manifests.
    pub fn write(&self, root: impl AsRef<Path>) -> PathBuf {
        let (folder, files) = self.made_below(root.as_ref());
        fs::create_dir_all(&folder).unwrap();
        for (path, bytes) in files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    /// The folder of its manifests, and all of its files, the manifests last, as [`Self::write`] writes them.
    pub fn made_below(&self, root: &Path) -> (PathBuf, Vec<(PathBuf, Vec<u8>)>) {
        let id = self.export_id();
        let base = self.prefix.as_ref().map_or("AWSDynamoDB".to_owned(), |p| format!("{p}/AWSDynamoDB"));
        let data = if self.incremental { format!("{base}/data") } else { format!("{base}/{id}/data") };
        let folder = root.join(&base).join(&id);
        let mut made = Vec::new();
        let mut entries = Vec::new();
        let count = self.made.as_ref().map_or(self.files.len(), |(count, _)| *count);
        for number in 0..count {
            let lines = match &self.made {
                Some((_, make)) => &make(number),
                None => &self.files[number],
            };
            let bytes = self.compress(lines);
            let key = format!("{data}/{}.json.gz", file_name(&format!("{id}{number}")));
            entries.push(json!({
                "itemCount": lines.len(), "md5Checksum": checksum(&bytes),
                "etag": format!("{}-1", hex(&Md5::digest(&key))), "dataFileS3Key": key,
            }));
            made.push((root.join(&key), bytes));
        }
        let items = entries.iter().map(|entry| entry["itemCount"].as_u64().unwrap()).sum();
        (self.edit_files)(&mut entries);
        let files: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        let mut summary = self.summary(&base, &id, items);
        (self.edit_summary)(&mut summary);
        made.push((folder.join("_started"), Vec::new()));
        for (name, text) in [("manifest-files", files), ("manifest-summary", summary.to_string())] {
            made.push((folder.join(format!("{name}.md5")), checksum(text.as_bytes()).into_bytes()));
            made.push((folder.join(format!("{name}.json")), text.into_bytes()));
        }
        (folder, made)
    }

    fn summary(&self, base: &str, id: &str, items: u64) -> Value {
        let mut summary = json!({
            "version": if self.incremental { "2023-08-01" } else { "2020-06-30" },
            "exportArn": self.arn(), "startTime": time::format(self.end()), "endTime": time::format(self.end()),
            "tableArn": table_arn(&self.table), "tableId": self.table_id,
        });
        let more = if self.incremental {
            json!({"exportFromTime": time::format(self.from), "exportToTime": time::format(self.to),
                "outputView": self.view, "exportType": "INCREMENTAL_EXPORT"})
        } else {
            json!({"exportTime": time::format(self.time)})
        };
        let rest = json!({
            "s3Bucket": "bucket", "s3Prefix": self.prefix, "s3SseAlgorithm": "AES256", "s3SseKmsKeyId": null,
            "manifestFilesS3Key": format!("{base}/{id}/manifest-files.json"),
            "billedSizeBytes": 0, "itemCount": items, "outputFormat": "DYNAMODB_JSON",
        });
        for part in [more, rest] {
            for (name, value) in part.as_object().unwrap() {
                summary[name] = value.clone();
            }
        }
        summary
    }

    fn compress(&self, lines: &[String]) -> Vec<u8> {
        let size = lines.len().div_ceil(self.members).max(1);
        let mut parts: Vec<&[String]> = lines.chunks(size).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        parts
            .into_iter()
            .flat_map(|part| {
                gzip_at(self.level, part.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes())
            })
            .collect()
    }
}

/// One gzip member; of nothing, it has 20 bytes.
pub fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    gzip_at(Compression::default(), text.as_ref())
}

fn gzip_at(level: Compression, text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Base64 of the MD5, as manifests and checksum files have it.
pub fn checksum(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

/// The data files of the export in `folder`, in the order of its manifest, below `root`.
pub fn data_files(root: impl AsRef<Path>, folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let text = fs::read_to_string(folder.as_ref().join("manifest-files.json")).unwrap();
    let key = |line: &str| serde_json::from_str::<Value>(line).unwrap()["dataFileS3Key"].as_str().unwrap().to_owned();
    text.lines().map(|line| root.as_ref().join(key(line))).collect()
}

fn at(text: &str) -> Time {
    time::parse(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// 26 characters, as DynamoDB names its data files.
fn file_name(seed: &str) -> String {
    hex(&Md5::digest(seed))[..26].to_owned()
}
