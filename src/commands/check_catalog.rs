//! `catalog check`: checks step by step whether a catalog and its warehouse can be used.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iceberg::TableIdent;
use iceberg::io::FileIO;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::report::ErrorReport;
use crate::catalog::check::About;
use crate::catalog::connect::connect;
use crate::catalog::{Catalog, LoadedTable};
use crate::error::{Error, Result};
use crate::export::{Prefix, resolve};
use crate::runtime::run::Run;
use crate::runtime::thread;
use crate::storage::{Location, Staging, Store};
use crate::table::watermark;
use crate::time;

/// Time limit for all steps together.
pub const TIME_LIMIT: Duration = Duration::from_secs(28);
/// Time that the catalog's steps must leave for the others.
const RESERVE: Duration = Duration::from_secs(6);
const CONTENT: &[u8] = b"ddb-iceberg catalog check\n";

/// What to check.
#[derive(Clone)]
pub struct CheckCatalog {
    /// The catalog's name.
    pub name: String,
    /// Its properties, as for [`connect`].
    pub properties: BTreeMap<String, String>,
    /// Storage of tables.
    pub tables: Store,
    /// Storage of exports.
    pub exports: Store,
    /// A table to load, if given.
    pub table: Option<TableIdent>,
    /// An export, or a folder above exports, to check, if given.
    pub export: Option<String>,
    /// Whether to write a small file to the warehouse, and delete it.
    pub write: bool,
    /// Deletes that file if the check is stopped.
    pub run: Arc<Run>,
}

/// The result of a step, or of the whole check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// It works.
    Ok,
    /// It does not.
    Failed,
    /// Not checked; the message says why.
    Skipped,
}

/// The subject of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckedPart {
    /// The configuration: files, variables and the command line.
    Configuration,
    /// Whether the catalog answers.
    Reach,
    /// Whether the sign-in succeeds.
    SignIn,
    /// Its tables.
    List,
    /// The given table.
    Table,
    /// Whether files can be written in the location of tables.
    Warehouse,
    /// The given export.
    Export,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct CheckStep {
    /// The subject.
    pub part: CheckedPart,
    /// The result.
    pub status: CheckStatus,
    /// What was found, or what to fix, as text.
    pub message: String,
}

/// A property and its source.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// The property's name.
    pub property: String,
    /// Its value; secrets as `***`.
    pub value: String,
    /// The file, variable or option.
    pub from: String,
}

/// The result of `catalog check`, version 1. A public, versioned interface.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The version of this format: 1.
    pub version: u32,
    /// `catalog check`.
    pub command: &'static str,
    /// Ok if no step failed.
    pub status: CheckStatus,
    /// The catalog's name.
    pub catalog: Option<String>,
    /// The configured properties.
    pub settings: Vec<Setting>,
    /// The steps, in order.
    pub steps: Vec<CheckStep>,
    /// Wall time.
    pub seconds: f64,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The error of the first failed step.
    pub error: Option<ErrorReport>,
}

impl Default for CheckReport {
    fn default() -> Self {
        Self {
            version: 1,
            command: "catalog check",
            status: CheckStatus::Ok,
            catalog: None,
            settings: Vec::new(),
            steps: Vec::new(),
            seconds: 0.0,
            warnings: Vec::new(),
            error: None,
        }
    }
}

impl CheckReport {
    /// Adds a successful step.
    pub fn good(&mut self, part: CheckedPart, message: impl Into<String>) {
        self.steps.push(CheckStep { part, status: CheckStatus::Ok, message: message.into() });
    }

    /// Adds a failed step.
    pub fn failed(&mut self, part: CheckedPart, error: &Error) {
        self.steps.push(CheckStep { part, status: CheckStatus::Failed, message: error.to_string() });
        self.fail(error);
    }

    /// Records a failure; the first one stays the report's error.
    pub fn fail(&mut self, error: &Error) {
        self.status = CheckStatus::Failed;
        self.error.get_or_insert_with(|| ErrorReport::from(error));
    }

