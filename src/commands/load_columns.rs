//! Determines the columns of a full load: from the schema file, the table whose rows are replaced, or the items.

use std::collections::BTreeSet;

use super::detect_schema::{no_items, observe};
use super::request::{Context, FullLoad};
use crate::catalog::LoadedTable;
use crate::error::{Error, Kind, Result};
use crate::export::Export;
use crate::profile::observe::Observations;
use crate::schema::{Limits, SchemaFile, TableSchema, Target, no_such_key};
use crate::storage::Location;
use crate::table::watermark;

/// Maximum size of a schema file.
const SCHEMA_FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// Determines the columns, again whenever the table has changed meanwhile.
pub(super) struct Columns<'a> {
    context: &'a Context,
    request: &'a FullLoad,
    export: &'a Export,
    file: Option<SchemaFile>,
    /// Cached observations of all attributes except these, with this limit for structs.
    seen: Option<(BTreeSet<String>, usize, Observations)>,
}

impl<'a> Columns<'a> {
    /// Reads the schema file, if given.
    pub async fn new(context: &'a Context, request: &'a FullLoad, export: &'a Export) -> Result<Self> {
        let file = match &request.schema {
            Some(name) => Some(read(context, name).await?),
            None => None,
        };
        Ok(Self { context, request, export, file, seen: None })
    }

    /// The columns of a load into a new table, or of one that replaces the rows of a table.
    ///
    /// A schema file alone decides. Without one, the table keeps its omitted attributes, names, key, and named types.
    pub async fn of(&mut self, old: Option<&LoadedTable>) -> Result<TableSchema> {
        let ours = old.is_some_and(|table| table.metadata.properties().contains_key(watermark::SCHEMA));
        let request = self.request;
        let typed = request.key.as_slice();
        let old = old.map(|table| watermark::columns(&table.metadata)).transpose()?;
        let known = old.as_ref().map(|old| old.mapping.key.as_slice()).unwrap_or_default();
        // Identifier fields of another program are a set: they don't distinguish the partition key from the sort key.
        let is_same = |typed: &String| known.contains(typed);
        let reordered = !ours && typed.len() == known.len() && typed.iter().all(is_same);
        let key = self.key(if reordered { typed } else { known })?;
        let file = match (&self.file, &old) {
            (Some(file), _) if !file.needs_observation() => {
                key.iter().try_for_each(|name| check_listed(file, name))?;
                return TableSchema::create(file, &key).map_err(|e| match &self.request.schema {
                    Some(name) if e.kind() == Kind::Usage => e.in_file(name.as_str()),
                    _ => e,
                });
            }
            (Some(file), _) => {
                let file = file.clone();
                let left_out = file.excluded();
                let limits = self.limits(file.widest_struct());
                file.with_observations(&self.observe(left_out, limits).await?.fields)
            }
            (None, Some(old)) => {
                // A struct that was allowed to have this many fields remains one.
                let limits = self.limits(old.widest_struct());
                let seen = self.observe(old.mapping.excluded.clone(), limits).await?;
                SchemaFile::kept(old, &seen.fields, &limits)
            }
            (None, None) => {
                let seen = self.observe(BTreeSet::new(), self.limits(0)).await?;
                if seen.items == 0 {
                    return Err(no_items());
                }
                SchemaFile::suggest(&key, seen.items, &seen.fields)
            }
        };
        TableSchema::create(&file, &key)
    }

    fn limits(&self, widest: usize) -> Limits {
        Limits { struct_fields: self.request.max_struct_fields.max(widest), ..Limits::default() }
    }

    /// The observations of the items, which are read once.
    async fn observe(&mut self, left_out: BTreeSet<String>, limits: Limits) -> Result<&Observations> {
        let seen = match self.seen.take() {
            Some((without, fields, seen)) if without == left_out && fields == limits.struct_fields => seen,
            _ => observe(self.context, self.export.files(), limits, &left_out).await?,
        };
        Ok(&self.seen.insert((left_out, limits.struct_fields, seen)).2)
    }

    /// The key: from the schema file, otherwise from the arguments, otherwise from the table (`known`).
    fn key(&self, known: &[String]) -> Result<Vec<String>> {
        let typed = self.request.key.as_slice();
        let named = self.file.as_ref().map(|file| file.key.as_slice()).unwrap_or_default();
        let key = match (named, typed) {
            ([], []) if known.is_empty() => {
                return Err(Error::usage("the table's key is not known")
                    .advice("Name the partition key, then the sort key if there is one: --key pk --key sk"));
            }
            ([], []) => known,
            ([], typed) if self.file.is_none() && !known.is_empty() && typed != known => {
                return Err(Error::usage(format!(
                    "--key says {}, the table's key is {}",
                    typed.join(", "),
                    known.join(", ")
                ))
                .advice("Leave --key away. To give the table another key, name it in a file with --schema"));
            }
            ([], typed) => typed,
            (named, []) => named,
            (named, typed) if named == typed => named,
            (named, typed) => {
                return Err(Error::usage(format!(
                    "--key says {}, the schema file says {}",
                    typed.join(", "),
                    named.join(", ")
                )));
            }
        };
        if key.len() > 2 || key.first() == key.get(1) {
            return Err(Error::usage("a key has one or two attributes: the partition key, then the sort key"));
        }
        Ok(key.to_vec())
    }
}

async fn read(context: &Context, name: &str) -> Result<SchemaFile> {
    let location = Location::parse(name)?;
    // It is not part of the export: if it is missing, a folder or too large, the command line is wrong.
    if !context.exports.exists(&location).await? {
        return Err(Error::usage("there is no such schema file").in_file(name).advice("Check --schema"));
    }
    let bytes = context.exports.read(&location, SCHEMA_FILE_LIMIT).await.map_err(|e| match e.kind() {
        Kind::Input => Error::usage(format!("the schema file cannot be read: {}", e.message())).in_file(name),
        _ => e,
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let line = bytes.iter().take(e.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        Error::usage("the schema file is not UTF-8").in_file(name).on_line(line as u64)
    })?;
    SchemaFile::parse(text).map_err(|e| e.in_file(name))
}

/// Checks that the schema file has a valid key column for each attribute of `--key`.
fn check_listed(file: &SchemaFile, name: &str) -> Result<()> {
    match file.attributes.iter().find(|a| a.name == name).map(|a| &a.target) {
        Some(Target::Column(ty)) if !ty.is_key() => {
            Err(Error::usage(format!("the schema file makes this key attribute {ty}, which no key can be"))
                .of_attribute(name)
                .advice("Keys are string, long, decimal(P,S), number-string or binary"))
        }
        Some(Target::Column(_)) => Ok(()),
        Some(Target::Exclude) => Err(Error::usage("the schema file leaves out this key attribute").of_attribute(name)),
        _ => {
            let listed = file.attributes.iter().filter(|attribute| attribute.target != Target::Exclude);
            let listed = listed.map(|attribute| attribute.name.as_str());
            Err(no_such_key(name, "the schema file does not list this key attribute", listed))
        }
    }
}
