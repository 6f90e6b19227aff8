//! Merge-on-read: position deletes for old rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::spec::Struct;

use super::plan::Removed;
use super::work::Work;
use crate::error::Result;
use crate::table::{DeleteGroup, LiveDeleteFile, LiveFile, PartitionKey, conform, write_position_deletes};

/// Maximum number of delete files that apply to a data file before one replaces all of them. Every reader of the data
/// file reads them all, so this bounds the cost of a scan; merging them in each window would rewrite all positions
/// every time.
const DELETE_FILES: usize = 8;

/// The old rows in one partition of one spec.
struct Group<'a> {
    spec_id: i32,
    partition: &'a Struct,
    files: Vec<(&'a LiveFile, Vec<u64>)>,
}

/// Writes position deletes, one file per partition. If data files have accumulated many delete files, the new one also
/// contains their positions in live data files and replaces them. Synchronous: for a thread that may wait.
pub(super) fn write_deletes(work: &Work, positions: Vec<Vec<u64>>) -> Result<Removed> {
    let mut groups: BTreeMap<usize, Group<'_>> = BTreeMap::new();
    let mut known: HashMap<(i32, PartitionKey), usize> = HashMap::new();
    for (live, positions) in work.live.files.iter().zip(positions) {
        let next = known.len();
        let number = *known.entry((live.spec_id, PartitionKey::from(live.file.partition()))).or_insert(next);
        let new = || Group { spec_id: live.spec_id, partition: live.file.partition(), files: Vec::new() };
        groups.entry(number).or_insert_with(new).files.push((live, positions));
    }
    let mut removed = Removed::default();
    let mut written = Vec::new();
    for mut group in groups.into_values() {
        if group.files.iter().all(|(_, positions)| positions.is_empty()) {
            continue;
        }
        let gathered = group.files.iter().any(|(live, _)| live.deletes.len() >= DELETE_FILES);
        if gathered {
            take_in(work, &mut group, &mut removed.deletes_removed)?;
        }
        let files = group.files.into_iter().filter(|(_, positions)| !positions.is_empty());
        written.push(DeleteGroup {
            spec_id: group.spec_id,
            partition: conform(&work.base.metadata, &work.table.schema, group.spec_id, group.partition),
            files: files.map(|(live, positions)| (live.file.file_path().to_owned(), positions)).collect(),
        });
    }
    let spec = work.write_spec();
    removed.delete_files =
        write_position_deletes(&work.base.file_io, &work.handle, &spec.paths, 0, written, &spec.options())?;
    let bytes = removed.delete_files.iter().map(|(_, file)| file.file_size_in_bytes()).sum();
    work.progress.add_bytes_written(bytes);
    Ok(removed)
}

/// Adds the positions of all delete files that apply in the group, and marks these files for removal.
///
/// A delete file applies only to data files of its own partition, unless it names its single data file. So once all
/// data files of the group have its positions, it is not needed any more.
fn take_in(work: &Work, group: &mut Group<'_>, replaced: &mut Vec<Arc<LiveDeleteFile>>) -> Result<()> {
    let mut old: BTreeMap<String, Arc<LiveDeleteFile>> = BTreeMap::new();
    for (live, positions) in &mut group.files {
        positions.extend(work.live.deletes.positions(live)?.as_slice());
        for delete in &live.deletes {
            old.insert(delete.file.file_path().to_owned(), delete.clone());
        }
    }
    replaced.extend(old.into_values());
    Ok(())
}
