//! Merges small manifests: every commit adds some, and every reader reads all of them.
//!
//! Only manifests of the same kind, partition spec and schema are merged, so that partitions and bounds of entries keep
//! their meaning. Entries keep their sequence numbers; entries deleted by earlier snapshots are dropped.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{Manifest, ManifestContentType, ManifestFile};

use super::avro_check::load_manifest;
use super::read::check_whole;
use super::write::Output;
use crate::error::{Error, Result};

/// Table property: number of small manifests of one kind from which they are merged.
pub const MIN_COUNT: &str = "commit.manifest.min-count-to-merge";
/// Table property: target size of a merged manifest, in bytes.
pub const TARGET_BYTES: &str = "commit.manifest.target-size-bytes";

/// When manifests are merged, and their target size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestLimits {
    /// Number of small manifests of one kind from which they are merged; default 100, as in Iceberg Java.
    pub min_count: usize,
    /// Bytes of a merged manifest; smaller ones are small. Default 8 MiB, as in Iceberg Java.
    pub target_bytes: i64,
}

impl ManifestLimits {
    /// The limits from the table's properties.
    pub fn of_table(properties: &HashMap<String, String>) -> Result<Self> {
        let number =
            |name: &str, default: i64| match properties.get(name) {
                None => Ok(default),
                Some(text) => text.trim().parse::<i64>().ok().filter(|number| *number > 0).ok_or_else(|| {
                    Error::usage(format!("the table property {name} is {text:?}, not a number above 0"))
                }),
            };
        let min_count = usize::try_from(number(MIN_COUNT, 100)?).unwrap_or(usize::MAX).max(2);
        Ok(Self { min_count, target_bytes: number(TARGET_BYTES, 8 * 1024 * 1024)? })
    }

    /// Whether some of these manifests are to be merged.
    pub fn are_passed(self, manifests: &[ManifestFile]) -> bool {
        kinds(manifests, self).values().any(|places| places.len() >= self.min_count)
    }
}

/// Indexes of small manifests, by kind and spec.
fn kinds(manifests: &[ManifestFile], limits: ManifestLimits) -> HashMap<(bool, i32), Vec<usize>> {
    let mut kinds: HashMap<(bool, i32), Vec<usize>> = HashMap::new();
    for (place, manifest) in manifests.iter().enumerate() {
        let lives = manifest.has_added_files() || manifest.has_existing_files();
        if lives && manifest.manifest_length < limits.target_bytes {
            let is_data = manifest.content == ManifestContentType::Data;
            kinds.entry((is_data, manifest.partition_spec_id)).or_default().push(place);
        }
    }
    kinds
}

/// Returns the manifests, with small ones merged if there are too many. Manifests written by this snapshot are kept,
/// since they record what it removed.
pub(crate) async fn merge(
    output: &Output,
    manifests: Vec<ManifestFile>,
    limits: ManifestLimits,
) -> Result<Vec<ManifestFile>> {
    let mut taken = vec![false; manifests.len()];
    let mut merged = Vec::new();
    for places in kinds(&manifests, limits).into_values().filter(|places| places.len() >= limits.min_count) {
        let mut open: Vec<(Vec<usize>, Vec<Manifest>, i64)> = Vec::new();
        let mut full = Vec::new();
        for place in places {
            let Some(manifest) = manifests.get(place) else { continue };
            if manifest.added_snapshot_id == output.snapshot_id {
                continue;
            }
            let read = load_manifest(&output.file_io, manifest).await?;
            check_whole(manifest, read.entries())?;
            let same = |other: &Manifest| {
                other.metadata().schema().as_struct() == read.metadata().schema().as_struct()
                    && other.metadata().partition_spec().fields() == read.metadata().partition_spec().fields()
            };
            // It is what the list says.
            let length = manifest.manifest_length.clamp(0, limits.target_bytes);
            let Some(at) = open.iter().position(|(_, bin, _)| bin.first().is_some_and(same)) else {
                open.push((vec![place], vec![read], length));
                continue;
            };
            if open.get(at).is_some_and(|(.., bytes)| bytes.saturating_add(length) > limits.target_bytes) {
                full.push(open.swap_remove(at));
                open.push((vec![place], vec![read], length));
            } else if let Some((places, bin, bytes)) = open.get_mut(at) {
                places.push(place);
                bin.push(read);
                *bytes += length;
            }
            // One bin at a time is written, so that not all entries are in memory at once.
            for bin in full.drain(..) {
                write(output, &manifests, bin, &mut taken, &mut merged).await?;
            }
        }
        for bin in open {
            write(output, &manifests, bin, &mut taken, &mut merged).await?;
        }
    }
    merged.extend(manifests.into_iter().zip(taken).filter(|(_, taken)| !taken).map(|(manifest, _)| manifest));
    Ok(merged)
}

async fn write(
    output: &Output,
    manifests: &[ManifestFile],
    (places, bin, _): (Vec<usize>, Vec<Manifest>, i64),
    taken: &mut [bool],
    merged: &mut Vec<ManifestFile>,
) -> Result<()> {
    let Some((first, known)) = bin.first().zip(places.first().and_then(|place| manifests.get(*place))) else {
        return Ok(());
    };
    if bin.len() < 2 {
        return Ok(());
    }
    let spec = first.metadata().partition_spec().clone().with_spec_id(known.partition_spec_id);
    let mut writer = output.manifest(known.content, Arc::clone(first.metadata().schema()), spec)?;
    for entry in bin.into_iter().flat_map(|manifest| manifest.into_parts().0).filter(|entry| entry.is_alive()) {
        let (Some(sequence_number), Some(snapshot_id)) = (entry.sequence_number(), entry.snapshot_id()) else {
            return Err(Error::failed(format!("{} has no sequence number", entry.file_path())));
        };
        let file_sequence_number = entry.file_sequence_number;
        let file = Arc::try_unwrap(entry).map_or_else(|shared| shared.data_file.clone(), |own| own.data_file);
        writer.add_existing_file(file, snapshot_id, sequence_number, file_sequence_number)?;
    }
    merged.push(writer.write_manifest_file().await?);
    for place in places {
        if let Some(taken) = taken.get_mut(place) {
            *taken = true;
        }
    }
    Ok(())
}
