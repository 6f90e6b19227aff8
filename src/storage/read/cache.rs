//! Cache of small files that are read twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::storage::location::Location;

/// Files by location, with a budget in bytes. Each is returned once.
#[derive(Debug)]
pub(crate) struct ReadCache {
    files: Mutex<(HashMap<Location, Bytes>, usize)>,
}

impl ReadCache {
    /// Estimated memory per file, in addition to its bytes and name.
    const OVERHEAD: usize = 200;

    pub fn new(room: usize) -> Self {
        Self { files: Mutex::new((HashMap::new(), room)) }
    }

    fn cost(location: &Location, bytes: &Bytes) -> usize {
        bytes.len().saturating_add(location.as_str().len()).saturating_add(Self::OVERHEAD)
    }

    /// Keeps a copy if the budget allows it.
    pub fn keep(&self, location: &Location, bytes: &Bytes) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, room) = &mut *files;
        if let Some(left) = room.checked_sub(Self::cost(location, bytes))
            && !files.contains_key(location)
        {
            *room = left;
            // The bytes may be the start of a much larger buffer.
            files.insert(location.clone(), Bytes::copy_from_slice(bytes));
        }
    }

    /// Removes and returns a file.
    pub fn take(&self, location: &Location) -> Option<Bytes> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, room) = &mut *files;
        let bytes = files.remove(location)?;
        *room = room.saturating_add(Self::cost(location, &bytes));
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_while_there_is_room_and_handed_out_once() {
        let kept = ReadCache::new(2 * (ReadCache::OVERHEAD + 20));
        let at = |name: &str| Location::parse(&format!("s3://b/{name}")).unwrap();
        for name in ["1", "2", "2", "3"] {
            kept.keep(&at(name), &Bytes::from(format!("file {name}")));
        }
        assert_eq!(kept.take(&at("1")).unwrap(), "file 1");
        assert_eq!(kept.take(&at("1")), None);
        assert_eq!(kept.take(&at("3")), None);
        kept.keep(&at("3"), &Bytes::from("file 3"));
        assert_eq!((kept.take(&at("2")).unwrap(), kept.take(&at("3")).unwrap()), ("file 2".into(), "file 3".into()));
    }
}
