//! Merges one window into a table, in one commit.

use std::collections::HashMap;

use iceberg::spec::Operation;

use super::plan::{Plan, RowCounts};
use super::planner::Planner;
use super::policy::{NewAttributes, WriteMode};
use crate::catalog::settle::Outcome;
use crate::catalog::{Catalog, LoadedTable, clock};
use crate::columns::Rescued;
use crate::error::{Error, Result};
use crate::export::Export;
use crate::runtime::resources::Resources;
use crate::schema::{Limits, TableSchema};
use crate::storage::Store;
use crate::table::commit::transaction::{Change, FileChanges, Transaction};
use crate::table::watermark::{self, EXPORT_ARN, GAPS, GAPS_SEEN, Gap, WATERMARK, WINDOW_FROM, WINDOW_TO};
use crate::time::{self, Time};

/// A window to be merged into a table.
#[derive(Debug)]
pub struct WindowMerge<'a> {
    /// The catalog that commits it.
    pub catalog: &'a dyn Catalog,
    /// Storage of the exports.
    pub exports: Store,
    /// The window's export.
    pub export: &'a Export,
    /// The window's start, inclusive.
    pub from: Time,
    /// The window's end, exclusive.
    pub to: Time,
    /// A gap before the window, to be recorded in the table.
    pub gap: Option<Gap>,
    /// The table's columns and key.
    pub columns: TableSchema,
    /// How new attributes are handled.
    pub new_attributes: NewAttributes,
    /// How old rows are removed.
    pub write_mode: WriteMode,
    /// Resources of the merge.
    pub resources: Resources,
}

/// A window that was committed.
#[derive(Debug)]
pub struct Merged {
    /// The table after the commit.
    pub table: LoadedTable,
    /// The window's snapshot, unless it has expired meanwhile.
    pub snapshot_id: Option<i64>,
    /// Its changes.
    pub effect: Effect,
}

/// The changes that a window made to a table.
#[derive(Debug)]
pub struct Effect {
    /// Counts of inserted, updated and deleted rows.
    pub counts: RowCounts,
    /// Values kept in `_ddb_rescued`, by attribute.
    pub rescued: Rescued,
    /// Full names of the added columns.
    pub columns_added: Vec<String>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Number of data files added.
    pub data_added: u64,
    /// Number of data files removed.
    pub data_removed: u64,
    /// Number of delete files added.
    pub deletes_added: u64,
}

impl WindowMerge<'_> {
    /// Merges the window into the table with state `base`. `None` if another writer committed first and the window must
    /// be planned again. `gaps_seen` returns the property of that name for the gaps (as JSON) that the commit records,
    /// if they are new.
    ///
    /// Errors: [`Kind::Unknown`](crate::error::Kind::Unknown) if the outcome can't be determined; with any other error
    /// nothing was changed.
    pub async fn run(
        self,
        base: &LoadedTable,
        gaps_seen: impl FnOnce(Option<&str>) -> Option<String>,
    ) -> Result<Option<Merged>> {
        let transaction = Transaction::begin(self.catalog, base, self.resources.progress.run());
        let planner = Planner {
            exports: self.exports.clone(),
            base: LoadedTable { file_io: transaction.file_io().clone(), ..base.clone() },
            table: self.columns.clone(),
            new_attributes: self.new_attributes,
            write_mode: self.write_mode,
            limits: Limits::default(),
            resources: self.resources.clone(),
        };
        let plan = planner.plan(self.export).await;
        let prepared = plan.and_then(|plan| self.change(base, plan, transaction.snapshot_id(), gaps_seen));
        let (effect, Outcome::Committed(table)) = transaction.commit(prepared).await? else { return Ok(None) };
        let to = time::format(self.to);
        let snapshot = watermark::ancestors(&table.metadata)
            .find(|snapshot| snapshot.summary().additional_properties.get(WINDOW_TO) == Some(&to));
        let snapshot_id = snapshot.map(|snapshot| snapshot.snapshot_id());
        Ok(Some(Merged { table, snapshot_id, effect }))
    }

    /// Schema, snapshot and properties as one change, on the base on which the plan was made.
    fn change(
        &self,
        base: &LoadedTable,
        plan: Plan,
        snapshot_id: i64,
        gaps_seen: impl FnOnce(Option<&str>) -> Option<String>,
    ) -> Result<(Change, Effect)> {
        let Plan { evolution, rescued, images, removed, counts } = plan;
        let columns = evolution.table.as_ref().unwrap_or(&self.columns);
        let mut metadata = clock::draft(&base.metadata)?;
        if evolution.table.is_some() {
            metadata = metadata.add_current_schema((*columns.schema).clone())?;
        }
        let effect = Effect {
            counts,
            rescued,
            columns_added: evolution.added,
            warnings: evolution.warnings,
            data_added: (images.len() + removed.rewritten.len()) as u64,
            data_removed: removed.data_removed.len() as u64,
            deletes_added: removed.delete_files.len() as u64,
        };
        let removes = effect.deletes_added > 0 || effect.data_removed > 0;
        let operation = match (effect.data_added, removes) {
            (_, false) => Operation::Append,
            (0, true) => Operation::Delete,
            (_, true) => Operation::Overwrite,
        };
        let mut change = Change::new(metadata, operation);
        change.files = FileChanges {
            data_added: images.into_iter().chain(removed.rewritten).collect(),
            deletes_added: removed.delete_files,
            data_removed: removed.data_removed,
            deletes_removed: removed.deletes_removed,
        };
        change.summary = vec![
            (WINDOW_FROM, time::format(self.from)),
            (WINDOW_TO, time::format(self.to)),
            (WATERMARK, time::format(self.to)),
        ];
        change.summary.extend(self.export.arn().map(|arn| (EXPORT_ARN, arn.to_owned())));
        let evolved = evolution.table.is_some();
        change.properties = self.properties(base, columns, evolved, snapshot_id, gaps_seen)?;
        Ok((change, effect))
    }

    /// Properties to be set by the commit.
    fn properties(
        &self,
        base: &LoadedTable,
        columns: &TableSchema,
        evolved: bool,
        snapshot_id: i64,
        gaps_seen: impl FnOnce(Option<&str>) -> Option<String>,
    ) -> Result<HashMap<String, String>> {
        let known = base.metadata.properties();
        let mut set = HashMap::from([(WATERMARK.to_owned(), watermark::watermark_property(self.to, snapshot_id))]);
        if evolved || !known.contains_key(watermark::SCHEMA) {
            set.insert(watermark::SCHEMA.to_owned(), columns.mapping.to_text());
        }
        let mut facts = watermark::source_properties(self.export.source());
        facts.insert(watermark::VERSION.to_owned(), watermark::VERSION_KNOWN.to_string());
        facts.retain(|name, _| !known.contains_key(name));
        set.extend(facts);
        let mut gaps = watermark::gaps(&base.metadata)?;
        let is_new = self.gap.is_some();
        gaps.extend(self.gap.clone());
        let text =
            serde_json::to_string(&gaps).map_err(|e| Error::failed("the gaps cannot be written").caused_by(e))?;
        if !gaps.is_empty() {
            let seen = gaps_seen(is_new.then_some(text.as_str()));
            set.extend(seen.map(|text| (GAPS_SEEN.to_owned(), text)));
        }
        if is_new {
            set.insert(GAPS.to_owned(), text);
        }
        Ok(set)
    }
}
