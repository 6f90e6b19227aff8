//! The exports of one table below a folder that holds many tables' exports.

use std::collections::{HashSet, VecDeque};

use futures::stream::{self, StreamExt};

use super::layout::{AWS, SUMMARY, id_milliseconds};
use super::manifest::{RawSummary, Summary, read_summary};
use super::open::{Found, data_pipeline, incomplete, load, look};
use super::{Export, ExportKind};
use crate::error::{Error, Kind, Result};
use crate::storage::{Location, Store};
use crate::time::Time;

/// Folders nested deeper than this are not searched; a warning says so.
pub const MAX_DEPTH: usize = 16;
/// So many folders (without exports' own) are listed at most: more is a wrong argument, such as `/`.
const MAX_FOLDERS: usize = 20_000;
/// Folders listed when an error only wants to name an example.
const MAX_EXAMPLE_FOLDERS: usize = 200;
/// An incomplete export is pending until its id is this old. AWS gives an export up to a day.
const PENDING_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;
/// Manifests read at once: small requests, so latency rules.
const AT_ONCE: usize = 16;

/// Which exports are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Prefix<'a> {
    /// The DynamoDB table's ARN. Without it, all incremental exports must be of one table.
    pub table_arn: Option<&'a str>,
    /// The DynamoDB table's id.
    pub table_id: Option<&'a str>,
    /// What is complete already: windows that end at or before it are left out.
    pub watermark: Option<Time>,
    /// The current time.
    pub now: Time,
}

/// What lies at or below an argument.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The wanted exports: an explicit one of whatever kind, or incremental ones of the table that are not wholly
    /// before the watermark, ordered by window.
    pub exports: Vec<Export>,
    /// Other tables' exports that were left out.
    pub foreign: u64,
    /// Full exports of the table that were left out.
    pub full: u64,
    /// Exports that have not completed yet, of whatever table.
    pub pending: u64,
    /// Exports from before the watermark. At least so many: where others were found, old ones are not all listed.
    pub older: u64,
    /// Exports below a folder whose manifests are damaged, in the order of their names: which windows they hold is not
    /// known for certain, so nothing may be applied across a gap.
    pub damaged: Vec<Error>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The argument named one export, not a folder above exports.
    pub explicit: bool,
}

