//! The definition of the command line, from which help, completions and man pages are generated.
//!
//! Parsing accesses neither files nor the network. [`super::invocation`] decides what the values mean.

pub(crate) mod shared;
pub(crate) mod values;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::commands;
use crate::cli::commands::catalog_check::CheckArgs;
use crate::cli::commands::compact::CompactArgs;
use crate::cli::commands::detect_schema::DetectSchemaArgs;
use crate::cli::commands::expire::ExpireArgs;
use crate::cli::commands::full_load::FullLoadArgs;
use crate::cli::commands::incremental::IncrementalArgs;
use crate::cli::commands::orphans::OrphansArgs;
use crate::cli::commands::status::StatusArgs;
use crate::cli::commands::verify::VerifyArgs;

pub(crate) use shared::Shared;
pub(crate) use values::{Format, ProgressMode};

/// Turns DynamoDB's S3 exports into Apache Iceberg tables and keeps them fresh.
#[derive(Parser)]
#[command(name = "ddb-iceberg", version, after_long_help = crate::cli::commands::listed::PROGRAM_EXAMPLES, max_term_width = 100)]
#[command(after_help = "Exit codes and examples: --help")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub shared: Shared,
}

/// The definition of the command line, including texts from the table of commands.
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

/// Adds its examples to each command below the one whose words are `above`.
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
    /// Parses the arguments. An error may also be help or a version to print.
    pub fn typed(arguments: &[std::ffi::OsString]) -> Result<Self, clap::Error> {
        let mut definition = definition();
        let matches = definition.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
    }
}

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Inspect an export and propose columns and types
    ///
    /// Reads an export and writes a schema file: each attribute, the values observed, and its column and type.
    /// You can edit the file by hand and pass it to full-load with --schema.
    DetectSchema(DetectSchemaArgs),
    /// Create a table from a full export
    ///
    /// Creates the table with all items of the export in one commit, so the table is complete as soon as it exists.
    /// Loading the same export again changes nothing and is not an error.
    FullLoad(FullLoadArgs),
    /// Apply incremental exports to a table
    ///
    /// Applies the windows that are due, in order, one commit per window, from the time up to which the table is
    /// complete. Windows that the table already has are skipped. At a gap the command stops; applied windows are kept.
    Incremental(IncrementalArgs),
    /// Merge small data files, and rewrite those with many deletes
    ///
    /// Rewrites data files that are small, or that have many deleted rows, in one commit that changes no row.
    /// incremental compacts by itself when this is due; compact does everything that pays off.
    Compact(CompactArgs),
    /// Remove old snapshots, and the files that only they need
    ///
    /// Without options, the table's properties history.expire.* apply, or Iceberg's defaults: snapshots older than 5
    /// days are removed. Snapshots that a branch or tag refers to are kept, and those that record up to which time the
    /// table is complete. incremental expires snapshots by itself when this is due.
    Expire(ExpireArgs),
    /// List or delete files that nothing refers to
    ///
    /// Searches below the table's location for files that a crashed writer left behind. Without --delete they are only
    /// listed.
    Orphans(OrphansArgs),
    /// Check the catalog
    Catalog {
        #[command(subcommand)]
        command: CatalogCommand,
    },
    /// Show how current a table is, what is due, and what to export next
    ///
    /// Reads metadata and manifests, but no data: watermark and lag, the last windows, gaps, files and sizes, and the
    /// window to export next. With exports or a folder of exports, it also shows which windows are due and how many
    /// exports have not completed yet.
    Status(StatusArgs),
    /// Compare a table with a full export
    ///
    /// Compares key by key, by digests of the rows: which keys are missing, extra, different or duplicated. It compares
    /// the snapshot that is complete up to exactly the export's time. Exit code 1 if anything differs.
    Verify(VerifyArgs),
    /// Print completions for a shell
    ///
    /// Prints the completion script of a shell to stdout. For bash: ddb-iceberg completions bash >
    /// /etc/bash_completion.d/ddb-iceberg
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a man page
    ///
    /// Prints the man page of the program, or of one subcommand, to stdout. To read it: ddb-iceberg man | man -l -
    Man {
        /// The subcommand; without it, the program
        command: Option<String>,
    },
}

/// The subcommands of `catalog`.
#[derive(Subcommand)]
pub(crate) enum CatalogCommand {
    /// Check step by step what works and what to fix
    ///
    /// Shows the configuration and its sources, then connects to the catalog, signs in, lists its tables, and writes,
    /// reads and deletes one small file in the warehouse (not with --dry-run). Nothing else is changed. It takes at
    /// most 30 s.
    Check(CheckArgs),
}

pub(crate) mod limits;
#[cfg(test)]
mod tests;
