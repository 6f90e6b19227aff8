//! Builder of one column, including nested columns.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, LargeBinaryBuilder, ListArray, MapArray,
    NullBufferBuilder, StringBuilder, StructArray, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields};
use iceberg::spec::{NestedField, Type};

use super::presence::RowPresence;
use crate::attribute::{
    Content, Kind, Member, Members, NameIndex, Parser, power_of_ten, timestamp, twice, write_json_content,
};
use crate::error::{Error, Result};
use crate::schema::{ColumnType, Limits, NewFields, TableSchema, TimestampForm};

/// How much of a value its column could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// All of it.
    Whole,
    /// It was NULL.
    Null,
    /// All except empty lists and maps without a column, whose type is unknown: the value must be rescued.
    Undecided,
    /// Part of it, or nothing: the value must be rescued.
    Part,
}

impl Fit {
    fn and(self, inner: Self) -> Self {
        match (self, inner) {
            (Self::Part, _) | (_, Self::Part) => Self::Part,
            (_, Self::Undecided) => Self::Undecided,
            _ => self,
        }
    }
}

/// What parsing a value needs besides the parser.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub text: String,
    pub bytes: Vec<u8>,
    pub json: String,
    pub new: NewFields,
    pub limits: Limits,
    /// Bytes that elements of lists and entries of maps take even where they have nothing.
    pub elements: usize,
}

impl Scratch {
    /// Observes a value for which there is no column or field.
    pub fn observe(&mut self, parent: i32, name: &str, parser: &mut Parser<'_>) -> Result<Fit> {
        let content = parser.content_ahead();
        if content == Content::Null {
            // It counts as missing.
            parser.skip_value(&mut self.text)?;
            return Ok(Fit::Null);
        }
        self.new.observe(parent, name, parser, &self.limits, &mut self.text)?;
        Ok(if content == Content::Empty { Fit::Undecided } else { Fit::Part })
    }
}

/// Builder of a column.
#[derive(Debug)]
pub(super) enum Node {
    String(StringBuilder),
    NumberString(StringBuilder),
    Json(StringBuilder),
    Long(Int64Builder),
    Decimal(Decimal128Builder, u32, u32),
    Double(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder, TimestampForm),
    Boolean(BooleanBuilder),
    Binary(LargeBinaryBuilder),
    List(ListNode),
    Struct(StructNode),
    Map(MapNode),
    /// A column that another program added: always null.
    Foreign(DataType, usize),
}

#[derive(Debug)]
pub(super) struct ListNode {
    data_type: DataType,
    /// The type of set; a list otherwise.
    set: Option<Kind>,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
    element: Box<Node>,
    /// Bytes that an element takes even where it has nothing.
    width: usize,
}

#[derive(Debug)]
pub(super) struct StructNode {
    id: i32,
    fields: Fields,
    names: NameIndex,
    /// The index of the n-th name's column among all fields.
    slots: Vec<usize>,
    validity: NullBufferBuilder,
    len: usize,
    /// Those without a value lately are behind, and get their nulls at once when they have one again.
    nodes: Vec<Node>,
    taken: RowPresence,
}

#[derive(Debug)]
pub(super) struct MapNode {
    data_type: DataType,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
    keys: StringBuilder,
    values: Box<Node>,
    /// Bytes that an entry takes even where it has nothing.
    width: usize,
}

