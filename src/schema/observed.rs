//! What was seen of an attribute: a value that only grows, and joins with any other of its kind.
//!
//! Joining is associative, commutative and idempotent but for the counts, which add: any split of the files over tasks
//! gives the same schema.

use std::collections::BTreeSet;

use crate::attribute::{EXCLUDED, Kind, Member, Members, NameIndex, Number, Parser, instant, twice};
use crate::error::{Error, Result};

/// Bounds of what is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A map with more distinct fields than this is a map from string, not a struct.
    pub struct_fields: usize,
    /// Distinct attributes of a table.
    pub attributes: usize,
}

impl Limits {
    /// Distinct fields up to which an M is a struct.
    pub const DEFAULT_STRUCT_FIELDS: usize = 256;
    /// Distinct attributes of a table: far past what a reader of the table could use.
    pub const DEFAULT_ATTRIBUTES: usize = 20_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self { struct_fields: Self::DEFAULT_STRUCT_FIELDS, attributes: Self::DEFAULT_ATTRIBUTES }
    }
}

/// The numbers seen, as far as types need to know them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NumberRange {
    /// Most digits before the decimal point.
    pub integer_digits: u32,
    /// Most digits after the decimal point.
    pub scale: u32,
    /// Some number was no integer within 64 bits.
    pub beyond_long: bool,
    /// The least and the greatest of those that were.
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

/// What was seen of one attribute, or of one place inside of attributes.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    counts: [u64; Kind::ALL.len()],
    numbers: NumberRange,
    set_numbers: NumberRange,
    // Some S was no instant.
    other_text: bool,
    element: Option<Box<Self>>,
    fields: Fields,
    // Past the limit the fields are forgotten, and all their values are one.
    values: Option<Box<Self>>,
    // The last map that it was a field of, as the fields number them.
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

    /// The types seen, NULL among them.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|kind| self.count(*kind) > 0)
    }

    /// The numbers of type N.
    pub fn numbers(&self) -> NumberRange {
        self.numbers
    }

    /// The numbers inside of NS.
    pub fn set_numbers(&self) -> NumberRange {
        self.set_numbers
    }

    /// Whether every S was an instant in ISO 8601, and there was one.
    pub fn instants_only(&self) -> bool {
        self.count(Kind::S) > 0 && !self.other_text
    }

    /// The elements of L, if any was seen.
    pub fn element(&self) -> Option<&Self> {
        self.element.as_deref()
    }

    /// The fields of M, unless there were too many.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The values of M, if it had too many fields to be a struct.
    pub fn values(&self) -> Option<&Self> {
        self.values.as_deref()
    }

    /// What the values of M hold, be it seen as one or by field.
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

    /// Takes in the attribute value at the parser.
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
                self.other_text = self.other_text || instant::of_text(text).is_none();
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
        // With the fields the names so far are forgotten; one that stands twice is looked for in the whole map.
        self.forget_fields(limits);
        map.skip_content(Kind::M, scratch)?;
        let values = self.values.get_or_insert_default();
        while parser.next_name(&mut first, scratch)?.is_some() {
            values.observe(parser, limits, scratch)?;
        }
        Ok(())
    }

    /// Forgets the fields if there are too many.
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

    /// Takes in everything that another saw.
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
#[derive(Debug, Clone, Default)]
pub struct Fields {
    index: NameIndex,
    observed: Vec<Observed>,
    /// So many of the first names are stepped over.
    left_out: usize,
    /// Maps so far.
    maps: u64,
}

