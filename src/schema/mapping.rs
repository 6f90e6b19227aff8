//! The mapping from attributes to a table's columns: the property `ddb-iceberg.schema`, by field id.
//!
//! Iceberg's schema defines a column; the mapping adds what Iceberg cannot express: the attribute's name, and which
//! conversion produces a string (text, digits, JSON) or a list (list, set). By field id, it survives renames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, SchemaRef, StructType, Type,
};
use serde::{Deserialize, Serialize};

use super::key::{check_key_type, no_such_key};
use super::named::Named;
use super::naming::{RESCUED, fold, is_reserved, short};
use super::types::{ColumnType, Field, TimestampForm};
use crate::attribute::Kind;
use crate::error::{Error, Result};
use crate::schema::change::new_fields::NewFields;
use crate::schema::file::schema_file::{SchemaFile, Target};

/// A column of a table and the attribute it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The attribute's name.
    pub name: String,
    /// The column's name.
    pub column: String,
    /// Its type.
    pub ty: ColumnType,
    /// Whether it is part of the key: required, an identifier field.
    pub key: bool,
}

/// The mapping from attributes to the fields of one table. Version 1 of the property `ddb-iceberg.schema`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The version of this format: 1.
    pub version: u32,
    /// The key's attributes: partition key, then sort key.
    pub key: Vec<String>,
    /// Fields by Iceberg field id.
    pub fields: BTreeMap<i32, FieldMapping>,
    /// Omitted attributes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub excluded: BTreeSet<String>,
    /// Attributes whose type a schema file named; other types were observed, or an earlier version created the table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<String, Named>,
    /// Names of future columns whose attributes have no known type yet, if they differ from the attributes' names: by
    /// the id of the enclosing struct field (0 for the item itself), and by attribute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undecided: BTreeMap<i32, BTreeMap<String, String>>,
}

/// The origin of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldMapping {
    /// The name in DynamoDB; list elements and map values have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The conversion, as a type name of the schema file, without parameters that Iceberg's type already has.
    #[serde(rename = "type")]
    pub conversion: String,
}

impl From<Named> for &'static str {
    fn from(named: Named) -> Self {
        match named {
            Named::Type => "type",
            Named::Kind(kind) => kind.name(),
        }
    }
}

impl Mapping {
    /// The version that this program writes and reads.
    pub const VERSION: u32 = 1;

    /// Parses the property.
    pub fn parse(text: &str) -> Result<Self> {
        let mapping: Self = serde_json::from_str(text)
            .map_err(|e| Error::failed("the table property ddb-iceberg.schema cannot be read").caused_by(e))?;
        if mapping.version != Self::VERSION {
            return Err(Error::failed(format!(
                "the table property ddb-iceberg.schema has version {}",
                mapping.version
            ))
            .advice("A newer ddb-iceberg wrote it: update this program"));
        }
        Ok(mapping)
    }

    /// The property's value.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A table's schema and the origin of its columns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableSchema {
    /// Iceberg's schema.
    pub schema: SchemaRef,
    /// The origin of its fields.
    pub mapping: Mapping,
}

