//! Options that every command takes.

use clap::Args;
use iceberg::TableIdent;

use super::limits::{MAX_THREADS, parse_memory_limit};
use super::values::{Format, ProgressMode};
use crate::cli::args::values::parse_table;

/// What every subcommand takes, before its name or after it.
#[derive(Args, Default)]
#[command(next_help_heading = "Shared options")]
pub(crate) struct Shared {
    /// The catalog, by its name in the configuration [default: default]
    ///
    /// The configuration is PyIceberg's: .pyiceberg.yaml in $PYICEBERG_HOME, the home or the working directory, and
    /// PYICEBERG_CATALOG__NAME__KEY in the environment. With nothing configured the catalog is SQLite at
    /// warehouse/catalog.db.
    #[arg(long, value_name = "NAME")]
    pub catalog: Option<String>,
    /// A property of the catalog; may be repeated, and wins over the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    pub catalog_property: Vec<String>,
    /// Where tables are kept; wins over the configuration
    #[arg(long, value_name = "URI")]
    pub warehouse: Option<String>,
    /// A configuration file, read in place of .pyiceberg.yaml
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// Tasks that run at once [default: as many as the machine can run]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_THREADS)))]
    pub threads: Option<u16>,
    /// Upper bound of memory: 512MiB, 2GB, 1.5GiB, … [default: by threads and machine]
    ///
    /// At least 512MB. The default is 256MiB a thread, at least 512MB, at most half of the machine's or container's memory.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_limit)]
    pub memory_limit: Option<u64>,
    /// Say what would be done, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The form of the result on stdout [default: text]
    #[arg(long, value_name = "text|json", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
    /// Show progress on stderr; auto: when it is a terminal [default: auto]
    #[arg(long, value_name = "auto|always|never", value_enum, hide_possible_values = true)]
    pub progress: Option<ProgressMode>,
    /// Log more to stderr; -vv and -vvv even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print nothing but errors, on stderr
    ///
    /// A command that succeeds prints nothing at all, not even warnings: look at the exit code, or at the result with --format json,
    /// which is printed all the same and has the warnings. So is a schema file or another text that is asked for.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

impl Shared {
    /// Joins what stood before the subcommand with what stood after it: the later wins, lists and counts add up.
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
    /// They are read recursively, in path order. Nothing can be verified, and the table gets no time up to which it is complete: incremental exports can't follow.
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
    /// The partition key; given twice, the partition key and then the sort key
    #[arg(long = "key", value_name = "ATTRIBUTE")]
    pub attributes: Vec<String>,
}
