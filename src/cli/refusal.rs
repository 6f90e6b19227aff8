//! Errors in the command line: the reason as text, and as a result if JSON was requested.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use ddb_iceberg::catalog::property;
use ddb_iceberg::commands::Report;
use ddb_iceberg::error::Error;

use super::args::definition;
use super::commands;
use crate::cli::commands::listed::Form;
use crate::cli::render::printer::{self, Printer};

/// Prints why the arguments are invalid; returns the exit code.
pub(crate) fn print(mut answer: clap::Error, arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<String> =
        arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    suggest(&mut answer);
    let rendered = answer.render();
    let words = without_secrets(rendered.to_string(), &arguments);
    if std::io::stderr().is_terminal() {
        printer::stderr(without_secrets(rendered.ansi().to_string(), &arguments).trim_end());
    } else {
        printer::stderr(words.trim_end());
    }
    let error = Error::usage(first_paragraph(&words));
    let typed = Typed::of(&arguments);
    if typed.format == Some("json") {
        match commands::named(&typed.command) {
            Some(listed) if listed.form == Form::Check => Printer::print_refused_check(&error),
            listed => {
                let mut report =
                    Report::new(listed.map_or(crate::cli::commands::listed::PROGRAM, |listed| listed.name), None);
                report.fail(&error);
                Printer::print(&report);
            }
        }
    }
    ExitCode::from(error.kind().exit_code())
}

/// Suggests the command for a word with a similar meaning. The parser only knows misspellings.
fn suggest(answer: &mut clap::Error) {
    if answer.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let Some(ContextValue::String(word)) = answer.get(ContextKind::InvalidSubcommand) else { return };
    let names: Vec<String> = commands::meant(word).into_iter().map(str::to_owned).collect();
    if !names.is_empty() {
        answer.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
    }
}

/// Facts about an invalid command line.
struct Typed<'a> {
    /// The words of the command; none if the first word is not a command.
    command: String,
    /// The last `--format`.
    format: Option<&'a str>,
}

impl<'a> Typed<'a> {
    /// Scans the arguments like the parser: an option's value is not a command, and nothing after `--` is an option.
    fn of(arguments: &'a [String]) -> Self {
        let definition = definition();
        let (mut command, mut names, mut format) = (Some(&definition), Vec::new(), None);
        let mut rest = arguments.iter().map(String::as_str).peekable();
        while let Some(argument) = rest.next().filter(|argument| *argument != "--") {
            if let Some(option) = argument.strip_prefix("--") {
                let (name, value) = match option.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None if takes_value(&definition, option) => (option, rest.next_if(|next| !next.starts_with('-'))),
                    None => (option, None),
                };
                if name == "format" {
                    format = value;
                }
            } else if let Some(above) = command.filter(|_| !argument.starts_with('-')) {
                command = above.find_subcommand(argument);
                names.extend(command.map(clap::Command::get_name));
            }
        }
        Self { command: names.join(" "), format }
    }
}

/// Whether an option of the program or of any command takes a value.
fn takes_value(command: &clap::Command, name: &str) -> bool {
    let own = |argument: &clap::Arg| argument.get_long() == Some(name) && argument.get_action().takes_values();
    command.get_arguments().any(own) || command.get_subcommands().any(|below| takes_value(below, name))
}

/// The parser's message on one line: without usage and reference to the help.
fn first_paragraph(words: &str) -> String {
    let lines = words.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let kept: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    kept.join(" ").trim_start_matches("error: ").to_owned()
}

/// The parser repeats arguments, so a property's secret value is masked wherever it may be.
fn without_secrets(mut text: String, arguments: &[String]) -> String {
    for argument in arguments {
        // `token=hush`, `--catalog-property=token=hush`, `postgresql://me:hush@host/db`.
        let mut rest = argument.as_str();
        let mut shown = property::shown("uri", rest);
        if shown != rest {
            text = text.replace(rest, &shown);
        }
        while let Some((key, value)) = rest.split_once('=') {
            shown = property::shown(key.trim_start_matches('-'), value);
            if shown != value && !value.is_empty() {
                text = text.replace(&format!("{key}={value}"), &format!("{key}={shown}"));
                text = text.replace(&format!("'{value}'"), &format!("'{shown}'"));
            }
            rest = value;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn json_is_wanted_where_the_parser_would_say_so() {
        for (arguments, wanted) in [
            (&["x", "--format", "json"][..], true),
            (&["--format=json", "x"], true),
            (&["--format", "text", "--format=json"], true),
            (&["--format", "json", "--format=text"], false),
            (&["--", "--format", "json"], false),
            (&["--format"], false),
            (&["--format", "yaml"], false),
            (&["json"], false),
        ] {
            assert_eq!(Typed::of(&owned(arguments)).format == Some("json"), wanted, "{arguments:?}");
        }
    }

    #[test]
    fn the_command_is_the_word_that_the_parser_takes_for_one() {
        for (arguments, command) in [
            (&["incremental", "catalog"][..], "incremental"),
            (&["--catalog", "verify", "status"], "status"),
            (&["--catalog=verify", "-qv", "status", "full-load"], "status"),
            (&["--table", "verify", "status"], "status"),
            (&["--fly", "compact", "--table"], "compact"),
            (&["--quiet", "catalog", "check", "verify"], "catalog check"),
            (&["--catalog", "--quiet", "expire"], "expire"),
            (&["catalog", "fly"], "catalog"),
            (&["fly", "compact"], ""),
            (&["--", "compact"], ""),
            (&[], ""),
        ] {
            assert_eq!(Typed::of(&owned(arguments)).command, command, "{arguments:?}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for argument in
            ["token=hush", "--catalog-property=token=hush", "--tokne=uri=http://me:hush@h/", "http://me:hush@h/"]
        {
            let text = without_secrets(format!("error: unexpected argument '{argument}' found"), &owned(&[argument]));
            assert!(!text.contains("hush") && text.contains("***"), "{text}");
        }
        let plain = "error: unexpected argument 'a=b' found".to_owned();
        assert_eq!(without_secrets(plain.clone(), &owned(&["a=b"])), plain);
    }

    #[test]
    fn the_reason_is_one_line() {
        let words = "error: invalid value 'x' for '--threads <N>': no number\n\n  tip: y\n\nUsage: z\n\nFor more information, try '--help'.\n";
        assert_eq!(first_paragraph(words), "invalid value 'x' for '--threads <N>': no number tip: y");
    }
}
