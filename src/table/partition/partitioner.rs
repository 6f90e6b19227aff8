//! Computes the partitions of rows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{nullif, take};
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::arrow_primitive_to_literal;
use iceberg::spec::{
    Literal, NestedField, NestedFieldRef, PartitionField, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema,
    Struct, StructType, TableMetadata, Transform, Type,
};

use super::transform;
use crate::error::{Error, Result};
use crate::schema::MAX_WIDTH;

/// A partition and its rows, as indexes into a batch.
pub type PartitionRows = (Struct, Vec<u32>);

/// Computes the partitions of rows for one spec.
#[derive(Debug, Clone)]
pub struct Partitioner {
    spec_id: i32,
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
struct Field {
    transform: Transform,
    /// The index of the source column, then of the field in each enclosing struct; empty for `void`.
    path: Vec<usize>,
    /// The type of the partition value.
    ty: Type,
}

impl Partitioner {
    /// A partitioner for rows of the given schema.
    ///
    /// Errors: a source column that is missing, or repeated within a row; an unknown transform.
    pub fn new(spec: &PartitionSpec, schema: &Schema) -> Result<Self> {
        let fields = spec.fields().iter().map(|field| {
            if field.transform == Transform::Void {
                let ty = Type::Primitive(PrimitiveType::Int);
                return Ok(Field { transform: field.transform, path: Vec::new(), ty });
            }
            check_field(field)?;
            let (path, source) = find(schema.as_struct().fields(), field.source_id).ok_or_else(|| {
                Error::failed(format!(
                    "the partition field {:?} comes from a column that the table does not have, or from inside of a list \
                     or map",
                    field.name
                ))
                .advice("Drop the partition field with the program that made it")
            })?;
            Ok(Field { transform: field.transform, path, ty: field.transform.result_type(&source.field_type)? })
        });
        Ok(Self { spec_id: spec.spec_id(), fields: fields.collect::<Result<_>>()? })
    }

    /// The spec's id.
    pub fn spec_id(&self) -> i32 {
        self.spec_id
    }

