//! Repetition and definition levels (Dremel's; see Parquet's `Encodings.md` and the README of its format) of columns
//! whose rows are written in another order than they are stored.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescriptor;

use super::rle::{pack, pack_few, pack_run, width_of};

/// The definition level of a present value, whatever the depth.
const PRESENT: u16 = u16::MAX;
/// A place in an array that has no slot.
const NOWHERE: u32 = u32::MAX;
/// Number of pages whose encoded repetition levels are kept.
const MOST_ENCODED: usize = 16;
/// A column with less than this part of values is looked at value by value rather than slot by slot.
const SPARSE: usize = 16;

/// Repetition and definition levels of a leaf column: one slot per value, null, or empty list or map.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    count: usize,
    /// `None`: all are 0.
    repetition: Option<Arc<Repetition>>,
    /// `None`: all are present.
    definition: Option<Arc<Definition>>,
    /// The definition level of present values.
    depth: u16,
    /// The index of each present value in its array.
    positions: Arc<Vec<u32>>,
    /// The same the other way round: the slot of each place in the array, once it is wanted, if none has two.
    by_position: Arc<OnceLock<Option<Vec<u32>>>>,
}

/// Repetition levels, one per slot. All leaves of a list share them.
#[derive(Debug, Default)]
struct Repetition {
    levels: Vec<u16>,
    /// Those of some pages: most leaves have pages of the same slots.
    encoded: Mutex<Vec<EncodedPage>>,
}

/// Encoded levels of some slots, in so many bits each.
#[derive(Debug)]
struct EncodedPage {
    slots: Range<usize>,
    width: u32,
    bytes: Arc<[u8]>,
}

impl Repetition {
    fn of(levels: Vec<u16>) -> Arc<Self> {
        Arc::new(Self { levels, ..Self::default() })
    }

    /// Some slots in the encoding of data pages.
    fn encoded(&self, slots: &Range<usize>, width: u32) -> Arc<[u8]> {
        let lock = || self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = lock().iter().find(|page| page.slots == *slots && page.width == width) {
            return Arc::clone(&page.bytes);
        }
        let mut bytes = Vec::new();
        pack(&self.levels[slots.clone()], width, u32::from, &mut bytes);
        let bytes: Arc<[u8]> = bytes.into();
        let mut encoded = lock();
        if encoded.len() < MOST_ENCODED {
            encoded.push(EncodedPage { slots: slots.clone(), width, bytes: Arc::clone(&bytes) });
        }
        bytes
    }
}

/// Definition levels.
#[derive(Debug)]
enum Definition {
    /// One per slot.
    Each(Vec<u16>),
    /// One level, except in a few slots, which are in order.
    Few { level: u16, others: Vec<(u32, u16)> },
}

impl Definition {
    /// One per slot.
    fn each(&self, count: usize) -> Cow<'_, [u16]> {
        match self {
            Self::Each(levels) => Cow::Borrowed(levels),
            Self::Few { level, others } => {
                let mut levels = vec![*level; count];
                for (slot, other) in others {
                    if let Some(level) = levels.get_mut(index(*slot)) {
                        *level = *other;
                    }
                }
                Cow::Owned(levels)
            }
        }
    }

    /// The number of values in some slots.
    fn values(&self, slots: Range<usize>) -> usize {
        match self {
            Self::Each(levels) => levels[slots].iter().filter(|level| **level == PRESENT).count(),
            Self::Few { others, .. } => within(others, slots).iter().filter(|(_, level)| *level == PRESENT).count(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Each(levels) => size_of_val(levels.as_slice()),
            Self::Few { others, .. } => size_of_val(others.as_slice()),
        }
    }
}

/// Those in a range of slots.
fn within(others: &[(u32, u16)], slots: Range<usize>) -> &[(u32, u16)] {
    let until = |end: usize| others.partition_point(|(slot, _)| index(*slot) < end);
    &others[until(slots.start)..until(slots.end)]
}

/// A position between two rows, as counts of what precedes it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub slot: usize,
    pub value: usize,
    pub row: usize,
}

/// A column without nested columns.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub array: ArrayRef,
    nullable: bool,
    /// The levels of its parent.
    parent: Levels,
}

impl Leaf {
    /// The levels of this leaf.
    pub fn slots(&self) -> Result<Levels> {
        self.parent.defined(self.nullable, self.array.nulls())
    }

    /// Bytes of memory of its parent's levels, unless the previous leaf has the same parent.
    pub fn parent_bytes(&self, before: Option<&Self>) -> usize {
        match before {
            Some(before) if Arc::ptr_eq(&before.parent.positions, &self.parent.positions) => 0,
            _ => self.parent.bytes(),
        }
    }
}

