//! `full-load`: its line in the table of commands, and what may be typed.

use clap::{Args, ValueEnum};

use crate::cli::args::shared::{Key, Shared, Source, Table};
use crate::cli::args::values::widen;
use crate::cli::commands::listed::{Form, Listed};
use ddb_iceberg::commands::{FullLoad, IfExists};

pub(crate) const FULL_LOAD: Listed = Listed {
    name: "full-load",
    form: Form::Load,
    alike: &["load", "create", "full", "import", "init", "initial-load", "replace"],
    examples: "\
Examples:
  Create the table from a full export:
    ddb-iceberg full-load s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --key customer_id --key order_id

  With a schema file, in one pass over the export:
    ddb-iceberg full-load s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --schema orders.json

  In 16 partitions by the customer, so that a window reads only those that its keys are in:
    ddb-iceberg full-load s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --key customer_id --key order_id --partition-by 'bucket(16, customer_id)'

  See what it would do:
    ddb-iceberg full-load s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --key customer_id --key order_id --dry-run",
};

/// `full-load`.
#[derive(Args)]
pub(crate) struct FullLoadArgs {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub table: Table,
    /// A schema file as detect-schema writes it; without one the export is read twice
    ///
    /// The first of the two passes finds the schema. An attribute that the file does not list is kept in the column _ddb_rescued.
    #[arg(long, value_name = "FILE|s3://…")]
    pub schema: Option<String>,
    #[command(flatten)]
    pub key: Key,
    /// A partition field, such as "bucket(16, customer_id)"; may be repeated
    ///
    /// bucket(16, x), truncate(4, x), year(x), month(x), day(x), hour(x), or x alone, where x is an attribute's name, in double
    /// quotes if need be, or a column's. A load of more than 10,000 partitions is refused. A table that is replaced keeps its
    /// partition fields if none is given.
    #[arg(long, value_name = "SPEC")]
    pub partition_by: Vec<String>,
    /// What to do when the table exists
    ///
    /// fail: leave it alone and exit with 1, unless it holds this very export. replace: replace its rows in one commit. What
    /// the table has decided holds, unless a schema file says otherwise: its key, names, types that were named, and what is left out.
    #[arg(long, value_name = "fail|replace", value_enum, default_value_t = IfExistsArg::Fail, hide_possible_values = true)]
    pub if_exists: IfExistsArg,
    /// With --if-exists replace: take the export of another DynamoDB table than the one that the table holds
    ///
    /// For a table that was restored under another name, or dropped and made again. From then on the table takes exports of the other one.
    #[arg(long)]
    pub allow_other_table: bool,
    /// A map with more distinct fields than this becomes a map<string, V>, not a struct
    #[arg(long, value_name = "N", default_value_t = 256, conflicts_with = "schema")]
    pub max_struct_fields: u32,
    #[command(flatten)]
    pub shared: Shared,
}

/// `--if-exists`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IfExistsArg {
    Fail,
    Replace,
}

impl FullLoadArgs {
    /// The request, and what every command takes.
    pub fn request(self) -> (FullLoad, Shared) {
        let request = FullLoad {
            export: self.source.export,
            without_manifest: self.source.without_manifest,
            table: self.table.ident,
            schema: self.schema,
            key: self.key.attributes,
            partition_by: self.partition_by,
            if_exists: match self.if_exists {
                IfExistsArg::Fail => IfExists::Fail,
                IfExistsArg::Replace => IfExists::Replace,
            },
            allow_other_table: self.allow_other_table,
            max_struct_fields: widen(self.max_struct_fields),
            dry_run: false,
        };
        (request, self.shared)
    }
}
