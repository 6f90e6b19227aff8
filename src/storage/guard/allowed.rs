//! Where tables may lie: what the configuration vouches for, and where the catalog lent keys.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::storage::location::Location;
use crate::storage::routed::comparable;
use crate::storage::s3::strip_scheme;

/// The catalog property that names places besides the warehouse, separated by commas.
pub const ALLOWED_LOCATIONS: &str = "allowed-locations";
/// What the bucket of a table in Amazon S3 Tables ends with; nobody can give a bucket of his own such a name.
const TABLE_BUCKET: &str = "--table-s3";

/// Where tables may lie, as the user's configuration has it.
#[derive(Debug, Clone, Default)]
pub struct AllowedLocations {
    warehouse: Option<Location>,
    /// Folders that vouch as the warehouse does, for what lies below.
    below: Vec<Location>,
    /// Named by the user: at and below.
    pub(crate) named: Vec<Location>,
    table_buckets: bool,
    pub(crate) own_catalog: bool,
}

impl AllowedLocations {
    /// Below a warehouse.
    pub fn below(warehouse: Option<Location>) -> Self {
        Self { warehouse, ..Self::default() }
    }

    /// Also at and below the locations that a list names, separated by commas.
    ///
    /// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for what is no location, and for the root of the file system.
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

    /// Also below one more location, of which the catalog says that it has tables.
    #[must_use]
    pub fn and_below(mut self, location: Location) -> Self {
        self.below.push(location);
        self
    }

    /// Also the buckets that Amazon S3 Tables makes, one a table: for catalogs that are AWS.
    #[must_use]
    pub fn and_table_buckets(mut self, are_allowed: bool) -> Self {
        self.table_buckets = are_allowed;
        self
    }

    /// For a catalog that is a file of the user's own: its tables may list files anywhere below the warehouse, and local tables
    /// any local ones. They are read, not written or deleted.
    #[must_use]
    pub fn of_own_catalog(mut self) -> Self {
        self.own_catalog = true;
        self
    }

    /// Also the folder of a table whose newest metadata file is at `path`, `<folder>/metadata/<name>`: only where the catalog is
    /// the user's own and no warehouse is configured.
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

    /// Whether a metadata file may be looked into, wherever a catalog says that it is: local files only where tables may be.
    pub fn may_look_at(&self, path: &str) -> bool {
        absolute(path).is_some_and(|location| {
            let vouched = || self.folders().any(|folder| really_within(&location, folder));
            location.is_s3() || self.own_catalog || vouched()
        })
    }

    fn folders(&self) -> impl Iterator<Item = &Location> {
        self.named.iter().chain(&self.warehouse).chain(&self.below)
    }

    /// Why a folder can't be that of a table at `root`, if it can't.
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

/// Where files are reached with keys that the catalog lent, and not with the user's: as storage is routed.
#[derive(Debug, Clone, Default)]
pub struct Lent {
    elsewhere: bool,
    below: Vec<(String, bool)>,
}

impl Lent {
    /// `below`: whether there are keys below each prefix; `elsewhere`: whether for what no prefix is for.
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

/// As [`Location::is_within`], local links resolved.
pub(crate) fn really_within(location: &Location, folder: &Location) -> bool {
    match (location.local_path(), folder.local_path()) {
        (Some(path), Some(folder)) => match (real(&path), real(&folder)) {
            (Some(path), Some(folder)) => path.starts_with(folder),
            _ => false,
        },
        _ => location.is_within(folder),
    }
}

/// A path without links. What does not exist yet is what would be made.
fn real(path: &Path) -> Option<PathBuf> {
    for there in path.ancestors() {
        match there.canonicalize() {
            Ok(real) => return path.strip_prefix(there).ok().map(|rest| real.join(rest)),
            // A link that leads nowhere would be followed by whoever writes.
            Err(_) if there.is_symlink() => return None,
            // What is in the way is told by whoever writes.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(_) => return None,
        }
    }
    None
}

/// What a catalog or a file says, as a location. Relative paths are none, nor those with `..` in them: a disk follows it from
/// where a link leads to, and so do some servers.
pub(crate) fn absolute(text: &str) -> Option<Location> {
    let is_absolute = strip_scheme(text).is_some() || text.starts_with("file:") || text.starts_with('/');
    let climbs = text.split('/').any(|name| matches!(name, "." | ".."));
    (is_absolute && !climbs).then(|| Location::parse(text).ok()).flatten()
}
