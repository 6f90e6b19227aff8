//! Manifests without the metrics that nobody asked for.
//!
//! Who plans a change needs each file's path, counts and the bounds of its key columns. The `iceberg` crate decodes all that a
//! manifest says of all columns, which takes ten times as long. So the Avro file is walked first, by its own schema, and
//! written again without metrics of other columns; the crate decodes what is left. Whatever is not understood here is left to
//! the crate as it is, errors too.

use std::collections::HashSet;

use serde_json::Value;

use super::avro_check::{Codec, inflate};
use crate::storage::most_inflated;

/// Field id of the entry's description of its file.
const DATA_FILE: i64 = 2;
/// Field ids of metrics that are left out: column sizes, value counts, counts of nulls and of NaNs.
const LEFT_OUT: [i64; 4] = [108, 109, 110, 137];
/// Field ids of lower and upper bounds.
const BOUNDS: [i64; 2] = [125, 128];
/// Entries of one of the files that come out: each is decoded by itself, so that threads share the work.
const PART_ENTRIES: u64 = 1024;
/// Bytes of one value of an Avro file's head: schemas of thousands of columns have some MiB.
const MOST_OF_A_HEAD: usize = 16 << 20;
const MAGIC: &[u8] = b"Obj\x01";
pub(super) const SYNC: usize = 16;

/// The manifest's Avro file as one or more that have the same entries in the same order, with bounds of only these columns
/// and without other metrics; `None` if it is not one that this crate understands.
pub(super) fn trim(avro: &[u8], columns: &HashSet<i32>) -> Option<Vec<Vec<u8>>> {
    let mut input = Input { rest: avro };
    let header = Header::read(&mut input)?;
    let entry = Shape::of_entry(&header.schema)?;
    if !entry.is_sane() {
        return None;
    }
    let walk = Walk { columns };
    let mut parts = Vec::new();
    let (mut part, mut entries) = (header.written.clone(), 0_u64);
    let mut room = most_inflated();
    while !input.rest.is_empty() {
        let count = u64::try_from(input.number()?).ok()?;
        let stored = input.sized()?;
        if input.take(SYNC)? != header.sync {
            return None;
        }
        let inflated;
        let block = if header.codec == Codec::Null {
            stored
        } else {
            // What is left out of it takes no memory for long.
            inflated = inflate(header.codec, stored, &mut most_inflated())?;
            &inflated
        };
        let mut block = Input { rest: block };
        let mut kept = Vec::with_capacity(block.rest.len() / 4);
        for _ in 0..count {
            walk.copy(&entry, &mut block, &mut kept)?;
        }
        if !block.rest.is_empty() {
            return None;
        }
        room = room.checked_sub(u64::try_from(kept.len()).ok()?)?;
        put_number(&mut part, i64::try_from(count).ok()?);
        put_sized(&mut part, &kept)?;
        part.extend_from_slice(header.sync);
        entries = entries.checked_add(count)?;
        if entries >= PART_ENTRIES {
            parts.push(std::mem::replace(&mut part, header.written.clone()));
            entries = 0;
        }
    }
    if entries > 0 || parts.is_empty() {
        parts.push(part);
    }
    Some(parts)
}

/// The head of an Avro file.
pub(super) struct Header<'a> {
    pub schema: Value,
    pub codec: Codec,
    pub sync: &'a [u8],
    /// The same head, of a file that is not compressed.
    pub written: Vec<u8>,
}

impl<'a> Header<'a> {
    pub fn read(input: &mut Input<'a>) -> Option<Self> {
        if input.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
        while let Some(count) = input.block()? {
            for _ in 0..count {
                pairs.push((input.sized()?, input.sized()?));
            }
        }
        if pairs.iter().any(|(_, value)| value.len() > MOST_OF_A_HEAD) {
            return None;
        }
        let sync = input.take(SYNC)?;
        let value = |name: &[u8]| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let codec = Codec::named(value(b"avro.codec"))?;
        let schema = serde_json::from_slice(value(b"avro.schema")?).ok()?;
        pairs.retain(|(key, _)| *key != b"avro.codec");
        pairs.push((b"avro.codec", b"null"));
        let mut written = MAGIC.to_vec();
        put_number(&mut written, i64::try_from(pairs.len()).ok()?);
        for (key, value) in pairs {
            put_sized(&mut written, key)?;
            put_sized(&mut written, value)?;
        }
        put_number(&mut written, 0);
        written.extend_from_slice(sync);
        Some(Self { schema, codec, sync, written })
    }
}

