//! The column `_ddb_rescued`: values that fit no other column.

use std::collections::BTreeMap;

use arrow::array::{StringArray, StringBuilder};
use serde::{Deserialize, Serialize};

use super::node::Fit;
use crate::error::{Error, Result};

/// Values kept in `_ddb_rescued`, by attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescued {
    /// Number of all rescued values.
    pub values: BTreeMap<String, u64>,
    /// Number of those that wait for a type: only empty lists and maps are missing in their column.
    pub undecided: BTreeMap<String, u64>,
}

impl Rescued {
    /// Number of attributes with rescued values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds the values that another task rescued.
    pub fn take_in(&mut self, other: Self) {
        for (sum, more) in [(&mut self.values, other.values), (&mut self.undecided, other.undecided)] {
            for (name, count) in more {
                *sum.entry(name).or_default() += count;
            }
        }
    }
}

/// Builder of the column.
#[derive(Debug)]
pub(super) struct Rescue {
    /// Its index among the columns.
    pub slot: usize,
    texts: StringBuilder,
    row: String,
    counts: Rescued,
}

impl Rescue {
    pub fn new(slot: usize) -> Self {
        Self { slot, texts: StringBuilder::new(), row: String::new(), counts: Rescued::default() }
    }

    /// Rescues the DynamoDB JSON of an attribute that its column could not take completely.
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

    /// Returns the finished column and empties the builder.
    pub fn finish(&mut self) -> StringArray {
        self.texts.finish()
    }

    /// Values rescued since the last call.
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
