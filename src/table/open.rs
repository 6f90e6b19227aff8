//! Opens the table of a command, or explains why it can't be found.

use std::time::Duration;

use iceberg::TableIdent;
use iceberg::spec::{FormatVersion, TableMetadata};

use crate::catalog::{Catalog, LoadedTable};
use crate::error::{Error, Result};
use crate::spelling::did_you_mean;
use crate::table::partition::partitioner::check_specs;

/// Time limit for the search for similar names.
const PATIENCE: Duration = Duration::from_secs(3);

/// Loads the table, which must exist.
pub(crate) async fn existing(catalog: &dyn Catalog, ident: &TableIdent) -> Result<LoadedTable> {
    match catalog.load(ident).await? {
        Some(table) => Ok(table),
        None => Err(missing(catalog, ident).await),
    }
}

/// Like [`existing`], for a command that writes or deletes: the configuration must vouch for the table's place.
pub(crate) async fn existing_to_change(catalog: &dyn Catalog, ident: &TableIdent) -> Result<LoadedTable> {
    let table = existing(catalog, ident).await?;
    table.place.check()?;
    Ok(table)
}

/// Names the catalog, since most often it is the wrong one, and similar tables.
async fn missing(catalog: &dyn Catalog, ident: &TableIdent) -> Error {
    let error = Error::failed(format!("there is no table {ident} in {}", catalog.place()));
    let names = match tokio::time::timeout(PATIENCE, catalog.some_tables(ident)).await {
        Ok(Ok(names)) => names,
        // A missing permission to list tables is not this command's error.
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    error.advice(match near(ident, &names) {
        Some(question) => {
            format!("{question} Else check --table, and which catalog is used (ddb-iceberg catalog check)")
        }
        None => "Check --table, the working directory and which catalog is used (ddb-iceberg catalog check); \
                 a new table is made from a full export with ddb-iceberg full-load"
            .to_owned(),
    })
}

/// Suggests a table: one with a similar name, or with the same name in another namespace.
fn near(ident: &TableIdent, names: &[String]) -> Option<String> {
    let all = || names.iter().map(String::as_str);
    let own = |name: &&str| name.rsplit_once('.').is_some_and(|(_, name)| name.eq_ignore_ascii_case(ident.name()));
    let question = did_you_mean(&ident.to_string(), all()).or_else(|| {
        let elsewhere: Vec<String> = all().filter(own).take(3).map(|name| format!("{name:?}")).collect();
        (!elsewhere.is_empty()).then(|| format!("did you mean {}?", elsewhere.join(" or ")))
    })?;
    Some(question.replacen('d', "D", 1))
}

/// Refuses tables that this crate would read or write incorrectly: those with format version 3, or with partition specs
/// that it does not support.
pub fn check_supported(metadata: &TableMetadata) -> Result<()> {
    match metadata.format_version() {
        FormatVersion::V1 | FormatVersion::V2 => check_specs(metadata),
        FormatVersion::V3 => Err(Error::failed("the table has format version 3, which is not supported yet")
            .advice("Load into a table of format version 2")),
    }
}

/// Like [`check_supported`]; also refuses tables to which no snapshot can be added: those with format version 1.
pub fn check_writable(metadata: &TableMetadata) -> Result<()> {
    check_supported(metadata)?;
    if metadata.format_version() == FormatVersion::V1 {
        return Err(Error::failed("the table has format version 1, which has no row-level deletes: it is only read")
            .advice(
                "Upgrade it with the program that made it, in Spark by ALTER TABLE … SET TBLPROPERTIES ('format-version' = '2')",
            ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_may_be_meant() {
        let names = ["shop.orders", "sales.Customers", "shop.order_lines", "a.b.items"].map(str::to_owned);
        for (typed, meant) in [
            (["shop", "order"], Some("Did you mean \"shop.orders\"?")),
            (["Shop", "Orders"], Some("Did you mean \"shop.orders\"?")),
            (["shop", "customers"], Some("Did you mean \"sales.Customers\"?")),
            (["shop", "items"], Some("Did you mean \"a.b.items\"?")),
            (["shop", "events"], None),
        ] {
            let ident = TableIdent::from_strs(typed).unwrap();
            assert_eq!(near(&ident, &names).as_deref(), meant, "{ident}");
        }
    }
}
