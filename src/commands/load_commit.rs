//! The commit of a full load: a table made with its first snapshot, or all rows of one replaced.

use std::collections::HashMap;

use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, NullOrder, Operation, SortDirection, SortField, SortOrder, TableMetadata,
    TableMetadataBuilder, Transform,
};

use super::history::{set_schema, set_sort_order};
use super::partitioning::{Partitioning, replaced};
use super::report::{FileCounts, RowCounts, WindowReport, rescue_warnings};
use super::request::{Context, FullLoad};
use crate::catalog::settle::{Outcome, commit_and_settle, conclude, create_and_settle};
use crate::catalog::{Catalog, LoadedTable, NewTable, clock};
use crate::error::{Error, Result};
use crate::export::Export;
use crate::load::{Load, Loaded};
use crate::schema::TableSchema;
use crate::storage::Staging;
use crate::table::watermark::{
    self, COMMAND, EXPORT_ARN, FULL_LOAD, GAPS, LOAD, TABLE_ARN, TABLE_ID, WATERMARK, WINDOW_TO,
};
use crate::table::{BuiltSnapshot, LiveTable, SnapshotBuilder, base_requirements, check_properties, live_table};
use crate::time;
use crate::windows::GAPS_SEEN;

/// Properties that every load sets.
fn properties(table: &TableSchema, export: &Export) -> HashMap<String, String> {
    let mut properties = watermark::source_properties(export.source());
    properties.insert(watermark::VERSION.to_owned(), watermark::VERSION_KNOWN.to_string());
    properties.insert(watermark::SCHEMA.to_owned(), table.mapping.to_text());
    properties
}

/// By key, ascending.
fn sort_order(table: &TableSchema) -> Result<SortOrder> {
    let fields = table.key_fields()?.into_iter().map(|field| SortField {
        source_id: field.id,
        transform: Transform::Identity,
        direction: SortDirection::Ascending,
        null_order: NullOrder::First,
    });
    Ok(SortOrder { order_id: 1, fields: fields.collect() })
}

/// A new table's metadata, but for the snapshot. `given` are the catalog's own properties.
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
        // A commit writes the whole metadata: without this every one of them would stay for ever.
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

/// One load on its way into a table.
pub(super) struct Work<'a> {
    pub context: &'a Context,
    pub catalog: &'a dyn Catalog,
    pub request: &'a FullLoad,
    pub export: &'a Export,
    pub partitioning: &'a Partitioning,
}