    /// Splits rows by partition, in partition order; within a partition, rows keep the given order.
    pub fn split(&self, batch: &RecordBatch, order: &[u32]) -> Result<Vec<PartitionRows>> {
        let columns: Vec<(ArrayRef, &Field)> = self
            .fields
            .iter()
            .filter(|field| !field.path.is_empty())
            .map(|field| Ok((transform::apply(field.transform, &column(batch, &field.path)?)?, field)))
            .collect::<Result<_>>()?;
        if columns.is_empty() {
            return Ok(vec![(self.fields.iter().map(|_| None).collect::<Struct>(), order.to_vec())]);
        }
        let sorts = columns.iter().map(|(column, _)| SortField::new(column.data_type().clone())).collect();
        let values: Vec<ArrayRef> = columns.iter().map(|(column, _)| Arc::clone(column)).collect();
        let rows = RowConverter::new(sorts)?.convert_columns(&values)?;
        let mut groups: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for row in order {
            groups.entry(rows.row(*row as usize)).or_default().push(*row);
        }
        let first: UInt32Array = groups.values().filter_map(|rows| rows.first().copied()).collect();
        let mut literals = Vec::with_capacity(columns.len());
        for (column, field) in &columns {
            literals.push(arrow_primitive_to_literal(&take(column, &first, None)?, &field.ty)?.into_iter());
        }
        let partition = || {
            let mut literals = literals.iter_mut();
            let mut value = |field: &Field| if field.path.is_empty() { None } else { literals.next()?.next()? };
            self.fields.iter().map(&mut value).collect::<Struct>()
        };
        let partitions: Vec<Struct> = std::iter::repeat_with(partition).take(groups.len()).collect();
        Ok(partitions.into_iter().zip(groups.into_values()).collect())
    }
}

/// The path to a field by its id, through structs only.
fn find(fields: &[NestedFieldRef], id: i32) -> Option<(Vec<usize>, &NestedField)> {
    fields.iter().enumerate().find_map(|(place, field)| {
        if field.id == id {
            return Some((vec![place], field.as_ref()));
        }
        let Type::Struct(inner) = &*field.field_type else { return None };
        let (mut path, found) = find(inner.fields(), id)?;
        path.insert(0, place);
        Some((path, found))
    })
}

/// The column at a path; null wherever an enclosing struct is null.
fn column(batch: &RecordBatch, path: &[usize]) -> Result<ArrayRef> {
    let lost = || Error::failed("the rows lack the column that they are partitioned by");
    let (first, rest) = path.split_first().ok_or_else(lost)?;
    let mut array = Arc::clone(batch.columns().get(*first).ok_or_else(lost)?);
    for place in rest {
        let parent = array.as_struct_opt().ok_or_else(lost)?;
        let child = parent.columns().get(*place).ok_or_else(lost)?;
        array = match parent.nulls() {
            Some(nulls) => nullif(child, &BooleanArray::new(!nulls.inner(), None))?,
            None => Arc::clone(child),
        };
    }
    Ok(array)
}

/// Refuses partition specs that this crate, or the underlying `iceberg` crate, would read or write incorrectly.
pub(crate) fn check_specs(metadata: &TableMetadata) -> Result<()> {
    for field in metadata.partition_specs_iter().flat_map(|spec| spec.fields()) {
        check_field(field)?;
        let sources = metadata.schemas_iter().filter_map(|schema| schema.field_by_id(field.source_id));
        if sources.into_iter().any(|source| !source.field_type.is_primitive()) {
            return Err(refused(field, "comes from a struct, list or map"));
        }
        // The crate uses a partition field's name as that of its Avro field, but Avro changes names that it does not
        // allow: the crate would read nulls, and write what no other program can read.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !field.name.chars().all(plain) || field.name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(refused(field, "has a name that is no plain identifier, which is not supported"));
        }
    }
    for spec in metadata.partition_specs_iter() {
        let ty = metadata.schemas_iter().find_map(|schema| spec.partition_type(schema).ok());
        let mut decimals = HashSet::new();
        for (field, ty) in spec.fields().iter().zip(ty.iter().flat_map(StructType::fields)) {
            // The crate would write their Avro type twice under one name, and some readers refuse that.
            if let Type::Primitive(decimal @ PrimitiveType::Decimal { .. }) = &*ty.field_type
                && !decimals.insert(decimal.clone())
            {
                return Err(refused(field, &format!("is the second of type {decimal}, which is not supported")));
            }
        }
    }
    Ok(())
}

fn check_field(field: &PartitionField) -> Result<()> {
    match field.transform {
        Transform::Unknown => Err(refused(field, "has a transform that this version does not know")),
        Transform::Bucket(n) | Transform::Truncate(n) if n == 0 || n > MAX_WIDTH => {
            Err(refused(field, &format!("has the impossible transform {}", field.transform)))
        }
        _ => Ok(()),
    }
}

fn refused(field: &PartitionField, what: &str) -> Error {
    Error::failed(format!("the partition field {:?} {what}", field.name)).advice(
        "Load the rows into a new table with full-load, or rewrite the table with another partition spec in the program \
         that made it",
    )
}

/// Converts a partition to the current types of its spec: an older file's may be narrower.
pub fn conform(metadata: &TableMetadata, schema: &Schema, spec_id: i32, partition: &Struct) -> Struct {
    let ty = metadata.partition_spec_by_id(spec_id).and_then(|spec| spec.partition_type(schema).ok());
    let types = ty.as_ref().map(StructType::fields).unwrap_or_default();
    let widened = partition.iter().enumerate().map(|(place, value)| {
        let ty = types.get(place).map(|field| &*field.field_type);
        Some(match (value?, ty) {
            (Literal::Primitive(PrimitiveLiteral::Int(v)), Some(Type::Primitive(PrimitiveType::Long))) => {
                Literal::long(i64::from(*v))
            }
            (Literal::Primitive(PrimitiveLiteral::Float(v)), Some(Type::Primitive(PrimitiveType::Double))) => {
                Literal::double(f64::from(v.into_inner()))
            }
            (other, _) => other.clone(),
        })
    });
    widened.collect()
}

#[cfg(test)]
#[path = "partitioner_tests.rs"]
mod tests;
