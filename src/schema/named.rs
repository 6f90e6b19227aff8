//! What a schema file named of an attribute.

use serde::{Deserialize, Serialize};

use super::observed::Observed;
use super::types::ColumnType;
use crate::attribute::Kind;

/// What a schema file names of an attribute's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Named {
    /// The column's type; `type` in the property.
    Type,
    /// The DynamoDB type alone, the plain form; its name in the property.
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
    /// The type of a new column: of what was seen, or of the values of the DynamoDB type that was named.
    pub(crate) fn type_of(named: Option<Self>, observed: &Observed) -> ColumnType {
        match named {
            Some(Self::Kind(kind)) if observed.count(kind) == 0 => ColumnType::Undecided,
            Some(Self::Kind(kind)) => ColumnType::of_kind(observed, kind),
            _ => ColumnType::of(observed),
        }
    }
}
