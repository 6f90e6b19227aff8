//! Encodes column chunks of Parquet files from Arrow arrays, with rows in a given order.
//!
//! Parquet's writer for Arrow takes rows in the order in which they are written, so they would be copied first into
//! arrays and then into pages. Here each value is copied directly into its page, and statistics are collected on the
//! way. Pages are data pages v1, which all readers support; headers and the footer come from Parquet's crate.

mod compress;
mod levels;
mod pages;
pub(crate) mod rle;
mod statistics;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Field;
use bytes::Bytes;
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{
    DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT, EnabledStatistics, WriterProperties, WriterPropertiesPtr,
};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::min_max::MinMax;
use crate::runtime::work_sharing::WorkSharing;
use levels::{Leaf, Place, leaves};
use pages::{Pages, long};
use statistics::statistics;
use values::values_of;

pub(crate) use levels::Levels;
pub(crate) use values::min_max_of;

/// Number of levels after which a page may end.
const STEP_SLOTS: usize = 1000;
/// A column gets a dictionary if a sample shows that it will fit the limit. The dictionary is kept up to this multiple
/// of the limit.
const DICTIONARY_SLACK: usize = 2;
/// Maximum bytes of levels that wait for other threads.
pub(crate) const WAITING_LEVELS: usize = 32 << 20;

/// A column of the table, with the Parquet descriptors of its leaves.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub field: Arc<Field>,
    pub leaves: Vec<ColumnDescPtr>,
}

/// The values of a leaf in one row group, encoded.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    close: ColumnCloseResult,
    /// `None` inside a list or a map.
    extremes: Option<MinMax>,
}

impl Chunk {
    /// Appends it to the row group. Returns the statistics of its values, and the field's id unless it is inside a list
    /// or a map.
    pub fn append<W: std::io::Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<Option<(i32, MinMax)>> {
        let descriptor = self.close.metadata.column_descr_ptr();
        group.append_column(&self.bytes, self.close)?;
        let info = descriptor.self_type().get_basic_info();
        Ok(self.extremes.filter(|_| info.has_id()).map(|extremes| (info.id(), extremes)))
    }
}

impl Column {
    /// Encodes the rows at the given positions; helper threads encode some of the leaves.
    pub fn encode(
        &self,
        array: &ArrayRef,
        rows: &Levels,
        properties: &WriterPropertiesPtr,
        helpers: &WorkSharing,
    ) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::with_capacity(self.leaves.len());
        let mut encode = |waiting: Vec<(Leaf, ColumnDescPtr)>| {
            let properties = Arc::clone(properties);
            helpers.in_order(
                waiting,
                move |(leaf, descriptor)| encode(&leaf, &descriptor, &properties),
                |chunk| {
                    chunks.push(chunk?);
                    Ok(())
                },
            )
        };
        let mut descriptors = self.leaves.iter();
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        leaves(&self.field, array, rows, 0, &mut |leaf| {
            let descriptor = descriptors.next().ok_or_else(|| unlike(&self.field))?;
            bytes += leaf.parent_bytes(waiting.last().map(|(before, _)| before));
            waiting.push((leaf, Arc::clone(descriptor)));
            if bytes > WAITING_LEVELS {
                bytes = 0;
                return encode(std::mem::take(&mut waiting));
            }
            Ok(())
        })?;
        encode(waiting)?;
        if descriptors.next().is_some() { Err(unlike(&self.field)) } else { Ok(chunks) }
    }
}

fn unlike(field: &Field) -> ParquetError {
    ParquetError::General(format!("the values of column {} are not of its type", field.name()))
}

