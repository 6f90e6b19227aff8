//! `verify`: its entry in the table of commands, and its arguments.

use clap::Args;
use ddb_iceberg::commands::Verify;

use crate::cli::args::shared::{Key, Shared, Table};
use crate::cli::args::values::widen;
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const VERIFY: Listed = Listed {
    name: "verify",
    form: Form::Verify,
    alike: &["compare", "diff", "validate"],
    examples: "\
Examples:
  Compare the table with a full export taken at the end of a window:
    ddb-iceberg verify s3://bucket/AWSDynamoDB/01700090000000-c9d0e1f2 --table shop.orders

  Print the result for a program; the exit code is 1 if anything differs:
    ddb-iceberg verify s3://bucket/AWSDynamoDB/01700090000000-c9d0e1f2 --table shop.orders \\
      --format json",
};

/// `verify`.
#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The full export: its folder, or a manifest file in it; s3:// or local
    #[arg(value_name = "EXPORT")]
    pub export: String,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub key: Key,
    /// Compare this snapshot, regardless of its time
    #[arg(long, value_name = "ID")]
    pub snapshot_id: Option<i64>,
    /// Number of keys to list for each kind of difference
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub examples: u32,
    #[command(flatten)]
    pub shared: Shared,
}

impl VerifyArgs {
    /// The request, and the shared options.
    pub fn request(self) -> (Verify, Shared) {
        let request = Verify {
            export: self.export,
            table: self.table.ident,
            key: self.key.attributes,
            snapshot_id: self.snapshot_id,
            examples: widen(self.examples),
        };
        (request, self.shared)
    }
}
