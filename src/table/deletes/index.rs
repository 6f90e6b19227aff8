//! Index from data files to the delete files that apply to them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::table::files::{LiveDeleteFile, LiveFile};
use crate::table::partition::key::PartitionKey;

/// Index of delete files by the data files to which they can apply.
#[derive(Default)]
pub(crate) struct DeleteIndex {
    /// Those with positions of one data file only. As in Iceberg Java, the path alone decides: it is unique in a table.
    by_path: HashMap<String, Vec<Arc<LiveDeleteFile>>>,
    by_partition: HashMap<(i32, PartitionKey), Vec<Arc<LiveDeleteFile>>>,
}

impl DeleteIndex {
    pub(crate) fn add(&mut self, delete: LiveDeleteFile) {
        let delete = Arc::new(delete);
        let list = if let Some(path) = delete.only_path() {
            self.by_path.entry(path).or_default()
        } else {
            let key = (delete.spec_id, PartitionKey::from(delete.file.partition()));
            self.by_partition.entry(key).or_default()
        };
        list.push(delete);
    }

    pub(crate) fn into_all(self) -> Vec<Arc<LiveDeleteFile>> {
        self.by_path.into_values().chain(self.by_partition.into_values()).flatten().collect()
    }

    /// Delete files that apply: not older than the data, in its partition, and with its path within their bounds.
    pub(crate) fn of(&self, live: &LiveFile) -> Vec<Arc<LiveDeleteFile>> {
        if self.by_path.is_empty() && self.by_partition.is_empty() {
            return Vec::new();
        }
        let path = live.file.file_path();
        let own = self.by_path.get(path).into_iter().flatten();
        let shared =
            self.by_partition.get(&(live.spec_id, PartitionKey::from(live.file.partition()))).into_iter().flatten();
        own.chain(shared.filter(|delete| delete.may_reference(path)))
            .filter(|delete| live.sequence_number <= delete.sequence_number)
            .cloned()
            .collect()
    }
}
