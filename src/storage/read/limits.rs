//! Limits of files that are read whole, and of bytes that are inflated or fetched at once, by the available memory. The
//! locations of files and their declared sizes come from a catalog, and from whoever writes to the store.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// Minimum limit of a file that is read whole: metadata of tables with thousands of snapshots, manifests of tens of
/// thousands of files. Parsed, it takes a few times as much memory.
const LEAST: u64 = 64 << 20;
/// Fraction of the memory that one such file may have.
const PART: u64 = 8;
/// Minimum limit of a fetch from a data file: a row group of a few columns is fetched whole.
const LEAST_OF_DATA: u64 = 1 << 30;

/// The process's memory limit: all parts of a process share its memory.
static MEMORY: AtomicU64 = AtomicU64::new(0);

/// Sets the memory of this process, in bytes. Before that, the minimum is assumed.
pub fn set_memory_limit(bytes: u64) {
    MEMORY.store(bytes, Ordering::Relaxed);
}

/// Maximum bytes of a file that is read whole.
pub(crate) fn most_of_a_file() -> u64 {
    (MEMORY.load(Ordering::Relaxed) / PART).max(LEAST)
}

/// Maximum bytes of such a file after inflating.
pub(crate) fn most_inflated() -> u64 {
    most_of_a_file().saturating_mul(2)
}

/// Maximum bytes that are fetched at once from a data file.
pub(crate) fn most_of_data() -> u64 {
    MEMORY.load(Ordering::Relaxed).max(LEAST_OF_DATA)
}

/// The error for a larger file. `what` is as in "the file has 3 bytes".
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
