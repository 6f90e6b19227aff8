//! `expire`: its entry in the table of commands, and its arguments.

use chrono::Utc;
use clap::Args;
use ddb_iceberg::commands::Expire;

use crate::cli::args::shared::{Shared, Table};
use crate::cli::args::values::{Age, parse_age, widen};
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const EXPIRE: Listed = Listed {
    name: "expire",
    form: Form::Maintenance,
    alike: &["expire-snapshots", "maintenance", "snapshots"],
    examples: "\
Examples:
  By the table's properties, or Iceberg's defaults:
    ddb-iceberg expire --table shop.orders

  Keep two days, and at least the last 100 snapshots:
    ddb-iceberg expire --table shop.orders --older-than 2d --retain-last 100",
};

/// `expire`.
#[derive(Args)]
pub(crate) struct ExpireArgs {
    #[command(flatten)]
    pub table: Table,
    /// Remove snapshots older than this: 90m, 12h, 5d, 2w, or a time such as 2026-01-14T10:00:00Z
    #[arg(long, value_name = "DURATION|TIME", value_parser = parse_age)]
    pub older_than: Option<Age>,
    /// Number of newest snapshots to keep in each branch, whatever their age
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub retain_last: Option<u32>,
    #[command(flatten)]
    pub shared: Shared,
}

impl ExpireArgs {
    /// The request, and the shared options.
    pub fn request(self) -> (Expire, Shared) {
        let request = Expire {
            table: self.table.ident,
            older_than: self.older_than.map(|age| age.before(Utc::now())),
            retain_last: self.retain_last.map(widen),
            dry_run: false,
        };
        (request, self.shared)
    }
}
