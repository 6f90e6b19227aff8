//! Divides the files of an export into splits, one per task.

use serde::{Deserialize, Serialize};

use crate::export::DataFileRef;

/// The part of an export that one task reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Split {
    /// Its number in the stage; part of the names of data files.
    pub number: u32,
    /// The files, in order; `None`: lines that others pass on.
    pub(crate) files: Option<Vec<DataFileRef>>,
}

/// Divides the files into splits: about eight per thread, so that a slow one does not delay the others, but none so
/// small that its data files would be too small.
pub(crate) fn split(files: &[DataFileRef], threads: usize) -> Vec<Vec<DataFileRef>> {
    let total = files.iter().map(items).sum::<u64>();
    let wanted = u64::try_from(threads.saturating_mul(8)).unwrap_or(u64::MAX).max(1);
    let share = (total / wanted).max(LEAST_ITEMS);
    let mut tasks = Vec::new();
    let mut task = Vec::new();
    let mut gathered = 0;
    for file in files {
        task.push(file.clone());
        gathered += items(file);
        if gathered >= share {
            tasks.push(std::mem::take(&mut task));
            gathered = 0;
        }
    }
    if !task.is_empty() {
        tasks.push(task);
    }
    tasks
}

/// Estimated number of items in a file.
pub(crate) fn items(file: &DataFileRef) -> u64 {
    file.item_count.unwrap_or(LEAST_ITEMS)
}

/// Minimum number of items per task, if tasks write files: smaller files are not worth their manifest entries.
pub(crate) const LEAST_ITEMS: u64 = 50_000;
