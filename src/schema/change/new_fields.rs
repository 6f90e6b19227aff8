//! Attributes and fields for which a table has no column yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::attribute::Parser;
use crate::error::Result;
use crate::schema::observed::{Fields, Limits};

/// Observations of new attributes and fields, by the id of the struct field that contains them; 0 is the item itself.
///
/// For a struct inside a list or a map, this is the id of the element or value.
///
/// If there are more new fields than a struct may have, their names are not kept: it takes none of them.
#[derive(Debug, Clone, Default)]
pub struct NewFields {
    pub(crate) seen: BTreeMap<i32, Fields>,
    too_many: BTreeSet<i32>,
}

impl NewFields {
    /// The id of the item itself.
    pub const ITEM: i32 = 0;

    /// Whether nothing new was observed.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.too_many.is_empty()
    }

    /// Observes the attribute value at the parser, under its name in a struct or the item.
    pub fn observe(
        &mut self,
        parent: i32,
        name: &str,
        parser: &mut Parser<'_>,
        limits: &Limits,
        scratch: &mut String,
    ) -> Result<()> {
        if self.too_many.contains(&parent) {
            return parser.skip_value(scratch);
        }
        self.seen.entry(parent).or_default().observe(name, parser, limits, scratch)?;
        self.forget(parent, limits);
        Ok(())
    }

    /// Whether a struct or the item had more new names than it may have.
    pub fn too_many(&self, parent: i32) -> bool {
        self.too_many.contains(&parent)
    }

    fn forget(&mut self, parent: i32, limits: &Limits) {
        if self.seen.get(&parent).is_some_and(|fields| fields.len() > limit(parent, limits)) {
            self.too_many.insert(parent);
        }
        if self.too_many.contains(&parent) {
            self.seen.remove(&parent);
        }
    }

    /// Names of new attributes, sorted.
    pub fn attributes(&self) -> Vec<&str> {
        self.seen.get(&Self::ITEM).map(|f| f.sorted().into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
    }

    /// Merges the observations of another.
    pub fn join(&mut self, other: Self, limits: &Limits) {
        self.too_many.extend(other.too_many);
        for (parent, fields) in other.seen {
            self.seen.entry(parent).or_default().join(fields, limits);
        }
        let parents: Vec<i32> = self.seen.keys().copied().collect();
        for parent in parents {
            self.forget(parent, limits);
        }
    }
}

/// The maximum number of fields of a struct, or of columns of a table.
pub(crate) fn limit(parent: i32, limits: &Limits) -> usize {
    if parent == NewFields::ITEM { limits.attributes } else { limits.struct_fields }
}