/// Passes on the leaves of a column, in the order of Parquet's columns. `repeated` counts the enclosing lists and maps.
pub(crate) fn leaves(
    field: &Field,
    array: &ArrayRef,
    parent: &Levels,
    repeated: u16,
    each: &mut dyn FnMut(Leaf) -> Result<()>,
) -> Result<()> {
    let nullable = field.is_nullable();
    match array.data_type() {
        DataType::Struct(fields) => {
            let slots = parent.defined(nullable, array.nulls())?;
            let mut columns = fields.iter().zip(array.as_struct().columns());
            columns.try_for_each(|(field, column)| leaves(field, column, &slots, repeated, each))
        }
        DataType::List(field) => {
            let lists = array.as_list::<i32>();
            let slots = parent.defined(nullable, array.nulls())?.elements(lists.offsets(), repeated + 1)?;
            leaves(field, lists.values(), &slots, repeated + 1, each)
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            let slots = parent.defined(nullable, array.nulls())?.elements(maps.offsets(), repeated + 1)?;
            let mut columns = maps.entries().fields().iter().zip(maps.entries().columns());
            columns.try_for_each(|(field, column)| leaves(field, column, &slots, repeated + 1, each))
        }
        _ => each(Leaf { array: Arc::clone(array), nullable, parent: parent.clone() }),
    }
}

impl Levels {
    /// Levels of the rows of a table at the given positions.
    pub fn rows(positions: Arc<Vec<u32>>) -> Self {
        Self {
            count: positions.len(),
            repetition: None,
            definition: None,
            depth: 0,
            positions,
            by_position: Arc::default(),
        }
    }

