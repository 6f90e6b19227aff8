//! Observations of an attribute: a value that only grows, and can be merged with any other.
//!
//! Merging is associative, commutative and idempotent, except for counts, which are added: any distribution of files
//! over tasks gives the same schema.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::attribute::{EXCLUDED, Kind, Member, Members, NameIndex, Number, Parser, timestamp, twice};
use crate::error::{Error, Result};

/// Limits of observations.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Limits {
    /// A map with more distinct fields becomes a map with string keys, not a struct.
    pub struct_fields: usize,
    /// Maximum number of distinct attributes in a table.
    pub attributes: usize,
}

impl Limits {
    /// Default maximum number of distinct fields of a struct.
    pub const DEFAULT_STRUCT_FIELDS: usize = 256;
    /// Default maximum number of attributes: far more than readers of the table could use.
    pub const DEFAULT_ATTRIBUTES: usize = 20_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self { struct_fields: Self::DEFAULT_STRUCT_FIELDS, attributes: Self::DEFAULT_ATTRIBUTES }
    }
}

/// The observed numbers, as far as types depend on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRange {
    /// Maximum number of digits before the decimal point.
    pub integer_digits: u32,
    /// Maximum number of digits after the decimal point.
    pub scale: u32,
    /// Whether some number was not an integer within 64 bits.
    pub beyond_long: bool,
    /// Minimum and maximum of those that were.
    pub span: Option<(i64, i64)>,
}

impl NumberRange {
    #[inline]
    fn see(&mut self, number: &Number) {
        self.integer_digits = self.integer_digits.max(number.integer_digits());
        self.scale = self.scale.max(number.scale());
        match number.to_i64() {
            Some(value) => self.widen((value, value)),
            None => self.beyond_long = true,
        }
    }

    fn widen(&mut self, (least, greatest): (i64, i64)) {
        self.span = Some(self.span.map_or((least, greatest), |(l, g)| (l.min(least), g.max(greatest))));
    }

    fn join(&mut self, other: Self) {
        self.integer_digits = self.integer_digits.max(other.integer_digits);
        self.scale = self.scale.max(other.scale);
        self.beyond_long |= other.beyond_long;
        if let Some(span) = other.span {
            self.widen(span);
        }
    }
}

/// Observations of one attribute, or of one nested value.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Observed {
    counts: [u64; Kind::ALL.len()],
    numbers: NumberRange,
    set_numbers: NumberRange,
    // Whether some S was not a timestamp.
    other_text: bool,
    element: Option<Box<Self>>,
    fields: Fields,
    // Beyond the limit the fields are dropped, and all their values are merged.
    values: Option<Box<Self>>,
    // The last map in which it was a field, by number.
    #[serde(skip)]
    map: u64,
}

