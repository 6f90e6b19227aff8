//! A partition's values as a key for maps.

use iceberg::spec::{Literal, PrimitiveLiteral, Struct};

/// A partition by value: a value in an old manifest may have a narrower type than the same value in a new one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionKey(Vec<Option<Literal>>);

impl From<&Struct> for PartitionKey {
    fn from(partition: &Struct) -> Self {
        let widen = |literal: &Literal| match literal {
            Literal::Primitive(PrimitiveLiteral::Int(v)) => Literal::long(i64::from(*v)),
            Literal::Primitive(PrimitiveLiteral::Float(v)) => Literal::double(f64::from(v.into_inner())),
            other => other.clone(),
        };
        Self(partition.iter().map(|literal| literal.map(widen)).collect())
    }
}
