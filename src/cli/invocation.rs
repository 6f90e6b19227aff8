//! Interprets the command line: a request for a command, and how to run and report it.

use std::ffi::OsString;
use std::process::ExitCode;

use ddb_iceberg::commands::{
    Compact, DetectSchema, Expire, FullLoad, Incremental, Orphans, Report, TableStatus, Verify,
};
use ddb_iceberg::error::{Error, Result};
use ddb_iceberg::storage::Location;
use iceberg::TableIdent;

use super::args::{CatalogCommand, Cli, Command, definition};
use super::{pages, refusal};
use crate::cli::args::{ProgressMode, Shared, limits};
use crate::cli::commands::listed::Listed;
use crate::cli::render::printer::{self, Printer};

/// One run of a command, with all settings resolved.
pub struct Invocation {
    pub(crate) request: Request,
    pub(crate) settings: Settings,
}

impl Invocation {
    /// Number of parallel tasks; at least 1.
    pub fn threads(&self) -> usize {
        self.settings.threads
    }
}

/// The command to run.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    DetectSchema(DetectSchema),
    FullLoad(FullLoad),
    Incremental(Incremental),
    Compact(Compact),
    Expire(Expire),
    Orphans(Orphans),
    CheckCatalog(Check),
    Status(TableStatus),
    Verify(Verify),
}

/// The arguments of `catalog check`; everything else is in the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub table: Option<TableIdent>,
    pub export: Option<String>,
}

impl Request {
    /// Its entry in the table of commands.
    pub fn listed(&self) -> &'static Listed {
        match self {
            Self::DetectSchema(_) => &crate::cli::commands::detect_schema::DETECT_SCHEMA,
            Self::FullLoad(_) => &crate::cli::commands::full_load::FULL_LOAD,
            Self::Incremental(_) => &crate::cli::commands::incremental::INCREMENTAL,
            Self::Compact(_) => &crate::cli::commands::compact::COMPACT,
            Self::Expire(_) => &crate::cli::commands::expire::EXPIRE,
            Self::Orphans(_) => &crate::cli::commands::orphans::ORPHANS,
            Self::CheckCatalog(_) => &crate::cli::commands::catalog_check::CATALOG_CHECK,
            Self::Status(_) => &crate::cli::commands::status::STATUS,
            Self::Verify(_) => &crate::cli::commands::verify::VERIFY,
        }
    }

    /// The table of the command.
    fn table(&self) -> Option<&TableIdent> {
        match self {
            Self::DetectSchema(_) => None,
            Self::FullLoad(request) => Some(&request.table),
            Self::Incremental(request) => Some(&request.table),
            Self::Compact(request) => Some(&request.table),
            Self::Expire(request) => Some(&request.table),
            Self::Orphans(request) => Some(&request.table),
            Self::CheckCatalog(request) => request.table.as_ref(),
            Self::Status(request) => Some(&request.table),
            Self::Verify(request) => Some(&request.table),
        }
    }

    /// An empty report of this command.
    pub fn new_report(&self) -> Report {
        Report::new(self.listed().name, self.table().map(ToString::to_string))
    }

    /// Whether the catalog's configuration is read: for a table, or for access to S3.
    pub fn needs_config(&self) -> bool {
        match self {
            Self::DetectSchema(request) => [Some(&request.export), request.output.as_ref()]
                .into_iter()
                .flatten()
                .any(|location| Location::parse(location).is_ok_and(|location| location.is_s3())),
            _ => true,
        }
    }
}

/// How to run and report it.
pub(crate) struct Settings {
    pub shared: Shared,
    pub printer: Printer,
    pub threads: usize,
    pub memory_limit: usize,
    /// The `--output` of a dry run of detect-schema, which is not written.
    pub unwritten_output: Option<String>,
}

impl Settings {
    /// `--progress`.
    pub fn progress(&self) -> ProgressMode {
        self.shared.progress.unwrap_or_default()
    }
}

