//! Items into rows of a table.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::arrow::schema_to_arrow_schema;
use std::sync::Arc;

use super::node::{Fit, Node, Scratch};
use super::taken::Taken;
use crate::attribute::{Member, NameIndex, Parser};
use crate::error::{Error, Result};
use crate::schema::{Limits, NewFields, TableSchema};

/// Values kept in `_ddb_rescued`, by attribute.
pub type Rescued = BTreeMap<String, u64>;

/// What to do with an attribute.
#[derive(Debug, Clone, Copy)]
enum Place {
    Column { slot: usize, key: bool },
    Excluded,
}

/// Builds a batch of rows, one item after the other.
///
/// Columns stand in the table's order. After an error the builder is of no use.
#[derive(Debug)]
pub struct ItemBuilder {
    arrow_schema: ArrowSchemaRef,
    names: NameIndex,
    places: Vec<Place>,
    nodes: Vec<Node>,
    taken: Taken,
    key_slots: Vec<(usize, String)>,
    rescue: Option<Rescue>,
    rows: usize,
    bytes: usize,
    row_width: usize,
    scratch: Scratch,
}

/// The column `_ddb_rescued` under construction.
#[derive(Debug)]
struct Rescue {
    slot: usize,
    texts: StringBuilder,
    row: String,
    counts: Rescued,
}

impl Rescue {
    /// Keeps the DynamoDB JSON of an attribute that its column could not take whole.
    fn keep(rescue: Option<&mut Self>, name: &str, value: &str) -> Result<()> {
        let Some(rescue) = rescue else {
            return Err(Error::input("a value fits no column, and the table has no column _ddb_rescued to keep it in")
                .of_attribute(name)
                .advice("Add an optional string column named _ddb_rescued to the table, or reload it with full-load"));
        };
        rescue.row.push(if rescue.row.is_empty() { '{' } else { ',' });
        let quoted = serde_json::to_string(name).map_err(|e| Error::input("a broken attribute name").caused_by(e))?;
        rescue.row.push_str(&quoted);
        rescue.row.push(':');
        rescue.row.push_str(value.trim());
        match rescue.counts.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                rescue.counts.insert(name.to_owned(), 1);
            }
        }
        Ok(())
    }
}

