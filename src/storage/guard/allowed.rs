//! The locations that may hold tables: those that the configuration vouches for, and those with vended keys.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::storage::location::Location;
use crate::storage::routed::comparable;
use crate::storage::s3::strip_scheme;

/// The catalog property for locations besides the warehouse, separated by commas.
pub const ALLOWED_LOCATIONS: &str = "allowed-locations";
/// The suffix of table buckets in Amazon S3 Tables; no one else can give a bucket such a name.
const TABLE_BUCKET: &str = "--table-s3";

/// The locations that may hold tables, by the user's configuration.
#[derive(Debug, Clone, Default)]
pub struct AllowedLocations {
    warehouse: Option<Location>,
    /// Folders like the warehouse, which vouch for everything below them.
    below: Vec<Location>,
    /// Locations named by the user, which vouch for themselves and everything below.
    pub(crate) named: Vec<Location>,
    table_buckets: bool,
    pub(crate) own_catalog: bool,
}

impl AllowedLocations {
    /// Allows locations below a warehouse.
    pub fn below(warehouse: Option<Location>) -> Self {
        Self { warehouse, ..Self::default() }
    }

    /// Also allows the locations in a comma-separated list and everything below them.
    ///
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for an invalid location, and for the root of the file system.
    pub fn and_named(mut self, list: &str) -> Result<Self> {
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let location = Location::parse(text)?;
            if !location.is_s3() && location.parent().is_none() {
                return Err(Error::usage(format!("{ALLOWED_LOCATIONS} names the root of the file system"))
                    .advice("Name the folders that hold tables"));
            }
            self.named.push(location);
        }
        Ok(self)
    }

    /// Also allows everything below a location that, according to the catalog, holds tables.
    #[must_use]
    pub fn and_below(mut self, location: Location) -> Self {
        self.below.push(location);
        self
    }

    /// Also allows the buckets that Amazon S3 Tables creates, one per table: for catalogs at AWS.
    #[must_use]
    pub fn and_table_buckets(mut self, are_allowed: bool) -> Self {
        self.table_buckets = are_allowed;
        self
    }

    /// For a catalog that is the user's own file: its tables may list files anywhere below the warehouse, and local
    /// tables any local files. These are read, but never written or deleted.
    #[must_use]
    pub fn of_own_catalog(mut self) -> Self {
        self.own_catalog = true;
        self
    }

    /// Also allows the folder of a table whose current metadata file is at `path`, `<folder>/metadata/<name>`: only if
    /// the catalog is the user's own and no warehouse is configured.
    #[must_use]
    pub fn and_where_metadata_is(mut self, path: &str) -> Self {
        let folder = absolute(path).and_then(|file| file.parent());
        let folder = folder.filter(|folder| folder.file_name() == Some("metadata")).and_then(|folder| folder.parent());
        if self.own_catalog && self.warehouse.is_none() {
            self.named.extend(folder);
        }
        self
    }

    /// The warehouse.
    pub fn warehouse(&self) -> Option<&Location> {
        self.warehouse.as_ref()
    }

    /// Whether a metadata file may be read at a location that a catalog names: local files only where tables are
    /// allowed.
    pub fn may_look_at(&self, path: &str) -> bool {
        absolute(path).is_some_and(|location| {
            let vouched = || self.folders().any(|folder| really_within(&location, folder));
            location.is_s3() || self.own_catalog || vouched()
        })
    }

    fn folders(&self) -> impl Iterator<Item = &Location> {
        self.named.iter().chain(&self.warehouse).chain(&self.below)
    }

    /// The reason why a folder can't belong to a table at `root`, if there is one.
    pub(crate) fn judge(&self, folder: &Location, root: &Location, lent: &Lent) -> Result<(), &'static str> {
        let is_table_bucket = self.table_buckets && folder.bucket().is_some_and(|name| name.ends_with(TABLE_BUCKET));
        if is_table_bucket && folder.bucket() == root.bucket() {
            return Ok(());
        }
        if folder.parent().is_none() {
            return Err(if folder.is_s3() {
                "a bucket without a prefix is no table's place"
            } else {
                "the root of the file system is no table's place"
            });
        }
        if lent.serves(folder) || self.named.iter().any(|named| really_within(folder, named)) {
            return Ok(());
        }
        let within = || self.warehouse.iter().chain(&self.below).filter(|other| really_within(folder, other));
        if within().any(|other| !really_within(other, folder)) {
            return Ok(());
        }
        Err(match (within().next(), &self.warehouse) {
            (Some(_), _) => "that is the warehouse itself, which holds other tables",
            (None, Some(_)) => "that is outside of the catalog's warehouse",
            (None, None) => "no warehouse is configured that it could be in",
        })
    }
}

/// The locations that are reached with vended keys instead of the user's, by the routing of storage.
#[derive(Debug, Clone, Default)]
pub struct Lent {
    elsewhere: bool,
    below: Vec<(String, bool)>,
}

impl Lent {
    /// `below`: whether there are keys for each prefix; `elsewhere`: whether there are keys without a prefix.
    pub fn new(elsewhere: bool, below: impl IntoIterator<Item = (String, bool)>) -> Self {
        let mut below: Vec<_> = below.into_iter().map(|(prefix, lends)| (comparable(&prefix), lends)).collect();
        below.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { elsewhere, below }
    }

    pub(crate) fn serves(&self, location: &Location) -> bool {
        let text = format!("{location}/");
        let best = self.below.iter().find(|(prefix, _)| text.starts_with(prefix.as_str()));
        location.is_s3() && best.map_or(self.elsewhere, |(_, lends)| *lends)
    }
}

/// Like [`Location::is_within`], with local links resolved.
pub(crate) fn really_within(location: &Location, folder: &Location) -> bool {
    match (location.local_path(), folder.local_path()) {
        (Some(path), Some(folder)) => match (real(&path), real(&folder)) {
            (Some(path), Some(folder)) => path.starts_with(folder),
            _ => false,
        },
        _ => location.is_within(folder),
    }
}

/// A path without links. Missing parts are resolved as they would be created.
fn real(path: &Path) -> Option<PathBuf> {
    for there in path.ancestors() {
        match there.canonicalize() {
            Ok(real) => return path.strip_prefix(there).ok().map(|rest| real.join(rest)),
            // Whoever writes would follow a dangling link.
            Err(_) if there.is_symlink() => return None,
            // Whoever writes reports what is in the way.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(_) => return None,
        }
    }
    None
}

/// Parses a location from a catalog or a file. Relative paths are refused, and so are those with `..`: a disk, and some
/// servers, resolve it after following links.
pub(crate) fn absolute(text: &str) -> Option<Location> {
    let is_absolute = strip_scheme(text).is_some() || text.starts_with("file:") || text.starts_with('/');
    let climbs = text.split('/').any(|name| matches!(name, "." | ".."));
    (is_absolute && !climbs).then(|| Location::parse(text).ok()).flatten()
}
