//! Items into rows of a table.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::arrow::schema_to_arrow_schema;
use std::sync::Arc;

use super::node::{Fit, Node, Scratch};
use super::rescued::{Rescue, Rescued};
use super::taken::Taken;
use crate::attribute::{EXCLUDED, Member, NameIndex, Parser, short};
use crate::error::{Error, Result};
use crate::schema::{Limits, NewFields, TableSchema};

/// What to do with an attribute.
#[derive(Debug, Clone, Copy)]
enum Place {
    Column {
        slot: usize,
        key: bool,
    },
    /// Its slot only tells whether it stands twice.
    Excluded {
        slot: usize,
    },
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
    keys_only: bool,
    rows: usize,
    bytes: usize,
    row_width: usize,
    scratch: Scratch,
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
                rescue = Some(Rescue::new(slot));
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
            places.push(Place::Excluded { slot: nodes.len() + places.len() });
        }
        let row_width = nodes.iter().map(Node::width).sum();
        Ok(Self {
            arrow_schema,
            names,
            taken: Taken::of(nodes.len() + places.len()),
            places,
            nodes,
            key_slots,
            rescue,
            keys_only: false,
            rows: 0,
            bytes: 0,
            row_width,
            scratch: Scratch { limits, ..Scratch::default() },
        })
    }

    /// An empty builder for the key columns of a table, which refuses every other attribute.
    pub(super) fn of_keys(table: &TableSchema, limits: Limits) -> Result<Self> {
        Ok(Self { keys_only: true, ..Self::new(table, limits)? })
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
            let fit = taken.map_err(|e| e.of_attribute(name))?;
            Rescue::keep(self.rescue.as_mut(), name, parser.since(start), fit)?;
        }
        self.rows += 1;
        for (slot, name) in &self.key_slots {
            if !self.taken.has(*slot) {
                return Err(Error::input("the item has no value for its key").of_attribute(name.as_str()));
            }
        }
        self.taken.missing(&mut self.nodes).for_each(Node::append_null);
        if let Some(rescue) = &mut self.rescue {
            rescue.end_row();
        }
        self.bytes += parser.position() - begin;
        Ok(())
    }

    fn append_attribute(&mut self, place: Option<Place>, parser: &mut Parser<'_>) -> Result<Fit> {
        let (slot, key) = match place {
            Some(Place::Column { slot, key }) => (slot, key),
            Some(Place::Excluded { slot }) => {
                if !self.taken.take(slot) {
                    return Err(twice_in_item().of_attribute(EXCLUDED));
                }
                parser.skip_excluded(&mut self.scratch.text)?;
                return Ok(Fit::Whole);
            }
            None => return Err(Error::failed("an attribute has no place")),
        };
        let Some(node) = self.nodes.get_mut(slot) else {
            return Err(Error::failed("a column is missing from the builder"));
        };
        if !self.taken.take(slot) {
            return Err(twice_in_item());
        }
        let start = parser.position();
        let fit = node.append(parser, &mut self.scratch)?;
        if key && fit != Fit::Whole {
            return Err(unfit_key(parser.since(start)));
        }
        Ok(fit)
    }

    fn observe_new(&mut self, name: &str, parser: &mut Parser<'_>) -> Result<Fit> {
        if self.keys_only {
            return Err(Error::input("the record's Keys has an attribute that is no part of the table's key"));
        }
        if !self.taken.take_stranger(name) {
            return Err(twice_in_item());
        }
        let fit = self.scratch.observe(NewFields::ITEM, name, parser)?;
        // Each is counted by name in the report.
        if self.scratch.new.too_many(NewFields::ITEM) {
            let most = self.scratch.limits.attributes;
            return Err(Error::input(format!("more than {most} distinct new attributes")).advice(
                "Leave attributes out that are data rather than names, with `exclude` in a schema file for full-load",
            ));
        }
        Ok(fit)
    }

    /// Steps over the attributes of an item whose values the table does not want, checking them.
    pub fn skip(&mut self, parser: &mut Parser<'_>) -> Result<()> {
        parser.begin_object()?;
        self.names.restart();
        self.taken.begin_row();
        let mut first = true;
        let mut name_scratch = String::new();
        while let Some(member) = self.names.next_member(parser, &mut first, &mut name_scratch)? {
            let place = match member {
                Member::Known(n) => self.places.get(n).copied(),
                Member::New(_) => None,
            };
            let new = match (member, place) {
                (_, Some(Place::Column { slot, .. } | Place::Excluded { slot })) => self.taken.take(slot),
                (Member::New(name), _) => self.taken.take_stranger(name),
                (Member::Known(_), None) => false,
            };
            let text = &mut self.scratch.text;
            let skipped = match place {
                _ if !new => Err(twice_in_item()),
                Some(Place::Excluded { .. }) => parser.skip_excluded(text),
                _ => parser.skip_value(text),
            };
            if let Err(error) = skipped {
                return Err(error.of_attribute(match (member, place) {
                    (_, Some(Place::Excluded { .. })) => EXCLUDED,
                    (Member::Known(n), _) => self.names.name(n),
                    (Member::New(name), _) => name,
                }));
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
                Some(rescue) if rescue.slot == slot => Arc::new(rescue.finish()),
                _ => column,
            });
        }
        self.rows = 0;
        self.bytes = 0;
        Ok(RecordBatch::try_new(self.arrow_schema.clone(), columns)?)
    }

    /// What was rescued since the last call.
    pub fn take_rescued(&mut self) -> Rescued {
        self.rescue.as_mut().map(Rescue::take_counts).unwrap_or_default()
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

fn twice_in_item() -> Error {
    Error::input("the attribute stands twice in one item")
}

#[cold]
fn unfit_key(value: &str) -> Error {
    let value = short(value.trim());
    Error::input(format!("the value of the key does not fit the table's key column: {value}"))
        .advice("The key's type or range has changed: reload the table with full-load from a newer full export")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    /// Up to all nines a decimal takes a number; the power of ten above them is rescued, and stops the command in a key.
    #[test]
    fn a_number_fits_a_decimal_up_to_the_last_nine() {
        for (precision, scale) in [
            (1, 0),
            (1, 1),
            (2, 1),
            (5, 2),
            (9, 0),
            (10, 9),
            (18, 0),
            (18, 18),
            (19, 5),
            (28, 10),
            (37, 1),
            (38, 0),
            (38, 9),
            (38, 38),
        ] {
            let ty = format!("decimal({precision},{scale})");
            let file = SchemaFile::parse(&format!(
                r#"{{"version":1,"key":["pk","sk"],"attributes":{{"pk":{{"type":"string"}},"sk":{{"type":"{ty}"}},
                "d":{{"type":"{ty}"}},"l":{{"type":{{"list":"{ty}"}}}},"s":{{"type":{{"set":"{ty}"}}}},
                "m":{{"type":{{"struct":{{"d":{{"type":"{ty}"}}}}}}}}}}}}"#
            ))
            .unwrap();
            let table = TableSchema::create(&file, &file.key).unwrap();
            let nines = "9".repeat(precision as usize);
            let (whole, fraction) = nines.split_at((precision - scale) as usize);
            let most =
                format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole }).trim_end_matches('.').to_owned();
            let unscaled = 10_i128.pow(precision) - 1;
            let above = format!("1E{}", i64::from(precision) - i64::from(scale));
            for sign in ["", "-"] {
                for (number, value) in [(format!("{sign}{most}"), Some(unscaled)), (format!("{sign}{above}"), None)] {
                    let value = value.map(|value| if sign.is_empty() { value } else { -value });
                    let mut b = ItemBuilder::new(&table, Limits::default()).unwrap();
                    let n = format!(r#"{{"N":"{number}"}}"#);
                    let item = format!(
                        r#"{{"pk":{{"S":"a"}},"sk":{{"N":"0"}},"d":{n},"l":{{"L":[{n}]}},"s":{{"NS":["{number}"]}},"m":{{"M":{{"d":{n}}}}}}}"#
                    );
                    append(&mut b, &item).unwrap();
                    let rescued = if value.is_none() { vec!["d", "l", "m", "s"] } else { Vec::new() };
                    assert!(b.take_rescued().values.keys().eq(&rescued), "{number} in {ty}");
                    let batch = b.finish().unwrap();
                    let column = |name: &str| batch.column_by_name(name).unwrap().clone();
                    let held =
                        |array: &dyn Array| array.is_valid(0).then(|| array.as_primitive::<Decimal128Type>().value(0));
                    assert_eq!(held(&column("d")), value, "{number} in {ty}");
                    assert_eq!(held(column("m").as_struct().column(0)), value, "{number} in {ty}");
                    for name in ["l", "s"] {
                        let list = column(name);
                        let elements = list.as_list::<i32>().values().clone();
                        assert!(value.is_none() || held(&elements) == value, "{number} in {name} of {ty}");
                    }
                    let key = append(&mut b, &format!(r#"{{"pk":{{"S":"a"}},"sk":{n}}}"#));
                    assert_eq!(key.is_ok(), value.is_some(), "{number} as a key of {ty}");
                }
            }
        }
    }

    #[test]
    fn a_number_fits_a_long_up_to_its_ends() {
        for (number, value) in [
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("1E18", Some(10_i64.pow(18))),
            ("1E19", None),
            ("-1E19", None),
            ("9.223372036854775807E18", Some(i64::MAX)),
            ("0.1E1", Some(1)),
            ("0.1", None),
        ] {
            let mut b = builder();
            append(&mut b, &format!(r#"{{"pk":{{"N":"1"}},"m":{{"M":{{"a":{{"N":"{number}"}}}}}}}}"#)).unwrap();
            assert_eq!(b.take_rescued().values.is_empty(), value.is_some(), "{number}");
            let batch = b.finish().unwrap();
            let m = batch.column_by_name("m").unwrap();
            let a = m.as_struct().column_by_name("a").unwrap().as_primitive::<Int64Type>();
            assert_eq!(a.is_valid(0).then(|| a.value(0)), value, "{number}");
            assert_eq!(append(&mut b, &format!(r#"{{"pk":{{"N":"{number}"}}}}"#)).is_ok(), value.is_some(), "{number}");
        }
    }

    #[test]
    fn what_does_not_fit_is_rescued_and_the_rest_kept() {
        let mut b = builder();
        append(
            &mut b,
            r#"{"pk":{"N":"1"},"price":{"S":"free"},"m":{"M":{"a":{"N":"7"},"new":{"S":"y"}}},"extra":{"SS":["a"]}}"#,
        )
        .unwrap();
        let rescued = b.take_rescued();
        assert_eq!(rescued.values, BTreeMap::from([("price".into(), 1), ("m".into(), 1), ("extra".into(), 1)]));
        assert!(rescued.undecided.is_empty());
        let new = b.take_new();
        assert_eq!(new.attributes(), ["extra"]);
        let batch = b.finish().unwrap();
        let rescued = batch.column_by_name("_ddb_rescued").unwrap().as_string::<i32>().value(0).to_owned();
        assert_eq!(rescued, r#"{"price":{"S":"free"},"m":{"M":{"a":{"N":"7"},"new":{"S":"y"}}},"extra":{"SS":["a"]}}"#);
        let m = batch.column_by_name("m").unwrap();
        assert_eq!(m.as_struct().column_by_name("a").unwrap().as_primitive::<Int64Type>().value(0), 7);
    }

    #[test]
    fn what_waits_for_a_type_is_kept_and_null_is_nothing() {
        let mut b = builder();
        append(
            &mut b,
            r#"{"pk":{"N":"1"},"l":{"L":[{"NULL":true},{"M":{}}]},"n":{"NULL":true},"m":{"M":{"a":{"N":"7"},"e":{"M":{}},"n":{"NULL":true}}}}"#,
        )
        .unwrap();
        append(
            &mut b,
            r#"{"pk":{"N":"2"},"n":{"NULL":true},"m":{"M":{"n":{"NULL":true}}},"any":{"L":[]},"map":{"M":{}}}"#,
        )
        .unwrap();
        append(
            &mut b,
            r#"{"pk":{"N":"3"},"m":{"M":{"e":{"M":{}},"n":{"S":"x"}}},"l":{"L":[{"NULL":true},{"N":"1"}]}}"#,
        )
        .unwrap();
        let rescued = b.take_rescued();
        assert_eq!(rescued.values, BTreeMap::from([("l".into(), 2), ("m".into(), 2)]));
        assert_eq!(rescued.undecided, BTreeMap::from([("l".into(), 1), ("m".into(), 1)]));
        let batch = b.finish().unwrap();
        let texts = batch.column_by_name("_ddb_rescued").unwrap().as_string::<i32>().clone();
        assert_eq!(
            texts.value(0),
            r#"{"l":{"L":[{"NULL":true},{"M":{}}]},"m":{"M":{"a":{"N":"7"},"e":{"M":{}},"n":{"NULL":true}}}}"#
        );
        assert!(texts.is_null(1));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_wherever_a_map_is_read() {
        let twins = [
            r#"{"M":{"x":{"N":"1"},"y":{"N":"2"},"x":{"N":"1"}}}"#,
            r#"{"M":{"x":{"NULL":true},"\u0078":{"NULL":true}}}"#,
            r#"{"L":[{"M":{"y":{"M":{"a":{"S":""},"a":{"S":""}}}}}]}"#,
        ];
        // A struct, a map, JSON, a column of another type, one that there is none of.
        for name in ["m", "map", "any", "s", "new"] {
            for twin in twins {
                for item in [
                    format!(r#"{{"pk":{{"N":"1"}},"{name}":{twin}}}"#),
                    format!(r#"{{"pk":{{"N":"1"}},"{name}":{{"M":{{"b":{twin}}}}}}}"#),
                ] {
                    let error = append(&mut builder(), &item).expect_err(&item);
                    let expected = format!("stands twice in one map (attribute \"{name}\")");
                    assert!(error.to_string().contains(&expected), "{item}: {error}");
                }
            }
        }
        for item in [
            r#"{"pk":{"N":"1"},"new":{"N":"1"},"new":{"N":"1"}}"#,
            r#"{"pk":{"N":"1"},"new":{"NULL":true},"n\u0065w":{"NULL":true}}"#,
            r#"{"pk":{"N":"1"},"secret":{"N":"1"},"secret":{"N":"1"}}"#,
        ] {
            let error = append(&mut builder(), item).expect_err(item).to_string();
            assert!(error.contains("stands twice in one item") && !error.contains("secret"), "{error}");
            let skipped = builder().skip(&mut Parser::new(item.as_bytes()).unwrap()).expect_err(item).to_string();
            assert!(skipped.contains("stands twice in one item") && !skipped.contains("secret"), "{skipped}");
        }
        let error = append(&mut builder(), &format!(r#"{{"pk":{{"N":"1"}},"secret":{}}}"#, twins[0])).unwrap_err();
        assert!(error.to_string().contains("(excluded)"), "{error}");
    }

    #[test]
    fn bad_items_are_refused_with_the_attribute() {
        for (item, expected) in [
            (r#"{"s":{"S":"x"}}"#, "no value for its key (attribute \"pk\")"),
            (r#"{"pk":{"NULL":true}}"#, r#"does not fit the table's key column: {"NULL":true} (attribute "pk")"#),
            (r#"{"pk":{"N":"1.5"}}"#, r#"does not fit the table's key column: {"N":"1.5"} (attribute "pk")"#),
            (r#"{"pk": {"S" : "1"} }"#, r#"does not fit the table's key column: {"S" : "1"} (attribute "pk")"#),
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