/// Parses the command line. `Err` is the exit code if the program is already done, as after `--help`, or after printing
/// an error.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::typed(&arguments) {
        Ok(cli) => cli,
        Err(answer) if answer.use_stderr() => return Err(refusal::print(answer, &arguments)),
        Err(page) => {
            // If the reader of a pipe has exited, as in `--help | head`, this is not an error.
            let _ = page.print();
            return Err(ExitCode::SUCCESS);
        }
    };
    let (request, later) = match cli.command {
        Command::Completions { shell } => return Err(pages::print(&pages::completions(shell, definition()))),
        Command::Man { command } => {
            return Err(match pages::man(definition(), command.as_deref()) {
                Ok(page) => pages::print(&page),
                Err(error) => printer::error(&error),
            });
        }
        Command::DetectSchema(args) => {
            let (request, shared) = args.request();
            (Request::DetectSchema(request), shared)
        }
        Command::FullLoad(args) => {
            let (request, shared) = args.request();
            (Request::FullLoad(request), shared)
        }
        Command::Incremental(args) => {
            let (request, shared) = args.request();
            (Request::Incremental(request), shared)
        }
        Command::Catalog { command: CatalogCommand::Check(args) } => {
            (Request::CheckCatalog(Check { table: args.table, export: args.export }), args.shared)
        }
        Command::Compact(args) => {
            let (request, shared) = args.request();
            (Request::Compact(request), shared)
        }
        Command::Expire(args) => {
            let (request, shared) = args.request();
            (Request::Expire(request), shared)
        }
        Command::Orphans(args) => {
            let (request, shared) = args.request();
            (Request::Orphans(request), shared)
        }
        Command::Status(args) => {
            let (request, shared) = args.request();
            (Request::Status(request), shared)
        }
        Command::Verify(args) => {
            let (request, shared) = args.request();
            (Request::Verify(request), shared)
        }
    };
    decide(request, cli.shared.followed_by(later))
}

/// Resolves what the parser can't: rules between options, and defaults that depend on the machine.
fn decide(mut request: Request, shared: Shared) -> Result<Invocation, ExitCode> {
    let printer = Printer { format: shared.format.unwrap_or_default(), quiet: shared.quiet };
    if let Err(error) = check(&request, &shared) {
        if matches!(request, Request::CheckCatalog(_)) {
            return Err(printer.refused_check(error));
        }
        let mut report = request.new_report();
        report.fail(&error);
        return Err(printer.finish(&report, Err(error)));
    }
    let mut unwritten_output = None;
    match &mut request {
        Request::DetectSchema(request) if shared.dry_run => unwritten_output = request.output.take(),
        // These write nothing anyway.
        Request::DetectSchema(_) | Request::CheckCatalog(_) | Request::Status(_) | Request::Verify(_) => {}
        Request::FullLoad(request) => request.dry_run = shared.dry_run,
        Request::Incremental(request) => request.dry_run = shared.dry_run,
        Request::Compact(request) => request.dry_run = shared.dry_run,
        Request::Expire(request) => request.dry_run = shared.dry_run,
        Request::Orphans(request) => request.dry_run = shared.dry_run,
    }
    let threads = shared.threads.unwrap_or_else(limits::default_threads);
    let memory = shared.memory_limit.unwrap_or_else(|| limits::default_memory(threads));
    // On a 32-bit machine, the addressable memory is smaller than requested.
    let memory_limit = usize::try_from(memory).unwrap_or(usize::MAX);
    let settings = Settings { printer, threads: usize::from(threads), memory_limit, unwritten_output, shared };
    Ok(Invocation { request, settings })
}

