//! Errors for impossible key attributes, and their kinds.
//!
//! A key attribute that no item has, or whose type cannot be a key, means a wrong `--key`: `Usage`. If only some items
//! lack it, or it has several types, the export may be damaged: `Input`.

use super::types::ColumnType;
use crate::error::{Error, Result};
use crate::spelling::did_you_mean;

const ADVICE: &str = "Check --key: it takes the attribute's name, as DynamoDB has it";

/// The error for an unknown key attribute. `what` says where it is missing.
pub fn no_such_key<'a>(name: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let advice = match did_you_mean(name, known) {
        Some(question) => format!("{ADVICE}; {question}"),
        None => ADVICE.to_owned(),
    };
    Error::usage(what).of_attribute(name).advice(advice)
}

/// Checks that a key can have a column's type.
pub fn check_key_type(name: &str, ty: &ColumnType) -> Result<()> {
    if ty.is_key() {
        return Ok(());
    }
    let what = format!("the key attribute has values that no key can have ({ty})");
    let error = if *ty == ColumnType::Json { Error::input(what) } else { Error::usage(what) };
    Err(error.of_attribute(name).advice("Keys are of one type, S, N or B. Check --key"))
}
