//! A table's columns as shown in Glue. Readers take the schema from the metadata file; these columns are for the
//! console, Lake Formation and programs that list columns. Types are spelled as in Iceberg's Java implementation
//! (`IcebergToGlueConverter`).
//!
//! What Glue cannot hold must not stop a commit: it is shortened or omitted, with a warning. The limits are those of
//! the page "Column" in AWS Glue's API reference.

use std::collections::{HashMap, HashSet};

use aws_sdk_glue::types::Column;
use iceberg::spec::{NestedFieldRef, PrimitiveType, Schema, Type};

use crate::error::{Error, Result};

const LONGEST_NAME: usize = 255;
const LONGEST_COMMENT: usize = 255;
const LONGEST_TYPE: usize = 131_072;
/// Replaces a type that is too long.
const SHORTENED: &str = "string";

/// The columns of the schema, and warnings about them. A comment that someone gave a column in Glue is kept unless the
/// field has its own.
pub(super) fn columns(schema: &Schema, existing: &[Column]) -> Result<(Vec<Column>, Vec<String>)> {
    let comments: HashMap<String, &str> =
        existing.iter().filter_map(|c| Some((c.name().to_lowercase(), c.comment()?))).collect();
    let mut seen = HashSet::new();
    let (mut columns, mut warnings) = (Vec::new(), Vec::new());
    for field in schema.as_struct().fields() {
        let name = single_line(&field.name);
        if name.is_empty() || name.len() > LONGEST_NAME {
            let start: String = name.chars().take(40).collect();
            warnings.push(format!(
                "the column {start:?}… is not shown in Glue, where a name has 1 to {LONGEST_NAME} bytes; the table has it"
            ));
            continue;
        }
        if !seen.insert(name.to_lowercase()) {
            warnings.push(format!(
                "the column {name:?} is not shown in Glue, which does not tell capital letters from small ones; Athena can't \
                 read both columns of this name"
            ));
            continue;
        }
        let mut spelled = type_string(&field.field_type);
        if spelled.len() > LONGEST_TYPE {
            warnings.push(format!(
                "the type of the column {name:?} is shown as {SHORTENED:?} in Glue, since it takes {} characters there; the table \
                 has it whole",
                spelled.len()
            ));
            SHORTENED.clone_into(&mut spelled);
        }
        let own = field.doc.as_deref().filter(|doc| !doc.is_empty());
        let comment = own.or_else(|| comments.get(&name.to_lowercase()).copied());
        let comment = comment.map(|text| truncated(&single_line(text), LONGEST_COMMENT));
        columns.push(column(&name, spelled, comment, field)?);
    }
    Ok((columns, warnings))
}

fn column(name: &str, spelled: String, comment: Option<String>, field: &NestedFieldRef) -> Result<Column> {
    Column::builder()
        .name(name)
        .r#type(spelled)
        .set_comment(comment)
        .parameters("iceberg.field.id", field.id.to_string())
        .parameters("iceberg.field.optional", (!field.required).to_string())
        .parameters("iceberg.field.current", "true")
        .build()
        .map_err(|e| Error::failed("a column could not be described to Glue").caused_by(e))
}

/// A type in Hive's spelling.
fn type_string(kind: &Type) -> String {
    match kind {
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => "boolean".to_owned(),
            PrimitiveType::Int => "int".to_owned(),
            PrimitiveType::Long => "bigint".to_owned(),
            PrimitiveType::Float => "float".to_owned(),
            PrimitiveType::Double => "double".to_owned(),
            PrimitiveType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            PrimitiveType::Date => "date".to_owned(),
            PrimitiveType::Timestamp
            | PrimitiveType::Timestamptz
            | PrimitiveType::TimestampNs
            | PrimitiveType::TimestamptzNs => "timestamp".to_owned(),
            PrimitiveType::Time | PrimitiveType::String | PrimitiveType::Uuid => "string".to_owned(),
            PrimitiveType::Fixed(_) | PrimitiveType::Binary => "binary".to_owned(),
        },
        Type::Struct(fields) => {
            let fields: Vec<String> = fields
                .fields()
                .iter()
                .map(|field| format!("{}:{}", single_line(&field.name), type_string(&field.field_type)))
                .collect();
            format!("struct<{}>", fields.join(","))
        }
        Type::List(list) => format!("array<{}>", type_string(&list.element_field.field_type)),
        Type::Map(map) => {
            format!("map<{},{}>", type_string(&map.key_field.field_type), type_string(&map.value_field.field_type))
        }
    }
}

