//! Reads and validates `manifest-summary.json` and `manifest-files.json`, within limits.
//!
//! Unknown fields and versions are accepted, since AWS adds them. Everything that decides where rows go is validated:
//! identity, kind, window, view, format, counts and checksums.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::Deserialize;

use super::filter::filter_in;
use super::formats::{ion, is_ion};
use super::layout::{FILES, Layout, SUMMARY};
use super::{DataFileRef, Export, ExportKind, View};
use crate::error::{Error, Result};
use crate::runtime::thread;
use crate::storage::{Location, ReadAhead, Store};
use crate::time::{self, Time};

/// A summary has about 1 KiB.
const MAX_SUMMARY: u64 = 1 << 20;
/// A line of manifest-files.json has about 250 bytes; a key has at most 1,024.
const MAX_FILE_LINE: u64 = 64 << 10;
/// DynamoDB writes one file per partition; a table of hundreds of terabytes has tens of thousands. All are in memory.
pub(crate) const MAX_FILES: usize = 250_000;
/// Maximum bytes of all keys in a manifest together: the maximum number of files, with keys twice as long as usual.
const MAX_KEYS: usize = 32 << 20;
/// Maximum number of items in an export: more than any can have, and far from overflows of sums.
const MAX_ITEMS: u64 = 1 << 60;
/// A checksum file has 24 bytes.
const MAX_CHECKSUM: u64 = 1 << 10;

/// The validated content of a summary.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) arn: Option<String>,
    pub(crate) table_arn: Option<String>,
    pub(crate) table_id: Option<String>,
    pub(crate) kind: ExportKind,
    pub(crate) item_count: Option<u64>,
    format: Option<String>,
    filter: Option<String>,
    manifest_files_key: String,
}

/// A parsed summary that is not validated yet, since it may belong to a table that is not ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawSummary {
    export_arn: Option<String>,
    pub(crate) table_arn: Option<String>,
    pub(crate) table_id: Option<String>,
    export_type: Option<String>,
    export_time: Option<String>,
    export_from_time: Option<String>,
    export_to_time: Option<String>,
    output_view: Option<String>,
    output_format: Option<String>,
    item_count: Option<u64>,
    #[serde(rename = "manifestFilesS3Key")]
    manifest_files_key: Option<String>,
    /// The field that says that the export was filtered.
    #[serde(skip)]
    filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    item_count: Option<u64>,
    md5_checksum: Option<String>,
    #[serde(rename = "dataFileS3Key")]
    key: String,
}

/// Reads the summary of the export in `folder`.
pub(crate) async fn read_summary(store: &Store, folder: &Location) -> Result<RawSummary> {
    let location = folder.join(SUMMARY);
    let bytes = store.read(&location, MAX_SUMMARY).await?;
    let named = |e: Error| e.in_file(location.to_string());
    verify(store, folder, "manifest-summary", Md5::digest(&bytes).into()).await.map_err(named)?;
    parse_summary(&bytes).map_err(named)
}

fn parse_summary(bytes: &[u8]) -> Result<RawSummary> {
    let parsed = serde_json::from_slice(bytes).and_then(|raw: RawSummary| {
        let filter = filter_in(bytes)?;
        Ok(RawSummary { filter, ..raw })
    });
    parsed.map_err(|e| Error::input("the manifest is not the JSON it should be").caused_by(e))
}

impl RawSummary {
    /// Whether its window belongs to a table of the same name in another region or account.
    pub(crate) fn is_namesake(&self, table_arn: &str) -> bool {
        let name = |arn: &str| arn.split_once(":table/").map(|(_, name)| name.to_owned());
        let its = self.table_arn.as_deref();
        self.is_incremental().unwrap_or(false) && its != Some(table_arn) && its.and_then(name) == name(table_arn)
    }

    /// Whether it claims to be an incremental export.
    fn is_incremental(&self) -> Result<bool> {
        match self.export_type.as_deref() {
            None => Ok(self.export_from_time.is_some() || self.export_to_time.is_some() || self.output_view.is_some()),
            Some("INCREMENTAL_EXPORT") => Ok(true),
            Some("FULL_EXPORT") if self.export_from_time.is_none() => Ok(false),
            Some("FULL_EXPORT") => Err(Error::input("the manifest contradicts itself: a full export with a window")),
            Some(other) => Err(Error::input(format!("its exportType {other:?} is not known"))),
        }
    }