impl ItemBuilder {
    /// An empty builder for a table.
    pub fn new(table: &TableSchema, limits: Limits) -> Result<Self> {
        let arrow_schema = Arc::new(schema_to_arrow_schema(&table.schema)?);
        let rescued_id = table.rescued_field().map(|f| f.id);
        let mut names = NameIndex::default();
        let mut places = Vec::new();
        let mut nodes = Vec::new();
        let mut rescue = None;
        let mut key_slots = Vec::new();
        for (slot, (field, arrow_field)) in
            table.schema.as_struct().fields().iter().zip(arrow_schema.fields()).enumerate()
        {
            let source = table.source(field)?;
            if Some(field.id) == rescued_id {
                rescue = Some(Rescue { slot, texts: StringBuilder::new(), row: String::new(), counts: Rescued::new() });
            } else if let Some((Some(name), _)) = &source {
                let key = table.mapping.key.iter().any(|k| k == name);
                if key {
                    key_slots.push((slot, (*name).to_owned()));
                }
                names.insert(name);
                places.push(Place::Column { slot, key });
            } else if field.required {
                return Err(Error::failed(format!("the required column {:?} comes from no attribute", field.name))
                    .advice("Make the column optional, or drop it"));
            }
            nodes.push(Node::new(field, arrow_field.data_type(), table)?);
        }
        for name in &table.mapping.excluded {
            names.insert(name);
            places.push(Place::Excluded);
        }
        let row_width = nodes.iter().map(Node::width).sum();
        Ok(Self {
            arrow_schema,
            names,
            places,
            taken: Taken::of(nodes.len()),
            nodes,
            key_slots,
            rescue,
            rows: 0,
            bytes: 0,
            row_width,
            scratch: Scratch { limits, ..Scratch::default() },
        })
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how much memory the rows take, in bytes; rather more than less.
    pub fn memory(&self) -> usize {
        self.bytes + self.rows * self.row_width
    }

    /// Adds a row, the parser standing before the item's map of attributes.
    pub fn append(&mut self, parser: &mut Parser<'_>) -> Result<()> {
        let begin = parser.position();
        parser.begin_object()?;
        self.names.restart();
        self.taken.begin_row();
        let mut first = true;
        let mut name_scratch = String::new();
        while let Some(member) = self.names.next_member(parser, &mut first, &mut name_scratch)? {
            let start = parser.position();
            let taken = match member {
                Member::Known(n) => self.append_attribute(self.places.get(n).copied(), parser),
                Member::New(name) => self.observe_new(name, parser),
            };
            if matches!(taken, Ok(Fit::Whole | Fit::Null)) {
                continue;
            }
            let name = match member {
                Member::Known(n) => self.names.name(n),
                Member::New(name) => name,
            };
            taken.map_err(|e| e.of_attribute(name))?;
            Rescue::keep(self.rescue.as_mut(), name, parser.since(start))?;
        }
        self.rows += 1;
        for (slot, name) in &self.key_slots {
            if !self.taken.has(*slot) {
                return Err(Error::input("the item has no value for its key").of_attribute(name.as_str()));
            }
        }
        self.taken.missing(&mut self.nodes).for_each(Node::append_null);
        if let Some(rescue) = &mut self.rescue {
            if rescue.row.is_empty() {
                rescue.texts.append_null();
            } else {
                rescue.row.push('}');
                rescue.texts.append_value(&rescue.row);
                rescue.row.clear();
            }
        }
        self.bytes += parser.position() - begin;
        Ok(())
    }

    fn append_attribute(&mut self, place: Option<Place>, parser: &mut Parser<'_>) -> Result<Fit> {
        let (slot, key) = match place {
            Some(Place::Column { slot, key }) => (slot, key),
            Some(Place::Excluded) => {
                parser.skip_excluded(&mut self.scratch.text)?;
                return Ok(Fit::Whole);
            }
            None => return Err(Error::failed("an attribute has no place")),
        };
        let Some(node) = self.nodes.get_mut(slot) else {
            return Err(Error::failed("a column is missing from the builder"));
        };
        if !self.taken.take(slot) {
            return Err(Error::input("the attribute stands twice in one item"));
        }
        let fit = node.append(parser, &mut self.scratch)?;
        if key && fit != Fit::Whole {
            return Err(Error::input("the value of the key does not fit the table's key column").advice(
                "The key's type or range has changed: reload the table with full-load from a newer full export",
            ));
        }
        Ok(fit)
    }

    fn observe_new(&mut self, name: &str, parser: &mut Parser<'_>) -> Result<Fit> {
        let limits = self.scratch.limits;
        let new = &mut self.scratch.new;
        new.observe(NewFields::ITEM, name, parser, &limits, &mut self.scratch.text)?;
        // Each is counted by name in the report.
        if new.too_many(NewFields::ITEM) {
            return Err(Error::input(format!("more than {} distinct new attributes", limits.attributes)).advice(
                "Leave attributes out that are data rather than names, with `exclude` in a schema file for full-load",
            ));
        }
        Ok(Fit::Part)
    }

    /// Steps over the attributes of an item whose values the table does not want, checking them.
    pub fn skip(&self, parser: &mut Parser<'_>) -> Result<()> {
        let (mut first, mut inner, mut value) = (true, String::new(), String::new());
        parser.begin_object()?;
        while let Some(name) = parser.next_name(&mut first, &mut inner)? {
            let place = self.names.position(name).and_then(|n| self.places.get(n));
            if matches!(place, Some(Place::Excluded)) {
                parser.skip_excluded(&mut value)?;
            } else {
                parser.skip_value(&mut value).map_err(|e| e.of_attribute(name))?;
            }
        }
        Ok(())
    }

    /// The rows as a batch in the table's Arrow schema; the builder is empty again.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.nodes.len());
        for (slot, node) in self.nodes.iter_mut().enumerate() {
            let column = node.finish()?;
            columns.push(match &mut self.rescue {
                Some(rescue) if rescue.slot == slot => Arc::new(rescue.texts.finish()),
                _ => column,
            });
        }
        self.rows = 0;
        self.bytes = 0;
        Ok(RecordBatch::try_new(self.arrow_schema.clone(), columns)?)
    }

    /// What was rescued since the last call.
    pub fn take_rescued(&mut self) -> Rescued {
        self.rescue.as_mut().map(|r| std::mem::take(&mut r.counts)).unwrap_or_default()
    }

    /// What was seen since the last call that the table has no place for.
    pub fn take_new(&mut self) -> NewFields {
        std::mem::take(&mut self.scratch.new)
    }

