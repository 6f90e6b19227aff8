//! Derives a table's place from its metadata and from what the configuration vouches for. Only this function does so.

use std::collections::{BTreeMap, HashMap};

use iceberg::TableIdent;
use iceberg::spec::TableMetadata;

use crate::error::Result;
use crate::storage::{ALLOWED_LOCATIONS, AllowedLocations, Lent, Location, Place, Store};

/// Table properties that set folders outside of the table's location, newest names first.
const FOLDERS: [&str; 4] =
    ["write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"];

/// The locations that a catalog's properties vouch for, besides the warehouse.
///
/// Errors: [`Kind::Usage`](crate::error::Kind::Usage) for an invalid location.
pub fn allowed(properties: &BTreeMap<String, String>, warehouse: Option<Location>) -> Result<AllowedLocations> {
    let named = properties.get(ALLOWED_LOCATIONS).map_or("", String::as_str);
    AllowedLocations::below(warehouse).and_named(named)
}

/// The place of a table.
pub(crate) fn of_table(
    ident: &TableIdent,
    location: &str,
    properties: &HashMap<String, String>,
    allowed: &AllowedLocations,
    lent: &Lent,
    store: &Store,
) -> Place {
    Place::new(&ident.to_string(), &folders(location, properties), allowed, lent, store)
}

/// The place of a table after a change that may have moved it.
pub fn moved(place: &Place, metadata: &TableMetadata) -> Place {
    place.now_at(&folders(metadata.location(), metadata.properties()))
}

fn folders(location: &str, properties: &HashMap<String, String>) -> Vec<String> {
    let others = FOLDERS.iter().filter_map(|name| properties.get(*name)).filter(|folder| !folder.is_empty());
    std::iter::once(location.to_owned()).chain(others.cloned()).collect()
}