impl Node {
    /// An empty column for a field of the table, without capacity: Arrow's default takes 8 KB and more, and there may
    /// be thousands of columns.
    pub fn new(field: &NestedField, data_type: &DataType, table: &TableSchema) -> Result<Self> {
        let Some((_, ty)) = table.source(field)? else {
            return Ok(Self::Foreign(data_type.clone(), 0));
        };
        let mismatch = || Error::failed(format!("column {:?} has an unexpected Arrow type {data_type}", field.name));
        Ok(match ty {
            ColumnType::Undecided => return Err(mismatch()),
            ColumnType::String => Self::String(StringBuilder::with_capacity(0, 0)),
            ColumnType::NumberString => Self::NumberString(StringBuilder::with_capacity(0, 0)),
            ColumnType::Json => Self::Json(StringBuilder::with_capacity(0, 0)),
            ColumnType::Long => Self::Long(Int64Builder::with_capacity(0)),
            ColumnType::Decimal { precision, scale } => {
                Self::Decimal(Decimal128Builder::with_capacity(0).with_data_type(data_type.clone()), precision, scale)
            }
            ColumnType::Double => Self::Double(Float64Builder::with_capacity(0)),
            ColumnType::Timestamp(form) => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(0).with_data_type(data_type.clone()), form)
            }
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(0)),
            ColumnType::Binary => Self::Binary(LargeBinaryBuilder::with_capacity(0, 0)),
            ColumnType::List(_) | ColumnType::Set(_) => {
                let (Type::List(list), DataType::List(element)) = (&*field.field_type, data_type) else {
                    return Err(mismatch());
                };
                let element = Box::new(Self::new(&list.element_field, element.data_type(), table)?);
                Self::List(ListNode {
                    data_type: data_type.clone(),
                    set: set_kind(&ty),
                    offsets: vec![0],
                    validity: NullBufferBuilder::new(0),
                    width: element.width(),
                    element,
                })
            }
            ColumnType::Map(_) => {
                let (Type::Map(map), DataType::Map(entries, _)) = (&*field.field_type, data_type) else {
                    return Err(mismatch());
                };
                let DataType::Struct(pair) = entries.data_type() else { return Err(mismatch()) };
                let value = pair.get(1).ok_or_else(mismatch)?;
                let values = Box::new(Self::new(&map.value_field, value.data_type(), table)?);
                Self::Map(MapNode {
                    data_type: data_type.clone(),
                    offsets: vec![0],
                    validity: NullBufferBuilder::new(0),
                    keys: StringBuilder::with_capacity(0, 0),
                    width: 4 + values.width(),
                    values,
                })
            }
            ColumnType::Struct(_) => {
                let (Type::Struct(inner), DataType::Struct(fields)) = (&*field.field_type, data_type) else {
                    return Err(mismatch());
                };
                Self::Struct(StructNode::new(field.id, inner.fields(), fields, table)?)
            }
        })
    }

    pub fn len(&self) -> usize {
        use arrow::array::ArrayBuilder as _;
        match self {
            Self::String(b) | Self::NumberString(b) | Self::Json(b) => b.len(),
            Self::Long(b) => b.len(),
            Self::Decimal(b, ..) => b.len(),
            Self::Double(b) => b.len(),
            Self::Timestamp(b, _) => b.len(),
            Self::Boolean(b) => b.len(),
            Self::Binary(b) => b.len(),
            Self::List(list) => list.offsets.len() - 1,
            Self::Map(map) => map.offsets.len() - 1,
            Self::Struct(node) => node.len,
            Self::Foreign(_, len) => *len,
        }
    }

    /// Bytes of a null: what a row takes even if its item has no value.
    pub fn width(&self) -> usize {
        match self {
            Self::Long(_) | Self::Double(_) | Self::Timestamp(..) | Self::Binary(_) => 8,
            Self::Decimal(..) => 16,
            Self::Boolean(_) => 1,
            Self::Struct(node) => 1 + node.nodes.iter().map(Self::width).sum::<usize>(),
            _ => 4,
        }
    }

    pub fn append_null(&mut self) {
        self.append_nulls(1);
    }

    pub fn append_nulls(&mut self, count: usize) {
        match self {
            Self::String(b) | Self::NumberString(b) | Self::Json(b) => b.append_nulls(count),
            Self::Long(b) => b.append_nulls(count),
            Self::Decimal(b, ..) => b.append_nulls(count),
            Self::Double(b) => b.append_nulls(count),
            Self::Timestamp(b, _) => b.append_nulls(count),
            Self::Boolean(b) => b.append_nulls(count),
            Self::Binary(b) => b.append_nulls(count),
            Self::List(list) => append_empty(&mut list.offsets, &mut list.validity, count),
            Self::Map(map) => append_empty(&mut map.offsets, &mut map.validity, count),
            Self::Struct(node) => {
                node.validity.append_n_nulls(count);
                node.len += count;
            }
            Self::Foreign(_, len) => *len += count,
        }
    }

    /// Appends what nulls it lacks to be of the given length.
    pub fn fill_up(&mut self, length: usize) {
        let count = length.saturating_sub(self.len());
        if count > 0 {
            self.append_nulls(count);
        }
    }

    /// Adds the attribute value at the parser.
    pub fn append(&mut self, parser: &mut Parser<'_>, scratch: &mut Scratch) -> Result<Fit> {
        let kind = parser.descriptor()?;
        let fit = self.append_content(kind, parser, scratch)?;
        parser.close()?;
        Ok(fit)
    }

    /// Adds the content of an attribute value of a type.
    fn append_content(&mut self, kind: Kind, parser: &mut Parser<'_>, scratch: &mut Scratch) -> Result<Fit> {
        match (&mut *self, kind) {
            (_, Kind::Null) => {
                parser.null()?;
                self.append_null();
                return Ok(Fit::Null);
            }
            (Self::String(b), Kind::S) => b.append_value(parser.string(&mut scratch.text)?),
            (Self::NumberString(b), Kind::N) => {
                let number = parser.number(&mut scratch.text)?;
                let _ = write!(b, "{number}");
                b.append_value("");
            }
            (Self::Long(b), Kind::N) => match parser.take_number(&mut scratch.text, |number| number.to_i64())? {
                Some(value) => b.append_value(value),
                None => return Ok(self.misfit()),
            },
            (Self::Decimal(b, precision, scale), Kind::N) => {
                let unscaled = parser.take_number(&mut scratch.text, |number| number.to_unscaled(*scale))?;
                match unscaled.filter(|v| v.abs() < power_of_ten(*precision)) {
                    Some(value) => b.append_value(value),
                    None => return Ok(self.misfit()),
                }
            }
            (Self::Double(b), Kind::N) => {
                let number = parser.number(&mut scratch.text)?;
                b.append_option(number.to_string().parse::<f64>().ok());
            }
            (Self::Timestamp(b, form @ (TimestampForm::Seconds | TimestampForm::Milliseconds)), Kind::N) => {
                let digits = if *form == TimestampForm::Seconds { 0 } else { 3 };
                match timestamp::of_number(&parser.number(&mut scratch.text)?, digits) {
                    Some(micros) => b.append_value(micros),
                    None => return Ok(self.misfit()),
                }
            }
            (Self::Timestamp(b, TimestampForm::Iso8601), Kind::S) => {
                match timestamp::of_text(parser.string(&mut scratch.text)?) {
                    Some(micros) => b.append_value(micros),
                    None => return Ok(self.misfit()),
                }
            }
            (Self::Boolean(b), Kind::Bool) => b.append_value(parser.boolean()?),
            (Self::Binary(b), Kind::B) => {
                parser.binary(&mut scratch.text, &mut scratch.bytes)?;
                b.append_value(&scratch.bytes);
            }
            (Self::Json(b), _) => {
                scratch.json.clear();
                write_json_content(kind, parser, &mut scratch.json)?;
                b.append_value(&scratch.json);
            }
            (Self::List(list), Kind::L) if list.set.is_none() => return list.append(None, parser, scratch),
            (Self::List(list), Kind::Ss) if list.set == Some(kind) => {
                return list.append(Some(Kind::S), parser, scratch);
            }
            (Self::List(list), Kind::Ns) if list.set == Some(kind) => {
                return list.append(Some(Kind::N), parser, scratch);
            }
            (Self::List(list), Kind::Bs) if list.set == Some(kind) => {
                return list.append(Some(Kind::B), parser, scratch);
            }
            (Self::Map(map), Kind::M) => return map.append(parser, scratch),
            (Self::Struct(node), Kind::M) => return node.append(parser, scratch),
            _ => {
                parser.skip_content(kind, &mut scratch.text)?;
                return Ok(self.misfit());
            }
        }
        Ok(Fit::Whole)
    }

    fn misfit(&mut self) -> Fit {
        self.append_null();
        Fit::Part
    }

    /// Returns the finished column and empties the builder.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::String(b) | Self::NumberString(b) | Self::Json(b) => Arc::new(b.finish()),
            Self::Long(b) => Arc::new(b.finish()),
            Self::Decimal(b, ..) => Arc::new(b.finish()),
            Self::Double(b) => Arc::new(b.finish()),
            Self::Timestamp(b, _) => Arc::new(b.finish()),
            Self::Boolean(b) => Arc::new(b.finish()),
            Self::Binary(b) => Arc::new(b.finish()),
            Self::List(list) => {
                let DataType::List(element) = &list.data_type else {
                    return Err(Error::failed("a list column without an element"));
                };
                let values = list.element.finish()?;
                let offsets = take_offsets(&mut list.offsets);
                Arc::new(ListArray::try_new(element.clone(), offsets, values, list.validity.finish())?)
            }
            Self::Map(map) => {
                let DataType::Map(entries, ordered) = &map.data_type else {
                    return Err(Error::failed("a map column without entries"));
                };
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(Error::failed("a map column without entries"));
                };
                let pairs =
                    StructArray::try_new(pair.clone(), vec![Arc::new(map.keys.finish()), map.values.finish()?], None)?;
                let offsets = take_offsets(&mut map.offsets);
                Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, map.validity.finish(), *ordered)?)
            }
            Self::Struct(node) => {
                let length = std::mem::take(&mut node.len);
                let finish = |inner: &mut Self| {
                    inner.fill_up(length);
                    inner.finish()
                };
                let columns = node.nodes.iter_mut().map(finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new(node.fields.clone(), columns, node.validity.finish())?)
            }
            Self::Foreign(data_type, len) => new_null_array(data_type, std::mem::take(len)),
        })
    }
}