impl Observed {
    /// How often a type was seen.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    /// How often any type was seen.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The observed types, including NULL.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|kind| self.count(*kind) > 0)
    }

    /// The numbers of type N.
    pub fn numbers(&self) -> NumberRange {
        self.numbers
    }

    /// The numbers in NS.
    pub fn set_numbers(&self) -> NumberRange {
        self.set_numbers
    }

    /// Whether there was an S, and each one was an ISO 8601 timestamp.
    pub fn instants_only(&self) -> bool {
        self.count(Kind::S) > 0 && !self.other_text
    }

    /// The elements of L, if any.
    pub fn element(&self) -> Option<&Self> {
        self.element.as_deref()
    }

    /// The fields of M, unless there were too many.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The values of M, if it had too many fields for a struct.
    pub fn values(&self) -> Option<&Self> {
        self.values.as_deref()
    }

    /// The values of M, whether observed as one or by field.
    pub(super) fn any_value(&self) -> Self {
        let limits = Limits::default();
        let mut all = self.values().cloned().unwrap_or_default();
        for field in &self.fields.observed {
            all.join(field.clone(), &limits);
        }
        all
    }

    fn see(&mut self, kind: Kind) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// Observes the attribute value at the parser.
    pub fn observe(&mut self, parser: &mut Parser<'_>, limits: &Limits, scratch: &mut String) -> Result<()> {
        let kind = parser.descriptor()?;
        self.observe_content(kind, parser, limits, scratch)?;
        parser.close()
    }

    fn observe_content(
        &mut self,
        kind: Kind,
        parser: &mut Parser<'_>,
        limits: &Limits,
        scratch: &mut String,
    ) -> Result<()> {
        self.see(kind);
        match kind {
            Kind::N => parser.take_number(scratch, |number| self.numbers.see(&number))?,
            Kind::S => {
                let text = parser.string(scratch)?;
                self.other_text = self.other_text || timestamp::of_text(text).is_none();
            }
            Kind::Ns => {
                parser.begin_set(Kind::N)?;
                let mut first = true;
                while parser.next_element(&mut first)? {
                    self.set_numbers.see(&parser.number(scratch)?);
                }
            }
            Kind::L => {
                parser.begin_array()?;
                let mut first = true;
                while parser.next_element(&mut first)? {
                    self.element.get_or_insert_default().observe(parser, limits, scratch)?;
                }
            }
            Kind::M => match &mut self.values {
                Some(values) => {
                    let mut members = Members::begin(parser)?;
                    while members.next(parser)?.is_some() {
                        values.observe(parser, limits, scratch)?;
                    }
                }
                None => self.observe_fields(parser, limits, scratch)?,
            },
            _ => parser.skip_content(kind, scratch)?,
        }
        Ok(())
    }

    fn observe_fields(&mut self, parser: &mut Parser<'_>, limits: &Limits, scratch: &mut String) -> Result<()> {
        let mut map = parser.clone();
        parser.begin_object()?;
        let mut first = true;
        self.fields.begin_map();
        while self.fields.len() <= limits.struct_fields {
            let Some(place) = self.fields.next_place(parser, &mut first, scratch)? else { return Ok(()) };
            place.observe(parser, limits, scratch)?;
        }
        // The names so far are dropped with the fields; duplicates are searched for in the whole map.
        self.forget_fields(limits);
        map.skip_content(Kind::M, scratch)?;
        let values = self.values.get_or_insert_default();
        while parser.next_name(&mut first, scratch)?.is_some() {
            values.observe(parser, limits, scratch)?;
        }
        Ok(())
    }

    /// Drops the fields if there are too many.
    #[inline]
    fn collapse(&mut self, limits: &Limits) {
        if self.values.is_some() || self.fields.len() > limits.struct_fields {
            self.forget_fields(limits);
        }
    }

    #[inline(never)]
    fn forget_fields(&mut self, limits: &Limits) {
        let values = self.values.get_or_insert_default();
        for field in std::mem::take(&mut self.fields).observed {
            values.join(field, limits);
        }
    }

    /// Merges the observations of another.
    pub fn join(&mut self, other: Self, limits: &Limits) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.numbers.join(other.numbers);
        self.set_numbers.join(other.set_numbers);
        self.other_text |= other.other_text;
        if let Some(element) = other.element {
            self.element.get_or_insert_default().join(*element, limits);
        }
        if let Some(values) = other.values {
            self.values.get_or_insert_default().join(*values, limits);
        }
        self.fields.join(other.fields, limits);
        self.collapse(limits);
    }
}

/// Observations by name: the attributes of items, or the fields of a map.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fields {
    index: NameIndex,
    observed: Vec<Observed>,
    /// Number of leading names that are skipped.
    left_out: usize,
    /// Number of maps so far.
    #[serde(skip)]
    maps: u64,
}

impl Fields {
    /// No observations; attributes with these names will not be observed.
    pub fn leaving_out(names: &BTreeSet<String>) -> Self {
        let mut fields = Self::default();
        for name in names {
            fields.get_or_insert(name);
        }
        fields.left_out = names.len();
        fields
    }

