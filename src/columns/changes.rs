//! Converts records of an incremental export to rows: the new image, or only the key if the item was deleted.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, UInt64Builder};
use arrow::compute::kernels::cmp::neq;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef as ArrowSchemaRef};
use arrow::util::display::array_value_to_string;
use iceberg::spec::Schema as IcebergSchema;

use super::items::ItemBuilder;
use crate::attribute::{Parser, short};
use crate::error::{Error, Result};
use crate::schema::{Limits, Mapping, NewFields, TableSchema};

/// Column of a change: whether the item was deleted; then only the key columns have values.
pub const DELETED: &str = "__deleted";
/// Column of a change: `WriteTimestampMicros`.
pub const WRITTEN: &str = "__written";
/// Column of a change: the ordinal of its file.
pub const ORDER: &str = "__order";
/// Column of a change: its line number.
pub const LINE: &str = "__line";

/// A batch of changes: the table's columns, then [`DELETED`], [`WRITTEN`], [`ORDER`] and [`LINE`]. Access them by
/// index: a column of the table may have one of these names too.
pub type Changes = RecordBatch;

/// Builds batches of changes.
#[derive(Debug)]
pub struct ChangeBuilder {
    images: ItemBuilder,
    keys: ItemBuilder,
    key_columns: Vec<(usize, String)>,
    deleted: BooleanBuilder,
    written: Int64Builder,
    lines: UInt64Builder,
    schema: ArrowSchemaRef,
}

impl ChangeBuilder {
    /// An empty builder for a table.
    pub fn new(table: &TableSchema, limits: Limits) -> Result<Self> {
        let images = ItemBuilder::new(table, limits)?;
        let key_fields = table.key_fields()?;
        let key_columns = key_fields
            .iter()
            .zip(&table.mapping.key)
            .map(|(field, name)| {
                let slot = table.schema.as_struct().fields().iter().position(|f| f.id == field.id);
                slot.map(|slot| (slot, name.clone())).ok_or_else(|| Error::failed("a key column is missing"))
            })
            .collect::<Result<Vec<_>>>()?;
        let key_schema = IcebergSchema::builder().with_fields(key_fields.clone()).build()?;
        let mapping = Mapping {
            fields: key_fields.iter().filter_map(|f| Some((f.id, table.mapping.fields.get(&f.id)?.clone()))).collect(),
            key: table.mapping.key.clone(),
            ..Mapping::default()
        };
        let keys = ItemBuilder::of_keys(&TableSchema { schema: Arc::new(key_schema), mapping }, limits)?;
        let schema = Self::schema(images.arrow_schema());
        Ok(Self {
            images,
            keys,
            key_columns,
            deleted: BooleanBuilder::new(),
            written: Int64Builder::new(),
            lines: UInt64Builder::new(),
            schema,
        })
    }

    /// The Arrow schema of changes to a table of the given Arrow schema.
    pub fn schema(table: &ArrowSchemaRef) -> ArrowSchemaRef {
        let mut fields: Vec<_> =
            table.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect();
        fields.push(Arc::new(Field::new(DELETED, DataType::Boolean, false)));
        fields.push(Arc::new(Field::new(WRITTEN, DataType::Int64, false)));
        fields.push(Arc::new(Field::new(ORDER, DataType::UInt64, false)));
        fields.push(Arc::new(Field::new(LINE, DataType::UInt64, false)));
        Arc::new(Schema::new(fields))
    }

    /// Number of rows so far.
    pub fn rows(&self) -> usize {
        self.images.rows()
    }

    /// Estimated memory of the rows, in bytes.
    pub fn memory(&self) -> usize {
        self.images.memory() + self.keys.memory() + self.rows() * 24
    }

    /// Adds the record from a line of an export.
    pub fn append(&mut self, text: &[u8], line: u64) -> Result<()> {
        let mut parser = Parser::new(text)?;
        let mut scratch = String::new();
        let mut first = true;
        let mut keys: Option<Parser<'_>> = None;
        let mut written = None;
        let (mut image, mut old) = (false, false);
        parser.begin_object()?;
        while let Some(name) = parser.next_name(&mut first, &mut scratch)? {
            if matches!(name, "Keys" | "NewImage" | "OldImage" | "Metadata") && parser.at_null() {
                return Err(null_part(name));
            }
            match name {
                "Keys" if keys.is_none() => {
                    keys = Some(parser.clone());
                    self.keys.append(&mut parser).map_err(wrong_keys)?;
                }
                "NewImage" if !image => {
                    self.images.append(&mut parser)?;
                    image = true;
                }
                "Metadata" if written.is_none() => written = Some(write_time(&mut parser)?),
                "OldImage" if !old => {
                    self.images.skip(&mut parser)?;
                    old = true;
                }
                "Keys" | "NewImage" | "OldImage" | "Metadata" => {
                    return Err(Error::input(format!("{name} stands twice in one record")));
                }
                "Item" => {
                    return Err(Error::input("the line holds an Item of a full export, not a change")
                        .advice("Give full exports to full-load"));
                }
                _ => parser.skip_json()?,
            }
        }
        parser.end()?;
        let Some(mut keys) = keys else {
            return Err(Error::input("the record has no Keys"));
        };
        if !image {
            self.images.append(&mut keys)?;
        }
        let written = written.ok_or_else(|| Error::input("the record has no Metadata.WriteTimestampMicros"))?;
        self.deleted.append_value(!image);
        self.written.append_value(written);
        self.lines.append_value(line);
        Ok(())
    }

