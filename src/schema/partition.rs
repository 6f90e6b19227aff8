//! `--partition-by`: parsing, and the resulting partition fields.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{
    NestedField, NestedFieldRef, PartitionSpecRef, PrimitiveType, Transform, Type, UnboundPartitionField,
    UnboundPartitionSpec,
};

use super::mapping::TableSchema;
use super::naming::{RESCUED, digest, fold, is_reserved};
use crate::error::{Error, Result};
use crate::schema::change::new_fields::NewFields;
use crate::spelling::distance;

const FORMS: &str = "Write bucket(16, name), truncate(4, name), year(name), month(name), day(name), hour(name), or the \
                     name alone; a name with odd characters in double quotes";

/// One `--partition-by`, not resolved against a table yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTerm {
    /// The transform.
    pub transform: Transform,
    /// The name of the attribute or the column.
    pub source: String,
}

impl PartitionTerm {
    /// Parses `bucket(16, x)`, `truncate(4, x)`, `year(x)`, `month(x)`, `day(x)`, `hour(x)`, `identity(x)`, or `x`
    /// alone. Spaces around the name are removed; in double quotes the name is literal, and `""` is one `"`.
    ///
    /// Errors are of kind `Usage`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::usage(format!("--partition-by {text:?}: {what}")).advice(FORMS);
        let trimmed = text.trim();
        let Some((word, inside)) = call(trimmed) else {
            return Ok(Self { transform: Transform::Identity, source: name(trimmed).map_err(wrong)? });
        };
        let (transform, source) = match word.as_str() {
            "bucket" | "truncate" => {
                let number = |what| wrong(format!("{what}, as in {word}(16, name)"));
                let (width, source) =
                    inside.split_once(',').ok_or_else(|| number("a number and a name are needed".to_owned()))?;
                let width = width.trim();
                if width.is_empty() || !width.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(number(format!("the first of the two is a whole number, not {width:?}")));
                }
                let width = width.parse().ok().filter(|n| (1..=MAX_WIDTH).contains(n));
                let width = width.ok_or_else(|| wrong(format!("the number is one from 1 to {MAX_WIDTH}")))?;
                let transform = if word == "bucket" { Transform::Bucket(width) } else { Transform::Truncate(width) };
                (transform, source)
            }
            "year" | "years" => (Transform::Year, inside),
            "month" | "months" => (Transform::Month, inside),
            "day" | "days" => (Transform::Day, inside),
            "hour" | "hours" => (Transform::Hour, inside),
            _ => (Transform::Identity, inside),
        };
        Ok(Self { transform, source: name(source.trim()).map_err(wrong)? })
    }
}

/// Iceberg's Java classes store the number of buckets and the width as signed 32-bit integers.
pub const MAX_WIDTH: u32 = i32::MAX.unsigned_abs();

const WORDS: [&str; 11] =
    ["bucket", "truncate", "year", "years", "month", "months", "day", "days", "hour", "hours", "identity"];

/// The transform's name and its arguments; `None` if it is only a name.
fn call(text: &str) -> Option<(String, &str)> {
    let (word, rest) = text.split_once('(')?;
    let word = word.trim().to_ascii_lowercase();
    WORDS.contains(&word.as_str()).then_some((word, rest.strip_suffix(')')?))
}

fn name(text: &str) -> std::result::Result<String, String> {
    let Some(rest) = text.strip_prefix('"') else {
        return if text.is_empty() { Err("the name is missing".to_owned()) } else { Ok(text.to_owned()) };
    };
    let inside = rest.strip_suffix('"').ok_or("the name has no closing quote")?;
    let unquoted = inside.replace("\"\"", "\u{0}");
    if unquoted.contains('"') {
        return Err("a double quote inside of a quoted name is written twice".to_owned());
    }
    if inside.is_empty() { Err("the name is missing".to_owned()) } else { Ok(inside.replace("\"\"", "\"")) }
}

