//! Observed types and how they are merged, the schema file, the mapping to Iceberg types, partitions, and schema
//! changes.

pub mod change;
pub mod file;
mod key;
mod mapping;
pub(crate) mod named;
mod naming;
mod observed;
mod partition;
mod type_text;
mod types;

pub use change::evolution::{Evolved, evolve};
pub use change::new_fields::NewFields;
pub use change::replacement::replace;
pub use file::hints::{Hint, HintKind, hints};
pub use file::schema_file::{Attribute, SchemaFile, Target};
pub use key::{check_key_type, no_such_key};
pub use mapping::{Column, FieldMapping, Mapping, TableSchema};
pub use named::Named;
pub use naming::{RESCUED, column_names};
pub use observed::{Fields, Limits, NumberRange, Observed};
pub use partition::{MAX_WIDTH, PartitionTerm, partition_names, partition_spec};
pub use types::{ColumnType, Field, TimestampForm};