impl TableSchema {
    /// The schema of a new table: key first, then by name, `_ddb_rescued` last.
    pub fn create(file: &SchemaFile, key: &[String]) -> Result<Self> {
        let mut listed = BTreeMap::new();
        let mut excluded = BTreeSet::new();
        for attribute in &file.attributes {
            let ty = match &attribute.target {
                Target::Column(ty) => ty,
                // A key always has a column, whatever was observed.
                Target::Observe(Kind::N) if key.contains(&attribute.name) => &ColumnType::Long,
                Target::Observe(_) => &ColumnType::Undecided,
                Target::Exclude => {
                    excluded.insert(attribute.name.clone());
                    continue;
                }
            };
            listed.insert(attribute.name.as_str(), (attribute.column.as_deref(), ty));
        }
        let mut names: Vec<&str> = key.iter().map(String::as_str).collect();
        names.extend(listed.keys().copied().filter(|name| !key.iter().any(|k| k == name)));
        // Chosen names are kept as they are.
        let unnamed = names.iter().copied().filter(|name| listed.get(name).is_none_or(|(column, _)| column.is_none()));
        let unnamed: Vec<&str> = unnamed.collect();
        let defaults = super::naming::column_names(key, unnamed.iter().copied());
        let defaults: BTreeMap<&str, String> = unnamed.into_iter().zip(defaults).collect();
        let mut columns = Vec::with_capacity(names.len());
        for name in &names {
            let Some((column, ty)) = listed.get(name) else {
                return Err(no_such_key(name, "the key attribute is in no item", listed.keys().copied()));
            };
            let is_key = key.iter().any(|k| k == name);
            if is_key && **ty == ColumnType::Undecided {
                return Err(Error::usage("the key attribute has no value in any item")
                    .of_attribute(*name)
                    .advice("Every item has its key. Check --key"));
            }
            if is_key {
                check_key_type(name, ty)?;
            }
            columns.push(Column {
                name: (*name).to_owned(),
                column: column.or_else(|| defaults.get(name).map(String::as_str)).unwrap_or(name).to_owned(),
                ty: (*ty).clone(),
                key: is_key,
            });
        }
        if let Some(column) = columns.iter().find(|c| is_reserved(&c.column)) {
            return Err(Error::usage(format!("{:?} is a name that Iceberg keeps for itself", column.column))
                .of_attribute(column.name.as_str())
                .advice("Give the attribute another `column`"));
        }
        let (columns, undecided): (Vec<_>, Vec<_>) = columns.into_iter().partition(|column| column.ty.is_made());
        let mut ids = FieldIds(0);
        let mut fields = Vec::with_capacity(columns.len() + 1);
        for column in &columns {
            let id = ids.next();
            fields.push((id, column));
        }
        let rescued_id = ids.next();
        let named = file.attributes.iter().filter_map(|a| Some((a.name.clone(), a.named?))).collect();
        let mut mapping = Mapping { key: key.to_vec(), excluded, named, ..Mapping::default() };
        let mut nested = Vec::with_capacity(fields.len() + 1);
        for (id, column) in &fields {
            let ty = build_type(*id, Some(&column.name), &column.ty, &mut ids, &mut mapping);
            nested.push(Arc::new(NestedField::new(*id, &column.column, ty, column.key)));
        }
        nested.push(Arc::new(NestedField::optional(rescued_id, RESCUED, Type::Primitive(PrimitiveType::String))));
        let mut names = BTreeSet::new();
        nested.iter().try_for_each(|field| take_names(field, "", &mut names))?;
        let is_chosen = |column: &Column| listed.get(column.name.as_str()).is_some_and(|(name, _)| name.is_some());
        for column in undecided.into_iter().filter(is_chosen) {
            take_name(&column.column, &mut names)?;
            mapping.leave_undecided(NewFields::ITEM, &column.name, &column.column);
        }
        let schema = Schema::builder()
            .with_fields(nested)
            .with_identifier_field_ids(fields.iter().filter(|(_, c)| c.key).map(|(id, _)| *id))
            .build()?;
        Ok(Self { schema: Arc::new(schema), mapping })
    }

    /// The schema of an existing table. A table of another program has no mapping: names and types define it.
    pub fn of_table(schema: SchemaRef, property: Option<&str>) -> Result<Self> {
        let mapping = match property {
            Some(text) => Mapping::parse(text)?,
            None => foreign_mapping(&schema),
        };
        Ok(Self { schema, mapping })
    }

    /// The attribute and the conversion of a field, if it comes from an attribute.
    pub fn source(&self, field: &NestedField) -> Result<Option<(Option<&str>, ColumnType)>> {
        let Some(mapped) = self.mapping.fields.get(&field.id) else { return Ok(None) };
        Ok(Some((mapped.name.as_deref(), self.column_type(field)?)))
    }

