//! Changes of columns: new attributes, and replaced rows.

pub(crate) mod evolution;
pub(crate) mod kept;
pub(crate) mod new_fields;
pub(crate) mod replacement;