/// Resolves an argument of `incremental`: an export (taken as it is, its table unchecked) or a folder above exports.
///
/// Below a folder, an id older than the watermark is left out by its name: an export's id is never earlier than its
/// window's end. Errors of kind `Input`: a damaged manifest of the export that is named, an export of a table that was made
/// again under the same ARN, or no export at all. A damaged one below a folder is left to the caller.
pub async fn resolve(store: &Store, arg: &str, hint: &Prefix<'_>) -> Result<Resolved> {
    let top = match look(store, arg).await? {
        Found::Export(folder) => {
            let summary = read_summary(store, &folder).await?.check(&folder)?;
            let exports = vec![load(store, folder, summary).await?];
            return Ok(Resolved { exports, explicit: true, ..Resolved::default() });
        }
        Found::Incomplete(folder) => return Err(incomplete(&folder)),
        Found::Other(folder) => folder,
    };
    let watermark = hint.watermark.map(|t| t.timestamp_millis());
    let mut resolved = Resolved::default();
    let walk = walk(store, &top, watermark, MAX_FOLDERS).await?;
    if !walk.complete {
        let warning = format!("{top}: folders nested deeper than {MAX_DEPTH} levels were not searched");
        resolved.warnings.push(warning);
    }
    let (older, candidates): (Vec<_>, Vec<_>) = walk.candidates.into_iter().partition(|c| c.is_before(watermark));
    resolved.older = older.len() as u64;
    let known = stream::iter(candidates)
        .map(|candidate| async move {
            let read = candidate.read(store).await;
            (candidate, read)
        })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let any = !known.is_empty();
    let mut due = Vec::new();
    for (candidate, read) in known {
        let Some(raw) = resolved.undamaged(read)? else { continue };
        let Some(raw) = raw else {
            resolved.count_incomplete(&candidate, hint.now);
            continue;
        };
        if resolved.is_wanted(&candidate.folder, &raw, hint)? {
            let Some(summary) = resolved.undamaged(raw.check(&candidate.folder))? else { continue };
            match summary.kind {
                ExportKind::Full { .. } => resolved.full += 1,
                ExportKind::Incremental { to, .. } if hint.watermark.is_some_and(|w| to <= w) => resolved.older += 1,
                ExportKind::Incremental { .. } if summary.is_filtered() => {
                    resolved
                        .warnings
                        .push(format!("{}: a filtered export holds only a part; it is left out", candidate.folder));
                }
                ExportKind::Incremental { .. } => due.push((candidate.folder, summary)),
            }
        }
    }
    check_one_table(&due, &top)?;
    let loaded: Vec<_> =
        stream::iter(due).map(|(folder, summary)| load(store, folder, summary)).buffered(AT_ONCE).collect().await;
    for export in loaded {
        let export = resolved.undamaged(export)?;
        resolved.exports.extend(export);
    }
    resolved.exports.sort_by(|a, b| {
        let key = |e: &Export| e.window().map(|(from, to, _)| (from, to));
        (key(a), a.arn()).cmp(&(key(b), b.arn()))
    });
    if !any && resolved.older == 0 {
        // Old ids are not listed where there is a watermark; only now does it matter whether there are any.
        let all = self::walk(store, &top, None, MAX_FOLDERS).await?;
        resolved.older = all.candidates.len() as u64;
    }
    if !any && resolved.older == 0 {
        if store.exists(&top.join("manifest")).await? {
            return Err(data_pipeline().in_file(top.to_string()));
        }
        return Err(Error::input("there is no DynamoDB export in or below this folder").in_file(top.to_string()).advice(
            "Give the folder of an export (it has a manifest-summary.json), or a folder above its AWSDynamoDB folder",
        ));
    }
    Ok(resolved)
}

impl Resolved {
    /// What was read; `None` if it is damaged, which is noted.
    fn undamaged<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == Kind::Input => {
                self.damaged.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn count_incomplete(&mut self, candidate: &Candidate, now: Time) {
        let age = candidate.id.map_or(i64::MAX, |id| now.timestamp_millis().saturating_sub(id));
        if age < PENDING_MILLISECONDS {
            self.pending += 1;
        } else {
            self.warnings.push(format!(
                "{}: this export never completed (it has no manifest-summary.json); it is left out",
                candidate.folder
            ));
        }
    }

    /// Whether it is of the table; counts it if not.
    fn is_wanted(&mut self, folder: &Location, raw: &RawSummary, hint: &Prefix<'_>) -> Result<bool> {
        let Some(arn) = hint.table_arn else {
            return Ok(true);
        };
        let Some(its_arn) = raw.table_arn.as_deref() else {
            self.foreign += 1;
            self.warnings.push(format!("{folder}: its manifest does not name a table; it is left out"));
            return Ok(false);
        };
        if its_arn != arn {
            self.foreign += 1;
            return Ok(false);
        }
        match (hint.table_id, raw.table_id.as_deref()) {
            (Some(id), Some(its_id)) if id != its_id => Err(Error::input(format!(
                "this export is of another table with the same name: its table id is {its_id}, not {id}"
            ))
            .in_file(folder.join(SUMMARY).to_string())
            .advice(
                "An export of the older of the two came late: move it away. To go on with the newer one, load a full export \
                 of it with full-load --if-exists replace --allow-other-table",
            )),
            _ => Ok(true),
        }
    }
}

/// Without a known table, exports of several would be merged into one.
fn check_one_table(due: &[(Location, Summary)], top: &Location) -> Result<()> {
    let tables: HashSet<_> = due.iter().map(|(_, s)| (&s.table_arn, &s.table_id)).collect();
    if tables.len() > 1 {
        return Err(Error::usage(format!("the exports below this folder are of {} tables", tables.len()))
            .in_file(top.to_string())
            .advice(
                "This Iceberg table does not say which DynamoDB table it was loaded from; name the exports one by one",
            ));
    }
    Ok(())
}

/// A folder that is an export's, by its name or by the summary in it.
#[derive(Debug)]
struct Candidate {
    folder: Location,
    /// The milliseconds of its id; `None` if it bears another name.
    id: Option<i64>,
}

impl Candidate {
    fn is_before(&self, watermark: Option<i64>) -> bool {
        matches!((self.id, watermark), (Some(id), Some(watermark)) if id < watermark)
    }