/// What values of an Avro type look like.
pub(super) enum Shape {
    Null,
    /// So many bytes.
    Fixed(usize),
    Number,
    Sized,
    Array(Box<Shape>),
    Map(Box<Shape>),
    Record(Vec<Shape>),
    Union(Vec<Shape>),
    /// A union that becomes null, by null's place in it.
    LeftOut(Vec<Shape>, usize),
    /// A union with arrays of a field id and a value, of which some stay.
    Bounds(Vec<Shape>),
}

impl Shape {
    /// The shape of a manifest's entries.
    fn of_entry(schema: &Value) -> Option<Self> {
        Self::of_record(schema, &|id, ty| if id == Some(DATA_FILE) { Self::of_data_file(ty) } else { Self::of(ty) })
    }

    fn of_data_file(schema: &Value) -> Option<Self> {
        Self::of_record(schema, &|id, ty| {
            let shape = Self::of(ty)?;
            let null = ty.as_array().and_then(|branches| branches.iter().position(|branch| branch == "null"));
            Some(match (shape, id, null) {
                (Self::Union(branches), Some(id), Some(null)) if LEFT_OUT.contains(&id) => {
                    Self::LeftOut(branches, null)
                }
                (Self::Union(branches), Some(id), _) if BOUNDS.contains(&id) => Self::Bounds(branches),
                (shape, ..) => shape,
            })
        })
    }

    /// The shape of a record, and of each of its fields by its id and type.
    fn of_record(schema: &Value, of_field: &dyn Fn(Option<i64>, &Value) -> Option<Self>) -> Option<Self> {
        if schema.get("type")? != "record" {
            return None;
        }
        let fields = schema.get("fields")?.as_array()?.iter();
        let shapes = fields.map(|field| of_field(field.get("field-id").and_then(Value::as_i64), field.get("type")?));
        Some(Self::Record(shapes.collect::<Option<_>>()?))
    }

    /// The shape of a type. Types that refer to another by its name are not understood: they might contain themselves.
    pub fn of(schema: &Value) -> Option<Self> {
        match schema {
            Value::String(name) => Self::primitive(name),
            Value::Array(branches) => Some(Self::Union(branches.iter().map(Self::of).collect::<Option<_>>()?)),
            Value::Object(object) => match object.get("type")?.as_str()? {
                "record" => Self::of_record(schema, &|_, ty| Self::of(ty)),
                "array" => {
                    let item = Self::of(object.get("items")?)?;
                    // Any number of items would take no byte.
                    (!item.may_be_empty()).then(|| Self::Array(Box::new(item)))
                }
                "map" => Some(Self::Map(Box::new(Self::of(object.get("values")?)?))),
                "enum" => Some(Self::Number),
                "fixed" => Some(Self::Fixed(usize::try_from(object.get("size")?.as_u64()?).ok()?)),
                name => Self::primitive(name),
            },
            _ => None,
        }
    }

    fn primitive(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Fixed(1),
            "int" | "long" => Self::Number,
            "float" => Self::Fixed(4),
            "double" => Self::Fixed(8),
            "bytes" | "string" => Self::Sized,
            _ => return None,
        })
    }

    /// Whether a value may take no byte.
    pub fn may_be_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Fixed(size) => *size == 0,
            Self::Record(fields) => fields.iter().all(Self::may_be_empty),
            _ => false,
        }
    }
}

struct Walk<'a> {
    columns: &'a HashSet<i32>,
}

