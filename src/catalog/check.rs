//! The findings of `ddb-iceberg catalog check` about a catalog.

use iceberg::TableIdent;
use uuid::Uuid;

use crate::error::Result;

/// The subject of a step, in the order in which a catalog is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Whether the catalog is reachable and answers.
    Reach,
    /// Whether the sign-in succeeds.
    SignIn,
    /// Whether its tables can be listed, and changed, as far as this can be found out without a change.
    List,
}

/// One step and its result.
#[derive(Debug)]
pub struct Step {
    /// The subject.
    pub about: About,
    /// The finding, as text.
    pub outcome: Result<String>,
}

impl Step {
    /// A successful step; `found` is a sentence without a full stop.
    pub fn good(about: About, found: impl Into<String>) -> Self {
        Self { about, outcome: Ok(found.into()) }
    }

    /// A step with its result.
    pub fn new(about: About, outcome: Result<String>) -> Self {
        Self { about, outcome }
    }
}

/// The name of a table that certainly does not exist: looking it up shows whether a catalog answers.
pub(super) fn nobody() -> Result<TableIdent> {
    let name = format!("check_{}", Uuid::new_v4().simple());
    Ok(TableIdent::from_strs(["ddb_iceberg_check", &name])?)
}

/// "1 table", "2 tables".
pub(super) fn count(number: i64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
