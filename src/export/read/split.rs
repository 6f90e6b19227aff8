//! The files of an export as tasks.

use crate::export::DataFileRef;

/// What a thread does at a time. A plain value.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Counts the tasks of a step; part of the names of data files.
    pub number: u32,
    /// The files, in order; `None`: whatever lines others hand on.
    pub(crate) files: Option<Vec<DataFileRef>>,
}

/// Cuts the files into tasks: about eight a thread, so that a slow one does not keep the others waiting, and none so
/// small that its data files would be.
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

/// Items of a file, if only guessed.
pub(crate) fn items(file: &DataFileRef) -> u64 {
    file.item_count.unwrap_or(LEAST_ITEMS)
}

/// Items that are worth a task, where tasks write files: fewer make files too small to be worth their place in a manifest.
pub(crate) const LEAST_ITEMS: u64 = 50_000;