/// The type of set in a column of sets; `None` for any other column.
fn set_kind(ty: &ColumnType) -> Option<Kind> {
    let ColumnType::Set(element) = ty else { return None };
    Some(match **element {
        ColumnType::String | ColumnType::Timestamp(TimestampForm::Iso8601) => Kind::Ss,
        ColumnType::Binary => Kind::Bs,
        _ => Kind::Ns,
    })
}

fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])))
}

/// Appends nulls to a list or a map.
fn append_empty(offsets: &mut Vec<i32>, validity: &mut NullBufferBuilder, count: usize) {
    let last = offsets.last().copied().unwrap_or(0);
    offsets.resize(offsets.len() + count, last);
    validity.append_n_nulls(count);
}

fn offset(len: usize) -> Result<i32> {
    i32::try_from(len).map_err(|_| Error::input("more than 2^31 elements in one batch"))
}

impl ListNode {
    fn append(&mut self, element: Option<Kind>, parser: &mut Parser<'_>, scratch: &mut Scratch) -> Result<Fit> {
        match element {
            Some(kind) => parser.begin_set(kind)?,
            None => parser.begin_array()?,
        }
        let mut fit = Fit::Whole;
        let mut first = true;
        while parser.next_element(&mut first)? {
            scratch.elements += self.width;
            fit = fit.and(match element {
                None => self.element.append(parser, scratch)?,
                Some(kind) => self.element.append_content(kind, parser, scratch)?,
            });
        }
        self.offsets.push(offset(self.element.len())?);
        self.validity.append_non_null();
        Ok(fit)
    }
}