    /// Its summary; `None` if it is incomplete.
    async fn read(&self, store: &Store) -> Result<Option<RawSummary>> {
        if store.exists(&self.folder.join(SUMMARY)).await? {
            read_summary(store, &self.folder).await.map(Some)
        } else {
            Ok(None)
        }
    }
}

struct Walk {
    candidates: Vec<Candidate>,
    /// No folder was too deep.
    complete: bool,
}

/// Finds exports' folders by name, level by level. Listings of `AWSDynamoDB/` start at the watermark.
async fn walk(store: &Store, top: &Location, watermark: Option<i64>, limit: usize) -> Result<Walk> {
    // 14 digits sort before the ids of 13, which are few and sifted by number.
    let after = watermark.map(|milliseconds| format!("{:014}", milliseconds.max(0)));
    let mut found = Walk { candidates: Vec::new(), complete: true };
    let mut seen = HashSet::new();
    let mut waiting = VecDeque::from([(top.clone(), 0)]);
    let mut listed = 0;
    while let Some((folder, depth)) = waiting.pop_front() {
        if depth > MAX_DEPTH {
            found.complete = false;
            continue;
        }
        if !folder.is_s3()
            && let Some(real) = store.resolve(&folder).await?
            && !seen.insert(real)
        {
            continue;
        }
        listed += 1;
        if listed > limit {
            return Err(Error::input(format!("there are more than {limit} folders below this one"))
                .in_file(top.to_string())
                .advice("Give a folder nearer to the exports"));
        }
        let is_aws = folder.file_name() == Some(AWS);
        let start = after.as_deref().filter(|_| is_aws);
        let Some(listing) = store.list(&folder, start).await? else {
            continue;
        };
        if depth > 0 && listing.has_file(SUMMARY) {
            found.candidates.push(Candidate { folder, id: None });
            continue;
        }
        let mut others = Vec::new();
        let mut has_ids = is_aws;
        for name in &listing.folders {
            let id = id_milliseconds(name);
            if id.is_some() {
                has_ids = true;
                found.candidates.push(Candidate { folder: folder.join(name), id });
            } else {
                others.push(name);
            }
        }
        if is_aws {
            continue;
        }
        // Beside exports, `data` is theirs; elsewhere it is a name like any other.
        others.retain(|name| !(has_ids && name.as_str() == "data"));
        waiting.extend(others.into_iter().map(|name| (folder.join(name), depth + 1)));
    }
    Ok(found)
}

/// Some completed export below `folder`, for a message.
pub(super) async fn first_below(store: &Store, folder: &Location) -> Result<Option<Location>> {
    // A folder too large to search, or one that may not be read, has no example; the error to report is another.
    let Ok(found) = walk(store, folder, None, MAX_EXAMPLE_FOLDERS).await else {
        return Ok(None);
    };
    for candidate in found.candidates.into_iter().take(MAX_EXAMPLE_FOLDERS) {
        if store.exists(&candidate.folder.join(SUMMARY)).await? {
            return Ok(Some(candidate.folder));
        }
    }
    Ok(None)
}
