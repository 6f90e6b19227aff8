//! Serde for the iceberg crate's `DataFile`, complete in itself.
//!
//! The crate's own form needs the schema and the partition type to be read again, and loses the bounds of columns that
//! the schema no longer has.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, PrimitiveLiteral, PrimitiveType,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// All that a `DataFile` shows of itself. Its spec id is not: whoever has the file knows it.
#[derive(Serialize, Deserialize)]
struct Entry {
    content: DataContentType,
    file_path: String,
    file_format: DataFileFormat,
    partition: Vec<Option<Value>>,
    record_count: u64,
    file_size_in_bytes: u64,
    column_sizes: BTreeMap<i32, u64>,
    value_counts: BTreeMap<i32, u64>,
    null_value_counts: BTreeMap<i32, u64>,
    nan_value_counts: BTreeMap<i32, u64>,
    lower_bounds: BTreeMap<i32, Bound>,
    upper_bounds: BTreeMap<i32, Bound>,
    key_metadata: Option<Vec<u8>>,
    split_offsets: Option<Vec<i64>>,
    equality_ids: Option<Vec<i32>>,
    sort_order_id: Option<i32>,
    first_row_id: Option<i64>,
    referenced_data_file: Option<String>,
    content_offset: Option<i64>,
    content_size_in_bytes: Option<i64>,
}

/// A bound: its type, and Iceberg's binary form of the value.
type Bound = (PrimitiveType, Vec<u8>);

/// A partition value; of floats, the bits.
#[derive(Serialize, Deserialize)]
enum Value {
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(u32),
    Double(u64),
    String(String),
    Binary(Vec<u8>),
    Int128(i128),
    UInt128(u128),
}

impl Value {
    /// `None`: no value that a partition can have.
    fn of(literal: &Literal) -> Option<Self> {
        let Literal::Primitive(literal) = literal else { return None };
        Some(match literal {
            PrimitiveLiteral::Boolean(value) => Self::Boolean(*value),
            PrimitiveLiteral::Int(value) => Self::Int(*value),
            PrimitiveLiteral::Long(value) => Self::Long(*value),
            PrimitiveLiteral::Float(value) => Self::Float(value.to_bits()),
            PrimitiveLiteral::Double(value) => Self::Double(value.to_bits()),
            PrimitiveLiteral::String(value) => Self::String(value.clone()),
            PrimitiveLiteral::Binary(value) => Self::Binary(value.clone()),
            PrimitiveLiteral::Int128(value) => Self::Int128(*value),
            PrimitiveLiteral::UInt128(value) => Self::UInt128(*value),
            PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => return None,
        })
    }

    fn literal(self) -> Literal {
        Literal::Primitive(match self {
            Self::Boolean(value) => PrimitiveLiteral::Boolean(value),
            Self::Int(value) => PrimitiveLiteral::Int(value),
            Self::Long(value) => PrimitiveLiteral::Long(value),
            Self::Float(bits) => PrimitiveLiteral::Float(f32::from_bits(bits).into()),
            Self::Double(bits) => PrimitiveLiteral::Double(f64::from_bits(bits).into()),
            Self::String(value) => PrimitiveLiteral::String(value),
            Self::Binary(value) => PrimitiveLiteral::Binary(value),
            Self::Int128(value) => PrimitiveLiteral::Int128(value),
            Self::UInt128(value) => PrimitiveLiteral::UInt128(value),
        })
    }
}