    /// The Arrow schema of the batches.
    pub fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow_schema
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Decimal128Type, Int64Type};

    use super::*;
    use crate::schema::SchemaFile;

    fn builder() -> ItemBuilder {
        let file = SchemaFile::parse(
            r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"long"},
            "price":{"type":"decimal(38,9)"},"s":{"type":"string"},"tags":{"type":{"set":"long"}},
            "m":{"type":{"struct":{"a":{"type":"long"},"b":{"type":{"list":"string"}}}}},
            "any":{"type":"json"},"map":{"type":{"map":"binary"}},"secret":{"exclude":true}}}"#,
        )
        .unwrap();
        ItemBuilder::new(&TableSchema::create(&file, &file.key).unwrap(), Limits::default()).unwrap()
    }

    fn append(builder: &mut ItemBuilder, item: &str) -> Result<()> {
        let mut parser = Parser::new(item.as_bytes())?;
        builder.append(&mut parser)?;
        parser.end()
    }

    #[test]
    fn values_land_in_their_columns() {
        let mut b = builder();
        append(
            &mut b,
            r#"{"s":{"S":"x"},"pk":{"N":"1.0"},"price":{"N":"19.99"},"tags":{"NS":["3","2"]},"secret":{"S":"no"},
            "m":{"M":{"b":{"L":[{"S":"q"},{"NULL":true}]}}},"any":{"L":[{"N":"1"}]},"map":{"M":{"k":{"B":"aGk="}}}}"#,
        )
        .unwrap();
        append(&mut b, r#"{"pk":{"N":"2"},"s":{"NULL":true}}"#).unwrap();
        let batch = b.finish().unwrap();
        assert_eq!(batch.num_rows(), 2);
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        assert_eq!(column("pk").as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(column("price").as_primitive::<Decimal128Type>().value(0), 19_990_000_000);
        assert!(
            column("s").is_null(1)
                && column("m").is_null(1)
                && column("map").is_null(1)
                && column("_ddb_rescued").is_null(0)
        );
        assert_eq!(column("tags").as_list::<i32>().value(0).as_primitive::<Int64Type>().values(), &[3, 2]);
        assert_eq!(column("any").as_string::<i32>().value(0), "[1]");
        let m = column("m");
        assert!(m.as_struct().column_by_name("a").unwrap().is_null(0));
        assert_eq!(m.as_struct().column_by_name("b").unwrap().as_list::<i32>().value(0).len(), 2);
    }

    #[test]
    fn what_does_not_fit_is_rescued_and_the_rest_kept() {
        let mut b = builder();
        append(
            &mut b,
            r#"{"pk":{"N":"1"},"price":{"S":"free"},"m":{"M":{"a":{"N":"7"},"new":{"S":"y"}}},"extra":{"SS":["a"]}}"#,
        )
        .unwrap();
        assert_eq!(b.take_rescued(), Rescued::from([("price".into(), 1), ("m".into(), 1), ("extra".into(), 1)]));
        let new = b.take_new();
        assert_eq!(new.attributes(), ["extra"]);
        let batch = b.finish().unwrap();
        let rescued = batch.column_by_name("_ddb_rescued").unwrap().as_string::<i32>().value(0).to_owned();
        assert_eq!(rescued, r#"{"price":{"S":"free"},"m":{"M":{"a":{"N":"7"},"new":{"S":"y"}}},"extra":{"SS":["a"]}}"#);
        let m = batch.column_by_name("m").unwrap();
        assert_eq!(m.as_struct().column_by_name("a").unwrap().as_primitive::<Int64Type>().value(0), 7);
    }

    #[test]
    fn bad_items_are_refused_with_the_attribute() {
        for (item, expected) in [
            (r#"{"s":{"S":"x"}}"#, "no value for its key (attribute \"pk\")"),
            (r#"{"pk":{"NULL":true}}"#, "does not fit the table's key column (attribute \"pk\")"),
            (r#"{"pk":{"N":"1.5"}}"#, "does not fit the table's key column"),
            (r#"{"pk":{"S":"1"}}"#, "does not fit the table's key column"),
            (r#"{"pk":{"N":"1"},"pk":{"N":"1"}}"#, "stands twice"),
            (r#"{"pk":{"N":"1"},"m":{"M":{"a":{"N":"1"},"a":{"N":"1"}}}}"#, "stands twice"),
            (r#"{"pk":{"N":"1"},"s":{"S":1}}"#, "(attribute \"s\")"),
            (
                r#"{"pk":{"N":"1"},"map":{"M":{"k":{"B":""},"j":{"B":""},"k":{"B":""}}}}"#,
                "twice in one map (attribute \"map\")",
            ),
            (r#"{"pk":{"N":"1"},"tags":{"NS":["1","2","1.0"]}}"#, "an element twice"),
            (r#"{"pk":{"N":"1"},"tags":{"NS":[]}}"#, "without elements"),
            (r#"{"pk":{"N":"1"},"new":{"SS":["a","\u0061"]}}"#, "an element twice"),
            (r#"{"pk":{"N":"1"},"any":{"BS":["YQ==","YQ=="]}}"#, "an element twice"),
        ] {
            let error = append(&mut builder(), item).expect_err(item);
            assert_eq!(error.kind(), crate::error::Kind::Input);
            assert!(error.to_string().contains(expected), "{item}: {error}");
        }
        for value in [r#"{"S":1}"#, r#"{"N":"hidden"}"#, r#"{"hidden":1}"#, r#"{"L":[{"N":"hidden"}]}"#] {
            let error = append(&mut builder(), &format!(r#"{{"pk":{{"N":"1"}},"secret":{value}}}"#)).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Input);
            assert!(!error.to_string().contains("secret") && !error.to_string().contains("hidden"), "{error}");
        }
    }
}
