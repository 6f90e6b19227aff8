//! The table of commands: name, kind of result, examples and alternative names of each.
//!
//! Help texts, man pages, refusals and results use this table. A test compares it with the command line's definition.

pub(crate) mod catalog_check;
pub(crate) mod compact;
pub(crate) mod detect_schema;
pub(crate) mod expire;
pub(crate) mod full_load;
pub(crate) mod incremental;
pub(crate) mod listed;
pub(crate) mod orphans;
pub(crate) mod status;
pub(crate) mod verify;

use crate::cli::commands::catalog_check::CATALOG_CHECK;
use crate::cli::commands::compact::COMPACT;
use crate::cli::commands::detect_schema::DETECT_SCHEMA;
use crate::cli::commands::expire::EXPIRE;
use crate::cli::commands::full_load::FULL_LOAD;
use crate::cli::commands::incremental::INCREMENTAL;
use crate::cli::commands::listed::{Form, Listed};
use crate::cli::commands::orphans::ORPHANS;
use crate::cli::commands::status::STATUS;
use crate::cli::commands::verify::VERIFY;

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

/// The command with this name, or the first of a group of commands such as `catalog`.
pub(crate) fn named(name: &str) -> Option<&'static Listed> {
    let group = |listed: &&&'static Listed| listed.name.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
    COMMANDS.iter().find(|listed| listed.name == name).or_else(|| COMMANDS.iter().find(group)).copied()
}

/// Suggested command names for an unknown word.
pub(crate) fn meant(word: &str) -> Vec<&'static str> {
    let word = word.to_lowercase().replace('_', "-");
    let is_meant = |listed: &&&'static Listed| {
        listed.alike.contains(&word.as_str()) || ddb_iceberg::spelling::is_near(&word, listed.name)
    };
    COMMANDS.iter().filter(is_meant).map(|listed| listed.name).collect()
}

pub(crate) const COMPLETIONS: Listed =
    Listed { name: "completions", form: Form::Page, alike: &["completion"], examples: "" };

pub(crate) const MAN: Listed = Listed { name: "man", form: Form::Page, alike: &["manual", "manpage"], examples: "" };

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