impl Entry {
    fn of<E: ser::Error>(file: &DataFile) -> Result<Self, E> {
        let counts = |map: &HashMap<i32, u64>| map.iter().map(|(id, count)| (*id, *count)).collect();
        let bounds = |map: &HashMap<i32, Datum>| {
            let bound = |(id, datum): (&i32, &Datum)| -> Result<(i32, Bound), E> {
                let bytes = datum.to_bytes().map_err(E::custom)?;
                Ok((*id, (datum.data_type().clone(), bytes.into_vec())))
            };
            map.iter().map(bound).collect::<Result<_, E>>()
        };
        let value = |literal: Option<&Literal>| match literal.map(Value::of) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(E::custom("a partition value is not primitive")),
        };
        Ok(Self {
            content: file.content_type(),
            file_path: file.file_path().to_owned(),
            file_format: file.file_format(),
            partition: file.partition().iter().map(value).collect::<Result<_, E>>()?,
            record_count: file.record_count(),
            file_size_in_bytes: file.file_size_in_bytes(),
            column_sizes: counts(file.column_sizes()),
            value_counts: counts(file.value_counts()),
            null_value_counts: counts(file.null_value_counts()),
            nan_value_counts: counts(file.nan_value_counts()),
            lower_bounds: bounds(file.lower_bounds())?,
            upper_bounds: bounds(file.upper_bounds())?,
            key_metadata: file.key_metadata().map(<[u8]>::to_vec),
            split_offsets: file.split_offsets().map(<[i64]>::to_vec),
            equality_ids: file.equality_ids(),
            sort_order_id: file.sort_order_id(),
            first_row_id: file.first_row_id(),
            referenced_data_file: file.referenced_data_file(),
            content_offset: file.content_offset(),
            content_size_in_bytes: file.content_size_in_bytes(),
        })
    }

    fn data_file<E: de::Error>(self) -> Result<DataFile, E> {
        let bounds = |map: BTreeMap<i32, Bound>| {
            let datum =
                |(id, (ty, bytes)): (i32, Bound)| Ok((id, Datum::try_from_bytes(&bytes, ty).map_err(E::custom)?));
            map.into_iter().map(datum).collect::<Result<HashMap<_, _>, E>>()
        };
        let mut builder = DataFileBuilder::default();
        builder
            .content(self.content)
            .file_path(self.file_path)
            .file_format(self.file_format)
            .partition(self.partition.into_iter().map(|value| value.map(Value::literal)).collect())
            .record_count(self.record_count)
            .file_size_in_bytes(self.file_size_in_bytes)
            .column_sizes(self.column_sizes.into_iter().collect())
            .value_counts(self.value_counts.into_iter().collect())
            .null_value_counts(self.null_value_counts.into_iter().collect())
            .nan_value_counts(self.nan_value_counts.into_iter().collect())
            .lower_bounds(bounds(self.lower_bounds)?)
            .upper_bounds(bounds(self.upper_bounds)?)
            .key_metadata(self.key_metadata)
            .split_offsets(self.split_offsets)
            .equality_ids(self.equality_ids)
            .first_row_id(self.first_row_id)
            .referenced_data_file(self.referenced_data_file)
            .content_offset(self.content_offset)
            .content_size_in_bytes(self.content_size_in_bytes);
        if let Some(id) = self.sort_order_id {
            builder.sort_order_id(id);
        }
        builder.build().map_err(E::custom)
    }
}

pub(crate) fn serialize<S: Serializer>(file: &DataFile, serializer: S) -> Result<S::Ok, S::Error> {
    Entry::of::<S::Error>(file)?.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DataFile, D::Error> {
    Entry::deserialize(deserializer)?.data_file()
}

/// Several of them.
pub(crate) mod list {
    use super::{DataFile, Deserialize, Deserializer, Entry, Serializer, ser};

    pub(crate) fn serialize<S: Serializer>(files: &[DataFile], serializer: S) -> Result<S::Ok, S::Error> {
        let entries: Vec<Entry> = files.iter().map(Entry::of::<S::Error>).collect::<Result<_, _>>()?;
        ser::Serialize::serialize(&entries, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DataFile>, D::Error> {
        Vec::<Entry>::deserialize(deserializer)?.into_iter().map(Entry::data_file).collect()
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::Struct;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder {
        #[serde(with = "super")]
        file: DataFile,
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        let partition = [
            None,
            Some(Literal::bool(true)),
            Some(Literal::int(-7)),
            Some(Literal::long(i64::MIN)),
            Some(Literal::float(f32::NEG_INFINITY)),
            Some(Literal::double(f64::NAN)),
            Some(Literal::string("é\u{0}")),
            Some(Literal::binary(vec![0, 255])),
            Some(Literal::decimal(i128::MIN)),
            Some(Literal::Primitive(PrimitiveLiteral::UInt128(u128::MAX))),
        ];
        let lower = [
            (1, Datum::string("a")),
            (2, Datum::long(-1)),
            (3, Datum::double(f64::NEG_INFINITY)),
            (4, Datum::decimal_from_str("-1.25").unwrap()),
        ];
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::PositionDeletes)
            .file_path("s3://b/ä.parquet".to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter(partition))
            .record_count(u64::MAX)
            .file_size_in_bytes(3)
            .column_sizes(HashMap::from([(1, 1), (-1, 2)]))
            .value_counts(HashMap::from([(2, 3)]))
            .null_value_counts(HashMap::from([(3, 4)]))
            .nan_value_counts(HashMap::from([(4, 5)]))
            .lower_bounds(HashMap::from(lower.clone()))
            .upper_bounds(HashMap::from([(9, Datum::uuid_from_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap())]))
            .key_metadata(Some(vec![1, 2]))
            .split_offsets(Some(vec![4, 99]))
            .equality_ids(Some(vec![1, 2]))
            .sort_order_id(3)
            .first_row_id(Some(-5))
            .referenced_data_file(Some("s3://b/data.parquet".to_owned()))
            .content_offset(Some(8))
            .content_size_in_bytes(Some(9));
        let file = builder.build().unwrap();
        let text = serde_json::to_string(&Holder { file: file.clone() }).unwrap();
        let back: Holder = serde_json::from_str(&text).unwrap();
        assert_eq!(back.file, file);
    }
}
