//! The catalog configured by arguments, environment and configuration file.

use crate::cli::args::Shared;
use ddb_iceberg::error::Result;

/// The catalog's settings from options and configuration; `warnings` are for the report.
pub(crate) fn configure(
    shared: &Shared,
    warnings: &mut Vec<String>,
) -> Result<crate::cli::config::settings::CatalogConfig> {
    let options = crate::cli::config::settings::Options {
        catalog: shared.catalog.clone(),
        properties: shared.catalog_property.clone(),
        warehouse: shared.warehouse.clone(),
        config: shared.config.as_ref().map(Into::into),
    };
    let config =
        crate::cli::config::settings::load(&options, &crate::cli::config::settings::Environment::of_process())?;
    warnings.extend(config.warnings.iter().cloned());
    Ok(config)
}
