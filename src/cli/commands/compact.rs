//! `compact`: its entry in the table of commands, and its arguments.

use clap::Args;
use ddb_iceberg::commands::Compact;

use crate::cli::args::shared::{Shared, Table};
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const COMPACT: Listed = Listed {
    name: "compact",
    form: Form::Maintenance,
    alike: &["compaction", "maintenance", "optimize", "rewrite"],
    examples: "\
Examples:
  Merge all files for which it pays off:
    ddb-iceberg compact --table shop.orders

  Show what it would do:
    ddb-iceberg compact --table shop.orders --dry-run",
};

/// `compact`.
#[derive(Args)]
pub(crate) struct CompactArgs {
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub shared: Shared,
}

impl CompactArgs {
    /// The request, and the shared options.
    pub fn request(self) -> (Compact, Shared) {
        (Compact { table: self.table.ident, dry_run: false }, self.shared)
    }
}
