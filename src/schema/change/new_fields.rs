//! Attributes and fields that a table has no column for yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::attribute::Parser;
use crate::error::Result;
use crate::schema::observed::{Fields, Limits};

/// What was seen that has no place yet, by the id of the struct field it was seen in; 0 stands for the item itself.
///
/// For a struct inside a list or a map the id is the element's or the value's.
///
/// More new fields than a struct may have are not remembered by name: it takes none of them.
#[derive(Debug, Clone, Default)]
pub struct NewFields {
    pub(crate) seen: BTreeMap<i32, Fields>,
    too_many: BTreeSet<i32>,
}

impl NewFields {
    /// The id of the item itself.
    pub const ITEM: i32 = 0;

    /// Whether nothing new was seen.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.too_many.is_empty()
    }

    /// Takes in the attribute value at the parser, under its name in a struct or the item.
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

    /// Whether there were more new names in a struct or the item than it may have.
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

    /// Takes in everything that another saw.
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

/// How many fields a struct, or columns a table, may have.
pub(crate) fn limit(parent: i32, limits: &Limits) -> usize {
    if parent == NewFields::ITEM { limits.attributes } else { limits.struct_fields }
}