/// Removes characters that Glue's single-line strings can't contain.
fn single_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' || matches!(c, '\u{FFFE}' | '\u{FFFF}') { ' ' } else { c })
        .collect()
}

/// Truncates to at most this many bytes, at a character boundary.
fn truncated(text: &str, longest: usize) -> String {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{ListType, MapType, NestedField, StructType};

    use super::*;

    fn primitive(kind: PrimitiveType) -> Type {
        Type::Primitive(kind)
    }

    #[test]
    fn types_are_spelled_as_java_spells_them() {
        let list = |id, element| Type::List(ListType::new(NestedField::list_element(id, element, false).into()));
        let inner = Type::Struct(StructType::new(vec![
            NestedField::optional(11, "a", primitive(PrimitiveType::Timestamptz)).into(),
            NestedField::optional(12, "b c", list(13, primitive(PrimitiveType::Decimal { precision: 38, scale: 9 })))
                .into(),
        ]));
        let map = Type::Map(MapType::new(
            NestedField::map_key_element(21, primitive(PrimitiveType::String)).into(),
            NestedField::map_value_element(22, inner.clone(), false).into(),
        ));
        for (kind, spelled) in [
            (primitive(PrimitiveType::Boolean), "boolean"),
            (primitive(PrimitiveType::Int), "int"),
            (primitive(PrimitiveType::Long), "bigint"),
            (primitive(PrimitiveType::Float), "float"),
            (primitive(PrimitiveType::Double), "double"),
            (primitive(PrimitiveType::Date), "date"),
            (primitive(PrimitiveType::Time), "string"),
            (primitive(PrimitiveType::Timestamp), "timestamp"),
            (primitive(PrimitiveType::Timestamptz), "timestamp"),
            (primitive(PrimitiveType::String), "string"),
            (primitive(PrimitiveType::Uuid), "string"),
            (primitive(PrimitiveType::Fixed(16)), "binary"),
            (primitive(PrimitiveType::Binary), "binary"),
            (primitive(PrimitiveType::Decimal { precision: 10, scale: 2 }), "decimal(10,2)"),
            (inner, "struct<a:timestamp,b c:array<decimal(38,9)>>"),
            (map, "map<string,struct<a:timestamp,b c:array<decimal(38,9)>>>"),
        ] {
            assert_eq!(type_string(&kind), spelled);
        }
    }

    #[test]
    fn what_glue_can_not_hold_is_shortened_with_a_warning() {
        let text = || primitive(PrimitiveType::String);
        let long = "é".repeat(200);
        let fields: Vec<NestedFieldRef> =
            (0..20_000).map(|n| NestedField::optional(1000 + n, format!("field{n}"), text()).into()).collect();
        let schema = Schema::builder()
            .with_fields([
                NestedField::required(1, "pk", text()).with_doc(&long).into(),
                NestedField::optional(2, "x".repeat(256), text()).into(),
                NestedField::optional(3, "PK", text()).into(),
                NestedField::optional(4, "two\nlines", text()).into(),
                NestedField::optional(5, "wide", Type::Struct(StructType::new(fields))).into(),
                NestedField::optional(6, "noted", text()).into(),
            ])
            .build()
            .unwrap();
        let note = Column::builder().name("noted").comment("by hand").build().unwrap();
        let (columns, warnings) = columns(&schema, &[note]).unwrap();
        let names: Vec<&str> = columns.iter().map(Column::name).collect();
        assert_eq!(names, ["pk", "two lines", "wide", "noted"]);
        assert_eq!(columns[0].comment(), Some("é".repeat(127).as_str()));
        assert_eq!(columns[2].r#type(), Some("string"));
        assert_eq!(columns[3].comment(), Some("by hand"));
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        let parameters = columns[0].parameters().unwrap();
        assert_eq!(
            (parameters["iceberg.field.id"].as_str(), parameters["iceberg.field.optional"].as_str()),
            ("1", "false")
        );
        assert_eq!(parameters["iceberg.field.current"], "true");
    }
}