    fn begin_map(&mut self) {
        self.index.restart();
        self.maps += 1;
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.observed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.observed.is_empty()
    }

    /// The observations for a name.
    pub fn get(&self, name: &str) -> Option<&Observed> {
        self.observed.get(self.index.position(name)?)
    }

    /// Observations with their names, by name.
    pub fn sorted(&self) -> Vec<(&str, &Observed)> {
        let mut all: Vec<_> = self.index.names().zip(&self.observed).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// The index of the next field of the map at the parser; `None` at the end of the map.
    fn next_place(
        &mut self,
        parser: &mut Parser<'_>,
        first: &mut bool,
        scratch: &mut String,
    ) -> Result<Option<&mut Observed>> {
        let position = match self.index.next_member(parser, first, scratch)? {
            Some(Member::Known(position)) => position,
            Some(Member::New(name)) => {
                self.observed.push(Observed::default());
                self.index.insert(name)
            }
            None => return Ok(None),
        };
        #[expect(clippy::indexing_slicing, reason = "the index and the list grow together")]
        let place = &mut self.observed[position];
        if std::mem::replace(&mut place.map, self.maps) == self.maps {
            return Err(twice(self.index.name(position)));
        }
        Ok(Some(place))
    }

    pub(super) fn get_or_insert(&mut self, name: &str) -> &mut Observed {
        let position = self.index.insert(name);
        if position == self.observed.len() {
            self.observed.push(Observed::default());
        }
        #[expect(clippy::indexing_slicing, reason = "the index and the list grow together")]
        &mut self.observed[position]
    }

    /// Observes the attribute value at the parser under a name.
    pub fn observe(
        &mut self,
        name: &str,
        parser: &mut Parser<'_>,
        limits: &Limits,
        scratch: &mut String,
    ) -> Result<()> {
        self.get_or_insert(name).observe(parser, limits, scratch)
    }

    /// Observes a whole item; the parser is before its map of attributes. Omitted attributes are neither observed nor
    /// reported.
    pub fn observe_item(&mut self, parser: &mut Parser<'_>, limits: &Limits, scratch: &mut String) -> Result<()> {
        parser.begin_object()?;
        self.begin_map();
        let mut first = true;
        let mut inner = String::new();
        while let Some(member) = self.index.next_member(parser, &mut first, scratch)? {
            let position = match member {
                Member::Known(position) => position,
                Member::New(name) if self.len() >= limits.attributes => return Err(too_many(limits).of_attribute(name)),
                Member::New(name) => {
                    self.observed.push(Observed::default());
                    self.index.insert(name)
                }
            };
            #[expect(clippy::indexing_slicing, reason = "the index and the list grow together")]
            let place = &mut self.observed[position];
            let seen = if std::mem::replace(&mut place.map, self.maps) == self.maps {
                Err(Error::input("the attribute stands twice in one item"))
            } else if position < self.left_out {
                parser.skip_excluded(&mut inner)
            } else {
                place.observe(parser, limits, &mut inner)
            };
            if let Err(error) = seen {
                let name = if position < self.left_out { EXCLUDED } else { self.index.name(position) };
                return Err(error.of_attribute(name));
            }
        }
        Ok(())
    }

    /// Fails if there are more attributes than a table may have, which can happen by merging.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        if self.len() > limits.attributes { Err(too_many(limits)) } else { Ok(()) }
    }

    /// Merges the observations of another.
    pub fn join(&mut self, other: Self, limits: &Limits) {
        let Self { index, observed, .. } = other;
        for (name, observed) in index.names().zip(observed) {
            self.get_or_insert(name).join(observed, limits);
        }
    }
}

fn too_many(limits: &Limits) -> Error {
    Error::input(format!("more than {} distinct attributes", limits.attributes))
        .advice("A table this wide is of no use to a reader: model the attribute names as values of a map")
}

#[cfg(test)]
#[path = "observed_tests.rs"]
mod tests;
