//! Checks whether a path is in the folders of a table.

use super::allowed::{ALLOWED_LOCATIONS, AllowedLocations, Lent, absolute, really_within};
use crate::error::{Error, Result};
use crate::storage::location::Location;

#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) table: String,
    pub(crate) allowed: AllowedLocations,
    pub(crate) lent: Lent,
    /// The table's location, then its other folders.
    pub(crate) folders: Vec<Location>,
    pub(crate) refusal: Option<Refusal>,
}

impl Bounds {
    pub(crate) fn check(&self) -> Result<()> {
        let Some(Refusal { folder, why }) = &self.refusal else { return Ok(()) };
        let error = Error::failed(format!("table {} is said to lie at {folder:?}: {why}", self.table));
        let or_warehouse = if self.allowed.warehouse().is_none() { ", or give --warehouse" } else { "" };
        Err(error.advice(format!("{}{or_warehouse}", advice(folder))))
    }

    /// Checks that a file may be written, or deleted by its writer: it is in the table's place, or reached with keys
    /// that are not the user's.
    pub(crate) fn check_write(&self, path: &str) -> Result<()> {
        self.check()?;
        if absolute(path).is_some_and(|location| self.lent.serves(&location)) { Ok(()) } else { self.check_own(path) }
    }

    /// Checks that a file is in the table's folders.
    pub(crate) fn check_own(&self, path: &str) -> Result<()> {
        self.check()?;
        let outside = || outside(&self.table, path);
        let location = absolute(path).ok_or_else(outside)?;
        // A link is deleted itself, and never written through, so only its folder matters.
        let folder = location.parent().ok_or_else(outside)?;
        let is_own = |own: &Location| location != *own && location.is_within(own) && really_within(&folder, own);
        if self.folders.iter().any(is_own) { Ok(()) } else { Err(outside()) }
    }

    /// Checks that a file may be read. Reading is allowed even for a table that may not be written: all of it is on S3,
    /// or in allowed locations. A location that the user named for other tables' files must not contain this table
    /// among others.
    pub(crate) fn check_read(&self, path: &str) -> Result<()> {
        let outside = || outside(&self.table, path);
        let location = absolute(path).ok_or_else(outside)?;
        let root = self.folders.first();
        let holds_tables = |named: &Location| root.is_some_and(|root| root != named && really_within(root, named));
        let named = || self.allowed.named.iter().any(|named| !holds_tables(named) && really_within(&location, named));
        let vouched = |own: &Location| {
            self.refusal.is_none()
                || own.is_s3()
                || self.allowed.own_catalog
                || root.is_some_and(|root| self.allowed.judge(own, root, &Lent::default()).is_ok())
        };
        let own = |own: &Location| vouched(own) && really_within(&location, own);
        // If the catalog is the user's own, tables may have files in other locations.
        let is_local = || !location.is_s3() && root.is_some_and(|root| !root.is_s3());
        let in_warehouse = || self.allowed.warehouse().is_some_and(|warehouse| really_within(&location, warehouse));
        let of_own_catalog = || self.allowed.own_catalog && (is_local() || in_warehouse());
        if self.lent.serves(&location) || self.folders.iter().any(own) || named() || of_own_catalog() {
            Ok(())
        } else {
            Err(outside())
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) folder: String,
    pub(crate) why: &'static str,
}

pub(crate) fn outside(table: &str, path: &str) -> Error {
    let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
    Error::failed(format!("table {table} names a file outside of its place")).in_file(path).advice(advice(folder))
}

fn advice(folder: &str) -> String {
    format!(
        "It was left alone. If the table's files do belong there, say so with the catalog's property {ALLOWED_LOCATIONS}={folder}"
    )
}