fn encode(leaf: &Leaf, descriptor: &ColumnDescPtr, properties: &WriterProperties) -> Result<Chunk> {
    let slots = leaf.slots()?;
    let values = values_of(&leaf.array, descriptor.physical_type(), descriptor.type_length())?;
    if i16::try_from(slots.depth()) != Ok(descriptor.max_def_level()) {
        return Err(ParquetError::General(format!("the levels of column {} are not its own", descriptor.path())));
    }
    let path = descriptor.path();
    let dictionary = if properties.dictionary_enabled(path) && !slots.positions().is_empty() {
        values.dictionary(slots.positions(), dictionary_limit(properties))
    } else {
        None
    };
    let mut extremes = (descriptor.max_rep_level() == 0).then(MinMax::default);
    let mut pages = Pages::new(properties.compression(path))?;
    if let Some(dictionary) = &dictionary {
        values.put(&dictionary.positions, &mut pages.data);
        pages.add_dictionary(dictionary.positions.len())?;
        if let Some(known) = &mut extremes {
            // All NaN values are counted.
            let is_float = matches!(descriptor.physical_type(), PhysicalType::FLOAT | PhysicalType::DOUBLE);
            known.take_in(values.extremes(if is_float { slots.positions() } else { &dictionary.positions }));
        }
    }

    // Pages end at the end of a row. Each slot counts for one more byte, since levels and indexes take space.
    let value_bytes = leaf.array.to_data().get_slice_memory_size().unwrap_or(0) / leaf.array.len().max(1) + 1;
    let most_bytes = properties.column_data_page_size_limit(path).max(1);
    let most_rows = properties.data_page_row_count_limit().max(1);
    let step = (most_bytes / value_bytes).clamp(1, STEP_SLOTS.min(most_rows));
    let mut end = Place::default();
    while end.slot < slots.count() {
        let (begin, mut bytes) = (end, 0);
        pages.data.clear();
        while end.slot < slots.count() && end.row - begin.row < most_rows && bytes < most_bytes {
            let from = end;
            end = slots.advance(from, step);
            if dictionary.is_none() {
                let positions = &slots.positions()[from.value..end.value];
                values.put(positions, &mut pages.data);
                if let Some(known) = &mut extremes {
                    known.take_in(values.extremes(positions));
                }
            }
            bytes = pages.data.len() + (end.slot - begin.slot);
        }
        pages.page.clear();
        slots.put_levels(begin.slot..end.slot, descriptor, &mut pages.page)?;
        let encoding = if let Some(dictionary) = &dictionary {
            dictionary.put_indices(begin.value..end.value, &mut pages.page);
            Encoding::RLE_DICTIONARY
        } else {
            values.end_page(&mut pages.data);
            pages.page.extend_from_slice(&pages.data);
            Encoding::PLAIN
        };
        pages.add_data(end.slot - begin.slot, encoding)?;
    }
    let nulls = slots.count() - slots.positions().len();
    let known = extremes.as_ref().filter(|_| properties.statistics_enabled(path) != EnabledStatistics::None);
    let known = known.map(|known| statistics(descriptor, known, nulls, properties.statistics_truncate_length()));
    let varying_bytes = values.varying_bytes(slots.positions());
    let (bytes, metadata) = pages.finish(descriptor, slots.count(), known, varying_bytes)?;
    let close = ColumnCloseResult {
        bytes_written: long(bytes.len())?,
        rows_written: long(end.row)?,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: None,
    };
    Ok(Chunk { bytes, close, extremes })
}

/// Maximum bytes of a dictionary: a limit that the table sets is exact.
fn dictionary_limit(properties: &WriterProperties) -> usize {
    match properties.dictionary_page_size_limit() {
        limit @ DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT => DICTIONARY_SLACK * limit,
        limit => limit,
    }
}

/// The leaves of Parquet's schema that belong to each column of the table.
pub(crate) fn columns(fields: &[Arc<Field>], leaves: &[ColumnDescPtr]) -> Vec<Column> {
    let mut columns: Vec<Column> =
        fields.iter().map(|field| Column { field: Arc::clone(field), leaves: Vec::new() }).collect();
    let mut rest = leaves.iter().peekable();
    for column in &mut columns {
        let is_of = |leaf: &&ColumnDescPtr| root(leaf) == Some(column.field.name());
        while let Some(leaf) = rest.next_if(is_of) {
            column.leaves.push(Arc::clone(leaf));
        }
    }
    columns
}

fn root(leaf: &ColumnDescriptor) -> Option<&String> {
    leaf.path().parts().first()
}