    fn skipped(&mut self, part: CheckedPart, why: &str) {
        self.steps.push(CheckStep { part, status: CheckStatus::Skipped, message: why.to_owned() });
    }

    fn add(&mut self, part: CheckedPart, outcome: Result<String>, first: &mut Result<()>) {
        match outcome {
            Ok(message) => self.good(part, message),
            Err(error) => {
                self.failed(part, &error);
                if first.is_ok() {
                    *first = Err(error);
                }
            }
        }
    }
}

/// Checks a catalog within [`TIME_LIMIT`] and adds the steps to the report. Creates nothing except, temporarily, one
/// small file in the warehouse.
///
/// Errors: that of the first failed step; later steps are still run where that makes sense.
pub async fn check_catalog(request: &CheckCatalog, report: &mut CheckReport) -> Result<()> {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut first = Ok(());
    let table =
        match Box::pin(within(deadline - RESERVE, connect(&request.name, &request.properties, request.tables.clone())))
            .await
        {
            Ok(catalog) => {
                let table = look(&*catalog, request, deadline - RESERVE, report, &mut first).await;
                let place = place(&catalog, table.as_ref());
                match (place, request.write) {
                    (_, false) => report.skipped(CheckedPart::Warehouse, "a dry run writes nothing"),
                    (None, true) => report.skipped(
                        CheckedPart::Warehouse,
                        "no table and no warehouse says where to write: name a table with --table",
                    ),
                    (Some((place, file_io)), true) => {
                        let outcome = within(deadline, try_to_write(&place, &file_io, &request.run)).await;
                        let outcome = outcome.map_err(|error| error.in_file(place));
                        report.add(CheckedPart::Warehouse, outcome, &mut first);
                    }
                }
                table
            }
            Err(error) => {
                report.add(CheckedPart::Reach, Err(error), &mut first);
                None
            }
        };
    if let Some(export) = &request.export {
        let outcome = within(deadline, look_at_export(&request.exports, export, table.as_ref())).await;
        let outcome = outcome.map_err(|error| error.in_file(export));
        report.add(CheckedPart::Export, outcome, &mut first);
    }
    first
}

async fn within<T>(deadline: Instant, step: impl Future<Output = Result<T>>) -> Result<T> {
    timeout_at(deadline, step).await.unwrap_or_else(|_| {
        Err(Error::failed("there was no answer in time")
            .advice("Check the address, and that no firewall is in between"))
    })
}

/// The catalog's own steps, and the given table.
async fn look(
    catalog: &dyn Catalog,
    request: &CheckCatalog,
    deadline: Instant,
    report: &mut CheckReport,
    first: &mut Result<()>,
) -> Option<LoadedTable> {
    let steps = match within(deadline, async { Ok(catalog.check().await) }).await {
        Ok(steps) => steps,
        Err(error) => {
            report.add(CheckedPart::Reach, Err(error), first);
            return None;
        }
    };
    for step in steps {
        let part = match step.about {
            About::Reach => CheckedPart::Reach,
            About::SignIn => CheckedPart::SignIn,
            About::List => CheckedPart::List,
        };
        report.add(part, step.outcome, first);
    }
    let ident = request.table.as_ref()?;
    if first.is_err() {
        report.skipped(CheckedPart::Table, "the catalog can't be used");
        return None;
    }
    match within(deadline, catalog.load(ident)).await {
        Ok(Some(table)) => {
            let outcome = describe(&table);
            report.add(CheckedPart::Table, outcome, first);
            Some(table)
        }
        Ok(None) => {
            report.good(CheckedPart::Table, format!("there is no table {ident} yet; full-load makes it"));
            None
        }
        Err(error) => {
            report.add(CheckedPart::Table, Err(error), first);
            None
        }
    }
}

