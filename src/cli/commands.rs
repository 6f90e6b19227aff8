//! The table of commands: what a command is called, what comes of it, its examples, and what else people call it.
//!
//! Help texts, man pages, refusals and results take it from here. A test holds it against the command line's definition.

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

/// All commands, in the order of the help.
pub(crate) const COMMANDS: [&Listed; 11] = [
    &DETECT_SCHEMA,
    &FULL_LOAD,
    &INCREMENTAL,
    &COMPACT,
    &EXPIRE,
    &ORPHANS,
    &CATALOG_CHECK,
    &STATUS,
    &VERIFY,
    &COMPLETIONS,
    &MAN,
];

/// The command of this name, or the first of a group of commands: `catalog`.
pub(crate) fn named(name: &str) -> Option<&'static Listed> {
    let group = |listed: &&&'static Listed| listed.name.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
    COMMANDS.iter().find(|listed| listed.name == name).or_else(|| COMMANDS.iter().find(group)).copied()
}

/// The names of commands that may be meant by a word that is none.
pub(crate) fn meant(word: &str) -> Vec<&'static str> {
    let word = word.to_lowercase().replace('_', "-");
    let is_meant = |listed: &&&'static Listed| {
        listed.alike.contains(&word.as_str()) || ddb_iceberg::spelling::is_near(&word, listed.name)
    };
    COMMANDS.iter().filter(is_meant).map(|listed| listed.name).collect()
}

pub(crate) const DETECT_SCHEMA: Listed = Listed {
    name: "detect-schema",
    form: Form::Schema,
    alike: &["detect", "infer", "inspect", "schema", "types"],
    examples: "\
Examples:
  Print the schema file, with a table of the attributes beside it:
    ddb-iceberg detect-schema exports/AWSDynamoDB/01700000000000-a1b2c3d4

  Write it to a file, edit it, and load with it:
    ddb-iceberg detect-schema exports/AWSDynamoDB/01700000000000-a1b2c3d4 \\
      --key customer_id --key order_id --output orders.json
    ddb-iceberg full-load exports/AWSDynamoDB/01700000000000-a1b2c3d4 --table shop.orders \\
      --schema orders.json

  A quick look at a large export, from 10 of its files:
    ddb-iceberg detect-schema s3://bucket/AWSDynamoDB/01700000000000-a1b2c3d4 --sample-files 10",
};

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

pub(crate) const INCREMENTAL: Listed = Listed {
    name: "incremental",
    form: Form::Windows,
    alike: &["apply", "increment", "merge", "refresh", "sync", "update", "upsert"],
    examples: "\
Examples:
  Apply every window that is due, of all exports below a folder. Running it again does no harm, so
  the same line can be scheduled:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB --table shop.orders

  Apply one export:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB/01700000900000-e5f6a7b8 --table shop.orders

  The result for a program to read:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB --table shop.orders --format json",
};

pub(crate) const COMPACT: Listed = Listed {
    name: "compact",
    form: Form::Maintenance,
    alike: &["compaction", "maintenance", "optimize", "rewrite"],
    examples: "\
Examples:
  Merge what is worth it:
    ddb-iceberg compact --table shop.orders

  See what it would do:
    ddb-iceberg compact --table shop.orders --dry-run",
};

pub(crate) const EXPIRE: Listed = Listed {
    name: "expire",
    form: Form::Maintenance,
    alike: &["expire-snapshots", "maintenance", "snapshots"],
    examples: "\
Examples:
  By the table's properties, or Iceberg's defaults:
    ddb-iceberg expire --table shop.orders

  Keep two days, and at least the last 100 snapshots:
    ddb-iceberg expire --table shop.orders --older-than 2d --retain-last 100",
};

pub(crate) const ORPHANS: Listed = Listed {
    name: "orphans",
    form: Form::Maintenance,
    alike: &["clean", "maintenance", "orphan-files", "remove-orphans", "vacuum"],
    examples: "\
Examples:
  List files older than 3 days that nothing names:
    ddb-iceberg orphans --table shop.orders

  Delete those older than a week:
    ddb-iceberg orphans --table shop.orders --older-than 7d --delete",
};

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

pub(crate) const VERIFY: Listed = Listed {
    name: "verify",
    form: Form::Verify,
    alike: &["compare", "diff", "validate"],
    examples: "\
Examples:
  Compare the table with a full export of a time at which a window ended:
    ddb-iceberg verify s3://bucket/AWSDynamoDB/01700090000000-c9d0e1f2 --table shop.orders

  The result for a program to read; the exit code is 1 if anything differs:
    ddb-iceberg verify s3://bucket/AWSDynamoDB/01700090000000-c9d0e1f2 --table shop.orders \\
      --format json",
};

pub(crate) const COMPLETIONS: Listed =
    Listed { name: "completions", form: Form::Page, alike: &["completion"], examples: "" };

pub(crate) const MAN: Listed = Listed { name: "man", form: Form::Page, alike: &["manual", "manpage"], examples: "" };

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::definition;

    /// The commands of a definition that have none below them, by the words that are typed.
    fn leaves(definition: &clap::Command, above: &str) -> Vec<String> {
        let mut names = Vec::new();
        for command in definition.get_subcommands() {
            let name = format!("{above} {}", command.get_name()).trim().to_owned();
            let below = leaves(command, &name);
            if below.is_empty() { names.push(name) } else { names.extend(below) }
        }
        names
    }

    #[test]
    fn the_table_and_the_definition_have_the_same_commands() {
        assert_eq!(leaves(&definition(), ""), COMMANDS.map(|listed| listed.name));
        for listed in COMMANDS {
            assert_eq!(named(listed.name).map(|found| found.name), Some(listed.name));
            assert_eq!(listed.examples.is_empty(), listed.form == Form::Page, "{}", listed.name);
            assert!(meant(listed.name).contains(&listed.name));
        }
    }

    #[test]
    fn other_words_for_a_command_lead_to_it() {
        for (word, names) in [
            ("load", &["full-load"][..]),
            ("full_load", &["full-load"]),
            ("Incremantal", &["incremental"]),
            ("detect", &["detect-schema"]),
            ("schema", &["detect-schema"]),
            ("merge", &["incremental"]),
            ("maintenance", &["compact", "expire", "orphans"]),
            ("check", &["catalog check"]),
            ("vacuum", &["orphans"]),
            ("fly", &[]),
        ] {
            assert_eq!(meant(word), names, "{word}");
        }
        assert_eq!(named("catalog").map(|found| found.name), Some("catalog check"));
        assert!(named("cat").is_none() && named("").is_none());
    }
}
