//! Finds the exports of one table below a folder with exports of many tables.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use futures::stream::{self, StreamExt};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::formats::data_pipeline;
use super::layout::{AWS, FILES, STARTED, SUMMARY, id_milliseconds};
use super::locate::{Found, incomplete, look};
use super::manifest::{RawSummary, Summary, load, read_summary};
use super::{Export, ExportKind};
use crate::error::{Error, Kind, Result};
use crate::storage::{Location, Store};
use crate::time::Time;

/// Folders nested deeper than this are not searched; a warning reports them.
pub const MAX_DEPTH: usize = 16;
/// Maximum number of folders listed (without the exports' own): more of them mean a wrong argument, such as `/`.
const MAX_FOLDERS: usize = 20_000;
/// Maximum number of folders listed in `AWSDynamoDB` folders besides exports, where there should be none. Further ones
/// are only counted.
const MAX_BESIDE: usize = 1_000;
/// The lowest possible prefix of ids: exports were introduced in November 2020. Folders with other names may sort
/// before it.
const FIRST_ID: &str = "013";
/// Maximum number of folders listed to find an example for an error message.
const MAX_EXAMPLE_FOLDERS: usize = 200;
/// An incomplete export is pending until its id is this old. AWS takes up to a day for an export.
const PENDING_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;
/// Number of manifests read in parallel: small requests, so latency dominates.
const AT_ONCE: usize = 16;

/// The exports to search for.
#[derive(Debug, Clone, Copy)]
pub struct Prefix<'a> {
    /// The DynamoDB table's ARN. Without it, all incremental exports must be of one table.
    pub table_arn: Option<&'a str>,
    /// The DynamoDB table's id.
    pub table_id: Option<&'a str>,
    /// The watermark: windows that end at or before it are skipped.
    pub watermark: Option<Time>,
    /// The current time.
    pub now: Time,
}

/// The exports at or below an argument.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The exports found: an explicitly named one of any kind, or the table's incremental ones that are not entirely
    /// before the watermark, ordered by window.
    pub exports: Vec<Export>,
    /// Number of skipped exports of other tables.
    pub foreign: u64,
    /// Number of skipped full exports of the table.
    pub full: u64,
    /// Number of exports that have not completed yet, of any table.
    pub pending: u64,
    /// The start time of the newest of them; its window had ended by then.
    pub newest_pending: Option<Time>,
    /// A record of the findings, for a later [`LookBack`] to compare with.
    pub looked: Option<Looked>,
    /// Minimum number of exports from before the watermark: if others were found, old ones are not all listed.
    pub older: u64,
    /// Exports below a folder with damaged manifests, ordered by name. Their windows are unknown, so nothing may be
    /// applied across a gap.
    pub damaged: Vec<Error>,
    /// Filtered windows of the table: start, end, and location. They can't be applied.
    pub filtered: Vec<(Time, Time, Location)>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Whether the argument named one export instead of a folder above exports.
    pub explicit: bool,
}

/// The findings of a search through a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The newest export's id, in milliseconds.
    until: i64,
    /// A hash of the locations of all exports with ids up to it.
    digest: String,
    /// Exports that may have changed when they are read again.
    pub open: BTreeSet<String>,
}

impl Looked {
    fn at(candidates: &[Candidate], until: i64) -> Self {
        let mut places: Vec<_> = candidates
            .iter()
            .filter(|one| one.id.is_some_and(|id| id <= until))
            .map(|one| one.folder.as_str())
            .collect();
        places.sort_unstable();
        let digest = u128::from_be_bytes(Md5::digest(places.join("\n")).into());
        let digest = format!("{digest:032x}");
        Self { until, digest, open: BTreeSet::new() }
    }
}

/// Also searches for exports from before the watermark: late windows.
#[derive(Debug, Clone, Copy)]
pub struct LookBack<'a> {
    /// The minimum time in ids.
    pub since: Time,
    /// Earlier findings. As long as no export with an older id than the newest of them has been added, only the open
    /// exports from before the watermark are read again.
    pub known: Option<&'a Looked>,
}

/// Resolves an argument of `incremental`: an export (used without checking its table) or a folder above exports.
///
/// Below a folder, exports with an id older than the watermark are skipped by name, since an export's id is never
/// earlier than its window's end. Errors of kind `Input`: a damaged manifest of an explicitly named export, an export
/// of a table that was recreated with the same ARN, or no export at all. The caller handles damaged exports below a
/// folder.
pub async fn resolve(store: &Store, arg: &str, hint: &Prefix<'_>) -> Result<Resolved> {
    resolve_back(store, arg, hint, None).await
}