    /// Levels of a field with the given nulls.
    fn defined(&self, nullable: bool, nulls: Option<&NullBuffer>) -> Result<Self> {
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0 && !self.positions.is_empty()) else {
            return Ok(Self { depth: self.depth + u16::from(nullable), ..self.clone() });
        };
        if !nullable {
            return if self.positions.iter().all(|at| nulls.is_valid(index(*at))) {
                Ok(self.clone())
            } else {
                Err(ParquetError::General("a column that is required has nulls".to_owned()))
            };
        }
        let values = nulls.len() - nulls.null_count();
        if values < self.positions.len() / SPARSE
            && let Some(slots) = self.by_position.get_or_init(|| self.by_position())
        {
            return Ok(self.defined_by_values(nulls, slots));
        }
        let mut positions = Vec::with_capacity(self.positions.len());
        let mut found = self.positions.iter();
        let mut level = |level: u16| match level {
            PRESENT => match found.next() {
                Some(at) if nulls.is_valid(index(*at)) => {
                    positions.push(*at);
                    PRESENT
                }
                _ => self.depth,
            },
            _ => level,
        };
        let definition = match self.definition.as_deref() {
            Some(Definition::Each(levels)) => Definition::Each(levels.iter().map(|found| level(*found)).collect()),
            Some(Definition::Few { level: most, others }) => Definition::Few {
                level: *most,
                others: others.iter().map(|(slot, found)| (*slot, level(*found))).collect(),
            },
            None => Definition::Each((0..self.count).map(|_| level(PRESENT)).collect()),
        };
        Ok(self.within(definition, positions))
    }

    /// Levels one deeper.
    fn within(&self, definition: Definition, positions: Vec<u32>) -> Self {
        Self {
            count: self.count,
            repetition: self.repetition.clone(),
            definition: Some(Arc::new(definition)),
            depth: self.depth + 1,
            positions: Arc::new(positions),
            by_position: Arc::default(),
        }
    }

    /// As [`defined`](Self::defined) of an optional field, at the cost of its values: few slots have one.
    fn defined_by_values(&self, nulls: &NullBuffer, slots: &[u32]) -> Self {
        let mut found: Vec<(u32, u32)> = nulls
            .valid_indices()
            .filter_map(|at| Some((*slots.get(at).filter(|slot| **slot != NOWHERE)?, u32::try_from(at).ok()?)))
            .collect();
        found.sort_unstable();
        let definition = match &self.definition {
            None => {
                Definition::Few { level: self.depth, others: found.iter().map(|(slot, _)| (*slot, PRESENT)).collect() }
            }
            Some(known) => {
                let mut levels = known.each(self.count).into_owned();
                levels.iter_mut().filter(|level| **level == PRESENT).for_each(|level| *level = self.depth);
                for (slot, _) in &found {
                    if let Some(level) = levels.get_mut(index(*slot)) {
                        *level = PRESENT;
                    }
                }
                Definition::Each(levels)
            }
        };
        self.within(definition, found.into_iter().map(|(_, at)| at).collect())
    }

    /// The slot of each place in the array; `None` if one has two.
    fn by_position(&self) -> Option<Vec<u32>> {
        let mut slots = vec![NOWHERE; self.positions.iter().max().map_or(0, |last| index(*last) + 1)];
        let mut found = self.positions.iter();
        let definition = self.definition.as_ref().map(|levels| levels.each(self.count));
        for (slot, number) in (0..self.count).zip(0_u32..) {
            if definition.as_ref().is_none_or(|levels| levels[slot] == PRESENT)
                && let Some(place) = found.next().and_then(|at| slots.get_mut(index(*at)))
            {
                if *place != NOWHERE {
                    return None;
                }
                *place = number;
            }
        }
        Some(slots)
    }

    /// Those of the elements of lists, or of the entries of maps.
    fn elements(&self, offsets: &OffsetBuffer<i32>, level: u16) -> Result<Self> {
        if self.positions.is_empty() {
            let repetition = self.repetition.clone().unwrap_or_else(|| Repetition::of(vec![0; self.count]));
            return Ok(Self { repetition: Some(repetition), depth: self.depth + 1, ..self.clone() });
        }
        let outside = || ParquetError::General("a list has elements that are not there".to_owned());
        let length = |at: &u32| usize::try_from(offsets[index(*at) + 1] - offsets[index(*at)]).map_err(|_| outside());
        let (mut elements, mut count) = (0, self.count);
        for at in self.positions.iter() {
            elements += length(at)?;
            count += length(at)?.saturating_sub(1);
        }
        let (mut repetition, mut definition) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut positions = Vec::with_capacity(elements);
        let mut found = self.positions.iter();
        let known = self.definition.as_ref().map(|levels| levels.each(self.count));
        for slot in 0..self.count {
            repetition.push(self.repetition.as_ref().map_or(0, |known| known.levels[slot]));
            let defined = known.as_ref().map_or(PRESENT, |levels| levels[slot]);
            let Some(at) = (if defined == PRESENT { found.next() } else { None }) else {
                definition.push(defined);
                continue;
            };
            let elements = length(at)?;
            if elements == 0 {
                definition.push(self.depth);
                continue;
            }
            let begin = u32::try_from(offsets[index(*at)]).map_err(|_| outside())?;
            positions.extend((begin..).take(elements));
            definition.resize(definition.len() + elements, PRESENT);
            repetition.resize(repetition.len() + elements - 1, level);
        }
        let is_full = positions.len() == definition.len();
        Ok(Self {
            count: definition.len(),
            repetition: Some(Repetition::of(repetition)),
            definition: (!is_full).then(|| Arc::new(Definition::Each(definition))),
            depth: self.depth + 1,
            positions: Arc::new(positions),
            by_position: Arc::default(),
        })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// The definition level of present values.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// The indexes of the values in their array, in slot order.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The next end of a row at least `step` slots further.
    pub fn advance(&self, place: Place, step: usize) -> Place {
        let Place { slot: begin, value, row } = place;
        let mut end = self.count.min(begin + step);
        if let Some(Repetition { levels, .. }) = self.repetition.as_deref() {
            end += levels[end..].iter().take_while(|level| **level > 0).count();
        }
        let values = match &self.definition {
            Some(levels) => levels.values(begin..end),
            None => end - begin,
        };
        let rows = match &self.repetition {
            Some(known) => known.levels[begin..end].iter().filter(|level| **level == 0).count(),
            None => end - begin,
        };
        Place { slot: end, value: value + values, row: row + rows }
    }

    /// Appends the levels of some slots in the encoding of data pages v1.
    pub fn put_levels(&self, slots: Range<usize>, leaf: &ColumnDescriptor, page: &mut Vec<u8>) -> Result<()> {
        let width = |greatest: i16| u32::try_from(greatest).map_or(0, width_of);
        let count = slots.len();
        if let Some(repetition) = &self.repetition {
            let levels = repetition.encoded(&slots, width(leaf.max_rep_level()));
            put_sized(page, |page| page.extend_from_slice(&levels))?;
        }
        if leaf.max_def_level() > 0 {
            let (width, depth) = (width(leaf.max_def_level()), self.depth);
            let number = |level| u32::from(if level == PRESENT { depth } else { level });
            put_sized(page, |page| match self.definition.as_deref() {
                Some(Definition::Each(levels)) => pack(&levels[slots], width, number, page),
                Some(Definition::Few { level, others }) => {
                    let others = within(others, slots.clone()).iter();
                    let others = others.map(|(slot, level)| (index(*slot) - slots.start, number(*level)));
                    pack_few(number(*level), others, count, width, page);
                }
                None => pack_run(u32::from(depth), count, width, page),
            })?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let repetition = self.repetition.as_ref().map_or(0, |known| size_of_val(known.levels.as_slice()));
        let definition = self.definition.as_ref().map_or(0, |levels| levels.bytes());
        repetition + definition + self.positions.len() * 2 * size_of::<u32>()
    }
}

/// Appends what `put` appends, preceded by its length.
fn put_sized(page: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let begin = page.len();
    page.extend([0; size_of::<u32>()]);
    put(page);
    let (length, levels) = page[begin..].split_at_mut(size_of::<u32>());
    length
        .copy_from_slice(&u32::try_from(levels.len()).map_err(|e| ParquetError::External(Box::new(e)))?.to_le_bytes());
    Ok(())
}

/// A position as an index.
pub(crate) fn index(position: u32) -> usize {
    position as usize
}
