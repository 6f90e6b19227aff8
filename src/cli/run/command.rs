//! Executes a command: opens stores and catalog, supervises the work, prints the result.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::commands::{self, Context, DetectReport, Event, Report, Status};
use ddb_iceberg::error::Result;
use ddb_iceberg::runtime::progress::Progress;

use super::configure::configure;
use super::progress::{self, Screen};
use super::stores::Stores;
use super::supervision::{Patience, signals, supervise};
use super::tidy::{TIDY_WAIT, tidy_up};
use super::{check, logs};
use crate::cli::args;
use crate::cli::invocation::{Invocation, Request, Settings};
use crate::cli::render::printer::Printer;

/// Runs a command and prints its result; returns the exit code.
pub async fn run(invocation: Invocation) -> ExitCode {
    let Invocation { request, settings } = invocation;
    let started = Instant::now();
    let printer = settings.printer;
    let screen = Screen::default();
    logs::start(settings.shared.verbose, settings.shared.quiet, screen.clone());
    logs::keep_panics();
    let progress = Arc::new(Progress::default());
    let watch = progress::watch(settings.progress(), settings.shared.quiet, progress.clone(), screen.clone());

    if let Request::CheckCatalog(request) = request {
        let code = check::run(request, Arc::new(settings), progress, screen).await;
        drop(watch);
        return code;
    }

    // The report grows outside of the command, so that applied changes are reported however it ends.
    let report = Arc::new(Mutex::new(request.new_report()));
    let settings = Arc::new(settings);
    let stores = Arc::new(Stores::default());
    let result = match signals() {
        Err(error) => Err(error),
        Ok(mut signals) => {
            let work = perform(request.clone(), settings.clone(), progress.clone(), report.clone(), stores.clone());
            let task = tokio::spawn(work);
            let notify =
                || screen.print(b"Waiting for the commit that was sent, at most 30 s; once more to stop at once.\n");
            let (result, hurried) = supervise(task, &mut signals, progress.run(), Patience::default(), notify).await;
            if !hurried {
                let tidy = tidy_up(&stores, progress.run(), result.is_err());
                tokio::select! {
                    _ = tokio::time::timeout(TIDY_WAIT, tidy) => {}
                    Some(()) = signals.recv() => {}
                }
            }
            result
        }
    };
    // A panic in a part of the command is already an error of the command; this adds its location.
    if let Some(text) = logs::panic_message()
        && !result.as_ref().is_err_and(|error| error.to_string().contains(&text))
    {
        tracing::error!("the program has a bug, please report it: {text}");
    }
    drop(watch);

    let mut report = lock(&report).clone();
    complete(&mut report, &progress, started);
    match result {
        Err(error) => {
            report.fail(&error);
            printer.finish(&report, Err(error))
        }
        Ok(None) => printer.finish(&report, Ok(())),
        Ok(Some(schema)) => print_schema(printer, report, &schema, &request, &settings),
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills in what the command did not set.
fn complete(report: &mut Report, progress: &Progress, started: Instant) {
    let counted = progress.snapshot();
    if report.bytes_read == 0 {
        report.bytes_read = counted.bytes_read;
    }
    if report.bytes_written == 0 {
        report.bytes_written = counted.bytes_written;
    }
    if report.seconds == 0.0 {
        report.seconds = started.elapsed().as_secs_f64();
    }
}

fn print_schema(
    printer: Printer,
    mut report: Report,
    schema: &DetectReport,
    request: &Request,
    settings: &Settings,
) -> ExitCode {
    let written_to = match request {
        Request::DetectSchema(request) => request.output.as_deref(),
        _ => None,
    };
    report.status = if settings.shared.dry_run { Status::DryRun } else { Status::Applied };
    report.warnings.clone_from(&schema.warnings);
    if printer.format == args::Format::Json && (written_to.is_some() || settings.unwritten_output.is_some()) {
        // In text output they are below the table.
        report.warnings.extend(schema.hints.iter().map(ToString::to_string));
    }
    printer.schema(&report, schema, written_to, settings.unwritten_output.as_deref())
}

/// Executes the command. Only `detect-schema` has a result in addition to the report.
async fn perform(
    request: Request,
    settings: Arc<Settings>,
    progress: Arc<Progress>,
    report: Arc<Mutex<Report>>,
    stores: Arc<Stores>,
) -> Result<Option<DetectReport>> {
    let mut events = |event| lock(&report).apply(event);
    let mut warnings = Vec::new();
    let config = request.needs_config().then(|| configure(&settings.shared, &mut warnings)).transpose()?;
    for text in warnings {
        events(Event::Warning(text));
    }
    config.iter().flat_map(|config| &config.exposed).for_each(|exposed| tracing::warn!("{exposed}"));
    let (exports, tables) =
        stores.open(config.as_ref().map(|c| &c.properties), settings.memory_limit, settings.threads)?;
    let catalog = match (&request, &config) {
        (Request::DetectSchema(_), _) | (_, None) => None,
        (_, Some(config)) => Some(connect(&config.name, &config.properties, tables.clone()).await?),
    };
    let context =
        Context { exports, catalog, threads: settings.threads, memory_limit: settings.memory_limit, progress };
    match request {
        Request::DetectSchema(request) => commands::detect_schema(&context, &request).await.map(Some),
        Request::FullLoad(request) => commands::full_load(&context, &request, &mut events).await.map(|_| None),
        Request::Incremental(request) => commands::incremental(&context, &request, &mut events).await.map(|_| None),
        Request::Compact(request) => commands::compact(&context, &request, &mut events).await.map(|_| None),
        Request::Expire(request) => commands::expire(&context, &request, &mut events).await.map(|_| None),
        Request::Orphans(request) => commands::orphans(&context, &request, &mut events).await.map(|_| None),
        // It has its own report.
        Request::CheckCatalog(_) => Ok(None),
        Request::Status(request) => commands::status(&context, &request, &mut events).await.map(|_| None),
        Request::Verify(request) => commands::verify(&context, &request, &mut events).await.map(|_| None),
    }
}
