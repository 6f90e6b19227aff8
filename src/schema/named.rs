//! Types that a schema file named.

use serde::{Deserialize, Serialize};

use super::observed::Observed;
use super::types::ColumnType;
use crate::attribute::Kind;

/// The type of an attribute as named in a schema file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Named {
    /// The column's type; `type` in the property.
    Type,
    /// Only the DynamoDB type, in the flat form; its name in the property.
    Kind(Kind),
}

impl TryFrom<String> for Named {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.as_str() {
            "type" => Ok(Self::Type),
            name => Kind::from_name(name).map(Self::Kind).ok_or_else(|| format!("{name:?} is no DynamoDB type")),
        }
    }
}

impl Named {
    /// The type of a new column: from the observations, or from the values of the named DynamoDB type.
    pub(crate) fn type_of(named: Option<Self>, observed: &Observed) -> ColumnType {
        match named {
            Some(Self::Kind(kind)) if observed.count(kind) == 0 => ColumnType::Undecided,
            Some(Self::Kind(kind)) => ColumnType::of_kind(observed, kind),
            _ => ColumnType::of(observed),
        }
    }
}
