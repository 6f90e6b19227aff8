//! Remembers which exports were checked, so that runs do not read all manifests since a recorded gap again.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use iceberg::spec::TableMetadata;
use serde::{Deserialize, Serialize};

use super::choose::late;
use super::window::Window;
use crate::export::{Export, LookBack, Looked};
use crate::table::watermark::{GAPS, GAPS_SEEN, Gap};
use crate::time::{self, Time};

/// How long a window of a gap can still be requested and completed: point-in-time recovery, and a day for the export.
const MISSED: TimeDelta = TimeDelta::days(36);
/// Maximum number of folders, and of exports per folder that must be read again, that are remembered.
const MOST: usize = 32;

/// What was found in folders of exports, in earlier runs and in this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The table's gaps for which folders are searched.
    gaps: String,
    known: BTreeMap<String, Looked>,
    now: BTreeMap<String, Looked>,
}

/// The property's format. It is valid only for the gaps for which it was recorded: another gap may make the window of a
/// skipped export a late one.
#[derive(Serialize, Deserialize)]
struct Property {
    gaps: String,
    folders: BTreeMap<String, Looked>,
}

impl Seen {
    /// The table's record. If it can't be parsed it is ignored, and more is read.
    pub fn of_table(metadata: &TableMetadata) -> Self {
        let gaps = gaps_of(metadata);
        let property =
            metadata.properties().get(GAPS_SEEN).and_then(|text| serde_json::from_str::<Property>(text).ok());
        let known = property.filter(|property| property.gaps == gaps).map(|property| property.folders);
        Self { gaps, known: known.unwrap_or_default(), now: BTreeMap::new() }
    }

    /// How far back a folder must be searched for late windows of gaps.
    pub fn look_back(&self, folder: &str, mark: Option<Time>, gaps: &[Gap]) -> Option<LookBack<'_>> {
        let mark = mark?;
        let times = gaps.iter().filter_map(|gap| time::parse(&gap.from).zip(time::parse(&gap.to)));
        let since = times.filter(|(_, to)| mark < *to + MISSED).map(|(from, _)| from).min()?;
        (since < mark).then(|| LookBack { since, known: self.known.get(folder) })
    }

    /// Records what was found in a folder. Late windows are read again, since each run reports them as an error.
    pub fn note(&mut self, folder: &str, mut looked: Looked, exports: &[Export], gaps: &[Gap]) {
        let late = exports
            .iter()
            .filter(|export| export.window().is_some_and(|(from, to, _)| late(gaps, &Window { from, to })));
        looked.open.extend(late.map(|export| export.location().to_string()));
        if looked.open.len() <= MOST {
            self.now.insert(folder.to_owned(), looked);
        }
    }

    /// Continues after a commit that recorded a gap from this run. The gap ends where the next window in any folder of
    /// this run starts, so none of their windows is late for it. For other folders this is unknown.
    pub fn record(&mut self, before: &TableMetadata, after: &TableMetadata) {
        if gaps_of(before) == self.gaps {
            self.gaps = gaps_of(after);
            self.known.clear();
        }
    }

    /// The property's value, if any folder was searched; `gap` is the value for the gaps if the commit records one on
    /// `base`.
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

#[cfg(test)]
mod tests {
    use iceberg::TableCreation;
    use iceberg::spec::{Schema, TableMetadataBuilder};

    use super::*;

    fn table(gaps: &[Gap], seen: Option<&str>) -> TableMetadata {
        let text = serde_json::to_string(gaps).unwrap();
        let properties = [(GAPS.to_owned(), text)].into_iter();
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .location("s3://b/t".to_owned())
            .schema(Schema::builder().build().unwrap())
            .properties(properties.chain(seen.map(|seen| (GAPS_SEEN.to_owned(), seen.to_owned()))))
            .build();
        TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
    }

    /// With another gap, an export that was passed over may be a late window.
    #[test]
    fn what_was_seen_holds_for_the_gaps_of_then() {
        let at = |hour: u32| time::parse(&format!("2026-01-01T{hour:02}:00:00Z")).unwrap();
        let one = [Gap::between(at(0), at(1))];
        let two = [Gap::between(at(0), at(1)), Gap::between(at(2), at(3))];
        let mut run = Seen::of_table(&table(&one, None));
        run.note("f", Looked::default(), &[], &one);
        let property = run.property(&table(&one, None), None).unwrap();
        let is_known = |gaps: &[Gap], folder: &str| {
            let seen = Seen::of_table(&table(gaps, Some(&property)));
            seen.look_back(folder, Some(at(4)), gaps).map(|back| back.known.is_some())
        };
        assert_eq!(is_known(&one, "f"), Some(true));
        assert_eq!(is_known(&one, "g"), Some(false));
        assert_eq!(is_known(&two, "f"), Some(false));
    }
}
