//! What was typed: the command line's definition, from which help, completions and man pages are made.
//!
//! Parsing touches no file and no network. What the values mean is decided in [`super::invocation`].

mod shared;
mod values;

use chrono::TimeDelta;
use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use iceberg::TableIdent;

use super::commands;

pub(crate) use shared::Shared;
pub(crate) use values::{
    Age, Format, IfExistsArg, MaintenanceArg, NewAttributesArg, ProgressMode, WriteModeArg, parse_age, parse_duration,
    parse_table,
};

/// Turns DynamoDB's S3 exports into Apache Iceberg tables and keeps them fresh.
#[derive(Parser)]
#[command(name = "ddb-iceberg", version, after_long_help = commands::PROGRAM_EXAMPLES, max_term_width = 100)]
#[command(after_help = "Exit codes and examples: --help")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub shared: Shared,
}

/// The definition of the command line, with what the table of commands has to say.
pub(crate) fn definition() -> clap::Command {
    // The man page of `catalog check` is `catalog-check`, and its group has one too.
    let pages = commands::COMMANDS.iter().map(|listed| match listed.name {
        "catalog check" => "catalog-check",
        name => name,
    });
    let pages = PossibleValuesParser::new(pages.chain(["catalog"]));
    let with_pages = |argument: clap::Arg| argument.value_parser(pages);
    described(Cli::command(), "").mut_subcommand(commands::MAN.name, |man| man.mut_arg("command", with_pages))
}

/// The definition with the examples of each command below the one whose words are given.
fn described(definition: clap::Command, above: &str) -> clap::Command {
    definition.mut_subcommands(|command| {
        let name = format!("{above} {}", command.get_name()).trim().to_owned();
        let examples =
            commands::COMMANDS.iter().find(|listed| listed.name == name).map_or("", |listed| listed.examples);
        let command = described(command, &name);
        if examples.is_empty() { command } else { command.after_long_help(examples).after_help("Examples: --help") }
    })
}

impl Cli {
    /// What was typed, or what to answer in place of running a command.
    pub fn typed(arguments: &[std::ffi::OsString]) -> Result<Self, clap::Error> {
        let mut definition = definition();
        let matches = definition.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
    }
}

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Look at an export and propose columns and types
    ///
    /// Reads an export and writes a schema file: each attribute, what was seen of it, and the column and type it gets.
    /// The file is made for editing by hand, and full-load takes it with --schema.
    DetectSchema(DetectSchemaArgs),
    /// Create a table from a full export
    ///
    /// Creates the table with all of the export's items in one commit: a table that appears is complete.
    /// The same export again changes nothing and is no error.
    FullLoad(FullLoadArgs),
    /// Apply incremental exports to a table
    ///
    /// Applies the windows that are due, in order, one commit a window, starting where the table is complete.
    /// Windows that the table has already are skipped. At a gap it stops; what was applied stays.
    Incremental(IncrementalArgs),
    /// Merge small data files, and rewrite those with many deletes
    ///
    /// Rewrites data files that are small, or of which many rows are deleted, in one commit that changes no row. incremental does what is due by itself; this does all that is worth it.
    Compact(CompactArgs),
    /// Remove old snapshots, and the files that only they need
    ///
    /// Without options it goes by the table's properties history.expire.*, or Iceberg's defaults: snapshots older than 5 days go. What a branch or a tag holds stays, and what tells up to which time the table is complete. incremental does what is due by itself.
    Expire(ExpireArgs),
    /// List or delete files that no snapshot names
    ///
    /// Looks below the table's location for files that a writer that died has left behind. Without --delete they are only listed.
    Orphans(OrphansArgs),
    /// Look at the catalog
    Catalog {
        #[command(subcommand)]
        command: CatalogCommand,
    },
    /// Say how far a table is, what waits, and what to export next
    ///
    /// Reads metadata and manifests, no data: watermark and lag, the last windows, gaps, files and sizes, and the window to export
    /// next. With exports or a folder of them, also which windows are due and how many exports have not completed yet.
    Status(StatusArgs),
    /// Compare a table with a full export
    ///
    /// Compares key by key, by digests of the rows: which keys are missing, extra, different or there more than once. The state of the
    /// table that is compared is the one that is complete up to exactly the export's time. Exit code 1 if anything differs.
    Verify(VerifyArgs),
    /// Print a shell's completions
    ///
    /// Prints the completion script of a shell on stdout. For bash: ddb-iceberg completions bash > /etc/bash_completion.d/ddb-iceberg
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a man page
    ///
    /// Prints the man page of the program, or of one subcommand, on stdout. To read it: ddb-iceberg man | man -l -
    Man {
        /// The subcommand; without it, the program
        command: Option<String>,
    },
}

/// The subcommands of `catalog`.
#[derive(Subcommand)]
pub(crate) enum CatalogCommand {
    /// Say step by step what works and what to mend
    ///
    /// Shows what is configured and where, then reaches the catalog, signs in, lists its tables, and writes, reads and
    /// deletes one small file in the warehouse (with --dry-run it does not). Nothing else is changed. It ends within 30 s.
    Check(CheckArgs),
}

