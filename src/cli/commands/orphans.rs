//! `orphans`: its entry in the table of commands, and its arguments.

use chrono::Utc;
use clap::Args;
use ddb_iceberg::commands::Orphans;

use crate::cli::args::shared::{Shared, Table};
use crate::cli::args::values::{Age, parse_age};
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const ORPHANS: Listed = Listed {
    name: "orphans",
    form: Form::Maintenance,
    alike: &["clean", "maintenance", "orphan-files", "remove-orphans", "vacuum"],
    examples: "\
Examples:
  List unreferenced files older than 3 days:
    ddb-iceberg orphans --table shop.orders

  Delete those older than a week:
    ddb-iceberg orphans --table shop.orders --older-than 7d --delete",
};

/// `orphans`.
#[derive(Args)]
pub(crate) struct OrphansArgs {
    #[command(flatten)]
    pub table: Table,
    /// Only files older than this, at least 24h: 36h, 3d, 2w, or a time such as 2026-01-14T10:00:00Z
    #[arg(long, value_name = "DURATION|TIME", value_parser = parse_age, default_value = "3d")]
    pub older_than: Age,
    /// Delete them
    #[arg(long)]
    pub delete: bool,
    #[command(flatten)]
    pub shared: Shared,
}

impl OrphansArgs {
    /// The request, and the shared options.
    pub fn request(self) -> (Orphans, Shared) {
        let request = Orphans {
            table: self.table.ident,
            older_than: self.older_than.before(Utc::now()),
            delete: self.delete,
            dry_run: false,
        };
        (request, self.shared)
    }
}
