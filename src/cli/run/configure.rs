//! The catalog configured by arguments, environment and configuration file.

use ddb_iceberg::error::Result;

use crate::cli::args::Shared;
use crate::cli::config::settings::{self, CatalogConfig, Environment, Options};

/// The catalog's settings from options and configuration; `warnings` are for the report.
pub(crate) fn configure(shared: &Shared, warnings: &mut Vec<String>) -> Result<CatalogConfig> {
    let options = Options {
        catalog: shared.catalog.clone(),
        properties: shared.catalog_property.clone(),
        warehouse: shared.warehouse.clone(),
        config: shared.config.as_ref().map(Into::into),
    };
    let config = settings::load(&options, &Environment::of_process())?;
    warnings.extend(config.warnings.iter().cloned());
    Ok(config)
}
