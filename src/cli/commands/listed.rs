//! An entry in the table of commands.

/// The kind of result of a command, which determines how it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A schema file.
    Schema,
    /// A table that was loaded.
    Load,
    /// Windows that were applied.
    Windows,
    /// Changes to a table's files.
    Maintenance,
    /// The state of a table.
    Status,
    /// A comparison.
    Verify,
    /// The steps of `catalog check`.
    Check,
    /// Plain text, in any case.
    Page,
}

/// A command.
#[derive(Debug)]
pub(crate) struct Listed {
    /// As typed, and as in `command` of results.
    pub name: &'static str,
    pub form: Form,
    /// Other names for the same work: a user who types one gets this command suggested.
    pub alike: &'static [&'static str],
    /// Printed below the options in its help.
    pub examples: &'static str,
}

/// The `command` of a result if no subcommand was found.
pub(crate) const PROGRAM: &str = "ddb-iceberg";

/// Printed below the options in the help of the program itself.
pub(crate) const PROGRAM_EXAMPLES: &str = "\
Examples:
  ddb-iceberg detect-schema s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4
  ddb-iceberg full-load     s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
    --key customer_id --key order_id
  ddb-iceberg incremental   s3://bucket/AWSDynamoDB --table shop.orders
  ddb-iceberg compact       --table shop.orders
  ddb-iceberg catalog check --table shop.orders

Exit codes:
  0    done, already done, or nothing to do
  1    failed: network, access, table missing or already exists
  2    the command line, the configuration or the schema file is wrong or missing
  3    an export is missing, damaged, incomplete, of the wrong kind, or of another table
  4    a gap or an overlap between windows, or a table that was rolled back
  5    other writers won every retry
  6    the commit was sent, but its outcome is unknown; run the same command again to find out
  130  interrupted; the table is as before, or has the windows that were applied";
