//! What `ddb-iceberg catalog check` learns from a catalog.

use iceberg::TableIdent;
use uuid::Uuid;

use crate::error::Result;

/// What one step looked at, in the order in which a catalog is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Whether the catalog is there and answers.
    Reach,
    /// Whether it knows us.
    SignIn,
    /// Whether its tables can be listed, and changed as far as that can be told without a change.
    List,
}

/// One step and how it went.
#[derive(Debug)]
pub struct Step {
    /// What was looked at.
    pub about: About,
    /// What was found, in words.
    pub outcome: Result<String>,
}

impl Step {
    /// A step that went well; `found` is a sentence without a stop.
    pub fn good(about: About, found: impl Into<String>) -> Self {
        Self { about, outcome: Ok(found.into()) }
    }

    /// How a step went.
    pub fn new(about: About, outcome: Result<String>) -> Self {
        Self { about, outcome }
    }
}

/// The name of a table that surely does not exist: looking for it shows whether a catalog answers.
pub(super) fn nobody() -> Result<TableIdent> {
    let name = format!("check_{}", Uuid::new_v4().simple());
    Ok(TableIdent::from_strs(["ddb_iceberg_check", &name])?)
}

/// "1 table", "2 tables".
pub(super) fn count(number: i64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