/// `catalog check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Load this table too, and write where it lies
    #[arg(long, value_name = "NAMESPACE.TABLE", value_parser = parse_table)]
    pub table: Option<TableIdent>,
    /// Look at this export too, or at what is due in a folder of exports
    #[arg(long, value_name = "EXPORT|PREFIX")]
    pub export: Option<String>,
    #[command(flatten)]
    pub shared: Shared,
}

/// `detect-schema`.
#[derive(Args)]
pub(crate) struct DetectSchemaArgs {
    #[command(flatten)]
    pub source: Source,
    /// Write the schema file here, not to stdout; `-` is stdout
    #[arg(long, value_name = "FILE|s3://…")]
    pub output: Option<String>,
    #[command(flatten)]
    pub key: Key,
    /// Write the plain form, {"attribute":"S"}: DynamoDB types only
    #[arg(long)]
    pub flat: bool,
    /// Read only so many files that have items, spread over the export
    ///
    /// What other files hold is not in the result.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample_files: Option<u32>,
    /// A map with more distinct fields than this becomes a map<string, V>, not a struct
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_struct_fields: u32,
    #[command(flatten)]
    pub shared: Shared,
}

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

/// `incremental`.
#[derive(Args)]
pub(crate) struct IncrementalArgs {
    /// Exports, or folders with exports below them; s3:// or local
    ///
    /// Of windows that overlap, the chain that reaches furthest is applied. Below a folder, full exports and exports of other
    /// tables are skipped, and an export that has not completed yet is counted as pending. Where one is damaged, the
    /// windows before it are applied, and then it is exit 3.
    #[arg(value_name = "EXPORT|PREFIX", required = true)]
    pub exports: Vec<String>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub key: Key,
    /// How old rows are taken away; without it, as the table's property write.merge.mode says
    #[arg(long, value_name = "merge-on-read|copy-on-write", value_enum, hide_possible_values = true)]
    pub write_mode: Option<WriteModeArg>,
    /// What to do with attributes that the table does not have
    ///
    /// add: they become columns. rescue: they are kept in the column _ddb_rescued. fail: stop before any commit.
    #[arg(long, value_name = "add|rescue|fail", value_enum, default_value_t = NewAttributesArg::Add, hide_possible_values = true)]
    pub new_attributes: NewAttributesArg,
    /// Apply a window that starts after the time up to which the table is complete
    ///
    /// Changes between the two are missing from then on; the table records the gap. Nothing goes over a gap that an export
    /// could fill that has not completed yet.
    #[arg(long)]
    pub allow_gap: bool,
    /// Apply a window that starts before the time up to which the table is complete, and ends after it
    ///
    /// Only where none starts at that time.
    /// An item that was inserted before that time and deleted after it has no record in such a window: its row stays for ever.
    #[arg(long)]
    pub allow_overlap: bool,
    /// Whether to compact the table and expire old snapshots when that is due
    ///
    /// auto: after the windows, seldom and a part at a time; what goes wrong with it is a warning. off: leave it to another tool, such as the optimizer of AWS Glue or Amazon S3 Tables.
    #[arg(long, value_name = "auto|off", value_enum, default_value_t = MaintenanceArg::Auto, hide_possible_values = true)]
    pub maintenance: MaintenanceArg,
    #[command(flatten)]
    pub shared: Shared,
}

/// `compact`.
#[derive(Args)]
pub(crate) struct CompactArgs {
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub shared: Shared,
}

/// `expire`.
#[derive(Args)]
pub(crate) struct ExpireArgs {
    #[command(flatten)]
    pub table: Table,
    /// Remove snapshots older than this: 90m, 12h, 5d, 2w, or a time such as 2026-01-14T10:00:00Z
    #[arg(long, value_name = "DURATION|TIME", value_parser = parse_age)]
    pub older_than: Option<Age>,
    /// The newest snapshots of each branch to keep, however old they are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub retain_last: Option<u32>,
    #[command(flatten)]
    pub shared: Shared,
}

/// `orphans`.
#[derive(Args)]
pub(crate) struct OrphansArgs {
    #[command(flatten)]
    pub table: Table,
    /// Only files older than this, at least 24h: 36h, 3d, 2w, or a time such as 2026-01-14T10:00:00Z
    #[arg(long, value_name = "DURATION|TIME", value_parser = parse_age, default_value = "3d")]
    pub older_than: Age,
    /// Delete them
    #[arg(long)]
    pub delete: bool,
    #[command(flatten)]
    pub shared: Shared,
}

/// `status`.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Exports, or folders with exports below them, to look for due windows in
    #[arg(value_name = "EXPORT|PREFIX")]
    pub exports: Vec<String>,
    #[command(flatten)]
    pub table: Table,
    /// Exit with 4 if the table lags more: 90s, 45m, 1h, 2d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub max_lag: Option<TimeDelta>,
    /// The windows to list, the newest ones
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub windows: u32,
    #[command(flatten)]
    pub shared: Shared,
}

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
    /// Compare this snapshot, whatever time it is complete up to
    #[arg(long, value_name = "ID")]
    pub snapshot_id: Option<i64>,
    /// The keys to list of each kind of difference
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub examples: u32,
    #[command(flatten)]
    pub shared: Shared,
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

pub(crate) mod limits;
#[cfg(test)]
mod tests;
