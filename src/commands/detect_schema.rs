//! `detect-schema`: looks at items and suggests a schema file.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::detect_table;
use super::report::DetectReport;
use super::request::{Context, DetectSchema};
use crate::attribute::Kind;
use crate::error::{Error, Result};
use crate::export::{DataFileRef, Export, ExportKind, open, open_bare};
use crate::load::{Observations, observe_files};
use crate::schema::{ColumnType, Limits, SchemaFile, check_key_type, hints, no_such_key};
use crate::storage::Location;

/// Reads the export, or a sample of its files, and says which columns its attributes need.
///
/// Errors: as everywhere by [`Kind`](crate::error::Kind); an incremental export is the wrong kind of input.
pub async fn detect_schema(context: &Context, request: &DetectSchema) -> Result<DetectReport> {
    if request.key.len() > 2 || (request.key.len() == 2 && request.key.first() == request.key.get(1)) {
        return Err(Error::usage("a key has one or two attributes: the partition key, then the sort key"));
    }
    let export = open_full(context, &request.export, request.without_manifest).await?;
    let files = sample(export.files(), request.sample_files);
    let limits = Limits { struct_fields: request.max_struct_fields, ..Limits::default() };
    let seen = observe(context, &files, limits, Arc::default()).await?;
    request.key.iter().try_for_each(|name| check_key(name, &seen))?;
    let file = SchemaFile::suggest(&request.key, seen.items, &seen.fields);
    let mut warnings = Vec::new();
    if files.len() < export.files().len() {
        warnings.push(format!("{} of {} files were looked at", files.len(), export.files().len()));
    }
    let schema_file = if request.flat { file.to_plain_text() } else { file.to_text() };
    if let Some(output) = &request.output {
        let location = Location::parse(output)?;
        context.exports.write(&location, schema_file.clone().into()).await?;
    }
    let hints = hints(seen.items, &seen.fields, &limits);
    Ok(DetectReport { table: detect_table::text(&file, &hints), schema_file, items: seen.items, hints, warnings })
}

/// Makes sure that an attribute can be part of the key: in every item, and of one type that keys have.
fn check_key(name: &str, seen: &Observations) -> Result<()> {
    let Some(observed) = seen.fields.get(name) else {
        return Err(no_such_key(
            name,
            "the key attribute is in no item",
            seen.fields.sorted().into_iter().map(|(name, _)| name),
        ));
    };
    check_key_type(name, &ColumnType::of(observed))?;
    let present = observed.total() - observed.count(Kind::Null);
    if present < seen.items {
        let without = seen.items - present;
        return Err(Error::input(format!("{without} of {} items have no value for the key attribute", seen.items))
            .of_attribute(name)
            .advice("Every item has its key. Check --key"));
    }
    Ok(())
}

/// Opens what must be a full export.
pub(super) async fn open_full(context: &Context, export: &str, without_manifest: bool) -> Result<Export> {
    let export = if without_manifest {
        open_bare(&context.exports, export).await?
    } else {
        open(&context.exports, export).await?
    };
    match export.kind() {
        ExportKind::Full { .. } => Ok(export),
        ExportKind::Incremental { .. } => Err(Error::input("this is an incremental export, a full one is needed")
            .in_file(export.location().to_string())
            .advice("Apply incremental exports with `ddb-iceberg incremental`")),
    }
}

/// Observes all items of the files, but for what is excluded.
pub(super) async fn observe(
    context: &Context,
    files: &[DataFileRef],
    limits: Limits,
    excluded: Arc<BTreeSet<String>>,
) -> Result<Observations> {
    observe_files(context.exports.clone(), files, context.threads, limits, excluded, Arc::clone(&context.progress))
        .await
}

/// So many files, spread evenly.
fn sample(files: &[DataFileRef], wanted: Option<usize>) -> Vec<DataFileRef> {
    match wanted {
        Some(wanted) if wanted < files.len() => {
            (0..wanted).filter_map(|n| files.get(n * files.len() / wanted)).cloned().collect()
        }
        _ => files.to_vec(),
    }
}
