//! Options that every command takes.

use clap::Args;
use iceberg::TableIdent;

use super::limits::{MAX_THREADS, parse_memory_limit};
use super::values::{Format, ProgressMode};
use crate::cli::args::values::parse_table;

/// Options that every subcommand takes, before or after its name.
#[derive(Args, Default)]
#[command(next_help_heading = "Shared options")]
pub(crate) struct Shared {
    /// The catalog's name in the configuration [default: default]
    ///
    /// The configuration is PyIceberg's: .pyiceberg.yaml in $PYICEBERG_HOME, the home or the working directory, and
    /// PYICEBERG_CATALOG__NAME__KEY in the environment. Without a configuration, the catalog is the SQLite file
    /// warehouse/catalog.db.
    #[arg(long, value_name = "NAME")]
    pub catalog: Option<String>,
    /// A property of the catalog; may be repeated; overrides the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    pub catalog_property: Vec<String>,
    /// The location of the tables; overrides the configuration
    #[arg(long, value_name = "URI")]
    pub warehouse: Option<String>,
    /// A configuration file, read instead of .pyiceberg.yaml
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// Number of tasks that run in parallel [default: as many as the machine can run]
    ///
    /// At most one for each 32MiB of --memory-limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_THREADS)))]
    pub threads: Option<u16>,
    /// Upper limit for memory: 512MiB, 2GB, 1.5GiB, … [default: by threads and machine]
    ///
    /// At least 512MB. The default is 256MiB per thread, but at most half of the machine's or container's memory, and
    /// at least 512MB.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_limit)]
    pub memory_limit: Option<u64>,
    /// Report what would be done, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The format of the result on stdout [default: text]
    #[arg(long, value_name = "text|json", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
    /// Show progress on stderr; auto: if it is a terminal [default: auto]
    #[arg(long, value_name = "auto|always|never", value_enum, hide_possible_values = true)]
    pub progress: Option<ProgressMode>,
    /// Log more to stderr; -vv and -vvv even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print only errors, on stderr
    ///
    /// A command that succeeds prints nothing, not even warnings: check the exit code, or use --format json, whose
    /// result is always printed and includes the warnings. A schema file or another requested text is also printed.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

impl Shared {
    /// Combines options before the subcommand with those after it: the later one wins, lists and counts add up.
    pub fn followed_by(self, later: Self) -> Self {
        let mut catalog_property = self.catalog_property;
        catalog_property.extend(later.catalog_property);
        Self {
            catalog: later.catalog.or(self.catalog),
            catalog_property,
            warehouse: later.warehouse.or(self.warehouse),
            config: later.config.or(self.config),
            threads: later.threads.or(self.threads),
            memory_limit: later.memory_limit.or(self.memory_limit),
            dry_run: later.dry_run || self.dry_run,
            format: later.format.or(self.format),
            progress: later.progress.or(self.progress),
            verbose: later.verbose.saturating_add(self.verbose),
            quiet: later.quiet || self.quiet,
        }
    }
}

/// Where a command reads one export.
#[derive(Args)]
pub(crate) struct Source {
    /// The export: its folder, or a manifest file in it; s3:// or local
    #[arg(value_name = "EXPORT")]
    pub export: String,
    /// EXPORT is a folder of bare *.json and *.json.gz files of {"Item":…} lines
    ///
    /// They are read recursively, in path order. Nothing can be verified, and the time up to which the table is
    /// complete is unknown, so incremental exports cannot follow.
    #[arg(long)]
    pub without_manifest: bool,
}

/// The table a command works on.
#[derive(Args)]
pub(crate) struct Table {
    /// The table; a namespace may have several levels
    #[arg(long = "table", value_name = "NAMESPACE.TABLE", value_parser = parse_table)]
    pub ident: TableIdent,
}

/// The key attributes.
#[derive(Args)]
pub(crate) struct Key {
    /// The partition key; repeat the option for the sort key
    #[arg(long = "key", value_name = "ATTRIBUTE")]
    pub attributes: Vec<String>,
}
