//! Finds the old rows of changed keys, then writes the new images and the deletes or rewritten files that remove the
//! old rows.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::concat_batches;

use super::changes::Newest;
use super::deletes::write_deletes;
use super::images::{Images, NewImages, write_images};
use super::locate::locate;
use super::plan::{Removed, RowCounts};
use super::policy::WriteMode;
use super::rewrite::rewrite_files;
use super::work::Work;
use crate::error::{Error, Result};
use crate::runtime::thread::spawn;

/// Bytes that the join's table takes for a key besides the key itself.
const JOINED_BYTES: usize = 24;

/// What the changes of one window come to.
#[derive(Default)]
pub(super) struct Applied {
    pub counts: RowCounts,
    pub images: NewImages,
    pub removed: Removed,
}

/// Consumes all changes, starting with the batch `first`.
pub(super) async fn apply(
    work: &Work,
    first: RecordBatch,
    mut newest: Newest,
    mut images: Images,
    write_mode: WriteMode,
) -> Result<Applied> {
    let mut old = OldRows::new(work);
    let mut next = Some(first);
    while let Some(batch) = next {
        old.add(batch).await?;
        next = newest.next().await?;
    }
    old.locate().await?;
    let OldRows { counts, positions, .. } = old;
    images.superseded = newest.into_superseded()?;
    let new_images = counts.inserted + counts.updated;
    let images = if new_images > 0 { write_images(work, images, new_images).await? } else { NewImages::default() };
    let removed = match write_mode {
        WriteMode::MergeOnRead => {
            let work = work.clone();
            spawn(move || write_deletes(&work, positions))?.await??
        }
        WriteMode::CopyOnWrite => rewrite_files(work, positions).await?,
    };
    Ok(Applied { counts, images, removed })
}

/// Collects the positions of the old rows of changed keys.
struct OldRows<'a> {
    work: &'a Work,
    /// Keys, each with its kind of change, that have not been looked up yet.
    chunk: Vec<RecordBatch>,
    chunk_bytes: usize,
    /// Positions by data file, in the order of [`LiveKeys::files`](super::locate::LiveKeys).
    positions: Vec<Vec<u64>>,
    counts: RowCounts,
}

impl<'a> OldRows<'a> {
    fn new(work: &'a Work) -> Self {
        let positions = vec![Vec::new(); work.live.files.len()];
        Self { work, chunk: Vec::new(), chunk_bytes: 0, positions, counts: RowCounts::default() }
    }

    /// Takes the newest changes of some keys.
    async fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let [.., deleted] = batch.columns() else {
            return Err(Error::failed("changes without their kind"));
        };
        let kept = batch.num_rows() - deleted.as_boolean().true_count();
        // Counts as an insert until its old row is found.
        self.counts.inserted += u64::try_from(kept).unwrap_or(u64::MAX);
        self.chunk_bytes += batch.get_array_memory_size() + batch.num_rows() * JOINED_BYTES;
        self.chunk.push(batch);
        if self.chunk_bytes >= self.work.chunk_bytes {
            self.locate().await?;
        }
        Ok(())
    }

    /// Finds the old rows of the keys collected so far.
    async fn locate(&mut self) -> Result<()> {
        self.chunk_bytes = 0;
        let chunk = std::mem::take(&mut self.chunk);
        let live = &self.work.live;
        let Some(first) = chunk.first().filter(|_| !live.files.is_empty()) else { return Ok(()) };
        let mut keys = concat_batches(&first.schema(), &chunk)?;
        drop(chunk);
        let kinds: BooleanArray = keys.remove_column(live.key_fields.len()).as_boolean().clone();
        let located = locate(&self.work.engine, live, &keys).await?;
        for (found, deleted) in located.found.iter().zip(kinds.values()) {
            match (found, deleted) {
                (true, true) => self.counts.deleted += 1,
                (true, false) => {
                    self.counts.updated += 1;
                    self.counts.inserted = self.counts.inserted.saturating_sub(1);
                }
                (false, _) => {}
            }
        }
        for (file, position) in located.rows {
            let list = self.positions.get_mut(file as usize).ok_or_else(|| Error::failed("a row of no data file"))?;
            list.push(position);
        }
        Ok(())
    }
}