impl MapNode {
    fn append(&mut self, parser: &mut Parser<'_>, scratch: &mut Scratch) -> Result<Fit> {
        let mut members = Members::begin(parser)?;
        let mut fit = Fit::Whole;
        while let Some(name) = members.next(parser)? {
            self.keys.append_value(name);
            scratch.elements += self.width;
            fit = fit.and(self.values.append(parser, scratch)?);
        }
        self.offsets.push(offset(self.values.len())?);
        self.validity.append_non_null();
        Ok(fit)
    }
}

impl StructNode {
    fn new(
        id: i32,
        fields: &[iceberg::spec::NestedFieldRef],
        arrow_fields: &Fields,
        table: &TableSchema,
    ) -> Result<Self> {
        let mut names = NameIndex::default();
        let mut slots = Vec::with_capacity(fields.len());
        let mut nodes = Vec::with_capacity(fields.len());
        for (slot, (field, arrow_field)) in fields.iter().zip(arrow_fields).enumerate() {
            if let Some((Some(name), _)) = table.source(field)? {
                names.insert(name);
                slots.push(slot);
            }
            nodes.push(Node::new(field, arrow_field.data_type(), table)?);
        }
        let taken = RowPresence::of(nodes.len());
        let validity = NullBufferBuilder::new(0);
        Ok(Self { id, fields: arrow_fields.clone(), names, slots, validity, len: 0, nodes, taken })
    }

    fn append(&mut self, parser: &mut Parser<'_>, scratch: &mut Scratch) -> Result<Fit> {
        parser.begin_object()?;
        let mut fit = Fit::Whole;
        let mut first = true;
        let mut name_scratch = String::new();
        self.names.restart();
        self.taken.begin_row();
        while let Some(member) = self.names.next_member(parser, &mut first, &mut name_scratch)? {
            let known = match member {
                Member::Known(n) => n,
                Member::New(name) => {
                    if !self.taken.take_stranger(name) {
                        return Err(twice(name));
                    }
                    fit = fit.and(scratch.observe(self.id, name, parser)?);
                    continue;
                }
            };
            let slot = self.slots.get(known).copied().unwrap_or(usize::MAX);
            let Some(node) = self.nodes.get_mut(slot) else {
                return Err(Error::failed("a field is missing from the builder"));
            };
            if !self.taken.take(slot) {
                return Err(twice(self.names.name(known)));
            }
            node.fill_up(self.len);
            fit = fit.and(node.append(parser, scratch)?);
        }
        self.len += 1;
        self.validity.append_non_null();
        Ok(fit)
    }
}
