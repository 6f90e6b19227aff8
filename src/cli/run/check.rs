//! `catalog check`: combines the configuration and passes it to the command.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use ddb_iceberg::catalog::property;
use ddb_iceberg::commands::{self, CheckCatalog, CheckReport, CheckedPart, Setting};
use ddb_iceberg::error::Result;
use ddb_iceberg::runtime::progress::Progress;
use tokio::sync::Mutex;

use super::configure::configure;
use super::progress::Screen;
use super::stores::Stores;
use super::supervision::{Patience, signals, supervise};
use super::tidy::{REPORT_WAIT, tidy_up};
use crate::cli::invocation::{Check, Settings};

/// Runs the check and prints its result; returns the exit code.
pub(crate) async fn run(check: Check, settings: Arc<Settings>, progress: Arc<Progress>, screen: Screen) -> ExitCode {
    let started = Instant::now();
    let report = Arc::new(Mutex::new(CheckReport::default()));
    let stores = Arc::new(Stores::default());
    let result = match signals() {
        Err(error) => Err(error),
        Ok(mut signals) => {
            let work = perform(check, settings.clone(), report.clone(), stores.clone(), progress.clone());
            let notify = || screen.print(b"Stopping.\n");
            supervise(tokio::spawn(work), &mut signals, progress.run(), Patience::default(), notify).await.0
        }
    };
    tidy_up(&stores, progress.run(), result.is_err()).await;
    let mut report = match tokio::time::timeout(REPORT_WAIT, report.lock()).await {
        Ok(report) => report.clone(),
        Err(_) => CheckReport::default(),
    };
    report.seconds = started.elapsed().as_secs_f64();
    if let Err(error) = &result {
        report.fail(error);
    }
    settings.printer.check(&report, result)
}

async fn perform(
    check: Check,
    settings: Arc<Settings>,
    report: Arc<Mutex<CheckReport>>,
    stores: Arc<Stores>,
    progress: Arc<Progress>,
) -> Result<()> {
    let mut report = report.lock().await;
    let mut warnings = Vec::new();
    let mut exposed = Vec::new();
    let opened = configure(&settings.shared, &mut warnings).and_then(|config| {
        exposed.clone_from(&config.exposed);
        report.catalog = Some(config.name.clone());
        report.settings = config.properties.iter().map(|(key, value)| setting(key, value, &config.sources)).collect();
        let stores = stores.open(Some(&config.properties), settings.memory_limit, settings.threads)?;
        Ok((config, stores))
    });
    warnings.extend(exposed);
    report.warnings = warnings;
    let (config, (exports, tables)) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            report.failed(CheckedPart::Configuration, &error);
            return Err(error);
        }
    };
    report.good(
        CheckedPart::Configuration,
        match (&config.file, config.properties.is_empty()) {
            (Some(file), _) => format!("read {}", file.display()),
            (None, false) => "no file; variables and options say it".to_owned(),
            (None, true) => "nothing is configured: the catalog is the file warehouse/catalog.db".to_owned(),
        },
    );
    let request = CheckCatalog {
        name: config.name,
        properties: config.properties,
        tables,
        exports,
        table: check.table,
        export: check.export,
        write: !settings.shared.dry_run,
        run: Arc::clone(progress.run()),
    };
    Box::pin(commands::check_catalog(&request, &mut report)).await
}

fn setting(key: &str, value: &str, sources: &std::collections::BTreeMap<String, String>) -> Setting {
    Setting {
        property: key.to_owned(),
        value: property::shown(key, value),
        from: sources.get(key).cloned().unwrap_or_default(),
    }
}
