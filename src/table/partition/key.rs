//! A partition's values as a map's key.

use iceberg::spec::{Literal, PrimitiveLiteral, Struct};

/// A partition as what it means: a value read from an old manifest may have a narrower type than the same one in a new.
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