/// The partition spec of the terms in a table with the specs `existing`.
///
/// Field names are Iceberg's (`customer_id_bucket`; an identity field has its column's) if they are plain identifiers,
/// as Avro's names in manifests must be, and no column, attribute or partition field has them. Otherwise they get `__`
/// and 8 hex digits of SHA-256. A field that an existing spec has keeps its name.
///
/// Errors are of kind `Usage`: no such attribute, a type that the transform does not support, a duplicate field.
pub fn partition_spec(
    terms: &[PartitionTerm],
    table: &TableSchema,
    existing: &[PartitionSpecRef],
) -> Result<UnboundPartitionSpec> {
    let mut fields: Vec<UnboundPartitionField> = Vec::with_capacity(terms.len());
    let mut decimals = BTreeSet::new();
    for term in terms {
        let source = find(&term.source, table)?;
        check_type(term, &source)?;
        if let Some(twin) =
            fields.iter().find(|f| f.source_id == source.id && f.transform.dedup_name() == term.transform.dedup_name())
        {
            let what = if twin.transform == term.transform {
                "--partition-by names the same field twice".to_owned()
            } else {
                format!("--partition-by has {} and {} of one column", twin.transform, term.transform)
            };
            return Err(Error::usage(what)
                .of_attribute(term.source.as_str())
                .advice("Leave one out; of year, month, day and hour the finest says it all"));
        }
        if let Some(ty) = decimal(&source, term.transform)
            && !decimals.insert(ty.clone())
        {
            return Err(Error::usage(format!("--partition-by: two fields would hold values of {ty}"))
                .of_attribute(term.source.as_str())
                .advice(
                    "Not every reader opens the manifests of such a table: take bucket(…) for one of them, or give one \
                     attribute another type in the schema file (--schema)",
                ));
        }
        let name = Names { table, existing, fields: &fields }.of(&source, term.transform);
        fields.push(UnboundPartitionField { source_id: source.id, field_id: None, name, transform: term.transform });
    }
    Ok(UnboundPartitionSpec::builder().add_partition_fields(fields)?.build())
}

/// The type of a partition's value, if it is a decimal. The `iceberg` crate writes this type into a manifest's Avro
/// schema under a name made of precision and scale, so two such fields duplicate it; DuckDB, for one, cannot open that.
fn decimal(source: &NestedField, transform: Transform) -> Option<String> {
    match transform.result_type(&source.field_type) {
        Ok(Type::Primitive(ty @ PrimitiveType::Decimal { .. })) => Some(ty.to_string()),
        _ => None,
    }
}

/// The names of all partition fields in a table's specs. Later columns must not have them: Iceberg's Java classes could
/// not open the table any more.
pub fn partition_names<'a>(specs: impl IntoIterator<Item = &'a PartitionSpecRef>) -> BTreeSet<String> {
    specs.into_iter().flat_map(|spec| spec.fields()).map(|field| field.name.clone()).collect()
}

/// The column of an attribute, otherwise the column with that name.
fn find(name: &str, table: &TableSchema) -> Result<NestedFieldRef> {
    let fields = table.schema.as_struct().fields();
    let attribute = |f: &NestedField| table.mapping.fields.get(&f.id).and_then(|mapped| mapped.name.as_deref());
    let found = fields.iter().find(|f| attribute(f) == Some(name)).or_else(|| {
        // `_ddb_rescued` comes from no attribute; but neither does another program's column, which may be intended.
        let is_rescued = |f: &&NestedFieldRef| table.rescued_field().is_some_and(|r| r.id == f.id);
        fields.iter().find(|f| f.name == name && !is_rescued(f))
    });
    if let Some(found) = found {
        return Ok(found.clone());
    }
    let unknown = |what: String, advice: &str| {
        Err(Error::usage(format!("--partition-by: {what}")).of_attribute(name).advice(advice))
    };
    if table.mapping.excluded.contains(name) {
        return unknown("the schema file leaves this attribute out".to_owned(), "Give it a type there");
    }
    if let Some((word, _)) = name.strip_suffix(')').and_then(|text| text.split_once('(')) {
        return unknown(format!("there is no attribute {name:?} and no transform {:?}", word.trim()), FORMS);
    }
    let names = fields.iter().flat_map(|f| [attribute(f), Some(f.name.as_str())]).flatten();
    let nearest = names.map(|other| (distance(name, other), other)).min();
    let meant = match nearest {
        Some((distance, other)) if distance * 3 <= name.chars().count() => format!("; did you mean {other:?}?"),
        _ => String::new(),
    };
    unknown(
        format!("there is no attribute {name:?}{meant}"),
        "Name an attribute of the items, or a column; one that is NULL or empty in all items has no column yet",
    )
}

