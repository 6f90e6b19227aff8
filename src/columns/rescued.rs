//! The column `_ddb_rescued`: what fits no other.

use std::collections::BTreeMap;

use arrow::array::{StringArray, StringBuilder};

use super::node::Fit;
use crate::error::{Error, Result};

/// Values kept in `_ddb_rescued`, by attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rescued {
    /// All of them.
    pub values: BTreeMap<String, u64>,
    /// Of these, those that wait for a type: nothing of them is missing in a column but empty lists and maps.
    pub undecided: BTreeMap<String, u64>,
}

impl Rescued {
    /// How many attributes have some.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes in what another task has kept.
    pub fn take_in(&mut self, other: Self) {
        for (sum, more) in [(&mut self.values, other.values), (&mut self.undecided, other.undecided)] {
            for (name, count) in more {
                *sum.entry(name).or_default() += count;
            }
        }
    }
}

/// The column under construction.
#[derive(Debug)]
pub(super) struct Rescue {
    /// Its place among the columns.
    pub slot: usize,
    texts: StringBuilder,
    row: String,
    counts: Rescued,
}

impl Rescue {
    pub fn new(slot: usize) -> Self {
        Self { slot, texts: StringBuilder::new(), row: String::new(), counts: Rescued::default() }
    }

    /// Keeps the DynamoDB JSON of an attribute that its column could not take whole.
    pub fn keep(rescue: Option<&mut Self>, name: &str, value: &str, fit: Fit) -> Result<()> {
        let Some(rescue) = rescue else {
            return Err(Error::input("a value fits no column, and the table has no column _ddb_rescued to keep it in")
                .of_attribute(name)
                .advice("Add an optional string column named _ddb_rescued to the table, or reload it with full-load"));
        };
        rescue.row.push(if rescue.row.is_empty() { '{' } else { ',' });
        let quoted = serde_json::to_string(name).map_err(|e| Error::input("a broken attribute name").caused_by(e))?;
        rescue.row.push_str(&quoted);
        rescue.row.push(':');
        rescue.row.push_str(value.trim());
        count(&mut rescue.counts.values, name);
        if fit == Fit::Undecided {
            count(&mut rescue.counts.undecided, name);
        }
        Ok(())
    }

    pub fn end_row(&mut self) {
        if self.row.is_empty() {
            self.texts.append_null();
        } else {
            self.row.push('}');
            self.texts.append_value(&self.row);
            self.row.clear();
        }
    }

    /// The finished column, which is empty again.
    pub fn finish(&mut self) -> StringArray {
        self.texts.finish()
    }

    /// What was kept since the last call.
    pub fn take_counts(&mut self) -> Rescued {
        std::mem::take(&mut self.counts)
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}
