//! Column metrics of a data file's manifest entry: counts, NaN counts and bounds, as in Iceberg Java's Parquet metrics.
//!
//! - Sizes of every leaf column are the Parquet footer's.
//! - All other metrics exist only for leaves outside of lists and maps. Value and null counts also come from the
//!   footer.
//! - Bounds and NaN counts are computed from the rows: Parquet's own statistics are truncated by writers, and bounds
//!   merged from only some row groups' statistics would lose rows.
//! - NaN is excluded from all bounds; a column of only nulls (or NaN) has no bounds.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray, make_array};
use arrow::buffer::NullBuffer;
use iceberg::spec::{Datum, NestedFieldRef, PrimitiveType, Schema, SortOrder, StructType, Type};

use crate::error::{Error, Result};
use crate::table::parquet::chunk::min_max_of;
use crate::table::parquet::min_max::{MinMax, Value};
use crate::table::parquet::truncate;

/// Default length to which bounds of strings and binaries are truncated.
pub const DEFAULT_TRUNCATION: usize = 16;
/// Default number of columns that get bounds.
pub const DEFAULT_INFERRED_COLUMNS: usize = 100;

const DEFAULT_MODE: &str = "write.metadata.metrics.default";
const COLUMN_MODE: &str = "write.metadata.metrics.column.";
const INFERRED_COLUMNS: &str = "write.metadata.metrics.max-inferred-column-defaults";

/// The metrics mode of a column; the column's size is always recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsMode {
    /// No other metrics.
    None,
    /// Counts of values, nulls and NaNs.
    Counts,
    /// Counts, and bounds truncated to this many code points or bytes.
    Truncate(usize),
    /// Counts, and exact bounds.
    Full,
}

impl MetricsMode {
    /// Parses `none`, `counts`, `truncate(16)` or `full`, case-insensitively. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "none" => Some(Self::None),
            "counts" => Some(Self::Counts),
            "full" => Some(Self::Full),
            other => {
                let length = other.strip_prefix("truncate(")?.strip_suffix(')')?.trim().parse().ok()?;
                (length > 0).then_some(Self::Truncate(length))
            }
        }
    }
}

/// The metrics mode of each column.
#[derive(Debug, Clone)]
pub struct MetricsConfig {
    default: MetricsMode,
    columns: HashMap<i32, MetricsMode>,
}

impl MetricsConfig {
    /// The same mode for all columns.
    pub fn uniform(mode: MetricsMode) -> Self {
        Self { default: mode, columns: HashMap::new() }
    }

    /// The modes that the table's properties set, by the rules of Iceberg Java's `MetricsConfig`: without a default
    /// mode only the first columns (`max-inferred-column-defaults`, 100) have bounds. Columns of the sort order always
    /// do, unless the column's own property says otherwise. An invalid mode counts as the default.
    pub fn from_properties(
        properties: &HashMap<String, String>,
        schema: &Schema,
        sort_order: Option<&SortOrder>,
    ) -> Self {
        let truncate = MetricsMode::Truncate(DEFAULT_TRUNCATION);
        let mode = |text: &String| MetricsMode::parse(text).unwrap_or(truncate);
        let mut config = Self::uniform(truncate);
        if let Some(text) = properties.get(DEFAULT_MODE) {
            config.default = mode(text);
        } else {
            let limit =
                properties.get(INFERRED_COLUMNS).and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_INFERRED_COLUMNS);
            let mut leaves = Vec::new();
            primitive_fields(schema.as_struct(), &mut leaves);
            if leaves.len() > limit {
                config.default = MetricsMode::None;
                config.columns.extend(leaves.into_iter().take(limit).map(|id| (id, truncate)));
            }
        }
        for field in sort_order.iter().flat_map(|order| order.fields.iter()) {
            if matches!(config.mode(field.source_id), MetricsMode::None | MetricsMode::Counts) {
                config.columns.insert(field.source_id, truncate);
            }
        }
        for (key, text) in properties {
            if let Some(id) = key.strip_prefix(COLUMN_MODE).and_then(|name| schema.field_id_by_name(name)) {
                config.columns.insert(id, mode(text));
            }
        }
        config
    }

    /// The mode of the leaf column with this field id.
    pub fn mode(&self, field_id: i32) -> MetricsMode {
        self.columns.get(&field_id).copied().unwrap_or(self.default)
    }
}

/// Ids of primitive fields, a struct's own before those of its children: Iceberg Java's counting order.
fn primitive_fields(parent: &StructType, ids: &mut Vec<i32>) {
    ids.extend(parent.fields().iter().filter(|f| f.field_type.is_primitive()).map(|f| f.id));
    for field in parent.fields() {
        nested_primitive_fields(&field.field_type, ids);
    }
}

fn nested_primitive_fields(field_type: &Type, ids: &mut Vec<i32>) {
    let element = |field: &NestedFieldRef, ids: &mut Vec<i32>| {
        if field.field_type.is_primitive() {
            ids.push(field.id);
        } else {
            nested_primitive_fields(&field.field_type, ids);
        }
    };
    match field_type {
        Type::Primitive(_) => {}
        Type::Struct(inner) => primitive_fields(inner, ids),
        Type::List(list) => element(&list.element_field, ids),
        Type::Map(map) => {
            element(&map.key_field, ids);
            element(&map.value_field, ids);
        }
    }
}

/// Collects statistics of the rows that are written into a file.
#[derive(Debug)]
pub(crate) struct RowMetrics {
    leaves: Vec<Leaf>,
}

#[derive(Debug)]
struct Leaf {
    id: i32,
    primitive: PrimitiveType,
    /// Index of the column, then of the field within each struct.
    path: Vec<usize>,
    mode: MetricsMode,
    found: MinMax,
}

