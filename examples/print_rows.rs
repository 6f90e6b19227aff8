//! Prints rows of a table: `print_rows RESULT [COLUMN]...`
//!
//! RESULT is a file with the result JSON of `ddb-iceberg`, which names the table's metadata file, or the metadata file
//! itself. The rows are read with the iceberg crate's own reader, so that somebody else's code says what the table holds.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::table::StaticTable;

const WIDEST: usize = 40;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [result, columns @ ..] = arguments.as_slice() else {
        return Err("usage: print_rows RESULT.json [COLUMN]...".into());
    };
    let location = metadata_location(result)?;
    let name = TableIdent::from_strs(["examples", "table"])?;
    let table = StaticTable::from_metadata_file(&location, name, FileIO::new_with_fs()).await?;
    let scan = if columns.is_empty() { table.scan() } else { table.scan().select(columns) };
    let batches: Vec<RecordBatch> = scan.build()?.to_arrow().await?.try_collect().await?;

    let mut rows = Vec::new();
    for batch in &batches {
        rows.extend(cells(batch)?);
    }
    rows.sort();
    let header = match batches.first() {
        Some(batch) => batch.schema().fields().iter().map(|field| field.name().clone()).collect(),
        None => columns.to_vec(),
    };
    print(&mut io::stdout().lock(), &header, &rows)?;
    Ok(())
}

fn metadata_location(argument: &str) -> Result<String, Box<dyn Error>> {
    if argument.ends_with(".metadata.json") {
        return Ok(argument.to_owned());
    }
    let result: serde_json::Value = serde_json::from_str(&fs::read_to_string(argument)?)?;
    let location = result.get("metadata_location").and_then(|location| location.as_str());
    Ok(location.ok_or("the result names no metadata_location")?.to_owned())
}

fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<ArrayFormatter> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
    let cell = |column: &ArrayFormatter, row: usize| {
        let text = column.value(row).to_string();
        let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Some((end, _)) = text.char_indices().nth(WIDEST - 1) {
            text.truncate(end);
            text.push('…');
        }
        text
    };
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect())
}

fn print(out: &mut impl Write, header: &Vec<String>, rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths = vec![0; header.len()];
    for row in std::iter::once(header).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let underline: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    for row in [header, &underline].into_iter().chain(rows) {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "  {}", line.join("  ").trim_end())?;
    }
    writeln!(out, "  ({} rows)", rows.len())
}
