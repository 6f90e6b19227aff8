//! Where results go: stdout has the result and nothing else, stderr has what is for people.

use std::io::{self, Write};
use std::process::ExitCode;

use super::check::check_lines;
use super::{escape, units};
use crate::cli::args::Format;
use ddb_iceberg::commands::{CheckReport, DetectReport, Report};
use ddb_iceberg::error::{Error, Result};
use ddb_iceberg::secrets;

/// Prints results in the form that was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Printer {
    pub format: Format,
    pub quiet: bool,
}

impl Printer {
    /// Prints the result of a command that works on a table, or of one that failed; the answer is its exit code.
    pub fn finish(self, report: &Report, result: Result<()>) -> ExitCode {
        let printed = self.result(report, || super::report::of(report));
        self.warnings(&report.warnings);
        ended(result, printed)
    }

    /// Prints the result of `detect-schema`: without a file the schema itself.
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
        // The schema file has no place for warnings.
        let printer = if written_to.or(dry).is_none() { Self { format: Format::Text, ..self } } else { self };
        printer.warnings(&report.warnings);
        ended(Ok(()), printed)
    }

    /// Prints a result, without the warnings for people.
    pub fn print(report: &Report) {
        // The exit code is that of the failure which is being reported.
        let _ = stdout(&json_line(report));
    }

    /// Prints the result of `catalog check`; the answer is its exit code.
    pub fn check(self, report: &CheckReport, result: Result<()>) -> ExitCode {
        let printed = self.result(report, || check_lines(report));
        self.warnings(&report.warnings);
        ended(result, printed)
    }

    /// A check that was refused before it began.
    pub fn refused_check(self, error: Error) -> ExitCode {
        let mut report = CheckReport::default();
        report.fail(&error);
        match self.format {
            Format::Json => self.check(&report, Err(error)),
            Format::Text => self::error(&error),
        }
    }

    /// The same as JSON, for an error that was told already.
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

    /// Prints a result: as JSON, in words, or not at all where nobody wants words.
    fn result(self, report: &impl serde::Serialize, words: impl FnOnce() -> Vec<String>) -> Result<()> {
        match self.format {
            Format::Json => stdout(&json_line(report)),
            Format::Text if self.quiet => Ok(()),
            Format::Text => stdout(&text_of(&words())),
        }
    }

    fn warnings(self, warnings: &[String]) {
        // As JSON they are in the result.
        if self.format == Format::Text {
            for warning in warnings {
                self.note(&format!("warning: {}", escape::line(warning)));
            }
        }
    }
}

fn ended(result: Result<()>, printed: Result<()>) -> ExitCode {
    // Both are told; the exit code is the command's own, if it has one.
    let unprinted = printed.err().map(|failure| error(&failure));
    match result {
        Err(failure) => error(&failure),
        Ok(()) => unprinted.unwrap_or(ExitCode::SUCCESS),
    }
}

/// Prints an error to stderr; the answer is its exit code.
pub fn error(error: &Error) -> ExitCode {
    stderr(&format!("error: {}", escape::line(&error.to_string())));
    ExitCode::from(error.kind().exit_code())
}

/// Writes to stdout. A reader that went away, as in `| head`, is no error.
pub fn stdout(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed("the result could not be written to stdout").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// Whoever reads stderr may have gone: there is nobody to tell.
pub fn stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", secrets::strike_long(text));
}

fn text_of(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [secrets::strike_long(line), "\n".to_owned()]).collect::<String>().into_bytes()
}

/// The result as one line of JSON.
fn json_line(report: &impl serde::Serialize) -> Vec<u8> {
    // A report is plain strings and numbers: this can't fail.
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
