//! How columns change: new attributes, replaced rows, and what is kept then.

pub(crate) mod evolution;
pub(crate) mod kept;
pub(crate) mod new_fields;
pub(crate) mod replacement;
