//! Writing objects: whole, in parts, and what is left to abort.

pub(crate) mod attempts;
pub(crate) mod multipart;
pub(crate) mod put;
pub(crate) mod uploads;
