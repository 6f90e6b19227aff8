//! Minimum and maximum of a column, excluding NaN.

/// One value of a column; comparable with others of its type.
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

/// Statistics of a column's values. NaN is excluded from the bounds.
#[derive(Debug, Default)]
pub(crate) struct MinMax {
    /// Minimum and maximum.
    pub bounds: Option<(Value, Value)>,
    /// Number of NaN values.
    pub nans: u64,
}

impl MinMax {
    /// Merges the statistics of other values.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_and_the_greatest_of_each_type() {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        for [low, high] in [
            [Value::Boolean(false), Value::Boolean(true)],
            [Value::Int(i32::MIN), Value::Int(1)],
            [Value::Long(-1), Value::Long(i64::MAX)],
            [Value::Float(-0.0), Value::Float(0.0)],
            [Value::Double(f64::NEG_INFINITY), Value::Double(f64::MIN)],
            [Value::Decimal(-(10_i128.pow(38)) + 1), Value::Decimal(0)],
            [bytes(b"a"), bytes(b"a\0")],
        ] {
            assert!(low.less(&high) && !high.less(&low), "{low:?}");
            assert!(!low.less(&low) && !high.less(&high), "{low:?}");
            for (first, then) in [(&low, &high), (&high, &low)] {
                let mut found = MinMax::default();
                for value in [first, then] {
                    found.take_in(MinMax { bounds: Some((value.clone(), value.clone())), nans: 2 });
                }
                found.take_in(MinMax { bounds: None, nans: 1 });
                assert_eq!((found.bounds, found.nans), (Some((low.clone(), high.clone())), 5));
            }
        }
        assert!(!Value::Int(1).less(&Value::Long(2)), "of two types");
    }
}