impl Walk<'_> {
    /// Copies a value, without what is left out.
    fn copy(&self, shape: &Shape, input: &mut Input<'_>, kept: &mut Vec<u8>) -> Option<()> {
        let before = input.rest;
        match shape {
            Shape::Record(fields) => return fields.iter().try_for_each(|field| self.copy(field, input, kept)),
            Shape::LeftOut(branches, null) => {
                input.skip_union(branches)?;
                put_number(kept, i64::try_from(*null).ok()?);
                return Some(());
            }
            Shape::Bounds(branches) => {
                let place = input.number()?;
                let branch = branches.get(usize::try_from(place).ok()?)?;
                if let Shape::Array(item) = branch
                    && let Shape::Record(pair) = &**item
                    && matches!(pair.as_slice(), [Shape::Number, Shape::Sized])
                {
                    put_number(kept, place);
                    return self.copy_bounds(input, kept);
                }
                input.skip(branch)?;
            }
            other => input.skip(other)?,
        }
        kept.extend_from_slice(before.get(..before.len().checked_sub(input.rest.len())?)?);
        Some(())
    }

    fn copy_bounds(&self, input: &mut Input<'_>, kept: &mut Vec<u8>) -> Option<()> {
        let mut bounds: Vec<(i64, &[u8])> = Vec::new();
        while let Some(count) = input.block()? {
            for _ in 0..count {
                let (id, bound) = (input.number()?, input.sized()?);
                if i32::try_from(id).is_ok_and(|id| self.columns.contains(&id)) {
                    bounds.push((id, bound));
                }
            }
        }
        if !bounds.is_empty() {
            put_number(kept, i64::try_from(bounds.len()).ok()?);
            for (id, bound) in bounds {
                put_number(kept, id);
                put_sized(kept, bound)?;
            }
        }
        put_number(kept, 0);
        Some(())
    }
}

/// Avro's bytes, read from the front.
pub(super) struct Input<'a> {
    pub rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// A long: seven bits a byte, the low ones first, the sign in the lowest.
    pub fn number(&mut self) -> Option<i64> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return None;
            }
            bits |= low << shift;
            if byte & 0x80 == 0 {
                return Some((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
        }
        None
    }

    /// Bytes behind their number.
    pub fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// How many items the next block of an array or a map has; `None` inside after the last. A block may say its bytes too.
    #[expect(clippy::option_option, reason = "the outer is what is not understood")]
    fn block(&mut self) -> Option<Option<u64>> {
        match self.number()? {
            0 => Some(None),
            count if count > 0 => Some(Some(count.unsigned_abs())),
            count => {
                u64::try_from(self.number()?).ok()?;
                Some(Some(count.unsigned_abs()))
            }
        }
    }

    fn skip_union(&mut self, branches: &[Shape]) -> Option<()> {
        let place = usize::try_from(self.number()?).ok()?;
        self.skip(branches.get(place)?)
    }

    pub fn skip(&mut self, shape: &Shape) -> Option<()> {
        match shape {
            Shape::Null => Some(()),
            Shape::Fixed(size) => self.take(*size).map(|_| ()),
            Shape::Number => self.number().map(|_| ()),
            Shape::Sized => self.sized().map(|_| ()),
            Shape::Array(item) => {
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        self.skip(item)?;
                    }
                }
                Some(())
            }
            Shape::Map(value) => {
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        self.sized()?;
                        self.skip(value)?;
                    }
                }
                Some(())
            }
            Shape::Record(fields) => fields.iter().try_for_each(|field| self.skip(field)),
            Shape::Union(branches) | Shape::LeftOut(branches, _) | Shape::Bounds(branches) => self.skip_union(branches),
        }
    }
}

pub(super) fn put_number(output: &mut Vec<u8>, number: i64) {
    let mut bits = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while bits >= 0x80 {
        output.push(u8::try_from(bits & 0x7f).unwrap_or_default() | 0x80);
        bits >>= 7;
    }
    output.push(u8::try_from(bits).unwrap_or_default());
}

pub(super) fn put_sized(output: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    put_number(output, i64::try_from(bytes.len()).ok()?);
    output.extend_from_slice(bytes);
    Some(())
}

#[cfg(test)]
#[path = "manifest_trim_tests.rs"]
mod tests;
