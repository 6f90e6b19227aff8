//! Tasks over the files of a full export: observe them, or load them into data files.
//!
//! A task is a plain value and so is what it returns. Inside it runs a stream: inflate, hash, split, parse into columns,
//! collect a run up to the task's memory, sort it by key, write it as one data file a partition.

mod duplicates;
mod observe;
mod order;
mod partitions;
mod run;
mod task;
mod writer;

pub(crate) use duplicates::key_text;
pub use observe::{Observations, ObserveTask};
pub use partitions::{DistinctPartitions, MAX_PARTITIONS};
pub use run::Load;
pub use task::Loaded;
pub(crate) use task::append as append_item;
pub use writer::{KeyOrder, RunWriter, Shares};

use crate::attribute::Parser;
use crate::error::{Error, Result};
use crate::export::DataFileRef;

/// Cuts the files into tasks: about eight a thread, so that a slow one does not keep the others waiting, and none so
/// small that its data files would be.
pub fn split(files: &[DataFileRef], threads: usize) -> Vec<Vec<DataFileRef>> {
    /// A task of fewer items makes files too small to be worth their place in a manifest.
    const LEAST_ITEMS: u64 = 50_000;
    let total: u64 = files.iter().map(|f| f.item_count.unwrap_or(LEAST_ITEMS)).sum();
    let wanted = u64::try_from(threads.saturating_mul(8)).unwrap_or(u64::MAX).max(1);
    let share = (total / wanted).max(LEAST_ITEMS);
    let mut tasks = Vec::new();
    let mut task = Vec::new();
    let mut items = 0;
    for file in files {
        task.push(file.clone());
        items += file.item_count.unwrap_or(LEAST_ITEMS);
        if items >= share {
            tasks.push(std::mem::take(&mut task));
            items = 0;
        }
    }
    if !task.is_empty() {
        tasks.push(task);
    }
    tasks
}

/// Enters `{"Item":`, the parser then standing before the item's attributes.
fn begin_item(parser: &mut Parser<'_>) -> Result<()> {
    let mut first = true;
    let mut scratch = String::new();
    parser.begin_object()?;
    match parser.next_name(&mut first, &mut scratch)? {
        Some("Item") => Ok(()),
        Some("Keys" | "Metadata" | "NewImage" | "OldImage") => {
            Err(Error::input("the line holds a change of an incremental export, not an Item")
                .advice("Give incremental exports to `incremental`"))
        }
        _ => Err(Error::input("the line is not an item like {\"Item\":{…}}")),
    }
}

/// Leaves the object that [`begin_item`] entered.
fn end_item(parser: &mut Parser<'_>) -> Result<()> {
    let mut first = false;
    if parser.next_name(&mut first, &mut String::new())?.is_some() {
        return Err(Error::input("the line holds more than an Item"));
    }
    parser.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Location;

    fn file(position: u32, items: u64) -> DataFileRef {
        DataFileRef {
            location: Location::parse(&format!("/x/{position}")).unwrap(),
            name: position.to_string(),
            item_count: Some(items),
            md5: None,
            position,
        }
    }

    #[test]
    fn small_files_share_a_task_and_order_is_kept() {
        let files: Vec<_> = (0..10_000).map(|n| file(n, 100)).collect();
        let tasks = split(&files, 2);
        assert_eq!(tasks.concat(), files);
        assert!((10..=20).contains(&tasks.len()), "{}", tasks.len());
        assert_eq!(split(&(0..16).map(|n| file(n, 62_500)).collect::<Vec<_>>(), 2).len(), 16);
        assert!(split(&[], 2).is_empty());
    }
}
