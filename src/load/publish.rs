//! Commits a full load: creates a table with its first snapshot, or replaces all rows of one.

use std::collections::HashMap;

use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, NullOrder, Operation, SortDirection, SortField, SortOrder, TableMetadata, TableMetadataBuilder,
    TableMetadataRef, Transform,
};

use super::run::Load;
use super::task::Loaded;
use crate::catalog::settle::Outcome;
use crate::catalog::{Catalog, LoadedTable, clock};
use crate::columns::Rescued;
use crate::error::{Error, Result};
use crate::export::Export;
use crate::runtime::resources::Resources;
use crate::schema::TableSchema;
use crate::storage::Store;
use crate::table::commit::partitioning::{Partitioning, replaced};
use crate::table::commit::schema_history::{set_schema, set_sort_order};
use crate::table::commit::transaction::{Change, FileChanges, Transaction};
use crate::table::watermark::{
    self, COMMAND, EXPORT_ARN, FULL_LOAD, GAPS, GAPS_SEEN, LOAD, TABLE_ARN, TABLE_ID, WATERMARK, WINDOW_TO,
};
use crate::table::{check_properties, live_table};
use crate::time;

/// Properties that every load sets.
fn properties(table: &TableSchema, export: &Export) -> HashMap<String, String> {
    let mut properties = watermark::source_properties(export.source());
    properties.insert(watermark::VERSION.to_owned(), watermark::VERSION_KNOWN.to_string());
    properties.insert(watermark::SCHEMA.to_owned(), table.mapping.to_text());
    properties
}

/// Sort order: by key, ascending.
fn sort_order(table: &TableSchema) -> Result<SortOrder> {
    let fields = table.key_fields()?.into_iter().map(|field| SortField {
        source_id: field.id,
        transform: Transform::Identity,
        direction: SortDirection::Ascending,
        null_order: NullOrder::First,
    });
    Ok(SortOrder { order_id: 1, fields: fields.collect() })
}

/// A new table's metadata, except for the snapshot. `given` are the catalog's own properties.
fn new_table(
    table: &TableSchema,
    export: &Export,
    location: String,
    given: HashMap<String, String>,
    partitioning: &Partitioning,
) -> Result<TableMetadataBuilder> {
    let mut properties: HashMap<String, String> = given.into_iter().chain(properties(table, export)).collect();
    for (name, value) in [
        ("write.merge.mode", "merge-on-read"),
        ("write.delete.mode", "merge-on-read"),
        ("write.update.mode", "merge-on-read"),
        ("write.parquet.compression-codec", "zstd"),
        // Each commit writes a new metadata file: without this property all of them would be kept forever.
        ("write.metadata.delete-after-commit.enabled", "true"),
    ] {
        properties.insert(name.to_owned(), value.to_owned());
    }
    let builder = TableMetadataBuilder::new(
        (*table.schema).clone(),
        partitioning.of_new(table)?,
        sort_order(table)?,
        location,
        FormatVersion::V2,
        properties,
    )?;
    let made = builder.clone().build()?.metadata;
    if made.current_schema().as_struct() != table.schema.as_struct() {
        return Err(Error::failed("the table's field ids came out differently; please report this as a bug"));
    }
    Ok(builder)
}

/// A load to be committed to a table.
#[derive(Debug)]
pub struct Publish<'a> {
    /// The catalog that commits it.
    pub catalog: &'a dyn Catalog,
    /// The table.
    pub ident: &'a TableIdent,
    /// Storage of the export.
    pub exports: Store,
    /// The export.
    pub export: &'a Export,
    /// The columns of the rows.
    pub columns: &'a TableSchema,
    /// Their partitioning.
    pub partitioning: &'a Partitioning,
    /// Whether to forget the DynamoDB table of the rows that are replaced.
    pub forget_source: bool,
    /// Resources of the load.
    pub resources: Resources,
}

/// The result of a load, valid only if it was committed.
#[derive(Debug, Default)]
pub struct Published {
    /// The load's snapshot.
    pub snapshot_id: i64,
    /// Rows in the table.
    pub rows: u64,
    /// Number of data files added.
    pub data_added: u64,
    /// Number of data files removed.
    pub data_removed: u64,
    /// Values that went into `_ddb_rescued`.
    pub rescued: Rescued,
}

