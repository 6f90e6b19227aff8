//! What stands below the options in each help text.

pub(super) const EXIT_CODES: &str = "\
Examples:
  ddb-iceberg detect-schema s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4
  ddb-iceberg full-load     s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders
  ddb-iceberg incremental   s3://bucket/AWSDynamoDB --table shop.orders
  ddb-iceberg compact       --table shop.orders
  ddb-iceberg catalog check --table shop.orders

Exit codes:
  0    done, already done, or nothing to do
  1    failed: network, access, no such table, the table exists
  2    the command line, the configuration or the schema file is wrong
  3    the input is damaged, incomplete, of the wrong kind, or another table's
  4    a gap or an overlap between windows, or a table that was rolled back
  5    other writers won every retry
  6    the commit was sent and its outcome is unknown; run the same command again to find out
  130  interrupted; the table is as before, or has the windows that were applied";

pub(super) const DETECT_EXAMPLES: &str = "\
Examples:
  Print the schema file, with a table of the attributes beside it:
    ddb-iceberg detect-schema exports/AWSDynamoDB/01700000000000-a1b2c3d4

  Write it to a file, edit it, and load with it:
    ddb-iceberg detect-schema exports/AWSDynamoDB/01700000000000-a1b2c3d4 --output orders.json
    ddb-iceberg full-load exports/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --schema orders.json

  A quick look at a large export, from 10 of its files:
    ddb-iceberg detect-schema s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --sample-files 10";

pub(super) const FULL_LOAD_EXAMPLES: &str = "\
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
      --key id --dry-run";

pub(super) const INCREMENTAL_EXAMPLES: &str = "\
Examples:
  Apply every window that is due, of all exports below a folder. Running it again does no harm, so
  the same line can be scheduled:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB --table shop.orders

  Apply one export:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB/01700000900000-e5f6a7b8 --table shop.orders

  The result for a program to read:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB --table shop.orders --format json";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  Whether the catalog of the configuration can be used, and what to mend if not:
    ddb-iceberg catalog check

  All that a scheduled run needs: the catalog, the table, its storage, and the exports:
    ddb-iceberg catalog check --table shop.orders --export s3://bucket/AWSDynamoDB";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  How far is it, what waits, and what to export next:
    ddb-iceberg status --table shop.orders s3://bucket/AWSDynamoDB

  For an alarm: exit 4 when the table is more than an hour behind:
    ddb-iceberg status --table shop.orders --max-lag 1h --quiet";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  Compare the table with a full export of a time at which a window ended:
    ddb-iceberg verify s3://bucket/AWSDynamoDB/01700090000000-c9d0e1f2 --table shop.orders

  The result for a program to read; the exit code is 1 if anything differs:
    ddb-iceberg verify s3://bucket/AWSDynamoDB/01700090000000-c9d0e1f2 --table shop.orders --format json";

pub(super) const COMPACT_EXAMPLES: &str = "\
Examples:
  Merge what is worth it:
    ddb-iceberg compact --table shop.orders

  See what it would do:
    ddb-iceberg compact --table shop.orders --dry-run";

pub(super) const EXPIRE_EXAMPLES: &str = "\
Examples:
  By the table's properties, or Iceberg's defaults:
    ddb-iceberg expire --table shop.orders

  Keep two days, and at least the last 100 snapshots:
    ddb-iceberg expire --table shop.orders --older-than 2d --retain-last 100";

pub(super) const ORPHANS_EXAMPLES: &str = "\
Examples:
  List files older than 3 days that nothing names:
    ddb-iceberg orphans --table shop.orders

  Delete those older than a week:
    ddb-iceberg orphans --table shop.orders --older-than 7d --delete";
