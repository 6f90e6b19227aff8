//! Partitioning of the rows of a full load.

use iceberg::spec::{PartitionSpec, TableMetadata, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec};

use crate::catalog::LoadedTable;
use crate::error::{Error, Result};
use crate::schema::{PartitionTerm, TableSchema, partition_names, partition_spec, replace};
use crate::table::watermark;

/// Parsed `--partition-by` options.
#[derive(Debug)]
pub struct Partitioning {
    terms: Vec<PartitionTerm>,
}

impl Partitioning {
    /// Parses the options.
    pub fn parse(typed: &[String]) -> Result<Self> {
        let terms = typed.iter().map(|text| PartitionTerm::parse(text)).collect::<Result<_>>()?;
        Ok(Self { terms })
    }

    /// The spec of a new table.
    pub fn of_new(&self, columns: &TableSchema) -> Result<UnboundPartitionSpec> {
        partition_spec(&self.terms, columns, &[])
    }

    /// Sets the spec of a table whose rows are replaced; the new columns are already current. Without `--partition-by`
    /// the table keeps its spec, if the new columns allow it.
    pub fn set(
        &self,
        metadata: &TableMetadata,
        columns: &TableSchema,
        builder: TableMetadataBuilder,
    ) -> Result<TableMetadataBuilder> {
        if self.terms.is_empty() {
            check_kept(metadata.default_partition_spec(), columns)?;
            return Ok(builder);
        }
        let mut specs: Vec<_> = metadata.partition_specs_iter().cloned().collect();
        // The default spec first, so that it wins over an equal one.
        specs.sort_unstable_by_key(|spec| (spec.spec_id() != metadata.default_partition_spec_id(), spec.spec_id()));
        let wanted = partition_spec(&self.terms, columns, &specs)?;
        let means = |spec: &PartitionSpec| {
            let fields = spec.fields().iter().map(|field| (field.source_id, field.transform));
            fields.eq(wanted.fields().iter().map(|field| (field.source_id, field.transform)))
        };
        Ok(match specs.iter().find(|spec| means(spec)) {
            Some(spec) => builder.set_default_partition_spec(spec.spec_id())?,
            None => builder.add_default_partition_spec(wanted)?,
        })
    }

    /// Checks that a table can be loaded or replaced with this partitioning, before anything is written.
    pub fn check(&self, base: Option<&LoadedTable>, columns: &TableSchema) -> Result<()> {
        let Some(base) = base else { return self.of_new(columns).map(|_| ()) };
        let (_, columns) = replaced(base, columns)?;
        if self.terms.is_empty() {
            return check_kept(base.metadata.default_partition_spec(), &columns);
        }
        let specs: Vec<_> = base.metadata.partition_specs_iter().cloned().collect();
        partition_spec(&self.terms, &columns, &specs).map(|_| ())
    }
}

/// A table's columns now, and after its rows are replaced.
pub(crate) fn replaced(base: &LoadedTable, columns: &TableSchema) -> Result<(TableSchema, TableSchema)> {
    let old = watermark::columns(&base.metadata)?;
    let taken = partition_names(base.metadata.partition_specs_iter());
    let new = replace(&old, columns, base.metadata.last_column_id(), &taken)?;
    Ok((old, new))
}

/// Refuses columns that the table's partition spec no longer fits.
fn check_kept(spec: &PartitionSpec, columns: &TableSchema) -> Result<()> {
    for field in spec.fields() {
        let source = columns.schema.field_by_id(field.source_id);
        let fits = source.is_some_and(|source| {
            let ty = &*source.field_type;
            field.transform == Transform::Void
                || (matches!(ty, Type::Primitive(_)) && field.transform.result_type(ty).is_ok())
        });
        if !fits {
            return Err(Error::usage(format!(
                "the table is partitioned by {:?}, whose column is gone or of another type after this load",
                field.name
            ))
            .advice("Say how the new rows are partitioned with --partition-by"));
        }
    }
    Ok(())
}
