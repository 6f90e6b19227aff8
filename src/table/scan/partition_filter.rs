//! Skips data files that cannot contain certain keys, by their partitions.
//!
//! Only partition fields with a key column as source are used: a row with that key cannot be in another partition of
//! the spec. The values of other columns in an old row are unknown.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::arrow_primitive_to_literal;
use iceberg::spec::{Literal, NestedFieldRef, PartitionSpecRef, Struct, Transform};

use crate::error::Result;
use crate::table::files::LiveFile;
use crate::table::partition::key::PartitionKey;
use crate::table::partition::transform;

/// Maximum number of value combinations that are kept per spec; with more of them the filter gains little.
const MAX_VALUES: usize = 65_536;

/// The partitions of the keys, by spec.
#[derive(Debug, Default)]
pub struct PartitionFilter(HashMap<i32, SpecValues>);

#[derive(Debug)]
struct SpecValues {
    /// Indexes in the spec of the partition fields that come from key columns.
    places: Vec<usize>,
    /// Their values for the keys.
    values: HashSet<PartitionKey>,
}

impl PartitionFilter {
    /// The partitions of `keys`, whose columns are those of `key_fields`.
    pub fn new(specs: &[PartitionSpecRef], key_fields: &[NestedFieldRef], keys: &RecordBatch) -> Self {
        let mut found = HashMap::new();
        for spec in specs {
            match SpecValues::new(spec, key_fields, keys) {
                Ok(Some(values)) => {
                    found.insert(spec.spec_id(), values);
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(spec = spec.spec_id(), %error, "no pruning by partition"),
            }
        }
        Self(found)
    }

    /// Whether the data file may contain one of the keys.
    pub fn may_contain(&self, live: &LiveFile) -> bool {
        let Some(SpecValues { places, values }) = self.0.get(&live.spec_id) else { return true };
        let partition = live.file.partition().fields();
        let of_keys = places.iter().map(|place| partition.get(*place).cloned().flatten());
        let of_keys: Vec<Option<Literal>> = of_keys.collect();
        // A key column has no nulls, so a null here must have another meaning to its writer.
        of_keys.iter().any(Option::is_none) || values.contains(&PartitionKey::from(&Struct::from_iter(of_keys)))
    }
}

impl SpecValues {
    /// `None` if the spec has no partition field from a key column.
    fn new(spec: &PartitionSpecRef, key_fields: &[NestedFieldRef], keys: &RecordBatch) -> Result<Option<Self>> {
        let mut places = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        let mut types = Vec::new();
        for (place, field) in spec.fields().iter().enumerate() {
            let key = key_fields.iter().zip(keys.columns()).find(|(key, _)| key.id == field.source_id);
            let Some((key, column)) = key else { continue };
            if matches!(field.transform, Transform::Void | Transform::Unknown) {
                continue;
            }
            places.push(place);
            columns.push(transform::apply(field.transform, column)?);
            types.push(field.transform.result_type(&key.field_type)?);
        }
        if places.is_empty() {
            return Ok(None);
        }
        let sorts = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let rows = RowConverter::new(sorts)?.convert_columns(&columns)?;
        let mut seen = HashSet::new();
        let first = (0_u32..).zip(rows.iter()).filter(|(_, row)| seen.insert(*row)).map(|(n, _)| n);
        let first: UInt32Array = first.take(MAX_VALUES + 1).collect();
        if first.len() > MAX_VALUES {
            return Ok(None);
        }
        let mut combinations = vec![Vec::with_capacity(columns.len()); first.len()];
        for (column, ty) in columns.iter().zip(&types) {
            let literals = arrow_primitive_to_literal(&take(&Arc::clone(column), &first, None)?, ty)?;
            for (combination, literal) in combinations.iter_mut().zip(literals) {
                combination.push(literal);
            }
        }
        let values = combinations.into_iter().map(|values| PartitionKey::from(&Struct::from_iter(values))).collect();
        Ok(Some(Self { places, values }))
    }
}

#[cfg(test)]
#[path = "partition_filter_tests.rs"]
mod tests;