    /// Returns the rows as a batch and empties the builder. `order` is the ordinal of their file in the window. Keys
    /// that disagree with their new images are detected here.
    pub fn finish(&mut self, order: u64) -> Result<Changes> {
        let rows = self.rows();
        let images = self.images.finish()?;
        let keys = self.keys.finish()?;
        let lines = self.lines.finish();
        for (key, (slot, name)) in keys.columns().iter().zip(&self.key_columns) {
            let differs = neq(key, images.column(*slot))?;
            if let Some(row) = differs.iter().position(|d| d == Some(true)) {
                let shown = |column: &ArrayRef| Ok::<_, Error>(short(&array_value_to_string(column, row)?));
                let (key, image) = (shown(key)?, shown(images.column(*slot))?);
                return Err(Error::input(format!("Keys and NewImage of the record disagree: {key:?} and {image:?}"))
                    .of_attribute(name.as_str())
                    .on_line(if row < lines.len() { lines.value(row) } else { 0 }));
            }
        }
        let mut columns: Vec<ArrayRef> = images.columns().to_vec();
        columns.push(Arc::new(self.deleted.finish()));
        columns.push(Arc::new(self.written.finish()));
        columns.push(Arc::new(arrow::array::UInt64Array::from_value(order, rows)));
        columns.push(Arc::new(lines));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// Attributes observed since the last call for which the table has no column or field.
    pub fn take_new(&mut self) -> NewFields {
        self.images.take_new()
    }
}

/// The error for a record with a part that is `null`.
fn null_part(name: &str) -> Error {
    let error = Error::input(format!("{name} of the record is null"));
    match name {
        "NewImage" => {
            error.advice("The record of a deleted item has no NewImage at all; whatever wrote this is no export")
        }
        _ => error.advice("DynamoDB writes no such record: something has changed the export"),
    }
}

/// The error for a record's `Keys`.
fn wrong_keys(error: Error) -> Error {
    error.advice("The record's Keys are not the table's key; check that the table was loaded with the right --key")
}

/// `{"WriteTimestampMicros":{"N":"…"}}`, or with a bare string or number.
fn write_time(parser: &mut Parser<'_>) -> Result<i64> {
    let mut scratch = String::new();
    let mut value_scratch = String::new();
    let mut first = true;
    let mut found = None;
    parser.begin_object()?;
    while let Some(name) = parser.next_name(&mut first, &mut scratch)? {
        if name != "WriteTimestampMicros" {
            parser.skip_json()?;
            continue;
        }
        let number = if parser.at_object() {
            let kind = parser.descriptor()?;
            if kind != crate::attribute::Kind::N {
                return Err(Error::input("Metadata.WriteTimestampMicros is no number"));
            }
            let number = parser.number(&mut value_scratch)?;
            parser.close()?;
            Some(number)
        } else if parser.at_string() {
            crate::attribute::Number::parse(parser.string(&mut value_scratch)?)
        } else {
            crate::attribute::Number::parse(parser.bare_number()?)
        };
        found = number.and_then(|n| n.to_i64());
        if found.is_none() {
            return Err(Error::input("Metadata.WriteTimestampMicros is no whole number of microseconds"));
        }
    }
    found.ok_or_else(|| Error::input("the record has no Metadata.WriteTimestampMicros"))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;
    use crate::schema::file::schema_file::SchemaFile;

    fn builder() -> ChangeBuilder {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk","sk"],"attributes":{"pk":{"type":"string"},"sk":{"type":"long"},"v":{"type":"string"}}}"#,
        )
        .unwrap();
        ChangeBuilder::new(&TableSchema::create(&file, &file.key).unwrap(), Limits::default()).unwrap()
    }

    fn one(record: &str) -> Result<Changes> {
        let mut b = builder();
        b.append(record.as_bytes(), 3)?;
        b.finish(7)
    }

    const KEYS: &str = r#""Keys":{"pk":{"S":"a"},"sk":{"N":"1"}}"#;
    const META: &str = r#""Metadata":{"WriteTimestampMicros":{"N":"17"}}"#;

