//! Tasks over the files of a full export: observe them, or load them into data files.
//!
//! A task is a plain value and so is what it returns. Inside it runs a stream: inflate, hash, split, parse into columns,
//! collect a run up to the task's memory, sort it by key, write it as one data file a partition.

mod duplicates;
mod observe;
mod order;
mod partitions;
mod run;
mod spread;
mod task;
mod writer;

pub(crate) use duplicates::key_text;
pub use observe::{Observations, observe_files};
pub use partitions::{DistinctPartitions, MAX_PARTITIONS};
pub use run::Load;
pub(crate) use spread::{Spread, Task};
pub use task::Loaded;
pub(crate) use task::append as append_item;
pub use writer::{KeyOrder, RunWriter, Shares};

use crate::attribute::Parser;
use crate::error::{Error, Result};

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
