//! Which exports were looked at, so that a recorded gap does not have all manifests since read in every run.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use iceberg::spec::TableMetadata;
use serde::{Deserialize, Serialize};

use super::choose::late;
use super::window::Window;
use crate::export::{Export, LookBack, Looked};
use crate::table::watermark::{GAPS, GAPS_SEEN, Gap};
use crate::time;
use crate::time::Time;

/// For so long a window of a gap can still be asked for and completed: point-in-time recovery, and a day for the export.
const MISSED: TimeDelta = TimeDelta::days(36);
/// More folders, or more exports in one that must be read again, are not remembered.
const MOST: usize = 32;

/// What was found in folders of exports: in earlier runs, and in this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The gaps that folders are looked through for, as the table has them.
    gaps: String,
    known: BTreeMap<String, Looked>,
    now: BTreeMap<String, Looked>,
}

/// The property's form. What was found counts only for the very gaps that it was found for: another one may make a late
/// window of an export that was passed over.
#[derive(Serialize, Deserialize)]
struct Property {
    gaps: String,
    folders: BTreeMap<String, Looked>,
}

impl Seen {
    /// What the table remembers. What can't be read is forgotten: more is read then.
    pub fn of_table(metadata: &TableMetadata) -> Self {
        let gaps = gaps_of(metadata);
        let property =
            metadata.properties().get(GAPS_SEEN).and_then(|text| serde_json::from_str::<Property>(text).ok());
        let known = property.filter(|property| property.gaps == gaps).map(|property| property.folders);
        Self { gaps, known: known.unwrap_or_default(), now: BTreeMap::new() }
    }

    /// How far back a folder must be looked through for late windows of gaps.
    pub fn look_back(&self, folder: &str, mark: Option<Time>, gaps: &[Gap]) -> Option<LookBack<'_>> {
        let mark = mark?;
        let times = gaps.iter().filter_map(|gap| time::parse(&gap.from).zip(time::parse(&gap.to)));
        let since = times.filter(|(_, to)| mark < *to + MISSED).map(|(from, _)| from).min()?;
        (since < mark).then(|| LookBack { since, known: self.known.get(folder) })
    }

    /// Notes what was found in a folder. Late windows are read again, since an error tells them each time.
    pub fn note(&mut self, folder: &str, mut looked: Looked, exports: &[Export], gaps: &[Gap]) {
        let late = exports
            .iter()
            .filter(|export| export.window().is_some_and(|(from, to, _)| late(gaps, &Window { from, to })));
        looked.open.extend(late.map(|export| export.location().to_string()));
        if looked.open.len() <= MOST {
            self.now.insert(folder.to_owned(), looked);
        }
    }

    /// Goes on after a commit that recorded a gap of this run's own. The gap ends where the next window starts that was found
    /// in any of the folders of this run, so none of theirs is late by it. Of other folders that is not known.
    pub fn record(&mut self, before: &TableMetadata, after: &TableMetadata) {
        if gaps_of(before) == self.gaps {
            self.gaps = gaps_of(after);
            self.known.clear();
        }
    }

    /// The property's text, if any folder was looked through; `gap` is the text of the gaps if the commit records one on `base`.
    pub fn property(&self, base: &TableMetadata, gap: Option<&str>) -> Option<String> {
        if self.now.is_empty() {
            return None;
        }
        let own = gap.filter(|_| gaps_of(base) == self.gaps);
        let mut folders = self.now.clone();
        for (folder, looked) in self.known.iter().filter(|_| own.is_none()) {
            if folders.len() < MOST {
                folders.entry(folder.clone()).or_insert_with(|| looked.clone());
            }
        }
        let gaps = own.unwrap_or(&self.gaps).to_owned();
        serde_json::to_string(&Property { gaps, folders }).ok()
    }
}

fn gaps_of(metadata: &TableMetadata) -> String {
    metadata.properties().get(GAPS).cloned().unwrap_or_default()
}