fn check_type(term: &PartitionTerm, source: &NestedField) -> Result<()> {
    let ty = &*source.field_type;
    if matches!(ty, Type::Primitive(_)) && term.transform.result_type(ty).is_ok() {
        return Ok(());
    }
    let is = match ty {
        Type::Primitive(primitive) => primitive.to_string(),
        Type::Struct(_) => "a struct".to_owned(),
        Type::List(_) => "a list".to_owned(),
        Type::Map(_) => "a map".to_owned(),
    };
    let takes = match term.transform {
        Transform::Bucket(_) => "string, long, decimal, binary, date and timestamp columns",
        Transform::Truncate(_) => "string, long, decimal and binary columns",
        Transform::Year | Transform::Month | Transform::Day => "date and timestamp columns",
        Transform::Hour => "timestamp columns",
        _ => "columns of one value each, no structs, lists or maps",
    };
    let word = match term.transform {
        Transform::Bucket(_) => "bucket".to_owned(),
        Transform::Truncate(_) => "truncate".to_owned(),
        other => other.to_string(),
    };
    Err(Error::usage(format!("--partition-by: {word} takes {takes}; this column is {is}"))
        .of_attribute(term.source.as_str())
        .advice(
            "Take another transform or attribute, or give the attribute another type in the schema file (--schema)",
        ))
}

/// Names that a new partition field must not have.
struct Names<'a> {
    table: &'a TableSchema,
    existing: &'a [PartitionSpecRef],
    fields: &'a [UnboundPartitionField],
}

impl Names<'_> {
    fn of(&self, source: &NestedField, transform: Transform) -> String {
        let known = self.existing.iter().flat_map(|spec| spec.fields());
        let mut same = known.filter(|field| field.source_id == source.id && field.transform == transform);
        if let Some(field) = same.find(|field| !self.is_column(&field.name, source, transform)) {
            return field.name.clone();
        }
        let column = &source.name;
        let wanted = match transform {
            Transform::Bucket(_) => format!("{column}_bucket"),
            Transform::Truncate(_) => format!("{column}_trunc"),
            Transform::Identity => column.clone(),
            time => format!("{column}_{time}"),
        };
        let safe = identifier(&wanted);
        if safe == wanted && !self.is_taken(&safe, source, transform) {
            return safe;
        }
        // The transform is hashed too, since two fields of one column may both need a digest.
        format!("{safe}__{}", digest(&format!("{transform}({column})")))
    }

    /// Whether the name is a column's; an identity field may have its own column's.
    fn is_column(&self, name: &str, source: &NestedField, transform: Transform) -> bool {
        let lower = fold(name);
        let own = transform == Transform::Identity && source.name == name;
        let mut columns = self.table.schema.as_struct().fields().iter().filter(|f| !(own && f.id == source.id));
        columns.any(|f| fold(&f.name) == lower)
    }

    fn is_taken(&self, name: &str, source: &NestedField, transform: Transform) -> bool {
        let lower = fold(name);
        let attributes = self.table.mapping.fields.values().filter_map(|mapped| mapped.name.as_ref());
        let chosen = self.table.mapping.undecided.get(&NewFields::ITEM).into_iter().flat_map(BTreeMap::values);
        let mut attributes = attributes.chain(&self.table.mapping.excluded).chain(chosen);
        let partitions = self.existing.iter().flat_map(|spec| spec.fields()).map(|field| &field.name);
        let mut partitions = partitions.chain(self.fields.iter().map(|field| &field.name));
        is_reserved(&lower)
            || lower == RESCUED
            || self.is_column(name, source, transform)
            || (transform != Transform::Identity && attributes.any(|other| fold(other) == lower))
            || partitions.any(|other| fold(other) == lower)
    }
}

/// Replaces every character that Avro's names cannot contain by `_`.
fn identifier(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
