//! Completions and man pages, generated from the command line's definition.

use std::process::ExitCode;

use clap_complete::Shell;
use ddb_iceberg::error::{Error, Result};

use crate::cli::render::printer;

/// The completion script of a shell.
pub(crate) fn completions(shell: Shell, mut definition: clap::Command) -> Vec<u8> {
    let name = definition.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition, name, &mut script);
    script
}

/// The man page of the program, or of one subcommand, as roff.
pub(crate) fn man(definition: clap::Command, subcommand: Option<&str>) -> Result<Vec<u8>> {
    let mut definition = definition.disable_help_subcommand(true);
    // Gives subcommands the names that they have in the program's page.
    definition.build();
    let page = match subcommand {
        None => definition,
        Some(name) => {
            find(&definition, name).ok_or_else(|| Error::usage(format!("there is no subcommand {name:?}")))?.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(|error| Error::failed("the man page could not be made").caused_by(error))?;
    Ok(text)
}

/// A subcommand, or a nested one: `catalog-check`.
fn find<'a>(definition: &'a clap::Command, name: &str) -> Option<&'a clap::Command> {
    definition.find_subcommand(name).or_else(|| {
        definition.get_subcommands().find_map(|outer| {
            let inner = name.strip_prefix(outer.get_name())?.strip_prefix('-')?;
            outer.find_subcommand(inner)
        })
    })
}

/// Prints a page and reports the outcome.
pub(crate) fn print(page: &[u8]) -> ExitCode {
    match printer::stdout(page) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => printer::error(&error),
    }
}