/// Like [`resolve`], but also returns windows that end before the watermark, from `back` on.
pub async fn resolve_back(store: &Store, arg: &str, hint: &Prefix<'_>, back: Option<LookBack<'_>>) -> Result<Resolved> {
    let top = match look(store, arg).await? {
        Found::Export(folder) => {
            let summary = read_summary(store, &folder).await?.check(&folder)?;
            let exports = vec![load(store, folder, summary).await?];
            return Ok(Resolved { exports, explicit: true, ..Resolved::default() });
        }
        Found::Incomplete(folder) => return Err(incomplete(&folder)),
        Found::Other(folder) => folder,
    };
    let complete = back.map(|back| back.since).or(hint.watermark);
    let start = complete.map(|time| time.timestamp_millis());
    let mut resolved = Resolved::default();
    let walk = walk(store, &top, start, MAX_FOLDERS).await?;
    resolved.warnings.extend(walk.warnings(&top));
    let (older, mut candidates): (Vec<_>, Vec<_>) = walk.candidates.into_iter().partition(|c| c.is_before(start));
    resolved.older = older.len() as u64;
    let newest = candidates.iter().filter_map(|candidate| candidate.id).max().unwrap_or_default();
    resolved.looked = Some(Looked::at(&candidates, newest));
    if let Some(known) = back.and_then(|back| back.known)
        && Looked::at(&candidates, known.until).digest == known.digest
    {
        let watermark = hint.watermark.map(|time| time.timestamp_millis());
        let before = candidates.len();
        candidates.retain(|one| {
            let is_known = one.is_before(watermark) && one.id.is_some_and(|id| id <= known.until);
            !is_known || known.open.contains(&one.folder.to_string())
        });
        resolved.older += (before - candidates.len()) as u64;
    }
    let known = stream::iter(candidates)
        .map(|candidate| async move {
            let read = candidate.read(store).await;
            (candidate, read)
        })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let any = !known.is_empty();
    let (mut due, mut namesakes) = (Vec::new(), BTreeMap::new());
    for (candidate, read) in known {
        // Damaged exports that ended before the watermark, or were renamed by the user, block nothing.
        let aside = candidate.id.is_none() || candidate.is_before(hint.watermark.map(|time| time.timestamp_millis()));
        let Some(raw) = resolved.undamaged(read, &candidate.folder, aside)? else { continue };
        let Some(raw) = raw else {
            resolved.count_incomplete(&candidate, hint.now);
            continue;
        };
        if hint.table_arn.is_some_and(|arn| raw.is_namesake(arn)) {
            *namesakes.entry(raw.table_arn.clone().unwrap_or_default()).or_insert(0_u64) += 1;
        }
        if resolved.is_wanted(&candidate.folder, &raw, hint)? {
            let Some(summary) = resolved.undamaged(raw.check(&candidate.folder), &candidate.folder, aside)? else {
                continue;
            };
            match summary.kind {
                ExportKind::Full { .. } => resolved.full += 1,
                ExportKind::Incremental { to, .. } if complete.is_some_and(|time| to <= time) => resolved.older += 1,
                ExportKind::Incremental { from, to, .. } if summary.is_filtered() => {
                    resolved.keep_open(&candidate.folder);
                    resolved.filtered.push((from, to, candidate.folder));
                }
                ExportKind::Incremental { .. } => due.push((candidate.folder, summary, aside)),
            }
        }
    }
    for (arn, count) in namesakes {
        resolved.warnings.push(format!(
            "{top}: {count} windows of a table of the same name are left out, since they are of another region or account: {arn}"
        ));
    }
    check_one_table(&due, &top)?;
    let loaded: Vec<_> = stream::iter(due)
        .map(|(folder, summary, aside)| async move {
            let loaded = load(store, folder.clone(), summary).await;
            (folder, loaded, aside)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    for (folder, export, aside) in loaded {
        let export = resolved.undamaged(export, &folder, aside)?;
        resolved.exports.extend(export);
    }
    resolved.exports.sort_by(|a, b| {
        let key = |e: &Export| e.window().map(|(from, to, _)| (from, to));
        (key(a), a.arn()).cmp(&(key(b), b.arn()))
    });
    if !any && resolved.older == 0 {
        // With a watermark, old ids are not listed; only now does it matter whether there are any.
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
    /// The summary of an export. `None` if it is damaged, which is recorded: as a warning if it is `aside`.
    fn undamaged<T>(&mut self, read: Result<T>, folder: &Location, aside: bool) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == Kind::Input => {
                self.keep_open(folder);
                if aside {
                    self.warnings.push(format!("{error}. It is left out; move it away if it is not needed"));
                } else {
                    self.damaged.push(error);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn keep_open(&mut self, folder: &Location) {
        self.looked.get_or_insert_default().open.insert(folder.to_string());
    }

    fn count_incomplete(&mut self, candidate: &Candidate, now: Time) {
        let age = candidate.id.map_or(i64::MAX, |id| now.timestamp_millis().saturating_sub(id));
        if age < PENDING_MILLISECONDS {
            self.pending += 1;
            self.keep_open(&candidate.folder);
            self.newest_pending = self.newest_pending.max(candidate.id.and_then(Time::from_timestamp_millis));
        } else {
            self.warnings.push(format!(
                "{}: this export never completed (it has no manifest-summary.json); it is left out",
                candidate.folder
            ));
        }
    }

    /// Whether it belongs to the table; counts it if not.
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

/// If the table is unknown, exports of several tables would be merged into one.
fn check_one_table(due: &[(Location, Summary, bool)], top: &Location) -> Result<()> {
    let tables: HashSet<_> = due.iter().map(|(_, s, _)| (&s.table_arn, &s.table_id)).collect();
    if tables.len() > 1 {
        return Err(Error::usage(format!("the exports below this folder are of {} tables", tables.len()))
            .in_file(top.to_string())
            .advice(
                "This Iceberg table does not say which DynamoDB table it was loaded from; name the exports one by one",
            ));
    }
    Ok(())
}

/// A folder that is an export, by its name or because it contains a summary.
#[derive(Debug)]
struct Candidate {
    folder: Location,
    /// The milliseconds in its id; `None` if it has another name.
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

#[derive(Default)]
struct Walk {
    candidates: Vec<Candidate>,
    /// Number of folders that were nested too deeply.
    too_deep: u64,
    /// Number of folders besides exports beyond the limit.
    too_many: u64,
}

impl Walk {
    fn warnings(&self, top: &Location) -> Vec<String> {
        let too_deep = (self.too_deep, format!("are nested deeper than {MAX_DEPTH} levels"));
        let too_many = (self.too_many, format!("lie in an {AWS} folder beside {MAX_BESIDE} others"));
        let told = [too_deep, too_many].into_iter().filter(|(count, _)| *count > 0);
        told.map(|(count, why)| format!("{top}: {count} folders were not searched for exports, which {why}")).collect()
    }
}

/// A folder to list.
struct Unlisted {
    folder: Location,
    depth: usize,
    /// Whether it is in an `AWSDynamoDB` folder.
    beside: bool,
}

/// Finds folders of exports by name, level by level. On S3, listings of `AWSDynamoDB/` start at the watermark.
async fn walk(store: &Store, top: &Location, watermark: Option<i64>, limit: usize) -> Result<Walk> {
    // Ids with 14 digits sort before those with 13; they are few and filtered by number. Names that start with a letter
    // sort after both.
    let after = watermark.map(|milliseconds| format!("{:014}", milliseconds.max(0)));
    let mut found = Walk::default();
    let mut seen = HashSet::new();
    let mut waiting = VecDeque::from([Unlisted { folder: top.clone(), depth: 0, beside: false }]);
    let (mut listed, mut listed_beside) = (0, 0);
    while let Some(Unlisted { folder, depth, beside }) = waiting.pop_front() {
        if depth > MAX_DEPTH {
            found.too_deep += 1;
            continue;
        }
        if !folder.is_s3()
            && let Some(real) = store.resolve(&folder).await?
            && !seen.insert(real)
        {
            continue;
        }
        if beside && listed_beside == MAX_BESIDE {
            found.too_many += 1;
            continue;
        }
        listed += 1;
        if listed > limit {
            return Err(Error::input(format!("there are more than {limit} folders below this one"))
                .in_file(top.to_string())
                .advice("Give a folder nearer to the exports"));
        }
        let is_aws = folder.file_name() == Some(AWS);
        let start = after.as_deref().filter(|_| is_aws && folder.is_s3());
        let Some(mut listing) = store.list(&folder, start).await? else {
            continue;
        };
        if start.is_some()
            && let Some(before) = store.list_until(&folder, FIRST_ID).await?
        {
            listing.folders.extend(before.folders.into_iter().filter(|name| id_milliseconds(name).is_none()));
            listing.nameless |= before.nameless;
        }
        let (ids, others): (Vec<_>, Vec<_>) =
            listing.folders.iter().map(|name| (name, id_milliseconds(name))).partition(|(_, id)| id.is_some());
        // A renamed export. One that did not complete contains only its data.
        let has_begun = [FILES, STARTED].into_iter().any(|sign| listing.has_file(sign));
        let is_whole = ids.is_empty() && others.iter().all(|(name, _)| name.as_str() == "data");
        if depth > 0 && (listing.has_file(SUMMARY) || (has_begun && is_whole && !is_aws)) {
            found.candidates.push(Candidate { folder, id: None });
            continue;
        }
        // Exports with other names must not be skipped by name.
        listed_beside += usize::from(beside);
        // Next to exports, `data` belongs to them; elsewhere it is a name like any other.
        let has_ids = is_aws || !ids.is_empty();
        found.candidates.extend(ids.into_iter().map(|(name, id)| Candidate { folder: folder.join(name), id }));
        // Last names first: if they are times, those are the newest.
        let others = others.into_iter().rev().filter(|(name, _)| !(has_ids && name.as_str() == "data"));
        let inside = others.map(|(name, _)| folder.join(name));
        // A prefix that ends with a slash.
        let nameless = listing.nameless.then(|| folder.join_nameless(AWS));
        let unlisted = |folder| Unlisted { folder, depth: depth + 1, beside: beside || is_aws };
        waiting.extend(inside.chain(nameless).map(unlisted));
    }
    Ok(found)
}

/// Any completed export below `folder`, for a message.
pub(crate) async fn first_below(store: &Store, folder: &Location) -> Result<Option<Location>> {
    // For a folder that is too large, or that may not be read, there is no example; the other error is reported.
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

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
