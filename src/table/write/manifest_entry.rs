//! The manifest entry of a data file, from its footer and the statistics of its rows.

use std::collections::HashMap;

use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Struct};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescriptor;

use super::metrics::{MetricsConfig, MetricsMode, RowMetrics};
use crate::error::{Error, Result};

/// The parts of the manifest entry that are known from the start.
pub(crate) struct Entry {
    pub content: DataContentType,
    pub spec_id: i32,
    pub partition: Struct,
    pub sort_order_id: Option<i32>,
    pub referenced_data_file: Option<String>,
}

/// The manifest entry of a finished file.
pub(crate) fn describe(
    location: &str,
    size: u64,
    rows: u64,
    footer: &ParquetMetaData,
    config: &MetricsConfig,
    metrics: RowMetrics,
    entry: &Entry,
) -> Result<DataFile> {
    let mut counts = FooterCounts::default();
    counts.take(footer, config);
    let bounds = metrics.finish()?;
    let mut offsets = Vec::with_capacity(footer.num_row_groups());
    for group in footer.row_groups() {
        if let Some(column) = group.columns().first() {
            offsets.extend(i64::try_from(column.byte_range().0).ok());
        }
    }
    let mut builder = DataFileBuilder::default();
    builder
        .content(entry.content)
        .file_path(location.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(entry.partition.clone())
        .partition_spec_id(entry.spec_id)
        .record_count(rows)
        .file_size_in_bytes(size)
        .column_sizes(counts.sizes)
        .value_counts(counts.values)
        .null_value_counts(counts.nulls)
        .nan_value_counts(bounds.nans)
        .lower_bounds(bounds.lower)
        .upper_bounds(bounds.upper)
        .split_offsets((!offsets.is_empty()).then_some(offsets))
        .referenced_data_file(entry.referenced_data_file.clone());
    if let Some(id) = entry.sort_order_id {
        builder.sort_order_id(id);
    }
    builder.build().map_err(|e| Error::failed("a data file could not be described").caused_by(e).in_file(location))
}

/// Whether a leaf is inside a list or a map. Their statistics are not written, since Iceberg's filters cannot refer to
/// them.
pub(crate) fn is_repeated(leaf: &ColumnDescriptor) -> bool {
    leaf.max_rep_level() > 0
}

#[derive(Default)]
struct FooterCounts {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
}

impl FooterCounts {
    fn take(&mut self, footer: &ParquetMetaData, config: &MetricsConfig) {
        let mut unknown_nulls = Vec::new();
        for column in footer.row_groups().iter().flat_map(RowGroupMetaData::columns) {
            let descriptor = column.column_descr().self_type().get_basic_info();
            if !descriptor.has_id() {
                continue;
            }
            let id = descriptor.id();
            *self.sizes.entry(id).or_default() += u64::try_from(column.compressed_size()).unwrap_or(0);
            if config.mode(id) == MetricsMode::None || is_repeated(column.column_descr()) {
                continue;
            }
            *self.values.entry(id).or_default() += u64::try_from(column.num_values()).unwrap_or(0);
            match column.statistics().and_then(parquet::file::statistics::Statistics::null_count_opt) {
                Some(nulls) => *self.nulls.entry(id).or_default() += nulls,
                None => unknown_nulls.push(id),
            }
        }
        // If one row group lacks a count, it is unknown for the file.
        for id in unknown_nulls {
            self.nulls.remove(&id);
        }
    }
}
