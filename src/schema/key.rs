//! Key attributes that can't be: who names them on the command line, and who is told.
//!
//! An attribute that no item has, or whose type no key has, is a wrong `--key`: `Usage`. What only some items lack, or have in
//! several types, may as well be damage: `Input`.

use super::types::ColumnType;
use crate::error::{Error, Result};
use crate::spelling::did_you_mean;

const ADVICE: &str = "Check --key: it takes the attribute's name, as DynamoDB has it";

/// The error for a key attribute that is not among those that there are. `what` says where it is not.
pub fn no_such_key<'a>(name: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let advice = match did_you_mean(name, known) {
        Some(question) => format!("{ADVICE}; {question}"),
        None => ADVICE.to_owned(),
    };
    Error::usage(what).of_attribute(name).advice(advice)
}

/// Makes sure that a column's type is one that keys have.
pub fn check_key_type(name: &str, ty: &ColumnType) -> Result<()> {
    if ty.is_key() {
        return Ok(());
    }
    let what = format!("the key attribute has values that no key can have ({ty})");
    let error = if *ty == ColumnType::Json { Error::input(what) } else { Error::usage(what) };
    Err(error.of_attribute(name).advice("Keys are of one type, S, N or B. Check --key"))
}
