//! Prints results: stdout gets only the result, stderr everything else for people.

use std::io::{self, Write};
use std::process::ExitCode;

use ddb_iceberg::commands::{CheckReport, DetectReport, Report};
use ddb_iceberg::error::{Error, Result};
use ddb_iceberg::secrets;

use super::check::check_lines;
use super::{escape, units};
use crate::cli::args::Format;

/// Prints results in the requested format.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Printer {
    pub format: Format,
    pub quiet: bool,
}

impl Printer {
    /// Prints the result of a command that works on a table, or of a failed one; returns the exit code.
    pub fn finish(self, report: &Report, result: Result<()>) -> ExitCode {
        let printed = self.result(report, || super::report::of(report));
        self.warnings(&report.warnings);
        ended(result, printed)
    }

    /// Prints the result of `detect-schema`: without a file, the schema itself.
    pub fn schema(
        self,
        report: &Report,
        schema: &DetectReport,
        written_to: Option<&str>,
        dry: Option<&str>,
    ) -> ExitCode {
        let table = escape::lines(&schema.table);
        let printed = match written_to.or(dry) {
            None => {
                let mut text = escape::json(&schema.schema_file).into_owned();
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                self.note(&table);
                stdout(text.as_bytes())
            }
            Some(name) => self.result(report, || {
                let would = if written_to.is_some() { "Wrote" } else { "Would write" };
                let items = units::count(schema.items, "item");
                vec![format!("{would} the schema of {items} to {}", escape::line(name)), table.clone()]
            }),
        };
        // The schema file cannot contain warnings.
        let printer = if written_to.or(dry).is_none() { Self { format: Format::Text, ..self } } else { self };
        printer.warnings(&report.warnings);
        ended(Ok(()), printed)
    }

    /// Prints a result, without the warnings for people.
    pub fn print(report: &Report) {
        // The exit code is that of the reported failure.
        let _ = stdout(&json_line(report));
    }

    /// Prints the result of `catalog check`; returns the exit code.
    pub fn check(self, report: &CheckReport, result: Result<()>) -> ExitCode {
        let printed = self.result(report, || check_lines(report));
        self.warnings(&report.warnings);
        ended(result, printed)
    }

    /// A check that was refused before it started.
    pub fn refused_check(self, error: Error) -> ExitCode {
        let mut report = CheckReport::default();
        report.fail(&error);
        match self.format {
            Format::Json => self.check(&report, Err(error)),
            Format::Text => self::error(&error),
        }
    }

    /// The same as JSON, for an error that was already printed.
    pub fn print_refused_check(error: &Error) {
        let mut report = CheckReport::default();
        report.fail(error);
        let _ = stdout(&json_line(&report));
    }

    /// Prints lines for people to stderr.
    pub fn note(self, text: &str) {
        if !self.quiet && !text.is_empty() {
            stderr(text);
        }
    }

    /// Prints a result: as JSON, as text, or not at all with `--quiet`.
    fn result(self, report: &impl serde::Serialize, words: impl FnOnce() -> Vec<String>) -> Result<()> {
        match self.format {
            Format::Json => stdout(&json_line(report)),
            Format::Text if self.quiet => Ok(()),
            Format::Text => stdout(&text_of(&words())),
        }
    }

    fn warnings(self, warnings: &[String]) {
        // The JSON result contains them.
        if self.format == Format::Text {
            for warning in warnings {
                self.note(&format!("warning: {}", escape::line(warning)));
            }
        }
    }
}

fn ended(result: Result<()>, printed: Result<()>) -> ExitCode {
    // Both are printed; the exit code is the command's own, if it has one.
    let unprinted = printed.err().map(|failure| error(&failure));
    match result {
        Err(failure) => error(&failure),
        Ok(()) => unprinted.unwrap_or(ExitCode::SUCCESS),
    }
}

/// Prints an error to stderr; returns its exit code.
pub fn error(error: &Error) -> ExitCode {
    stderr(&format!("error: {}", escape::line(&error.to_string())));
    ExitCode::from(error.kind().exit_code())
}

/// Writes to stdout. If the reader of a pipe has exited, as in `| head`, this is not an error.
pub fn stdout(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed("the result could not be written to stdout").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// The reader of stderr may have exited; then nobody can be told.
pub fn stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", secrets::strike_long(text));
}

fn text_of(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [secrets::strike_long(line), "\n".to_owned()]).collect::<String>().into_bytes()
}

/// The result as one line of JSON.
fn json_line(report: &impl serde::Serialize) -> Vec<u8> {
    // A report consists of plain strings and numbers, so this can't fail.
    let text = serde_json::to_string(report).unwrap_or_default();
    let mut line = secrets::strike_long(&escape::json(&text));
    line.push('\n');
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_also_of_a_failure() {
        let mut report = Report::new("incremental", Some("n.t".to_owned()));
        report.fail(&Error::input("broken\nline \u{9b}").in_file("a.json.gz").on_line(7));
        let line = String::from_utf8(json_line(&report)).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{9b}'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["status"], "failed");
        assert_eq!(value["error"]["exit"], 3);
        assert_eq!(value["error"]["file"], "a.json.gz");
        assert_eq!(value["error"]["line"], 7);
        assert_eq!(value["error"]["message"], "a.json.gz:7: broken\nline \u{9b}");
    }
}