    #[test]
    fn both_views_and_any_order_are_read() {
        let image = r#""NewImage":{"pk":{"S":"a"},"sk":{"N":"1.0"},"v":{"S":"x"}}"#;
        let old = r#""OldImage":{"pk":{"S":"a"},"sk":{"N":"1"}}"#;
        for (record, deleted) in [
            (format!("{{{META},{KEYS},{image}}}"), false),
            (format!("{{{image},{old},{KEYS},{META}}}"), false),
            (format!("{{{META},{KEYS}}}"), true),
            (format!("{{{META},{KEYS},{old}}}"), true),
            (format!("{{{KEYS},\"Metadata\":{{\"WriteTimestampMicros\":\"17\"}}}}"), true),
            (format!("{{{KEYS},\"Metadata\":{{\"WriteTimestampMicros\":17,\"x\":[1]}}}}"), true),
        ] {
            let batch = one(&record).unwrap_or_else(|e| panic!("{record}: {e}"));
            assert_eq!(batch.num_rows(), 1);
            assert_eq!(batch.column_by_name(DELETED).unwrap().as_boolean().value(0), deleted, "{record}");
            assert_eq!(batch.column_by_name("pk").unwrap().as_string::<i32>().value(0), "a");
            assert_eq!(batch.column_by_name("v").unwrap().is_null(0), deleted);
        }
    }

    #[test]
    fn wrong_records_are_refused() {
        for (record, expected) in [
            (format!("{{{META}}}"), "no Keys"),
            (format!("{{{KEYS}}}"), "no Metadata.WriteTimestampMicros"),
            (format!("{{{META},{KEYS},{KEYS}}}"), "Keys stands twice"),
            (format!("{{{META},\"Keys\":{{\"pk\":{{\"S\":\"a\"}}}}}}"), "no value for its key (attribute \"sk\")"),
            (
                format!("{{{META},\"Keys\":{{\"pk\":{{\"S\":\"a\"}},\"sk\":{{\"N\":\"1\"}},\"x\":{{\"S\":\"\"}}}}}}"),
                "(attribute \"x\")",
            ),
            (
                format!("{{{META},{KEYS},\"NewImage\":{{\"pk\":{{\"S\":\"b\"}},\"sk\":{{\"N\":\"1\"}}}}}}"),
                "Keys and NewImage of the record disagree: \"a\" and \"b\" (attribute \"pk\")",
            ),
            (format!("{{{META},{META},{KEYS}}}"), "Metadata stands twice"),
            (
                format!(
                    "{{{META},\"Keys\":{{\"pk\":{{\"S\":\"a\"}},\"sk\":{{\"N\":\"1\"}},\"x\":{{\"NULL\":true}}}}}}"
                ),
                "no part of the table's key (attribute \"x\")",
            ),
            (format!("{{{META},{KEYS},\"NewImage\":null}}"), "NewImage of the record is null"),
            (format!("{{{META},\"Keys\": null}}"), "Keys of the record is null"),
            (format!("{{{META},{KEYS},\"OldImage\":null}}"), "OldImage of the record is null"),
            (format!("{{\"Metadata\":null,{KEYS}}}"), "Metadata of the record is null"),
            (format!("{{{META},{KEYS},\"OldImage\":{{}},\"OldImage\":{{}}}}"), "OldImage stands twice"),
            (r#"{"Item":{}}"#.to_owned(), "full export"),
            ("[]".to_owned(), "expected"),
        ] {
            let error = one(&record).expect_err(&record);
            assert_eq!(error.kind(), crate::error::Kind::Input);
            assert!(error.to_string().contains(expected), "{record}: {error}");
        }
    }

    /// Which line it was is known only when the batch is finished.
    #[test]
    fn a_record_that_contradicts_itself_is_named_by_its_line() {
        let mut b = builder();
        let image = |pk: &str| format!(r#""NewImage":{{"pk":{{"S":"{pk}"}},"sk":{{"N":"1"}}}}"#);
        for (line, pk) in [(7, "a"), (9, "a"), (12, "b"), (13, "c")] {
            b.append(format!("{{{META},{KEYS},{}}}", image(pk)).as_bytes(), line).unwrap();
        }
        let error = b.finish(0).unwrap_err().in_file("f").to_string();
        assert!(error.starts_with("f:12: ") && error.contains("\"a\" and \"b\""), "{error}");
    }

    #[test]
    fn memory_is_that_of_images_keys_and_what_else_is_known_of_a_record() {
        let mut b = builder();
        for line in 0..10 {
            let image =
                format!(r#""NewImage":{{"pk":{{"S":"a"}},"sk":{{"N":"1"}},"v":{{"S":"{}"}}}}"#, "x".repeat(500));
            b.append(format!("{{{META},{KEYS},{image}}}").as_bytes(), line).unwrap();
        }
        assert!(b.images.memory() > 5000 && b.keys.memory() > 0);
        // A time, a line and a kind, at eight bytes each.
        assert_eq!(b.memory(), b.images.memory() + b.keys.memory() + 240);
    }
}