    /// Validates the whole summary; `folder` is where it was read.
    pub(crate) fn check(self, folder: &Location) -> Result<Summary> {
        check_summary(self).map_err(|e| e.in_file(folder.join(SUMMARY).to_string()))
    }
}

impl Summary {
    /// Whether the export omits items or attributes.
    pub(crate) fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    /// Refuses data that is incomplete, or not DynamoDB JSON.
    fn check_format(&self) -> Result<()> {
        if let Some(field) = &self.filter {
            return Err(Error::input(format!("the export is filtered ({field:?}): it holds only a part of the table"))
                .advice("Ask for an export without a FilterSpecification"));
        }
        match self.format.as_deref() {
            None | Some("DYNAMODB_JSON") => Ok(()),
            Some("ION") => Err(ion()),
            Some(other) => Err(Error::input(format!("its outputFormat {other:?} is not known"))),
        }
    }
}

fn check_summary(raw: RawSummary) -> Result<Summary> {
    let incremental = raw.is_incremental()?;
    let Some(manifest_files_key) = raw.manifest_files_key else {
        return Err(Error::input("the manifest lacks manifestFilesS3Key"));
    };
    let kind = if incremental {
        let from = required_time("exportFromTime", raw.export_from_time.as_deref())?;
        let to = required_time("exportToTime", raw.export_to_time.as_deref())?;
        if from >= to {
            let (from, to) = (time::format(from), time::format(to));
            return Err(Error::input(format!("its window ends ({to}) before it starts ({from})")));
        }
        let view = match raw.output_view.as_deref() {
            Some("NEW_IMAGE" | "NEW_IMAGES") => View::NewImage,
            Some("NEW_AND_OLD_IMAGES" | "NEW_AND_OLD_IMAGE") => View::NewAndOldImages,
            Some(other) => return Err(Error::input(format!("its outputView {other:?} is not known"))),
            None => return Err(Error::input("the manifest lacks outputView")),
        };
        ExportKind::Incremental { from, to, view }
    } else {
        let time = raw.export_time.as_deref().map(|t| required_time("exportTime", Some(t))).transpose()?;
        ExportKind::Full { time }
    };
    Ok(Summary {
        arn: raw.export_arn,
        table_arn: raw.table_arn,
        table_id: raw.table_id,
        kind,
        item_count: raw.item_count,
        format: raw.output_format,
        filter: raw.filter,
        manifest_files_key,
    })
}

fn required_time(field: &str, text: Option<&str>) -> Result<Time> {
    let text = text.ok_or_else(|| Error::input(format!("the manifest lacks {field}")))?;
    time::parse(text).ok_or_else(|| Error::input(format!("its {field} {text:?} is not a time")))
}

/// Reads and validates the list of data files of the export in `folder`.
pub(crate) async fn read_files(store: &Store, folder: &Location, summary: &Summary) -> Result<Vec<DataFileRef>> {
    summary.check_format().map_err(|e| e.in_file(folder.join(SUMMARY).to_string()))?;
    let layout = match Layout::new(folder, &summary.manifest_files_key) {
        // The folder may be a link to one that has the export's name.
        Ok(layout) if !layout.is_named() => match store.resolve(folder).await? {
            Some(real) => Layout::new(&real, &summary.manifest_files_key),
            None => Ok(layout),
        },
        layout => layout,
    }
    .map_err(|e| e.in_file(folder.join(SUMMARY).to_string()))?;
    let location = folder.join(FILES);
    let named = |e: Error| e.in_file(location.to_string());
    if !store.exists(&location).await? {
        return Err(named(Error::input("the export is incomplete: this manifest is missing")));
    }
    let reader = store.open(&location).await?;
    let parsed = thread::spawn(move || parse_files(reader, &layout).map(|parsed| (layout, parsed)))?;
    let (layout, (files, md5)) = parsed.await?.map_err(named)?;
    verify(store, folder, "manifest-files", md5).await.map_err(named)?;
    check_sum(&files, summary.item_count).map_err(named)?;
    check_links(store, &layout, &files).await?;
    Ok(files)
}

