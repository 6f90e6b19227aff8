//! Names that Glue and Athena accept.

use iceberg::{NamespaceIdent, TableIdent};

use crate::error::{Error, Result};

/// Maximum length of a database name, as in Iceberg's Java implementation.
const LONGEST_DATABASE: usize = 252;
/// Maximum length of a table name in Glue.
const LONGEST_TABLE: usize = 255;

/// The database of a namespace.
///
/// Glue stores names in lower case, and Athena accepts only letters, digits and underscores; `any` skips this check.
pub(super) fn database(namespace: &NamespaceIdent, any: bool) -> Result<&str> {
    let [name] = namespace.as_ref().as_slice() else {
        return Err(Error::usage(format!(
            "{:?} can't be a namespace in Glue, where it is one database",
            namespace.join(".")
        ))
        .advice("Name the table as <database>.<table>"));
    };
    check(name, LONGEST_DATABASE, "database", any)?;
    Ok(name)
}

/// Database and table.
pub(super) fn table(ident: &TableIdent, any: bool) -> Result<(&str, &str)> {
    let database = database(ident.namespace(), any)?;
    check(ident.name(), LONGEST_TABLE, "table", any)?;
    Ok((database, ident.name()))
}

fn check(name: &str, longest: usize, what: &str, any: bool) -> Result<()> {
    let wrong = |why: &str| {
        Err(Error::usage(format!("{name:?} can't be the name of a {what} in Glue: {why}")).advice(
            "Use lower-case letters, digits and \"_\"; the catalog property glue.skip-name-validation=true leaves it to Glue",
        ))
    };
    if name.is_empty() {
        return wrong("it is empty");
    }
    if any {
        return Ok(());
    }
    if name.len() > longest {
        return wrong(&format!("it is longer than {longest} characters"));
    }
    if name.chars().any(char::is_uppercase) {
        return wrong("it has capital letters, which Glue turns into small ones");
    }
    match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_')) {
        Some(odd) => wrong(&format!("it has {odd:?} in it, which Athena does not take")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn names_are_those_that_athena_takes() {
        let ident = |names: &[&str]| TableIdent::from_strs(names).unwrap();
        assert_eq!(table(&ident(&["shop_1", "orders"]), false).unwrap(), ("shop_1", "orders"));
        for (names, said) in [
            (vec!["shop", "Orders"], "capital letters"),
            (vec!["Shop", "orders"], "capital letters"),
            (vec!["shop", "my-orders"], "'-'"),
            (vec!["my shop", "orders"], "' '"),
            (vec!["shop", "bücher"], "'ü'"),
            (vec!["a", "b", "orders"], "one database"),
            (vec!["shop", ""], "empty"),
            (vec!["shop", &"x".repeat(256)], "longer than 255"),
            (vec![&"x".repeat(253), "orders"], "longer than 252"),
        ] {
            let error = table(&ident(&names), false).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(table(&ident(&[&"x".repeat(252), &"x".repeat(255)]), false).is_ok());
        assert!(table(&ident(&["my-shop", "Orders"]), true).is_ok());
        assert!(table(&ident(&["a", "b", "orders"]), true).is_err());
        assert!(table(&ident(&["shop", ""]), true).is_err());
    }
}
