//! Identifies the DynamoDB table of rows, and compares two of them.

use super::Export;
use crate::error::{Error, Result};

/// A DynamoDB table, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Its ARN: partition, region, account and name.
    pub arn: Option<String>,
    /// Its id, which changes when a table is deleted and recreated with the same ARN.
    pub id: Option<String>,
}

impl Export {
    /// The DynamoDB table, as far as the manifest identifies it.
    pub fn source(&self) -> Source {
        Source { arn: self.table_arn.clone(), id: self.table_id.clone() }
    }
}

impl Source {
    /// Refuses an export of another DynamoDB table, with an error of kind `Input`. Identities that only one side has
    /// are not compared.
    pub fn check(&self, export: &Export) -> Result<()> {
        let other = export.source();
        let differ = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
        let name = |known: &Option<String>| known.clone().unwrap_or_default();
        let named = |error: Error| error.in_file(export.location().to_string());
        if differ(&self.arn, &other.arn) {
            return Err(named(
                Error::input(format!("the export is of {}, the table holds {}", name(&other.arn), name(&self.arn)))
                    .advice(
                        "Name the right export or table. Where it is the same data under another name, as after a restore, \
                         load a full export of it with full-load --if-exists replace --allow-other-table",
                    ),
            ));
        }
        if differ(&self.id, &other.id) {
            return Err(named(
                Error::input(format!(
                    "the export is of a DynamoDB table that was made again under the same name (table id {}, not {})",
                    name(&other.id),
                    name(&self.id)
                ))
                .advice(
                    "An export of the older of the two came late: leave it out. To go on with the newer one, load a full \
                     export of it with full-load --if-exists replace --allow-other-table",
                ),
            ));
        }
        Ok(())
    }

    /// Adds identities from the export that were not known yet.
    pub fn learn(&mut self, export: &Export) {
        let other = export.source();
        self.arn = self.arn.take().or(other.arn);
        self.id = self.id.take().or(other.id);
    }
}
