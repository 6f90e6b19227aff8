//! `detect-schema`: looks at items and suggests a schema file.

use std::sync::Arc;

use super::report::DetectReport;
use super::request::{Context, DetectSchema};
use crate::error::{Error, Result};
use crate::export::{DataFileRef, Export, ExportKind, open, open_bare};
use crate::load::{Observations, ObserveTask, split};
use crate::pool;
use crate::schema::{ColumnType, Limits, SchemaFile, Target};
use crate::storage::Location;

/// Reads the export, or a sample of its files, and says which columns its attributes need.
///
/// Errors: as everywhere by [`Kind`](crate::error::Kind); an incremental export is the wrong kind of input.
pub async fn detect_schema(context: &Context, request: &DetectSchema) -> Result<DetectReport> {
    let export = open_full(context, &request.export, request.without_manifest).await?;
    let files = sample(export.files(), request.sample_files);
    let seen = observe(context, &files, request.max_struct_fields).await?;
    for name in &request.key {
        match seen.fields.get(name).map(ColumnType::of) {
            Some(ty) if ty.is_key() => {}
            Some(ty) => {
                return Err(Error::input(format!("the key attribute has values that no key can have ({ty})"))
                    .of_attribute(name.as_str())
                    .advice("Keys are of one type, S, N or B. Check --key"));
            }
            None => {
                return Err(Error::input("the key attribute is in no item")
                    .of_attribute(name.as_str())
                    .advice("Check --key"));
            }
        }
    }
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
    Ok(DetectReport { table: table(&file), schema_file, items: seen.items, warnings })
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

/// Observes all items of the files.
pub(super) async fn observe(context: &Context, files: &[DataFileRef], struct_fields: usize) -> Result<Observations> {
    let limits = Limits { struct_fields, ..Limits::default() };
    let tasks = split(files, context.threads).into_iter().map(|files| ObserveTask { files }).collect();
    let progress = Arc::clone(&context.progress);
    progress.start("looking at items", u64::try_from(files.len()).unwrap_or(u64::MAX));
    let store = context.exports.clone();
    let work = move |task: ObserveTask, stop: &pool::Stop| task.run(&store, &limits, &progress, stop);
    let mut seen = Observations::default();
    for more in pool::run(context.threads, tasks, work, drop).await? {
        seen.join(more, &limits);
    }
    Ok(seen)
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

/// The attributes as a table for people.
fn table(file: &SchemaFile) -> String {
    let items = file.items.unwrap_or(0);
    let mut rows = vec![["attribute", "seen", "present", "column", "type"].map(str::to_owned)];
    for attribute in &file.attributes {
        let seen: Vec<_> = attribute.seen.iter().map(|(kind, _)| kind.name()).collect();
        let present: u64 = attribute.seen.iter().map(|(_, n)| n).sum();
        // Tenths of a percent, rounded down: 100.0% means all.
        let tenths = (u128::from(present) * 1000).checked_div(u128::from(items)).unwrap_or(0);
        let key = if file.key.contains(&attribute.name) { " (key)" } else { "" };
        let ty = match &attribute.target {
            Target::Column(ty) => format!("{ty}{key}"),
            Target::Observe(kind) => kind.name().to_owned(),
            Target::Exclude => "left out".to_owned(),
        };
        rows.push([
            attribute.name.clone(),
            seen.join(" "),
            format!("{}.{}%", tenths / 10, tenths % 10),
            attribute.column.clone().unwrap_or_else(|| attribute.name.clone()),
            ty,
        ]);
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(40));
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