impl Work<'_> {
    /// A new table, complete with its first snapshot.
    ///
    /// `window` and `warnings` tell what the load did; they only count if it is committed.
    pub async fn create(
        &self,
        columns: &TableSchema,
        window: &mut WindowReport,
        warnings: &mut Vec<String>,
    ) -> Result<Outcome> {
        let staging = Staging::begin(self.context.progress.run());
        let outcome = self.try_create(columns, window, warnings, &staging).await;
        conclude(staging, outcome, Outcome::is_committed).await
    }

    async fn try_create(
        &self,
        columns: &TableSchema,
        window: &mut WindowReport,
        warnings: &mut Vec<String>,
        staging: &Staging,
    ) -> Result<Outcome> {
        let planned =
            new_table(columns, self.export, String::new(), HashMap::new(), self.partitioning)?.build()?.metadata;
        let Some(home) = self.catalog.prepare(&self.request.table, &planned).await? else {
            return Ok(Outcome::Moved(self.catalog.load(&self.request.table).await?));
        };
        let mut builder = new_table(columns, self.export, home.location, home.properties, self.partitioning)?;
        if let Some(uuid) = home.uuid {
            builder = builder.assign_uuid(uuid);
        }
        let empty = builder.clone().build()?.metadata;
        check_properties(&empty)?;
        let file_io = staging.file_io(&home.file_io);
        let loaded = self.load(columns, &empty, &file_io, window, warnings).await?;
        let built = self.snapshot(None, &empty, &loaded, &LiveTable::default(), &file_io).await?;
        let id = built.snapshot.snapshot_id();
        window.snapshot_id = Some(id.to_string());
        let property = self.marks(id);
        let made = builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.set_properties(property)?.build()?;
        let table = NewTable { metadata: made.metadata, updates: made.changes };
        self.catalog.ensure_namespace(self.request.table.namespace()).await?;
        let commit = create_and_settle(self.catalog, &self.request.table, table, self.catalog.patience());
        staging.commit(commit).await
    }

    /// All rows of a table replaced in one commit. History, foreign properties and the ids of fitting columns stay.
    pub async fn replace(
        &self,
        base: &LoadedTable,
        columns: &TableSchema,
        window: &mut WindowReport,
        warnings: &mut Vec<String>,
    ) -> Result<Outcome> {
        let staging = Staging::begin(self.context.progress.run());
        let outcome = self.try_replace(base, columns, window, warnings, &staging).await;
        conclude(staging, outcome, Outcome::is_committed).await
    }

    async fn try_replace(
        &self,
        base: &LoadedTable,
        columns: &TableSchema,
        window: &mut WindowReport,
        warnings: &mut Vec<String>,
        staging: &Staging,
    ) -> Result<Outcome> {
        let (_, columns) = replaced(base, columns)?;
        let builder = clock::draft(&base.metadata)?;
        let builder = set_schema(&base.metadata, builder, &columns.schema)?;
        let builder = self.partitioning.set(&base.metadata, &columns, builder)?;
        let mut builder = set_sort_order(&base.metadata, builder, sort_order(&columns)?)?;
        let after = builder.clone().build()?.metadata;
        let live = live_table(base).await?;
        let file_io = staging.file_io(&base.file_io);
        let loaded = self.load(&columns, &after, &file_io, window, warnings).await?;
        window.files.data_removed = live.files.len() as u64;
        let built = self.snapshot(Some(base), &after, &loaded, &live, &file_io).await?;
        let id = built.snapshot.snapshot_id();
        window.snapshot_id = Some(id.to_string());
        let mut properties = properties(&columns, self.export);
        properties.extend(self.marks(id));
        let mut gone = vec![GAPS, GAPS_SEEN, WATERMARK, LOAD];
        if self.request.allow_other_table {
            // Nothing of the other table's is left; without the flag what the export does not say stays known.
            gone.extend([TABLE_ARN, TABLE_ID]);
        }
        gone.retain(|name| base.metadata.properties().contains_key(*name) && !properties.contains_key(*name));
        let gone: Vec<String> = gone.into_iter().map(str::to_owned).collect();
        builder = builder.set_branch_snapshot(built.snapshot, MAIN_BRANCH)?.set_properties(properties)?;
        if !gone.is_empty() {
            builder = builder.remove_properties(&gone)?;
        }
        let made = builder.build()?;
        let requirements = base_requirements(&base.metadata);
        let patience = self.catalog.patience();
        let commit = commit_and_settle(self.catalog, base, requirements, made.changes, id, patience);
        staging.commit(commit).await
    }

    async fn load(
        &self,
        columns: &TableSchema,
        metadata: &TableMetadata,
        file_io: &FileIO,
        window: &mut WindowReport,
        warnings: &mut Vec<String>,
    ) -> Result<Loaded> {
        let load = Load {
            exports: self.context.exports.clone(),
            export: self.export,
            metadata,
            table: columns,
            file_io: file_io.clone(),
            threads: self.context.threads,
            memory_limit: self.context.memory_limit,
            progress: self.context.progress.clone(),
        };
        let loaded = load.run().await?;
        window.rows = RowCounts { inserted: loaded.rows, ..RowCounts::default() };
        window.files = FileCounts { data_added: loaded.files.len() as u64, ..FileCounts::default() };
        window.rescued.clone_from(&loaded.rescued.values);
        *warnings = rescue_warnings(&loaded.rescued);
        Ok(loaded)
    }

    /// The load's snapshot.
    async fn snapshot(
        &self,
        base: Option<&LoadedTable>,
        after: &TableMetadata,
        loaded: &Loaded,
        old: &LiveTable,
        file_io: &FileIO,
    ) -> Result<BuiltSnapshot> {
        let operation = if base.is_some() { Operation::Overwrite } else { Operation::Append };
        let mut snapshot = SnapshotBuilder::new(base.map(|base| base.metadata.as_ref()), after, operation);
        for file in &loaded.files {
            snapshot.add_data_file(after.default_partition_spec_id(), file.clone());
        }
        for live in &old.files {
            snapshot.remove_data_file(live);
        }
        // Those too that apply to no file any more.
        for delete in &old.deletes {
            snapshot.remove_delete_file(delete);
        }
        snapshot.set(COMMAND, FULL_LOAD);
        if let Some(arn) = self.export.arn() {
            snapshot.set(EXPORT_ARN, arn);
        }
        if let Some(time) = self.export.time() {
            snapshot.set(WINDOW_TO, time::format(time)).set(WATERMARK, time::format(time));
        }
        snapshot.build(file_io).await
    }

    /// Properties that name the load's snapshot.
    fn marks(&self, snapshot_id: i64) -> HashMap<String, String> {
        let mark = |time| (WATERMARK.to_owned(), watermark::watermark_property(time, snapshot_id));
        let load = |arn| (LOAD.to_owned(), watermark::load_property(arn, snapshot_id));
        self.export.time().map(mark).into_iter().chain(self.export.arn().map(load)).collect()
    }
}