fn check(request: &Request, shared: &Shared) -> Result<()> {
    let key = match request {
        Request::DetectSchema(request) => request.key.as_slice(),
        Request::FullLoad(request) => &request.key,
        Request::Incremental(request) => &request.key,
        Request::Verify(request) => &request.key,
        Request::Compact(_)
        | Request::Expire(_)
        | Request::Orphans(_)
        | Request::CheckCatalog(_)
        | Request::Status(_) => &[],
    };
    if key.iter().any(String::is_empty) {
        return Err(Error::usage("--key names no attribute").advice("Write --key ATTRIBUTE"));
    }
    if let [first, second] = key
        && first == second
    {
        return Err(Error::usage("--key names the same attribute twice")
            .of_attribute(first)
            .advice("Give the partition key, and the sort key only if the table has one"));
    }
    if key.len() > 2 {
        return Err(Error::usage(format!(
            "--key is given {} times, but a DynamoDB table has at most two key attributes",
            key.len()
        ))
        .advice("Give the partition key first, then the sort key"));
    }
    if shared.quiet && shared.verbose > 0 {
        return Err(Error::usage("--quiet and --verbose can't be used together"));
    }
    // The argument may be a secret, so the message does not repeat it.
    if let Some(at) = shared.catalog_property.iter().position(|property| split_property(property).is_none()) {
        return Err(Error::usage(format!("--catalog-property, number {} of them, is not KEY=VALUE", at + 1))
            .advice("Write for example --catalog-property type=sql"));
    }
    Ok(())
}

/// Splits `KEY=VALUE`; a value may be empty and may contain `=`.
pub(crate) fn split_property(property: &str) -> Option<(&str, &str)> {
    property.split_once('=').filter(|(key, _)| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ddb_iceberg::commands::IfExists;

    fn parsed(line: &[&str]) -> Result<Invocation, ExitCode> {
        parse(std::iter::once("ddb-iceberg").chain(line.iter().copied()).map(OsString::from))
    }

    #[test]
    fn flags_reach_the_request() {
        let Ok(run) = parsed(&[
            "full-load",
            "x",
            "--table",
            "a.b.t",
            "--key",
            "p",
            "--key",
            "s",
            "--if-exists",
            "replace",
            "--dry-run",
        ]) else {
            panic!("a good command line")
        };
        let Request::FullLoad(request) = run.request else { panic!("full-load") };
        assert_eq!(request.table.to_string(), "a.b.t");
        assert_eq!(request.key, ["p", "s"]);
        assert_eq!((request.if_exists, request.dry_run, request.max_struct_fields), (IfExists::Replace, true, 256));
    }

    #[test]
    fn a_dry_detect_schema_writes_no_file() {
        let Ok(run) = parsed(&["--dry-run", "detect-schema", "x", "--output", "f.json", "--threads", "3"]) else {
            panic!("a good command line")
        };
        assert_eq!(run.threads(), 3);
        assert_eq!(run.settings.unwritten_output.as_deref(), Some("f.json"));
        let Request::DetectSchema(request) = run.request else { panic!("detect-schema") };
        assert_eq!(request.output, None);
    }

    #[test]
    fn options_that_do_not_go_together_are_usage_errors() {
        for line in [
            &["full-load", "x", "--table", "a.t", "--key", "p", "--key", "s", "--key", "t"][..],
            &["full-load", "x", "--table", "a.t", "--key", "p", "--key", "p"],
            &["full-load", "x", "--table", "a.t", "--key", ""],
            &["-v", "full-load", "x", "--table", "a.t", "-q"],
            &["incremental", "x", "--table", "a.t", "--catalog-property", "hunter2"],
            &["incremental", "x", "--table", "a.t", "--catalog-property", "=hunter2"],
        ] {
            assert_eq!(parsed(line).err(), Some(ExitCode::from(2)), "{line:?}");
        }
    }

    #[test]
    fn a_property_is_never_repeated_in_an_error() {
        let Request::Incremental(request) = parsed(&["incremental", "x", "--table", "a.t"]).ok().unwrap().request
        else {
            panic!("incremental")
        };
        let shared = Shared { catalog_property: vec!["hunter2".to_owned()], ..Shared::default() };
        let error = check(&Request::Incremental(request), &shared).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
