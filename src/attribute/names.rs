//! Names to positions, quick when names come in the order of last time.

use hashbrown::HashMap;

/// A growing list of distinct names, found by name.
///
/// Items of one table tend to list their attributes in the same order, so the name after the one found last is tried
/// first; only when that fails is the name hashed.
#[derive(Debug, Clone, Default)]
pub struct NameIndex {
    names: Vec<Box<str>>,
    positions: HashMap<Box<str>, usize>,
    next: usize,
}

impl NameIndex {
    /// The position of a name.
    pub fn find(&mut self, name: &str) -> Option<usize> {
        let guess = self.next;
        let found = match self.names.get(guess) {
            Some(expected) if **expected == *name => guess,
            _ => *self.positions.get(name)?,
        };
        self.next = found + 1;
        Some(found)
    }

    /// The position of a name without touching the guess.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// Adds a name, or finds it: its position.
    pub fn insert(&mut self, name: &str) -> usize {
        if let Some(found) = self.find(name) {
            return found;
        }
        let position = self.names.len();
        self.names.push(name.into());
        self.positions.insert(name.into(), position);
        self.next = position + 1;
        position
    }

    /// The next name is likely the first again.
    pub fn restart(&mut self) {
        self.next = 0;
    }

    /// The names in order of position.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl<'a> FromIterator<&'a str> for NameIndex {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let mut index = Self::default();
        for name in names {
            index.insert(name);
        }
        index.restart();
        index
    }
}