impl Publish<'_> {
    /// Creates a table, complete with its first snapshot.
    pub async fn create(&self) -> Result<(Published, Outcome)> {
        let (columns, export) = (self.columns, self.export);
        let planned = new_table(columns, export, String::new(), HashMap::new(), self.partitioning)?.build()?.metadata;
        let Some(home) = self.catalog.prepare(self.ident, &planned).await? else {
            return Ok((Published::default(), Outcome::Moved(self.catalog.load(self.ident).await?)));
        };
        let mut builder = new_table(columns, export, home.location, home.properties, self.partitioning)?;
        if let Some(uuid) = home.uuid {
            builder = builder.assign_uuid(uuid);
        }
        check_properties(&builder.clone().build()?.metadata)?;
        let run = self.resources.progress.run();
        let transaction = Transaction::create(self.catalog, self.ident, &home.file_io, run);
        let prepared = self.first_snapshot(builder, &transaction).await;
        transaction.commit(prepared).await
    }

    async fn first_snapshot(
        &self,
        builder: TableMetadataBuilder,
        transaction: &Transaction<'_>,
    ) -> Result<(Change, Published)> {
        let empty: TableMetadataRef = builder.clone().build()?.metadata.into();
        let loaded = self.load(self.columns, &empty, transaction.file_io()).await?;
        let change = Change::new(builder, Operation::Append);
        Ok(self.with_rows(change, loaded, &empty, transaction.snapshot_id()))
    }

    /// Replaces all rows of a table in one commit. History, other programs' properties and the ids of fitting columns
    /// are kept.
    pub async fn replace(&self, base: &LoadedTable) -> Result<(Published, Outcome)> {
        let transaction = Transaction::begin(self.catalog, base, self.resources.progress.run());
        let prepared = self.new_rows(base, &transaction).await;
        transaction.commit(prepared).await
    }

    async fn new_rows(&self, base: &LoadedTable, transaction: &Transaction<'_>) -> Result<(Change, Published)> {
        let (_, columns) = replaced(base, self.columns)?;
        let builder = clock::draft(&base.metadata)?;
        let builder = set_schema(&base.metadata, builder, &columns.schema)?;
        let builder = self.partitioning.set(&base.metadata, &columns, builder)?;
        let builder = set_sort_order(&base.metadata, builder, sort_order(&columns)?)?;
        let after: TableMetadataRef = builder.clone().build()?.metadata.into();
        let live = live_table(base).await?;
        let loaded = self.load(&columns, &after, transaction.file_io()).await?;
        let change = Change::new(builder, Operation::Overwrite);
        let (mut change, mut published) = self.with_rows(change, loaded, &after, transaction.snapshot_id());
        published.data_removed = live.files.len() as u64;
        change.files.data_removed = live.files;
        // Including those that no longer apply to any file.
        change.files.deletes_removed = live.deletes;
        change.properties.extend(properties(&columns, self.export));
        let mut gone = vec![GAPS, GAPS_SEEN, WATERMARK, LOAD];
        if self.forget_source {
            // With the flag, everything about the other table is removed; without it, what the export does not state is
            // kept.
            gone.extend([TABLE_ARN, TABLE_ID]);
        }
        let known = base.metadata.properties();
        gone.retain(|name| known.contains_key(*name) && !change.properties.contains_key(*name));
        change.properties_removed = gone.into_iter().map(str::to_owned).collect();
        Ok((change, published))
    }

    async fn load(&self, columns: &TableSchema, metadata: &TableMetadataRef, file_io: &FileIO) -> Result<Loaded> {
        let load = Load {
            exports: self.exports.clone(),
            export: self.export,
            metadata,
            table: columns,
            file_io: file_io.clone(),
            resources: self.resources.clone(),
        };
        load.run().await
    }

    /// The change with the load's rows, its summary entries and its properties.
    fn with_rows(
        &self,
        mut change: Change,
        loaded: Loaded,
        after: &TableMetadata,
        snapshot_id: i64,
    ) -> (Change, Published) {
        let spec_id = after.default_partition_spec_id();
        let (rows, data_added) = (loaded.rows, loaded.files.len() as u64);
        let published = Published { snapshot_id, rows, data_added, data_removed: 0, rescued: loaded.rescued };
        let data_added = loaded.files.into_iter().map(|file| (spec_id, file)).collect();
        change.files = FileChanges { data_added, ..FileChanges::default() };
        change.summary.push((COMMAND, FULL_LOAD.to_owned()));
        change.summary.extend(self.export.arn().map(|arn| (EXPORT_ARN, arn.to_owned())));
        if let Some(time) = self.export.time() {
            change.summary.extend([(WINDOW_TO, time::format(time)), (WATERMARK, time::format(time))]);
        }
        let mark = |time| (WATERMARK.to_owned(), watermark::watermark_property(time, snapshot_id));
        let load = |arn| (LOAD.to_owned(), watermark::load_property(arn, snapshot_id));
        change.properties.extend(self.export.time().map(mark));
        change.properties.extend(self.export.arn().map(load));
        (change, published)
    }
}
