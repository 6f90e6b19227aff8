//! `detect-schema`: observes items and proposes a schema file.

use std::collections::BTreeSet;

use super::report::DetectReport;
use super::request::{Context, DetectSchema};
use crate::attribute::Kind;
use crate::commands::report::detect_table;
use crate::error::{Error, Result};
use crate::export::{DataFileRef, open_full};
use crate::profile::observe::{Observations, observe_files};
use crate::schema::{ColumnType, Limits, SchemaFile, check_key_type, hints, no_such_key};
use crate::storage::Location;

/// Reads the export, or a sample of its files, and determines the columns that its attributes need.
///
/// Errors are classified by [`Kind`](crate::error::Kind) as everywhere; an incremental export is the wrong kind of
/// input.
pub async fn detect_schema(context: &Context, request: &DetectSchema) -> Result<DetectReport> {
    if request.key.len() > 2 || (request.key.len() == 2 && request.key.first() == request.key.get(1)) {
        return Err(Error::usage("a key has one or two attributes: the partition key, then the sort key"));
    }
    let export = open_full(&context.exports, &request.export, request.without_manifest).await?;
    let Sample { seen, files, whole } = sample(context, export.files(), request).await?;
    let mut warnings = Vec::new();
    if seen.items == 0 {
        if !request.key.is_empty() {
            return Err(no_items());
        }
        warnings.push(no_items().to_string());
    }
    request.key.iter().try_for_each(|name| check_key(name, &seen))?;
    let file = SchemaFile::suggest(&request.key, seen.items, &seen.fields);
    if !whole {
        warnings.push(format!("{files} of {} files were looked at", export.files().len()));
    }
    let schema_file = if request.flat { file.to_plain_text() } else { file.to_text() };
    if let Some(output) = &request.output {
        let location = Location::parse(output)?;
        context.exports.write(&location, schema_file.clone().into()).await?;
    }
    let limits = Limits { struct_fields: request.max_struct_fields, ..Limits::default() };
    let hints = hints(&request.key, seen.items, &seen.fields, &limits);
    Ok(DetectReport { table: detect_table::text(&file, &hints), schema_file, items: seen.items, hints, warnings })
}

/// Checks that an attribute can be part of the key: it is in every item, and has one type that keys can have.
fn check_key(name: &str, seen: &Observations) -> Result<()> {
    let Some(observed) = seen.fields.get(name) else {
        return Err(no_such_key(
            name,
            "the key attribute is in no item",
            seen.fields.sorted().into_iter().map(|(name, _)| name),
        ));
    };
    let present = observed.total() - observed.count(Kind::Null);
    if present == 0 {
        let names = seen.fields.sorted().into_iter().map(|(name, _)| name);
        return Err(no_such_key(name, "the key attribute has no value in any item", names));
    }
    check_key_type(name, &ColumnType::of(observed))?;
    if present < seen.items {
        let without = seen.items - present;
        return Err(Error::input(format!("{without} of {} items have no value for the key attribute", seen.items))
            .of_attribute(name)
            .advice("Every item has its key. Check --key"));
    }
    Ok(())
}

/// The error for an export without items.
pub(super) fn no_items() -> Error {
    Error::input("the export has no items, so the types of its columns are not known")
        .advice("Give them in a file with full-load --schema, at least the key's: {\"pk\":\"S\"}")
}

/// Observes all items of the files, except the attributes `left_out`.
pub(super) async fn observe(
    context: &Context,
    files: &[DataFileRef],
    limits: Limits,
    left_out: &BTreeSet<String>,
) -> Result<Observations> {
    observe_files(context.exports.clone(), files, limits, left_out, context.resources()).await
}

/// The files that were observed.
struct Sample {
    seen: Observations,
    /// The files, including empty ones.
    files: usize,
    /// Whether no other file has items.
    whole: bool,
}

/// Observes the requested number of files with items, spread evenly.
///
/// A manifest says which files are empty. Bare files must be read to know that: other files replace the empty ones.
async fn sample(context: &Context, files: &[DataFileRef], request: &DetectSchema) -> Result<Sample> {
    let limits = Limits { struct_fields: request.max_struct_fields, ..Limits::default() };
    let (wanted, sampled) = (request.sample_files.unwrap_or(usize::MAX), request.sample_files.is_some());
    let may_have_items = |file: &&DataFileRef| !sampled || file.item_count != Some(0);
    let mut left: Vec<DataFileRef> = files.iter().filter(may_have_items).cloned().collect();
    let mut sample = Sample { seen: Observations::default(), files: 0, whole: left.is_empty() };
    let mut next = wanted;
    while sample.seen.files.len() < wanted && !sample.whole {
        let (chosen, rest) = spread(left, next);
        left = rest;
        let seen = observe(context, &chosen, limits, &BTreeSet::new()).await?;
        sample.files += chosen.len();
        // Many files may be empty: twice as many after each round without items.
        next = if seen.items == 0 {
            sample.files
        } else {
            wanted.saturating_sub(sample.seen.files.len() + seen.files.len())
        };
        sample.seen.join(seen, &limits);
        sample.seen.fields.check(&limits)?;
        sample.whole = left.is_empty();
    }
    Ok(sample)
}

/// Splits off this many of the files, spread evenly.
fn spread(files: Vec<DataFileRef>, wanted: usize) -> (Vec<DataFileRef>, Vec<DataFileRef>) {
    let count = files.len();
    // The first file of each of `wanted` parts of similar size.
    let begins = |at: usize| wanted >= count || (at * wanted).div_ceil(count) * count / wanted == at;
    let (chosen, rest): (Vec<_>, Vec<_>) = files.into_iter().enumerate().partition(|(at, _)| begins(*at));
    let files = |numbered: Vec<(usize, DataFileRef)>| numbered.into_iter().map(|(_, file)| file).collect();
    (files(chosen), files(rest))
}
