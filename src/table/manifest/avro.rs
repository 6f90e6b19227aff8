//! The subset of Avro that manifests need.

use std::io::Read;

use serde_json::Value;

/// Field id of `data_file` in a manifest entry.
const DATA_FILE: i64 = 2;
/// Field ids of omitted metrics: column sizes, value counts, null counts and NaN counts.
const LEFT_OUT: [i64; 4] = [108, 109, 110, 137];
/// Field ids of lower and upper bounds.
const BOUNDS: [i64; 2] = [125, 128];

/// The head of an Avro file.
pub(crate) struct Header<'a> {
    pub schema: Value,
    pub codec: Codec,
    pub sync: &'a [u8],
    /// The same header, for an uncompressed file.
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

/// Reader of Avro-encoded bytes.
pub(crate) struct Input<'a> {
    pub rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// A long: variable-length zig-zag, seven bits per byte, low bits first.
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

    /// Bytes with a length prefix.
    pub fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// Number of items in the next block of an array or a map; the inner `None` after the last. A block may also state
    /// its size in bytes.
    #[expect(clippy::option_option, reason = "the outer is what is not understood")]
    pub(crate) fn block(&mut self) -> Option<Option<u64>> {
        match self.number()? {
            0 => Some(None),
            count if count > 0 => Some(Some(count.unsigned_abs())),
            count => {
                u64::try_from(self.number()?).ok()?;
                Some(Some(count.unsigned_abs()))
            }
        }
    }

    pub(crate) fn skip_union(&mut self, branches: &[Shape]) -> Option<()> {
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

pub(crate) const SYNC: usize = 16;

/// The shape of the values of an Avro type.
pub(crate) enum Shape {
    Null,
    /// A fixed number of bytes.
    Fixed(usize),
    Number,
    Sized,
    Array(Box<Shape>),
    Map(Box<Shape>),
    Record(Vec<Shape>),
    Union(Vec<Shape>),
    /// A union to be replaced by null; the index of null in it.
    LeftOut(Vec<Shape>, usize),
    /// A union with arrays of a field id and a value, some of which are kept.
    Bounds(Vec<Shape>),
}

impl Shape {
    /// The shape of a manifest's entries.
    pub(crate) fn of_entry(schema: &Value) -> Option<Self> {
        Self::of_record(schema, &|id, ty| if id == Some(DATA_FILE) { Self::of_data_file(ty) } else { Self::of(ty) })
    }

    pub(crate) fn of_data_file(schema: &Value) -> Option<Self> {
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

    /// The shape of a record; each field's shape is chosen by its id and type.
    fn of_record(schema: &Value, of_field: &dyn Fn(Option<i64>, &Value) -> Option<Self>) -> Option<Self> {
        if schema.get("type")? != "record" {
            return None;
        }
        let fields = schema.get("fields")?.as_array()?.iter();
        let shapes = fields.map(|field| of_field(field.get("field-id").and_then(Value::as_i64), field.get("type")?));
        Some(Self::Record(shapes.collect::<Option<_>>()?))
    }

    /// The shape of a type. Types that refer to another by name are not supported, since they could be recursive.
    pub fn of(schema: &Value) -> Option<Self> {
        match schema {
            Value::String(name) => Self::primitive(name),
            Value::Array(branches) => Some(Self::Union(branches.iter().map(Self::of).collect::<Option<_>>()?)),
            Value::Object(object) => match object.get("type")?.as_str()? {
                "record" => Self::of_record(schema, &|_, ty| Self::of(ty)),
                "array" => {
                    let item = Self::of(object.get("items")?)?;
                    // Any number of such items would take no bytes.
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

    /// Whether a value may take no bytes.
    pub fn may_be_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Fixed(size) => *size == 0,
            Self::Record(fields) => fields.iter().all(Self::may_be_empty),
            _ => false,
        }
    }
}

pub(crate) fn put_number(output: &mut Vec<u8>, number: i64) {
    let mut bits = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while bits >= 0x80 {
        output.push(u8::try_from(bits & 0x7f).unwrap_or_default() | 0x80);
        bits >>= 7;
    }
    output.push(u8::try_from(bits).unwrap_or_default());
}

pub(crate) fn put_sized(output: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    put_number(output, i64::try_from(bytes.len()).ok()?);
    output.extend_from_slice(bytes);
    Some(())
}

pub(super) const MAGIC: &[u8] = b"Obj\x01";

/// Maximum bytes of one value in an Avro header: schemas of thousands of columns have some MiB.
pub(super) const MOST_OF_A_HEAD: usize = 16 << 20;

/// Compression of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl Codec {
    pub fn named(name: Option<&[u8]>) -> Option<Self> {
        Some(match name {
            None | Some(b"null") => Self::Null,
            Some(b"deflate") => Self::Deflate,
            Some(b"snappy") => Self::Snappy,
            Some(b"zstandard") => Self::Zstandard,
            Some(_) => return None,
        })
    }
}

/// Inflates a block and subtracts its size from `left`. `None` if it is damaged, or larger than `left`, which is set to
/// 0 then.
pub(crate) fn inflate(codec: Codec, stored: &[u8], left: &mut u64) -> Option<Vec<u8>> {
    let inflated = match codec {
        Codec::Null => stored.to_vec(),
        Codec::Deflate => read_some(flate2::read::DeflateDecoder::new(stored), *left)?,
        Codec::Zstandard => {
            let mut decoder = zstd::stream::read::Decoder::new(stored).ok()?;
            decoder.window_log_max(WINDOW).ok()?;
            read_some(decoder, *left)?
        }
        Codec::Snappy => {
            let (stored, sum) = stored.split_last_chunk::<4>()?;
            if u64::try_from(snap::raw::decompress_len(stored).ok()?).ok()? > *left {
                *left = 0;
                return None;
            }
            let inflated = snap::raw::Decoder::new().decompress_vec(stored).ok()?;
            let mut crc = flate2::Crc::new();
            crc.update(&inflated);
            (crc.sum() == u32::from_be_bytes(*sum)).then_some(inflated)?
        }
    };
    let Some(rest) = left.checked_sub(u64::try_from(inflated.len()).ok()?) else {
        *left = 0;
        return None;
    };
    *left = rest;
    Some(inflated)
}

/// Memory for zstd's window: 32 MiB, as a power of two.
const WINDOW: u32 = 25;

/// Inflates at most one byte more than `left`.
fn read_some(reader: impl Read, left: u64) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    reader.take(left.saturating_add(1)).read_to_end(&mut inflated).ok()?;
    Some(inflated)
}