    fn column_type(&self, field: &NestedField) -> Result<ColumnType> {
        let unknown = |conversion: &str| {
            Error::failed(format!(
                "column {:?} of type {} cannot be made by {conversion:?}",
                field.name, field.field_type
            ))
            .advice("Its type was changed by another program; reload the table with full-load")
        };
        let Some(mapped) = self.mapping.fields.get(&field.id) else { return Err(unknown("nothing")) };
        Ok(match (&*field.field_type, mapped.conversion.as_str()) {
            (Type::Primitive(PrimitiveType::String), "string") => ColumnType::String,
            (Type::Primitive(PrimitiveType::String), "number-string") => ColumnType::NumberString,
            (Type::Primitive(PrimitiveType::String), "json") => ColumnType::Json,
            (Type::Primitive(PrimitiveType::Long), "long") => ColumnType::Long,
            (Type::Primitive(PrimitiveType::Decimal { precision, scale }), "decimal") => {
                ColumnType::Decimal { precision: *precision, scale: *scale }
            }
            (Type::Primitive(PrimitiveType::Double), "double") => ColumnType::Double,
            (Type::Primitive(PrimitiveType::Timestamptz), name) => {
                ColumnType::Timestamp(TimestampForm::from_type_name(name).ok_or_else(|| unknown(name))?)
            }
            (Type::Primitive(PrimitiveType::Boolean), "boolean") => ColumnType::Boolean,
            (Type::Primitive(PrimitiveType::Binary), "binary") => ColumnType::Binary,
            (Type::List(list), "list") => ColumnType::List(Box::new(self.column_type(&list.element_field)?)),
            (Type::List(list), "set") => ColumnType::Set(Box::new(self.column_type(&list.element_field)?)),
            (Type::Map(map), "map") => ColumnType::Map(Box::new(self.column_type(&map.value_field)?)),
            (Type::Struct(fields), "struct") => {
                let mut inner = Vec::with_capacity(fields.fields().len());
                for field in fields.fields() {
                    if let Some((Some(name), ty)) = self.source(field)? {
                        inner.push(Field { name: name.to_owned(), column: field.name.clone(), ty });
                    }
                }
                ColumnType::Struct(inner)
            }
            (_, conversion) => return Err(unknown(conversion)),
        })
    }

    /// The key columns: partition key, then sort key.
    pub fn key_fields(&self) -> Result<Vec<NestedFieldRef>> {
        let fields = self.schema.as_struct().fields();
        let by_attribute = |name: &String| {
            fields
                .iter()
                .find(|f| self.mapping.fields.get(&f.id).and_then(|m| m.name.as_ref()) == Some(name))
                .cloned()
                .ok_or_else(|| Error::failed("the table has no column for its key").of_attribute(name.as_str()))
        };
        self.mapping.key.iter().map(by_attribute).collect()
    }

    /// The column of rescued values, if the table has it.
    pub fn rescued_field(&self) -> Option<&NestedFieldRef> {
        let mapped = |id: i32| self.mapping.fields.contains_key(&id);
        self.schema.as_struct().fields().iter().find(|f| f.name == RESCUED && !mapped(f.id))
    }
}

/// Assigns field ids in order.
pub(crate) struct FieldIds(pub(crate) i32);

impl FieldIds {
    pub(crate) fn next(&mut self) -> i32 {
        self.0 += 1;
        self.0
    }
}

impl Mapping {
    fn record(&mut self, id: i32, name: Option<&str>, ty: &ColumnType) {
        let conversion = match ty {
            ColumnType::Decimal { .. } => "decimal".to_owned(),
            ColumnType::List(_) => "list".to_owned(),
            ColumnType::Set(_) => "set".to_owned(),
            ColumnType::Map(_) => "map".to_owned(),
            ColumnType::Struct(_) => "struct".to_owned(),
            scalar => scalar.to_string(),
        };
        self.fields.insert(id, FieldMapping { name: name.map(str::to_owned), conversion });
    }

    /// Records the future name of an attribute's column.
    fn leave_undecided(&mut self, parent: i32, name: &str, column: &str) {
        if column != name {
            self.undecided.entry(parent).or_default().insert(name.to_owned(), column.to_owned());
        }
    }
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            key: Vec::new(),
            fields: BTreeMap::new(),
            excluded: BTreeSet::new(),
            named: BTreeMap::new(),
            undecided: BTreeMap::new(),
        }
    }
}

