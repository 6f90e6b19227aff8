//! `detect-schema`: its entry in the table of commands, and its arguments.

use clap::Args;
use ddb_iceberg::commands::DetectSchema;

use crate::cli::args::shared::{Key, Shared, Source};
use crate::cli::args::values::widen;
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const DETECT_SCHEMA: Listed = Listed {
    name: "detect-schema",
    form: Form::Schema,
    alike: &["detect", "infer", "inspect", "schema", "types"],
    examples: "\
Examples:
  Print the schema file, and a table of the attributes:
    ddb-iceberg detect-schema exports/AWSDynamoDB/01700000000000-a1b2c3d4

  Write it to a file, edit it, and load with it:
    ddb-iceberg detect-schema exports/AWSDynamoDB/01700000000000-a1b2c3d4 \\
      --key customer_id --key order_id --output orders.json
    ddb-iceberg full-load exports/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --schema orders.json

  A quick look at a large export, from 10 of its files:
    ddb-iceberg detect-schema s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --sample-files 10",
};

/// `detect-schema`.
#[derive(Args)]
pub(crate) struct DetectSchemaArgs {
    #[command(flatten)]
    pub source: Source,
    /// Write the schema file here instead of stdout; `-` is stdout
    #[arg(long, value_name = "FILE|s3://…")]
    pub output: Option<String>,
    #[command(flatten)]
    pub key: Key,
    /// Write the flat form, {"attribute":"S"}, with DynamoDB types only
    #[arg(long)]
    pub flat: bool,
    /// Read only N files that have items, spread over the export
    ///
    /// The result does not cover the other files.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample_files: Option<u32>,
    /// A map with more distinct fields than this becomes a map<string, V>, not a struct
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_struct_fields: u32,
    #[command(flatten)]
    pub shared: Shared,
}

impl DetectSchemaArgs {
    /// The request, and the shared options.
    pub fn request(self) -> (DetectSchema, Shared) {
        let request = DetectSchema {
            export: self.source.export,
            without_manifest: self.source.without_manifest,
            output: self.output.filter(|output| output != "-"),
            key: self.key.attributes,
            flat: self.flat,
            sample_files: self.sample_files.map(widen),
            max_struct_fields: widen(self.max_struct_fields),
        };
        (request, self.shared)
    }
}