impl Fields {
    /// Nothing seen, and nothing to be seen of the attributes of these names.
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

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.observed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.observed.is_empty()
    }

    /// What was seen under a name.
    pub fn get(&self, name: &str) -> Option<&Observed> {
        self.observed.get(self.index.position(name)?)
    }

    /// Names and observations, by name.
    pub fn sorted(&self) -> Vec<(&str, &Observed)> {
        let mut all: Vec<_> = self.index.names().zip(&self.observed).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// The place of the next field of the map that the parser is in; `None` when the map has ended.
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

    /// Takes in the attribute value at the parser under a name.
    pub fn observe(
        &mut self,
        name: &str,
        parser: &mut Parser<'_>,
        limits: &Limits,
        scratch: &mut String,
    ) -> Result<()> {
        self.get_or_insert(name).observe(parser, limits, scratch)
    }

    /// Takes in a whole item, the parser standing before its map of attributes.
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

    /// Fails if these are more attributes than a table may have, which a join can make them.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        if self.len() > limits.attributes { Err(too_many(limits)) } else { Ok(()) }
    }

    /// Takes in everything that another saw.
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::ColumnType;

    fn observe(values: &[String], limits: &Limits) -> Observed {
        let mut observed = Observed::default();
        for value in values {
            let mut parser = Parser::new(value.as_bytes()).unwrap();
            observed.observe(&mut parser, limits, &mut String::new()).unwrap();
            parser.end().unwrap();
        }
        observed
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-z]{0,3}".prop_map(|s| format!(r#"{{"S":"{s}"}}"#)),
            Just(r#"{"S":"2026-01-14T10:20:00Z"}"#.to_owned()),
            (-1000i64..1000, 0u32..5).prop_map(|(n, s)| format!(r#"{{"N":"{n}E-{s}"}}"#)),
            Just(r#"{"N":"1E100"}"#.to_owned()),
            Just(r#"{"NULL":true}"#.to_owned()),
            Just(r#"{"BOOL":true}"#.to_owned()),
            Just(r#"{"NS":["1","2.5"]}"#.to_owned()),
            Just(r#"{"NS":["7"]}"#.to_owned()),
            Just(r#"{"SS":["a"]}"#.to_owned()),
            Just(r#"{"BS":["aGk="]}"#.to_owned()),
            Just(r#"{"B":"aGk="}"#.to_owned()),
            Just(r#"{"N":"99999999999999999999999999999999999999"}"#.to_owned()),
        ];
        leaf.prop_recursive(6, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!(r#"{{"L":[{}]}}"#, v.join(","))),
                prop::collection::btree_map("[a-f]", inner, 0..6).prop_map(|m| {
                    let fields: Vec<_> = m.iter().map(|(k, v)| format!(r#""{k}":{v}"#)).collect();
                    format!(r#"{{"M":{{{}}}}}"#, fields.join(","))
                }),
            ]
        })
    }

    const LIMITS: Limits = Limits { struct_fields: 3, attributes: 100 };

    fn joined(a: &Observed, b: &Observed) -> Observed {
        let mut joined = a.clone();
        joined.join(b.clone(), &LIMITS);
        joined
    }

    /// All that was seen, but for how often.
    fn seen(observed: &Observed) -> String {
        let kinds: Vec<_> = observed.kinds().map(Kind::name).collect();
        let inside = |place: Option<&Observed>| place.map(seen).unwrap_or_default();
        let fields: Vec<_> = observed.fields().sorted().iter().map(|(name, o)| format!("{name}:{}", seen(o))).collect();
        let (numbers, set_numbers) = (observed.numbers(), observed.set_numbers());
        format!(
            "{kinds:?} {numbers:?} {set_numbers:?} [{}] {fields:?} <{}>",
            inside(observed.element()),
            inside(observed.values())
        )
    }

    proptest! {
        #[test]
        fn joining_is_a_lattice(values in prop::collection::vec(value(), 3..12), cut in 1usize..11, again in 1usize..11) {
            let (a, rest) = values.split_at(cut.min(values.len() - 2));
            let (b, c) = rest.split_at(again.min(rest.len() - 1));
            let (a, b, c) = (observe(a, &LIMITS), observe(b, &LIMITS), observe(c, &LIMITS));
            let all = joined(&joined(&a, &b), &c);
            prop_assert_eq!(seen(&all), seen(&joined(&a, &joined(&b, &c))), "associative");
            prop_assert_eq!(seen(&joined(&a, &b)), seen(&joined(&b, &a)), "commutative");
            prop_assert_eq!(seen(&joined(&a, &a)), seen(&a), "idempotent");
            prop_assert_eq!(seen(&joined(&all, &b)), seen(&all), "what was seen is seen");
            prop_assert_eq!(seen(&joined(&Observed::default(), &a)), seen(&a), "nothing is the least");
            for kind in Kind::ALL {
                prop_assert_eq!(joined(&a, &b).count(kind), a.count(kind) + b.count(kind), "counts add");
            }
            prop_assert_eq!(ColumnType::of(&all), ColumnType::of(&joined(&c, &joined(&b, &a))));
        }

        #[test]
        fn the_order_of_values_is_nothing(values in prop::collection::vec(value(), 1..12).prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle()))) {
            let (values, shuffled) = values;
            let (one, other) = (observe(&values, &LIMITS), observe(&shuffled, &LIMITS));
            prop_assert_eq!(seen(&one), seen(&other));
            let mut by_one = Observed::default();
            for value in &shuffled {
                by_one.join(observe(std::slice::from_ref(value), &LIMITS), &LIMITS);
            }
            prop_assert_eq!(seen(&by_one), seen(&one));
            prop_assert_eq!(by_one.total(), one.total());
            prop_assert_eq!(ColumnType::of(&by_one), ColumnType::of(&one));
        }

        #[test]
        fn any_split_gives_the_same_type(values in prop::collection::vec(value(), 1..12), cut in 0usize..12, again in 0usize..12) {
            let limits = Limits { struct_fields: 3, ..Limits::default() };
            let whole = ColumnType::of(&observe(&values, &limits));
            let (a, rest) = values.split_at(cut.min(values.len()));
            let (b, c) = rest.split_at(again.min(rest.len()));
            let (a, b, c) = (observe(a, &limits), observe(b, &limits), observe(c, &limits));
            let mut left = a.clone();
            left.join(b.clone(), &limits);
            left.join(c.clone(), &limits);
            let mut right = c.clone();
            right.join(b, &limits);
            right.join(a.clone(), &limits);
            right.join(a, &limits);
            prop_assert_eq!(&ColumnType::of(&left), &whole);
            prop_assert_eq!(&ColumnType::of(&right), &whole);
            let all = observe(&values, &limits);
            for joined in [&left, &right] {
                prop_assert_eq!(joined.numbers(), all.numbers());
                prop_assert_eq!(joined.set_numbers(), all.set_numbers());
                prop_assert_eq!(joined.instants_only(), all.instants_only());
            }
        }
    }
}
