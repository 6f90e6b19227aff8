//! Observes the attributes and types in the items of an export.

pub(crate) mod observe;
