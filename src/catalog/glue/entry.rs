//! A table's entry in Glue: reading and writing.
//!
//! - The parameters `table_type` and `metadata_location` are authoritative; `previous_metadata_location` is
//!   informative.
//! - Everything else is kept: other parameters, description, owner, retention, partition keys, the storage descriptor's
//!   parameters and serializer, comments of columns.
//! - Parameters that copy a table property are updated: PyIceberg copies all of them, and an outdated copy would
//!   mislead.

use std::collections::HashMap;

use aws_sdk_glue::types::{Column, StorageDescriptor, Table, TableInput};
use iceberg::TableIdent;
use iceberg::spec::TableMetadata;

use super::columns::columns;
use crate::catalog::pointer::Pointer;
use crate::error::{Error, Result};

const TABLE_TYPE: &str = "table_type";
const ICEBERG: &str = "ICEBERG";
const METADATA_LOCATION: &str = "metadata_location";
const PREVIOUS_METADATA_LOCATION: &str = "previous_metadata_location";
const EXTERNAL_TABLE: &str = "EXTERNAL_TABLE";
/// Table property that Java shows as the entry's description.
const COMMENT: &str = "comment";
/// Maximum length of a parameter's value.
const LONGEST_PARAMETER: usize = 512_000;
/// Maximum length of a description, in bytes.
const LONGEST_DESCRIPTION: usize = 2048;
/// Size in bytes from which a warning is given. Glue refuses requests that are too large ("Payload size of request
/// exceeded limit") without documenting the limit; entries of 3,600 columns, about 600 KB, were refused
/// (apache/iceberg-go issue 701).
const LARGE: usize = 300_000;

/// The target of an entry.
pub(super) fn pointer(ident: &TableIdent, table: &Table) -> Result<Pointer> {
    let get = |name: &str| table.parameters().and_then(|p| p.get(name)).map(String::as_str);
    if let Some(target) = table.target_table() {
        let name = |part: Option<&str>| part.unwrap_or("?").to_owned();
        return Err(Error::failed(format!("{ident} is a link in Glue, to another table")).advice(format!(
            "Name that table: {}.{} in the catalog {} (glue.id)",
            name(target.database_name()),
            name(target.name()),
            name(target.catalog_id())
        )));
    }
    match get(TABLE_TYPE) {
        Some(kind) if kind.eq_ignore_ascii_case(ICEBERG) => {}
        other => {
            let kind = other.or(table.table_type()).unwrap_or("of no type");
            return Err(Error::failed(format!("{ident} exists in Glue and is not an Iceberg table ({kind})"))
                .advice("Choose another name"));
        }
    }
    match get(METADATA_LOCATION) {
        Some(location) if !location.is_empty() => {
            Ok(Pointer { location: location.to_owned(), version: table.version_id().map(str::to_owned) })
        }
        _ => Err(Error::failed(format!("table {ident} in Glue has no {METADATA_LOCATION}"))
            .advice("Somebody may be creating it; else delete the entry in Glue, or choose another name")),
    }
}

/// An entry to be written.
pub(super) struct Entry {
    pub(super) input: TableInput,
    /// Warnings about what Glue can't show, or soon can't hold.
    pub(super) warnings: Vec<String>,
}

impl Entry {
    /// The entry of a table that is not in Glue yet.
    pub(super) fn new(name: &str, location: &str, metadata: &TableMetadata) -> Result<Self> {
        let parameters = HashMap::from([
            (TABLE_TYPE.to_owned(), ICEBERG.to_owned()),
            (METADATA_LOCATION.to_owned(), location.to_owned()),
        ]);
        let descriptor = StorageDescriptor::builder().build();
        Self::made(name, TableInput::builder().table_type(EXTERNAL_TABLE), parameters, descriptor, None, metadata)
    }

    /// The entry that replaces `old`.
    pub(super) fn updated(old: &Table, previous: &str, location: &str, metadata: &TableMetadata) -> Result<Self> {
        let mut parameters = old.parameters().cloned().unwrap_or_default();
        parameters.retain(|name, value| {
            if let Some(now) = metadata.properties().get(name) {
                value.clone_from(now);
            }
            value.len() <= LONGEST_PARAMETER
        });
        parameters.insert(TABLE_TYPE.to_owned(), ICEBERG.to_owned());
        parameters.insert(METADATA_LOCATION.to_owned(), location.to_owned());
        parameters.insert(PREVIOUS_METADATA_LOCATION.to_owned(), previous.to_owned());
        let input = TableInput::builder()
            .table_type(old.table_type().unwrap_or(EXTERNAL_TABLE))
            .set_owner(old.owner().map(str::to_owned))
            .set_last_access_time(old.last_access_time().copied())
            .set_last_analyzed_time(old.last_analyzed_time().copied())
            .retention(old.retention())
            .set_partition_keys(old.partition_keys.clone())
            .set_view_original_text(old.view_original_text().map(str::to_owned))
            .set_view_expanded_text(old.view_expanded_text().map(str::to_owned));
        let descriptor = old.storage_descriptor().cloned().unwrap_or_else(|| StorageDescriptor::builder().build());
        Self::made(old.name(), input, parameters, descriptor, old.description(), metadata)
    }

