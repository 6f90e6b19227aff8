//! Removes unneeded metrics from manifests before they are decoded.
//!
//! Planning a change needs each file's path, counts and the bounds of its key columns. The `iceberg` crate decodes all
//! metrics of all columns, which takes ten times as long. So this module walks the Avro file by its own schema and
//! rewrites it without metrics of other columns; the crate decodes the rest. Files that are not understood here go to
//! the crate unchanged, including invalid ones.

use std::collections::HashSet;

use super::avro::{Codec, Header, Input, SYNC, Shape, inflate, put_number, put_sized};
use crate::storage::most_inflated;

/// Entries per output file: each output is decoded separately, so that threads share the work.
const PART_ENTRIES: u64 = 1024;

/// Rewrites the manifest's Avro file as one or more that have the same entries in the same order, with bounds of
/// `columns` only and without other metrics. `None` if the file is not supported.
pub(crate) fn trim(avro: &[u8], columns: &HashSet<i32>) -> Option<Vec<Vec<u8>>> {
    let mut input = Input { rest: avro };
    let header = Header::read(&mut input)?;
    let entry = Shape::of_entry(&header.schema)?;
    if !entry.is_sane() {
        return None;
    }
    let walk = Walk { columns };
    let mut parts = Vec::new();
    let (mut part, mut entries) = (header.written.clone(), 0_u64);
    let mut room = most_inflated();
    while !input.rest.is_empty() {
        let count = u64::try_from(input.number()?).ok()?;
        let stored = input.sized()?;
        if input.take(SYNC)? != header.sync {
            return None;
        }
        let inflated;
        let block = if header.codec == Codec::Null {
            stored
        } else {
            // Omitted parts are freed with each block.
            inflated = inflate(header.codec, stored, &mut most_inflated())?;
            &inflated
        };
        let mut block = Input { rest: block };
        let mut kept = Vec::with_capacity(block.rest.len() / 4);
        for _ in 0..count {
            walk.copy(&entry, &mut block, &mut kept)?;
        }
        if !block.rest.is_empty() {
            return None;
        }
        room = room.checked_sub(u64::try_from(kept.len()).ok()?)?;
        put_number(&mut part, i64::try_from(count).ok()?);
        put_sized(&mut part, &kept)?;
        part.extend_from_slice(header.sync);
        entries = entries.checked_add(count)?;
        if entries >= PART_ENTRIES {
            parts.push(std::mem::replace(&mut part, header.written.clone()));
            entries = 0;
        }
    }
    if entries > 0 || parts.is_empty() {
        parts.push(part);
    }
    Some(parts)
}

struct Walk<'a> {
    columns: &'a HashSet<i32>,
}

impl Walk<'_> {
    /// Copies a value, except for omitted parts.
    fn copy(&self, shape: &Shape, input: &mut Input<'_>, kept: &mut Vec<u8>) -> Option<()> {
        let before = input.rest;
        match shape {
            Shape::Record(fields) => return fields.iter().try_for_each(|field| self.copy(field, input, kept)),
            Shape::LeftOut(branches, null) => {
                input.skip_union(branches)?;
                put_number(kept, i64::try_from(*null).ok()?);
                return Some(());
            }
            Shape::Bounds(branches) => {
                let place = input.number()?;
                let branch = branches.get(usize::try_from(place).ok()?)?;
                if let Shape::Array(item) = branch
                    && let Shape::Record(pair) = &**item
                    && matches!(pair.as_slice(), [Shape::Number, Shape::Sized])
                {
                    put_number(kept, place);
                    return self.copy_bounds(input, kept);
                }
                input.skip(branch)?;
            }
            other => input.skip(other)?,
        }
        kept.extend_from_slice(before.get(..before.len().checked_sub(input.rest.len())?)?);
        Some(())
    }

    fn copy_bounds(&self, input: &mut Input<'_>, kept: &mut Vec<u8>) -> Option<()> {
        let mut bounds: Vec<(i64, &[u8])> = Vec::new();
        while let Some(count) = input.block()? {
            for _ in 0..count {
                let (id, bound) = (input.number()?, input.sized()?);
                if i32::try_from(id).is_ok_and(|id| self.columns.contains(&id)) {
                    bounds.push((id, bound));
                }
            }
        }
        if !bounds.is_empty() {
            put_number(kept, i64::try_from(bounds.len()).ok()?);
            for (id, bound) in bounds {
                put_number(kept, id);
                put_sized(kept, bound)?;
            }
        }
        put_number(kept, 0);
        Some(())
    }
}

#[cfg(test)]
#[path = "prune_metrics_tests.rs"]
mod tests;