/// The files, and the MD5 of the bytes read.
fn parse_files(reader: ReadAhead, layout: &Layout) -> Result<(Vec<DataFileRef>, [u8; 16])> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let mut md5 = Md5::new();
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut keys = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MAX_FILE_LINE).read_until(b'\n', &mut line).map_err(from_io)?;
        if read == 0 {
            break;
        }
        md5.update(&line);
        let wrong = |why: &str| Error::input(why).on_line(number);
        if line.len() as u64 >= MAX_FILE_LINE {
            return Err(wrong("the line is too long for a manifest"));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let raw: RawFile =
            serde_json::from_slice(&line).map_err(|e| wrong("the line does not describe a data file").caused_by(e))?;
        if is_ion(&raw.key) {
            return Err(ion().on_line(number));
        }
        let location = layout.locate(&raw.key).map_err(|e| e.on_line(number))?;
        let md5 = match raw.md5_checksum {
            None => None,
            Some(text) => {
                Some(decode_md5(text.as_bytes()).ok_or_else(|| wrong("its md5Checksum is not base64 of an MD5"))?)
            }
        };
        let Some(position) = u32::try_from(files.len()).ok().filter(|_| files.len() < MAX_FILES) else {
            return Err(wrong("the manifest lists more files than an export can have"));
        };
        keys += raw.key.len();
        if keys > MAX_KEYS {
            return Err(wrong("the keys of the files so far are longer together than an export's can be"));
        }
        if !seen.insert(raw.key.clone()) {
            return Err(wrong("the manifest lists this file twice"));
        }
        files.push(DataFileRef { location, name: raw.key, item_count: raw.item_count, md5, position });
    }
    Ok((files, md5.finalize().into()))
}

/// Unwraps a storage error that passed through `std::io`.
pub(crate) fn from_io(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::failed("the file could not be read").caused_by(error),
    }
}

fn decode_md5(text: &[u8]) -> Option<[u8; 16]> {
    STANDARD.decode(text.trim_ascii()).ok()?.try_into().ok()
}

/// AWS documents `.checksum`, real exports have `.md5`, and copies may lack both. One is enough: without s3:ListBucket,
/// requesting a key that does not exist is forbidden.
async fn verify(store: &Store, folder: &Location, stem: &str, md5: [u8; 16]) -> Result<()> {
    for extension in ["md5", "checksum"] {
        let location = folder.join(&format!("{stem}.{extension}"));
        if !store.exists(&location).await? {
            continue;
        }
        let text = store.read(&location, MAX_CHECKSUM).await?;
        let Some(expected) = decode_md5(&text) else {
            return Err(Error::input("the checksum file is not base64 of an MD5").in_file(location.to_string()));
        };
        if expected != md5 {
            return Err(Error::input(format!(
                "the manifest is not the one that DynamoDB wrote: {stem}.{extension} differs"
            ))
            .advice("Copy the export again"));
        }
        return Ok(());
    }
    Ok(())
}

fn check_sum(files: &[DataFileRef], expected: Option<u64>) -> Result<()> {
    let mut sum = 0_u64;
    for count in files.iter().filter_map(|file| file.item_count) {
        sum = sum.saturating_add(count);
        if sum > MAX_ITEMS {
            return Err(Error::input("its item counts are too large to be true"));
        }
    }
    let Some(expected) = expected.filter(|_| files.iter().all(|file| file.item_count.is_some())) else {
        return Ok(());
    };
    if sum == expected {
        return Ok(());
    }
    Err(Error::input(format!("its files have {sum} items together, but the summary says {expected}"))
        .advice("The list of files is not whole, or another export's; copy the export again"))
}

/// Symbolic links must not lead out of the export.
async fn check_links(store: &Store, layout: &Layout, files: &[DataFileRef]) -> Result<()> {
    let Some(root) = store.resolve(layout.root()).await? else {
        return Ok(());
    };
    for file in files {
        // A missing file is reported when it is opened.
        if let Some(real) = store.resolve(&file.location).await?
            && !real.is_within(&root)
        {
            return Err(Error::input("the file is a link that leads out of the export").in_file(file.name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;

/// Reads the file list of an export whose summary is known.
pub(crate) async fn load(store: &Store, folder: Location, summary: Summary) -> Result<Export> {
    let files = read_files(store, &folder, &summary).await?;
    let Summary { arn, table_arn, table_id, kind, item_count, .. } = summary;
    Ok(Export { arn, table_arn, table_id, kind, item_count, files, location: folder })
}
