//! What was typed: the command line's definition, from which help, completions and man pages are made.
//!
//! Parsing touches no file and no network. What the values mean is decided in [`super::invocation`].

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

pub(crate) mod limits;
#[cfg(test)]
mod tests;
