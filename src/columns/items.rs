//! Converts items to rows of a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::arrow::schema_to_arrow_schema;

use super::node::{Fit, Node, Scratch};
use super::presence::RowPresence;
use super::rescued::{Rescue, Rescued};
use crate::attribute::{EXCLUDED, Member, NameIndex, Parser, short};
use crate::error::{Error, Result};
use crate::schema::{Limits, NewFields, TableSchema};

/// How to handle an attribute.
#[derive(Debug, Clone, Copy)]
enum Place {
    Column {
        slot: usize,
        key: bool,
    },
    /// Its slot only detects duplicates.
    Excluded {
        slot: usize,
    },
}

/// Builds a batch of rows, one item at a time.
///
/// Columns are in the table's order. After an error the builder must not be used.
#[derive(Debug)]
pub struct ItemBuilder {
    arrow_schema: ArrowSchemaRef,
    names: NameIndex,
    places: Vec<Place>,
    /// Those without a value lately are behind, and get their nulls at once when they have one again.
    nodes: Vec<Node>,
    taken: RowPresence,
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
            taken: RowPresence::of(nodes.len() + places.len()),
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

    /// Number of rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Estimated memory of the rows, in bytes; rather too high than too low.
    pub fn memory(&self) -> usize {
        self.bytes + self.scratch.elements + self.rows * self.row_width
    }

    /// Adds a row; the parser is before the item's map of attributes.
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
        node.fill_up(self.rows);
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
        // The report counts each one by name.
        if self.scratch.new.too_many(NewFields::ITEM) {
            let most = self.scratch.limits.attributes;
            return Err(Error::input(format!("more than {most} distinct new attributes")).advice(
                "Leave attributes out that are data rather than names, with `exclude` in a schema file for full-load",
            ));
        }
        Ok(fit)
    }

    /// Skips the attributes of an item whose values the table omits, and validates them.
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

    /// Returns the rows as a batch in the table's Arrow schema and empties the builder.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.nodes.len());
        for (slot, node) in self.nodes.iter_mut().enumerate() {
            columns.push(match &mut self.rescue {
                Some(rescue) if rescue.slot == slot => Arc::new(rescue.finish()),
                _ => {
                    node.fill_up(self.rows);
                    node.finish()?
                }
            });
        }
        self.rows = 0;
        self.bytes = 0;
        self.scratch.elements = 0;
        Ok(RecordBatch::try_new(self.arrow_schema.clone(), columns)?)
    }

    /// Values rescued since the last call.
    pub fn take_rescued(&mut self) -> Rescued {
        self.rescue.as_mut().map(Rescue::take_counts).unwrap_or_default()
    }

    /// Attributes observed since the last call for which the table has no column or field.
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
#[path = "items_tests.rs"]
mod tests;
