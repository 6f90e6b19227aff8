//! A command line that does not parse: the reason in words, and as a result where JSON was asked for.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use super::output::{self, Printer};
use ddb_iceberg::catalog::property;
use ddb_iceberg::commands::Report;
use ddb_iceberg::error::Error;

/// The subcommands that have a result.
const COMMANDS: [&str; 5] = ["detect-schema", "full-load", "incremental", "status", "verify"];
/// What a result calls the program itself, where no subcommand was found.
const PROGRAM: &str = "ddb-iceberg";

/// Prints why the arguments can't be used; the answer is the exit code.
pub(crate) fn print(answer: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<String> =
        arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let rendered = answer.render();
    let words = without_secrets(rendered.to_string(), &arguments);
    if std::io::stderr().is_terminal() {
        output::stderr(without_secrets(rendered.ansi().to_string(), &arguments).trim_end());
    } else {
        output::stderr(words.trim_end());
    }
    let error = Error::usage(first_paragraph(&words));
    if wants_json(&arguments) {
        if arguments.iter().any(|argument| argument == "catalog") {
            Printer::print_refused_check(&error);
        } else {
            let command = COMMANDS.into_iter().find(|name| arguments.iter().any(|argument| argument == name));
            let mut report = Report::new(command.unwrap_or(PROGRAM), None);
            report.fail(&error);
            Printer::print(&report);
        }
    }
    ExitCode::from(error.kind().exit_code())
}

/// Whether `--format json` stands among the arguments; the last `--format` counts, none after `--`.
fn wants_json(arguments: &[String]) -> bool {
    let options: Vec<&str> = arguments.iter().map(String::as_str).take_while(|argument| *argument != "--").collect();
    let mut format = None;
    for (at, argument) in options.iter().enumerate() {
        if let Some(value) = argument.strip_prefix("--format=") {
            format = Some(value);
        } else if *argument == "--format" {
            format = options.get(at + 1).copied();
        }
    }
    format == Some("json")
}

/// What the parser says, in one line: without the usage and the pointer to the help.
fn first_paragraph(words: &str) -> String {
    let lines = words.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let kept: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    kept.join(" ").trim_start_matches("error: ").to_owned()
}

/// The parser repeats what was typed. A property's secret value is masked wherever it may have been put.
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
            assert_eq!(wants_json(&owned(arguments)), wanted, "{arguments:?}");
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
