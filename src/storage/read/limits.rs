//! Files that are read whole, and what is inflated or fetched at once, are no larger than there is memory for: where they lie
//! and what they say of themselves comes from a catalog, and from whoever writes to the store.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// What is read whole with the least memory: metadata of tables with thousands of snapshots, manifests of tens of thousands
/// of files. Read, it takes a few times as much.
const LEAST: u64 = 64 << 20;
/// The share of the memory that one such file may have.
const PART: u64 = 8;
/// What is fetched of a data file at once, with little memory: one row group of a few columns is wanted whole.
const LEAST_OF_DATA: u64 = 1 << 30;

/// The process's memory limit: memory is what all parts of a process share.
static MEMORY: AtomicU64 = AtomicU64::new(0);

/// Says how much memory this process has, in bytes. Until then it is taken for the least.
pub fn set_memory_limit(bytes: u64) {
    MEMORY.store(bytes, Ordering::Relaxed);
}

/// The bytes that a file may have that is read whole.
pub(crate) fn most_of_a_file() -> u64 {
    (MEMORY.load(Ordering::Relaxed) / PART).max(LEAST)
}

/// The bytes that such a file may inflate to.
pub(crate) fn most_inflated() -> u64 {
    most_of_a_file().saturating_mul(2)
}

/// The bytes that are fetched at once of a data file.
pub(crate) fn most_of_data() -> u64 {
    MEMORY.load(Ordering::Relaxed).max(LEAST_OF_DATA)
}

/// The error for more than that. `what` is as in "the file has 3 bytes".
pub(crate) fn too_large(what: &str, most: u64) -> Error {
    Error::failed(format!("{what}, and at most {} MiB are read at once", most >> 20))
        .advice("If it is what it should be, give more memory (--memory-limit)")
}

/// Refuses a file that is too large to be read whole.
pub(crate) fn check_size(location: &str, size: u64) -> Result<(), Error> {
    let most = most_of_a_file();
    if size > most {
        return Err(too_large(&format!("the file has {size} bytes"), most).in_file(location));
    }
    Ok(())
}
