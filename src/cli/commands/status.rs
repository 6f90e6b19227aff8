//! `status`: its entry in the table of commands, and its arguments.

use chrono::TimeDelta;
use clap::Args;
use ddb_iceberg::commands::TableStatus;

use crate::cli::args::shared::{Shared, Table};
use crate::cli::args::values::{parse_duration, widen};
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const STATUS: Listed = Listed {
    name: "status",
    form: Form::Status,
    alike: &["describe", "gaps", "info", "lag", "show", "watermark"],
    examples: "\
Examples:
  Show how current the table is, what is due, and what to export next:
    ddb-iceberg status --table shop.orders s3://bucket/AWSDynamoDB

  For an alarm, exit with 4 if the table lags by more than an hour:
    ddb-iceberg status --table shop.orders --max-lag 1h --quiet",
};

/// `status`.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Exports, or folders with exports below them, to search for due windows
    #[arg(value_name = "EXPORT|PREFIX")]
    pub exports: Vec<String>,
    #[command(flatten)]
    pub table: Table,
    /// Exit with 4 if the table lags more: 90s, 45m, 1h, 2d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub max_lag: Option<TimeDelta>,
    /// Number of newest windows to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub windows: u32,
    #[command(flatten)]
    pub shared: Shared,
}

impl StatusArgs {
    /// The request, and the shared options.
    pub fn request(self) -> (TableStatus, Shared) {
        let request = TableStatus {
            table: self.table.ident,
            exports: self.exports,
            max_lag: self.max_lag,
            windows: widen(self.windows),
        };
        (request, self.shared)
    }
}
