//! `catalog check`: its line in the table of commands, and what may be typed.

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
  Whether the catalog of the configuration can be used, and what to mend if not:
    ddb-iceberg catalog check

  All that a scheduled run needs: the catalog, the table, its storage, and the exports:
    ddb-iceberg catalog check --table shop.orders --export s3://bucket/AWSDynamoDB",
};

/// `catalog check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Load this table too, and write where it lies
    #[arg(long, value_name = "NAMESPACE.TABLE", value_parser = parse_table)]
    pub table: Option<TableIdent>,
    /// Look at this export too, or at what is due in a folder of exports
    #[arg(long, value_name = "EXPORT|PREFIX")]
    pub export: Option<String>,
    #[command(flatten)]
    pub shared: Shared,
}
