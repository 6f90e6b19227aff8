//! DynamoDB's data model as in exports: type descriptors, exact numbers, and a pull parser for DynamoDB JSON.
//!
//! Nothing here builds a tree of values: a [`Parser`] walks over one line, and callers take values directly from the
//! text.

pub(crate) mod member_prefix;
mod members;
mod names;
mod number;
pub(crate) mod parser;
mod scan;
mod text;
pub mod timestamp;
mod value;

pub use member_prefix::Opening;
pub use members::{Members, twice};
pub use names::{Member, NameIndex};
pub use number::{MAX_DIGITS, Number, power_of_ten};
pub use parser::{MAX_DEPTH, Parser, short};
pub use text::{write_json, write_json_content};
pub use value::{Content, EXCLUDED};

/// DynamoDB's type descriptors (Amazon DynamoDB Developer Guide, "Data type descriptors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// String.
    S,
    /// Number, written as text.
    N,
    /// Binary, written as base64.
    B,
    /// Boolean.
    Bool,
    /// Null.
    Null,
    /// Set of strings.
    Ss,
    /// Set of numbers.
    Ns,
    /// Set of binaries.
    Bs,
    /// List of values.
    L,
    /// Map of values by name.
    M,
}

impl Kind {
    /// All of them, in declaration order.
    pub const ALL: [Self; 10] =
        [Self::S, Self::N, Self::B, Self::Bool, Self::Null, Self::Ss, Self::Ns, Self::Bs, Self::L, Self::M];

    /// The descriptor in DynamoDB's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
            Self::Bool => "BOOL",
            Self::Null => "NULL",
            Self::Ss => "SS",
            Self::Ns => "NS",
            Self::Bs => "BS",
            Self::L => "L",
            Self::M => "M",
        }
    }

    /// The type of a set's elements; `None` for other types.
    pub fn element(self) -> Option<Self> {
        match self {
            Self::Ss => Some(Self::S),
            Self::Ns => Some(Self::N),
            Self::Bs => Some(Self::B),
            _ => None,
        }
    }

    /// The descriptor with this spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
