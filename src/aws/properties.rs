//! Parses catalog properties: text, flags and seconds, with uniform messages for invalid values.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result};

/// Properties by name. Messages created here never contain a value.
pub(crate) struct Properties<'a> {
    map: &'a BTreeMap<String, String>,
    /// The prefix of names in messages.
    prefix: &'static str,
}

impl<'a> Properties<'a> {
    pub(crate) fn new(map: &'a BTreeMap<String, String>, prefix: &'static str) -> Self {
        Self { map, prefix }
    }

    /// The first of these properties that is set and not empty.
    pub(crate) fn get(&self, names: &[&str]) -> Option<String> {
        names.iter().filter_map(|name| self.map.get(*name)).find(|value| !value.is_empty()).cloned()
    }

    pub(crate) fn wrong(&self, name: &str, why: &str) -> Error {
        Error::usage(format!("the property {}{name} {why}", self.prefix))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(&[name]).map(|value| value.to_lowercase()).as_deref() {
            None => Ok(None),
            Some("true" | "yes" | "on" | "1" | "y" | "t") => Ok(Some(true)),
            Some("false" | "no" | "off" | "0" | "n" | "f") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "is neither true nor false")),
        }
    }

    /// Parses a whole number of at most `most`.
    pub(crate) fn number(&self, name: &str, most: u32) -> Result<Option<u32>> {
        let Some(value) = self.get(&[name]) else { return Ok(None) };
        match value.trim().parse() {
            Ok(number) if number <= most => Ok(Some(number)),
            _ => Err(self.wrong(name, &format!("is not a whole number from 0 to {most}"))),
        }
    }

    pub(crate) fn seconds(&self, name: &str) -> Result<Option<Duration>> {
        let Some(value) = self.get(&[name]) else { return Ok(None) };
        let seconds = value.trim().parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
        match seconds {
            Some(seconds) if !seconds.is_zero() && seconds.as_secs() <= 86_400 => Ok(Some(seconds)),
            _ => Err(self.wrong(name, "is not a number of seconds above 0")),
        }
    }
}
