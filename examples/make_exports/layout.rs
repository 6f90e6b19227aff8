//! Where DynamoDB puts the parts of an export below a folder, and what its manifests say.
//!
//! Data files are written as a stream: compressed, hashed and counted on the way to the disk.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const TABLE_ARN: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders";
const TABLE_ID: &str = "0c5e9a3d-7b1f-4c86-9a52-4f1d8e2b6a70";

/// What an export covers. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Full { time: i64 },
    Incremental { from: i64, to: i64, view: &'static str },
}

/// An export that is being written.
#[derive(Debug)]
pub struct Export {
    root: PathBuf,
    kind: Kind,
    id: String,
}

/// A finished data file, as its line in `manifest-files.json`.
#[derive(Debug)]
pub struct Listed {
    pub items: u64,
    line: Value,
}

impl Export {
    /// Makes the export's folder below `root`. The id is the time of the request and 8 hex digits; an incremental export
    /// is requested some time after its window ended.
    pub fn start(root: &Path, kind: Kind, tag: u32) -> Result<Self> {
        let requested = match kind {
            Kind::Full { time } => time,
            Kind::Incremental { to, .. } => to + 24_000,
        };
        let export = Self { root: root.to_owned(), kind, id: format!("{requested:014}-{tag:08x}") };
        fs::create_dir_all(export.folder())?;
        fs::create_dir_all(root.join(export.data_key()))?;
        File::create(export.folder().join("_started"))?;
        Ok(export)
    }

    pub fn folder(&self) -> PathBuf {
        self.root.join("AWSDynamoDB").join(&self.id)
    }

    /// All incremental exports below a prefix share one folder of data; a full export has its own.
    fn data_key(&self) -> String {
        match self.kind {
            Kind::Full { .. } => format!("AWSDynamoDB/{}/data", self.id),
            Kind::Incremental { .. } => "AWSDynamoDB/data".to_owned(),
        }
    }

    /// Opens the data file of this number.
    pub fn data_file(&self, number: u64) -> Result<DataFile> {
        let key = format!("{}/{}.json.gz", self.data_key(), file_name(&self.id, number));
        let file = BufWriter::with_capacity(256 << 10, File::create(self.root.join(&key))?);
        let out = GzEncoder::new(Hashing { inner: file, md5: Md5::new() }, Compression::default());
        Ok(DataFile { key, out, items: 0 })
    }

    /// Writes the manifests: the export is complete. Returns its folder and its number of items.
    pub fn finish(self, files: &[Listed]) -> Result<(PathBuf, u64)> {
        let folder = self.folder();
        let mut listing = String::new();
        for file in files {
            listing.push_str(&file.line.to_string());
            listing.push('\n');
        }
        let items = files.iter().map(|f| f.items).sum();
        manifest(&folder, "manifest-files", &listing)?;
        manifest(&folder, "manifest-summary", &self.summary(items).to_string())?;
        Ok((folder, items))
    }

    fn summary(&self, items: u64) -> Value {
        let id = &self.id;
        let requested: i64 = id.get(..14).and_then(|ms| ms.parse().ok()).unwrap_or_default();
        let full = matches!(self.kind, Kind::Full { .. });
        let mut summary = json!({
            "version": if full { "2020-06-30" } else { "2023-08-01" },
            "exportArn": format!("{TABLE_ARN}/export/{id}"),
            "startTime": iso(requested),
            "endTime": iso(requested + 312_480),
            "tableArn": TABLE_ARN,
            "tableId": TABLE_ID,
        });
        let window = match self.kind {
            Kind::Full { time } => json!({ "exportTime": iso(time) }),
            Kind::Incremental { from, to, .. } => json!({ "exportFromTime": iso(from), "exportToTime": iso(to) }),
        };
        let rest = json!({
            "s3Bucket": "example-exports",
            "s3Prefix": null,
            "s3SseAlgorithm": "AES256",
            "s3SseKmsKeyId": null,
            "manifestFilesS3Key": format!("AWSDynamoDB/{id}/manifest-files.json"),
            "billedSizeBytes": if full { 0 } else { 10_000_000 },
            "itemCount": items,
            "outputFormat": "DYNAMODB_JSON",
        });
        let view = match self.kind {
            Kind::Full { .. } => json!({}),
            Kind::Incremental { view, .. } => json!({ "outputView": view, "exportType": "INCREMENTAL_EXPORT" }),
        };
        for part in [window, rest, view] {
            if let (Some(summary), Value::Object(part)) = (summary.as_object_mut(), part) {
                summary.extend(part);
            }
        }
        summary
    }
}

/// A data file that is being written, a JSON object a line.
pub struct DataFile {
    key: String,
    out: GzEncoder<Hashing<BufWriter<File>>>,
    items: u64,
}

impl DataFile {
    /// Adds one line; the newline is added here.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")?;
        self.items += 1;
        Ok(())
    }

    pub fn finish(self) -> Result<Listed> {
        let mut file = self.out.finish()?;
        file.flush()?;
        let md5 = file.md5.finalize();
        let etag = Md5::digest(md5).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let line = json!({
            "itemCount": self.items,
            "md5Checksum": BASE64.encode(md5),
            "etag": format!("{etag}-1"),
            "dataFileS3Key": self.key,
        });
        Ok(Listed { items: self.items, line })
    }
}

struct Hashing<W> {
    inner: W,
    md5: Md5,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.md5.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Milliseconds since 1970 as DynamoDB writes times.
pub fn iso(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn manifest(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(folder.join(format!("{name}.json")), text)?;
    fs::write(folder.join(format!("{name}.md5")), BASE64.encode(Md5::digest(text.as_bytes())))?;
    Ok(())
}

/// 26 letters and digits that say nothing, as DynamoDB names its files.
fn file_name(id: &str, number: u64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    Md5::digest(format!("{id}/{number}").as_bytes())
        .iter()
        .flat_map(|byte| [byte >> 4, (byte & 15) + 16])
        .filter_map(|index| LETTERS.get(usize::from(index)))
        .take(26)
        .map(|letter| char::from(*letter))
        .collect()
}
