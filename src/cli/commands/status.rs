//! `status`: its line in the table of commands, and what may be typed.

use chrono::TimeDelta;
use clap::Args;

use crate::cli::args::shared::{Shared, Table};
use crate::cli::args::values::{parse_duration, widen};
use crate::cli::commands::listed::{Form, Listed};
use ddb_iceberg::commands::TableStatus;

pub(crate) const STATUS: Listed = Listed {
    name: "status",
    form: Form::Status,
    alike: &["describe", "gaps", "info", "lag", "show", "watermark"],
    examples: "\
Examples:
  How far is it, what waits, and what to export next:
    ddb-iceberg status --table shop.orders s3://bucket/AWSDynamoDB

  For an alarm: exit 4 when the table is more than an hour behind:
    ddb-iceberg status --table shop.orders --max-lag 1h --quiet",
};

/// `status`.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Exports, or folders with exports below them, to look for due windows in
    #[arg(value_name = "EXPORT|PREFIX")]
    pub exports: Vec<String>,
    #[command(flatten)]
    pub table: Table,
    /// Exit with 4 if the table lags more: 90s, 45m, 1h, 2d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub max_lag: Option<TimeDelta>,
    /// The windows to list, the newest ones
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub windows: u32,
    #[command(flatten)]
    pub shared: Shared,
}

impl StatusArgs {
    /// The request, and what every command takes.
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