    fn made(
        name: &str,
        input: aws_sdk_glue::types::builders::TableInputBuilder,
        parameters: HashMap<String, String>,
        mut descriptor: StorageDescriptor,
        description: Option<&str>,
        metadata: &TableMetadata,
    ) -> Result<Self> {
        let (columns, mut warnings) = columns(metadata.current_schema(), descriptor.columns())?;
        let size = size(&columns, &parameters);
        if size > LARGE {
            warnings.push(format!(
                "the entry in Glue has {} columns and about {} KB; Glue refuses entries that are too large, and commits with \
                 them. Leave attributes out in the schema file, or turn wide structs into maps (--max-struct-fields)",
                columns.len(),
                size / 1000
            ));
        }
        descriptor.columns = Some(columns);
        descriptor.location = Some(metadata.location().to_owned());
        let comment = metadata.properties().get(COMMENT).map(String::as_str);
        let description = comment.filter(|text| text.len() <= LONGEST_DESCRIPTION).or(description).map(str::to_owned);
        let input = input
            .name(name)
            .set_description(description)
            .set_parameters(Some(parameters))
            .storage_descriptor(descriptor)
            .build()
            .map_err(|e| Error::failed("the table could not be described to Glue").caused_by(e))?;
        Ok(Self { input, warnings })
    }
}

/// Approximate size of columns and parameters in a request, in bytes.
fn size(columns: &[Column], parameters: &HashMap<String, String>) -> usize {
    let pairs = |map: &HashMap<String, String>| map.iter().map(|(k, v)| k.len() + v.len() + 6).sum::<usize>();
    let columns = columns.iter().map(|column| {
        column.name().len()
            + column.r#type().map_or(0, str::len)
            + column.comment().map_or(0, str::len)
            + column.parameters().map_or(0, pairs)
            + 50
    });
    columns.sum::<usize>() + pairs(parameters)
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{
        FormatVersion, NestedField, PartitionSpec, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type,
    };

    use super::*;

    #[test]
    fn the_size_is_about_that_of_the_request() {
        let column = |name: &str| Column::builder().name(name);
        let plain = column("abc").build().unwrap();
        let full = column("abc").r#type("bigint").comment("four").parameters("key", "value").build().unwrap();
        let parameters = HashMap::from([("a".to_owned(), "bc".to_owned()), ("d".to_owned(), String::new())]);
        assert_eq!(size(&[], &HashMap::new()), 0);
        assert_eq!(size(&[], &parameters), (1 + 2 + 6) + (1 + 6));
        assert_eq!(size(&[plain], &HashMap::new()), 3 + 50);
        assert_eq!(size(&[full], &HashMap::new()), 3 + 6 + 4 + (3 + 5 + 6) + 50);
    }

    /// A table that Glue will soon not take any more is told of before it is too late.
    #[test]
    fn a_large_entry_is_told() {
        let warned = |columns: usize| {
            let name = |n: usize| format!("{n:0>40}");
            let fields = (1..).take(columns).map(|id| {
                let name = name(usize::try_from(id).unwrap());
                NestedField::optional(id, name, Type::Primitive(PrimitiveType::String)).into()
            });
            let schema = Schema::builder().with_fields(fields.collect::<Vec<_>>()).build().unwrap();
            let (spec, order) = (PartitionSpec::unpartition_spec(), SortOrder::unsorted_order());
            let builder = TableMetadataBuilder::new(
                schema,
                spec,
                order,
                "s3://b/t".to_owned(),
                FormatVersion::V2,
                HashMap::new(),
            );
            let metadata = builder.unwrap().build().unwrap().metadata;
            Entry::new("t", "s3://b/t/metadata/1.metadata.json", &metadata).unwrap().warnings
        };
        assert!(warned(10).is_empty());
        let warnings = warned(3600);
        assert!(warnings.len() == 1 && warnings[0].contains("3600 columns"), "{warnings:?}");
    }

    #[test]
    fn an_entry_without_a_place_is_no_table() {
        let ident = TableIdent::from_strs(["shop", "orders"]).unwrap();
        let table = |location: Option<&str>| {
            let parameters = [(TABLE_TYPE, Some(ICEBERG)), (METADATA_LOCATION, location)];
            let parameters = parameters.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned())));
            Table::builder().name("orders").set_parameters(Some(parameters.collect())).build().unwrap()
        };
        let at = pointer(&ident, &table(Some("s3://b/t/m.json"))).unwrap();
        assert_eq!(at.location, "s3://b/t/m.json");
        for nothing in [None, Some("")] {
            let error = pointer(&ident, &table(nothing)).unwrap_err().to_string();
            assert!(error.contains("has no metadata_location"), "{error}");
        }
    }
}