/// Bounds and NaN counts by field id.
#[derive(Debug, Default)]
pub(crate) struct RowBounds {
    pub(crate) lower: HashMap<i32, Datum>,
    pub(crate) upper: HashMap<i32, Datum>,
    pub(crate) nans: HashMap<i32, u64>,
}

impl RowMetrics {
    pub(crate) fn new(schema: &Schema, config: &MetricsConfig) -> Self {
        let mut leaves = Vec::new();
        collect_leaves(schema.as_struct(), config, &mut Vec::new(), &mut leaves);
        Self { leaves }
    }

    /// Adds a batch whose columns are those of the schema, in its order.
    pub(crate) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        for leaf in &mut self.leaves {
            let Some((place, inside)) = leaf.path.split_first() else { continue };
            let column = batch.columns().get(*place).ok_or_else(missing)?;
            leaf.found.take_in(min_max_of(&resolve(column, inside)?)?);
        }
        Ok(())
    }

    /// Adds statistics of each field, by its id.
    pub(crate) fn take_in(&mut self, found: Vec<(i32, MinMax)>) -> Result<()> {
        let mut found: HashMap<i32, MinMax> = found.into_iter().collect();
        for leaf in &mut self.leaves {
            // Bounds that do not cover all rows would lose some.
            leaf.found.take_in(found.remove(&leaf.id).ok_or_else(missing)?);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<RowBounds> {
        let mut result = RowBounds::default();
        for leaf in self.leaves {
            if matches!(leaf.primitive, PrimitiveType::Float | PrimitiveType::Double) {
                result.nans.insert(leaf.id, leaf.found.nans);
            }
            let Some((min, max)) = leaf.found.bounds.as_ref().filter(|_| leaf.mode != MetricsMode::Counts) else {
                continue;
            };
            if let Some(lower) = leaf.cut(min, false) {
                result.lower.insert(leaf.id, datum(&lower, &leaf.primitive)?);
            }
            if let Some(upper) = leaf.cut(max, true) {
                result.upper.insert(leaf.id, datum(&upper, &leaf.primitive)?);
            }
        }
        Ok(result)
    }
}

fn collect_leaves(parent: &StructType, config: &MetricsConfig, path: &mut Vec<usize>, leaves: &mut Vec<Leaf>) {
    for (index, field) in parent.fields().iter().enumerate() {
        path.push(index);
        match &*field.field_type {
            Type::Primitive(primitive) => {
                let mode = config.mode(field.id);
                let counts_nans = matches!(primitive, PrimitiveType::Float | PrimitiveType::Double);
                if mode != MetricsMode::None && (mode != MetricsMode::Counts || counts_nans) {
                    leaves.push(Leaf {
                        id: field.id,
                        primitive: primitive.clone(),
                        path: path.clone(),
                        mode,
                        found: MinMax::default(),
                    });
                }
            }
            Type::Struct(inner) => collect_leaves(inner, config, path, leaves),
            Type::List(_) | Type::Map(_) => {}
        }
        path.pop();
    }
}

fn missing() -> Error {
    Error::failed("a batch does not have the columns of the table's schema")
}

/// The array of a leaf in a column; null wherever one of its parents is.
fn resolve(column: &ArrayRef, path: &[usize]) -> Result<ArrayRef> {
    let mut array = column.clone();
    let mut nulls: Option<NullBuffer> = None;
    for index in path {
        let parent = array.as_any().downcast_ref::<StructArray>().ok_or_else(missing)?;
        nulls = NullBuffer::union(nulls.as_ref(), parent.nulls());
        let child = parent.columns().get(*index).ok_or_else(missing)?.clone();
        array = child;
    }
    match nulls {
        Some(parents) if parents.null_count() > 0 => {
            let merged = NullBuffer::union(Some(&parents), array.nulls());
            Ok(make_array(array.to_data().into_builder().nulls(merged).build()?))
        }
        _ => Ok(array),
    }
}

impl Leaf {
    /// A value's bound in this mode; `None` if an upper bound would have to be longer.
    fn cut(&self, value: &Value, up: bool) -> Option<Value> {
        let (Value::Bytes(bytes), MetricsMode::Truncate(length)) = (value, self.mode) else {
            return Some(value.clone());
        };
        match self.primitive {
            PrimitiveType::String => {
                let text = std::str::from_utf8(bytes).ok()?;
                let cut = if up {
                    truncate::upper_text(text, length)?
                } else {
                    truncate::lower_text(text, length).to_owned()
                };
                Some(Value::Bytes(cut.into_bytes()))
            }
            PrimitiveType::Binary if up => truncate::upper_bytes(bytes, length).map(Value::Bytes),
            PrimitiveType::Binary => Some(Value::Bytes(truncate::lower_bytes(bytes, length).to_vec())),
            _ => Some(value.clone()),
        }
    }
}

/// The value as an Iceberg datum, through its single-value serialization.
fn datum(value: &Value, primitive: &PrimitiveType) -> Result<Datum> {
    let bytes = match value {
        Value::Boolean(v) => vec![u8::from(*v)],
        Value::Int(v) => v.to_le_bytes().to_vec(),
        Value::Long(v) => v.to_le_bytes().to_vec(),
        Value::Float(v) => v.to_le_bytes().to_vec(),
        Value::Double(v) => v.to_le_bytes().to_vec(),
        Value::Decimal(v) => v.to_be_bytes().to_vec(),
        Value::Bytes(v) => v.clone(),
    };
    Ok(Datum::try_from_bytes(&bytes, primitive.clone())?)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
