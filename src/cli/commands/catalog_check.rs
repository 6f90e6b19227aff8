//! `catalog check`: its entry in the table of commands, and its arguments.

use clap::Args;
use iceberg::TableIdent;

use crate::cli::args::shared::Shared;
use crate::cli::args::values::parse_table;
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const CATALOG_CHECK: Listed = Listed {
    name: "catalog check",
    form: Form::Check,
    alike: &["check", "doctor", "ping", "test"],
    examples: "\
Examples:
  Check whether the configured catalog can be used, and what to fix if not:
    ddb-iceberg catalog check

  Check all that a scheduled run needs: the catalog, the table, its storage, and the exports:
    ddb-iceberg catalog check --table shop.orders --export s3://bucket/AWSDynamoDB",
};

/// `catalog check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Also load this table, and write the test file in its location
    #[arg(long, value_name = "NAMESPACE.TABLE", value_parser = parse_table)]
    pub table: Option<TableIdent>,
    /// Also check this export, or the due windows in a folder of exports
    #[arg(long, value_name = "EXPORT|PREFIX")]
    pub export: Option<String>,
    #[command(flatten)]
    pub shared: Shared,
}
