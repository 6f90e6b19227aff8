//! Writing objects, whole or in parts, and aborting uploads.

pub(crate) mod attempts;
pub(crate) mod multipart;
pub(crate) mod put;
pub(crate) mod uploads;
