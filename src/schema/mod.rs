//! What was observed in items, how observations join, the schema file, the mapping to Iceberg types, partitions, and evolution.

mod evolution;
mod file;
mod hints;
mod kept;
mod key;
mod mapping;
mod naming;
mod observed;
mod partition;
mod replacement;
mod strict_json;
mod type_text;
mod types;

pub use evolution::{Evolved, NewFields, evolve};
pub use file::{Attribute, SchemaFile, Target};
pub use hints::{Hint, HintKind, hints};
pub use key::{check_key_type, no_such_key};
pub use mapping::{Column, FieldMapping, Mapping, Named, TableSchema};
pub use naming::{RESCUED, column_names};
pub use observed::{Fields, Limits, NumberRange, Observed};
pub use partition::{MAX_WIDTH, PartitionTerm, partition_names, partition_spec};
pub use replacement::replace;
pub use types::{ColumnType, Field, TimestampForm};
