//! The least and the greatest of some values.

/// One value of a column, comparable with its like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Decimal(i128),
    Bytes(Vec<u8>),
}

impl Value {
    pub fn less(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a < b,
            (Self::Int(a), Self::Int(b)) => a < b,
            (Self::Long(a), Self::Long(b)) => a < b,
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b).is_lt(),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b).is_lt(),
            (Self::Decimal(a), Self::Decimal(b)) => a < b,
            (Self::Bytes(a), Self::Bytes(b)) => a < b,
            _ => false,
        }
    }
}

/// What is known of the values of a column. NaN is outside of all bounds.
#[derive(Debug, Default)]
pub(crate) struct MinMax {
    /// The least and the greatest value.
    pub bounds: Option<(Value, Value)>,
    /// How many are NaN.
    pub nans: u64,
}

impl MinMax {
    /// Adds what is known of others.
    pub fn take_in(&mut self, other: Self) {
        self.nans += other.nans;
        self.bounds = match (self.bounds.take(), other.bounds) {
            (Some((min, max)), Some((low, high))) => {
                Some((if low.less(&min) { low } else { min }, if max.less(&high) { high } else { max }))
            }
            (known, found) => known.or(found),
        };
    }
}
