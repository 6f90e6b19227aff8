//! `full-load`: its entry in the table of commands, and its arguments.

use clap::{Args, ValueEnum};
use ddb_iceberg::commands::{FullLoad, IfExists};

use crate::cli::args::shared::{Key, Shared, Source, Table};
use crate::cli::args::values::widen;
use crate::cli::commands::listed::{Form, Listed};

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

  Partition by customer, in 16 buckets, so that a window reads only buckets of its keys:
    ddb-iceberg full-load s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --key customer_id --key order_id --partition-by 'bucket(16, customer_id)'

  Show what it would do:
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
    /// A schema file from detect-schema; without one the export is read twice
    ///
    /// The first of the two passes finds the schema. Attributes that the file does not list are kept in the column
    /// _ddb_rescued.
    #[arg(long, value_name = "FILE|s3://…")]
    pub schema: Option<String>,
    #[command(flatten)]
    pub key: Key,
    /// A partition field, such as "bucket(16, customer_id)"; may be repeated
    ///
    /// bucket(16, x), truncate(4, x), year(x), month(x), day(x), hour(x), or x alone, where x is the name of an
    /// attribute or a column, in double quotes if necessary. A load of more than 10,000 partitions is refused. Without
    /// this option, a table whose rows are replaced keeps its partition fields.
    #[arg(long, value_name = "SPEC")]
    pub partition_by: Vec<String>,
    /// What to do if the table exists
    ///
    /// fail: change nothing and exit with 1, unless the table already holds this export. replace: replace its rows in
    /// one commit. Unless a schema file overrides them, the table keeps its key, names, types that a schema file named,
    /// and omitted attributes.
    #[arg(long, value_name = "fail|replace", value_enum, default_value_t = IfExistsArg::Fail, hide_possible_values = true)]
    pub if_exists: IfExistsArg,
    /// With --if-exists replace: accept an export of another DynamoDB table
    ///
    /// For a DynamoDB table that was restored under another name, or deleted and recreated. From then on the Iceberg
    /// table takes exports of the other one.
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
    /// The request, and the shared options.
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
