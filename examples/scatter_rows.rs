//! Makes a table of many small data files of one that has few, for benchmarks: `scatter_rows WAREHOUSE TABLE COUNT [sorted]`
//!
//! The same rows, in so many data files and one commit. Each file has keys from all over the table, unless `sorted` asks for files
//! whose ranges of keys do not overlap much.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use ddb_iceberg::catalog::settle::{Outcome, commit_and_settle};
use ddb_iceberg::catalog::{LoadedTable, connect};
use ddb_iceberg::storage::Store;
use ddb_iceberg::table::{
    DataFileWriter, DataPaths, LiveFile, Positions, SnapshotBuilder, WriteOptions, base_requirements, live_files,
    scan_rows,
};
use iceberg::TableIdent;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, MAIN_BRANCH, Operation, Struct};
use tokio::runtime::Handle;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(files) => {
            println!("{files} data files");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<usize> {
    let [warehouse, table, count, layout @ ..] = arguments else {
        return Err("usage: scatter_rows WAREHOUSE TABLE COUNT [sorted]".into());
    };
    let (count, is_sorted): (usize, bool) = (count.parse()?, layout.iter().any(|word| word == "sorted"));
    let properties = BTreeMap::from([("warehouse".to_owned(), warehouse.clone())]);
    let catalog = connect::connect("default", &properties, Store::local()).await?;
    let ident = TableIdent::from_strs(table.split('.'))?;
    let base = catalog.load(&ident).await?.ok_or("there is no such table")?;
    let live = live_files(&base).await?;

    let (table, old) = (base.clone(), live.clone());
    let added = tokio::task::spawn_blocking(move || rewrite(&table, &old, count, is_sorted)).await??;
    let files = added.len();

    let mut snapshot = SnapshotBuilder::new(Some(&base.metadata), &base.metadata, Operation::Replace);
    for file in added {
        snapshot.add_data_file(base.metadata.default_partition_spec_id(), file);
    }
    for file in &live {
        snapshot.remove_data_file(file);
    }
    let built = snapshot.build(&base.file_io).await?;
    let id = built.snapshot.snapshot_id();
    let builder = (*base.metadata).clone().into_builder(Some(base.metadata_location.clone()));
    let updates = builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.build()?.changes;
    let requirements = base_requirements(&base.metadata);
    match commit_and_settle(catalog.as_ref(), &base, requirements, updates, id, catalog.patience()).await? {
        Outcome::Committed(_) => Ok(files),
        other @ Outcome::Moved(_) => Err(format!("the table was not changed: {other:?}").into()),
    }
}

/// Writes the rows of some files as `count` others. For a blocking thread; the table must fit into memory.
fn rewrite(table: &LoadedTable, live: &[LiveFile], count: usize, is_sorted: bool) -> Result<Vec<DataFile>> {
    let (file_io, handle, metadata) = (&table.file_io, Handle::current(), &table.metadata);
    if live.iter().any(|file| !file.deletes.is_empty()) || !metadata.default_partition_spec().is_unpartitioned() {
        return Err("the table must be fresh from a full load, and without partitions".into());
    }
    let schema = metadata.current_schema();
    let arrow_schema = Arc::new(schema_to_arrow_schema(schema)?);
    let mut batches: Vec<RecordBatch> = Vec::new();
    for file in live {
        scan_rows(file_io, &handle, file, &arrow_schema, &Positions::default(), &mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
    }
    let rows = concat_batches(&arrow_schema, &batches)?;
    let (total, options) = (u64::try_from(rows.num_rows())?, WriteOptions::for_table(metadata, schema));
    let (paths, files) = (DataPaths::new(metadata), u64::try_from(count.max(1))?.min(total));
    (0..files)
        .map(|number| {
            let picked: Vec<u64> = if is_sorted {
                (number * total / files..(number + 1) * total / files).collect()
            } else {
                (number..total).step_by(usize::try_from(files)?).collect()
            };
            let (spec, order) =
                (metadata.default_partition_spec_id(), i32::try_from(metadata.default_sort_order_id())?);
            let (location, partition) = (paths.data_file(0), Struct::empty());
            let mut writer =
                DataFileWriter::create(file_io, &handle, location, schema, spec, partition, Some(order), &options)?;
            writer.write(&take_record_batch(&rows, &UInt64Array::from(picked))?)?;
            Ok(writer.finish()?)
        })
        .collect()
}