/// Iceberg's type for a field's column type, with fresh ids for nested fields. The field and its nested fields are
/// recorded in the mapping; fields of unknown type are omitted.
pub(crate) fn build_type(
    id: i32,
    name: Option<&str>,
    ty: &ColumnType,
    ids: &mut FieldIds,
    mapping: &mut Mapping,
) -> Type {
    mapping.record(id, name, ty);
    let primitive = match ty {
        // The type of a field that is not added is never used.
        ColumnType::Undecided | ColumnType::String | ColumnType::NumberString | ColumnType::Json => {
            PrimitiveType::String
        }
        ColumnType::Long => PrimitiveType::Long,
        ColumnType::Decimal { precision, scale } => PrimitiveType::Decimal { precision: *precision, scale: *scale },
        ColumnType::Double => PrimitiveType::Double,
        ColumnType::Timestamp(_) => PrimitiveType::Timestamptz,
        ColumnType::Boolean => PrimitiveType::Boolean,
        ColumnType::Binary => PrimitiveType::Binary,
        ColumnType::List(element) | ColumnType::Set(element) => {
            let id = ids.next();
            let inner = build_type(id, None, element, ids, mapping);
            return Type::List(ListType::new(Arc::new(NestedField::list_element(id, inner, false))));
        }
        ColumnType::Map(value) => {
            let (key_id, value_id) = (ids.next(), ids.next());
            let inner = build_type(value_id, None, value, ids, mapping);
            let key = NestedField::map_key_element(key_id, Type::Primitive(PrimitiveType::String));
            let value = NestedField::map_value_element(value_id, inner, false);
            return Type::Map(MapType::new(Arc::new(key), Arc::new(value)));
        }
        ColumnType::Struct(fields) => {
            let (made, undecided): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.ty.is_made());
            for field in undecided {
                mapping.leave_undecided(id, &field.name, &field.column);
            }
            let with_ids: Vec<_> = made.into_iter().map(|field| (ids.next(), field)).collect();
            let nested = with_ids.into_iter().map(|(id, field)| {
                let inner = build_type(id, Some(&field.name), &field.ty, ids, mapping);
                Arc::new(NestedField::optional(id, &field.column, inner))
            });
            return Type::Struct(StructType::new(nested.collect()));
        }
    };
    Type::Primitive(primitive)
}

/// Checks that a reader that looks up columns by name, with dots for nested ones and case-insensitively, finds exactly
/// one.
fn take_names(field: &NestedField, path: &str, taken: &mut BTreeSet<String>) -> Result<()> {
    let name = format!("{path}{}", field.name);
    take_name(&name, taken)?;
    let below = format!("{name}.");
    match &*field.field_type {
        Type::Primitive(_) => Ok(()),
        Type::Struct(fields) => fields.fields().iter().try_for_each(|field| take_names(field, &below, taken)),
        Type::List(list) => take_names(&list.element_field, &below, taken),
        Type::Map(map) => {
            take_names(&map.key_field, &below, taken)?;
            take_names(&map.value_field, &below, taken)
        }
    }
}

fn take_name(name: &str, taken: &mut BTreeSet<String>) -> Result<()> {
    if taken.insert(fold(name)) {
        return Ok(());
    }
    Err(Error::usage(format!("two columns or fields are named {:?}, whatever the case", short(name)))
        .advice("Give one of them another `column`"))
}

/// The mapping of a table that another program created: every field with a supported type, by its own name.
fn foreign_mapping(schema: &Schema) -> Mapping {
    let mut mapping = Mapping::default();
    for field in schema.as_struct().fields().iter().filter(|f| f.name != RESCUED) {
        let mut found = BTreeMap::new();
        if note_foreign(field, true, &mut found) {
            mapping.fields.extend(found);
        }
    }
    let identifiers: BTreeSet<i32> = schema.identifier_field_ids().collect();
    mapping.key =
        schema.as_struct().fields().iter().filter(|f| identifiers.contains(&f.id)).map(|f| f.name.clone()).collect();
    mapping
}

fn note_foreign(field: &NestedField, named: bool, found: &mut BTreeMap<i32, FieldMapping>) -> bool {
    let conversion = match &*field.field_type {
        Type::Primitive(PrimitiveType::String) => "string",
        Type::Primitive(PrimitiveType::Long) => "long",
        Type::Primitive(PrimitiveType::Decimal { .. }) => "decimal",
        Type::Primitive(PrimitiveType::Double) => "double",
        Type::Primitive(PrimitiveType::Boolean) => "boolean",
        Type::Primitive(PrimitiveType::Binary) => "binary",
        Type::List(list) if note_foreign(&list.element_field, false, found) => "list",
        Type::Map(map)
            if *map.key_field.field_type == Type::Primitive(PrimitiveType::String)
                && note_foreign(&map.value_field, false, found) =>
        {
            "map"
        }
        Type::Struct(fields) if fields.fields().iter().all(|f| note_foreign(f, true, found)) => "struct",
        _ => return false,
    };
    let name = named.then(|| field.name.clone());
    found.insert(field.id, FieldMapping { name, conversion: conversion.to_owned() });
    true
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