fn describe(table: &LoadedTable) -> Result<String> {
    watermark::check_version(&table.metadata)?;
    let ident = &table.ident;
    Ok(match watermark::watermark(&table.metadata)? {
        Some(mark) => format!("{ident} is complete up to {}", time::format(mark.time)),
        None => format!("{ident} is there; no export with a time was loaded into it"),
    })
}

/// Where to write the test file: below the table, or where new tables go.
fn place(catalog: &Arc<dyn Catalog>, table: Option<&LoadedTable>) -> Option<(String, FileIO)> {
    match table {
        Some(table) => {
            Some((format!("{}/data", table.metadata.location().trim_end_matches('/')), table.file_io.clone()))
        }
        None => catalog.warehouse().map(|(place, file_io)| (place.to_owned(), file_io.clone())),
    }
}

/// Writes a file with a unique name, reads it and deletes it. Local folders created for it are removed again.
async fn try_to_write(place: &str, file_io: &FileIO, run: &Arc<Run>) -> Result<String> {
    let staging = Staging::begin(run);
    let file_io = staging.file_io(file_io);
    let folders = missing_folders(place);
    let file = format!("{place}/.ddb-iceberg-check-{}", Uuid::new_v4().simple());
    let failed = |what: &str, error: iceberg::Error| {
        let error = Error::from(error);
        Error::new(error.kind(), format!("a file in the warehouse could not be {what}"))
            .in_file(file.clone())
            .caused_by(error)
    };
    let outcome = async {
        file_io.new_output(&file)?.write(Bytes::from_static(CONTENT)).await.map_err(|e| failed("written", e))?;
        let read = match file_io.new_input(&file) {
            Ok(input) => input.read().await,
            Err(error) => Err(error),
        };
        // The file is deleted even if reading fails.
        let deleted = file_io.delete(&file).await;
        if read.map_err(|e| failed("read", e))? != CONTENT {
            return Err(Error::failed("a file in the warehouse was read back with other content").in_file(file.clone()));
        }
        deleted.map_err(|e| failed("deleted", e))
    }
    .await;
    if outcome.is_ok() {
        staging.keep();
    } else {
        staging.take_back().await;
    }
    for folder in folders {
        // Fails if someone else has put something into it.
        let _ = std::fs::remove_dir(folder);
    }
    outcome.map(|()| format!("a file in {place} was written, read and deleted"))
}

/// The local folders that do not exist yet, innermost first.
fn missing_folders(place: &str) -> Vec<PathBuf> {
    let Some(path) = Location::parse(place).ok().and_then(|location| location.local_path()) else { return Vec::new() };
    path.ancestors().take_while(|folder| !folder.exists()).map(PathBuf::from).collect()
}

/// Reads the manifests of an export, or of the due ones below a folder, and the start of a data file.
async fn look_at_export(store: &Store, export: &str, table: Option<&LoadedTable>) -> Result<String> {
    let watermark = match table {
        Some(table) => watermark::watermark(&table.metadata)?.map(|mark| mark.time),
        None => None,
    };
    let property = |name: &str| table.and_then(|table| table.metadata.properties().get(name)).map(String::as_str);
    let hint = Prefix {
        table_arn: property(watermark::TABLE_ARN),
        table_id: property(watermark::TABLE_ID),
        watermark,
        now: chrono::Utc::now(),
    };
    let found = resolve(store, export, &hint).await?;
    if let Some(error) = found.damaged.into_iter().next() {
        return Err(error);
    }
    let Some(file) = found.exports.iter().flat_map(crate::export::Export::files).next() else {
        return Ok("the folder can be listed; no data file is due in it".to_owned());
    };
    let mut reader = store.open(&file.location).await?;
    thread::spawn(move || reader.next_chunk())?.await??;
    Ok(match found.exports.as_slice() {
        [one] => format!("the export with {} data files can be read", one.files().len()),
        several => format!("{} exports are due and can be read", several.len()),
    })
}
