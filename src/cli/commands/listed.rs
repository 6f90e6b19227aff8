//! What the table of commands says of one.

/// What comes of a command, and so how that is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A schema file.
    Schema,
    /// A table that was loaded.
    Load,
    /// Windows that were applied.
    Windows,
    /// What was done to a table's files.
    Maintenance,
    /// How a table is.
    Status,
    /// A comparison.
    Verify,
    /// The steps of `catalog check`.
    Check,
    /// A text, whatever happens.
    Page,
}

/// A command.
#[derive(Debug)]
pub(crate) struct Listed {
    /// As it is typed, and as results have it in `command`.
    pub name: &'static str,
    pub form: Form,
    /// Other names for the same work: somebody who types one is told this command's.
    pub alike: &'static [&'static str],
    /// What stands below the options in its help.
    pub examples: &'static str,
}

/// What a result calls the program itself, where no subcommand was found.
pub(crate) const PROGRAM: &str = "ddb-iceberg";

/// What stands below the options of the program itself.
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
  1    failed: network, access, no such table, the table exists
  2    the command line, the configuration or the schema file is wrong or not there
  3    an export is not there, damaged, incomplete, of the wrong kind, or another table's
  4    a gap or an overlap between windows, or a table that was rolled back
  5    other writers won every retry
  6    the commit was sent and its outcome is unknown; run the same command again to find out
  130  interrupted; the table is as before, or has the windows that were applied";
