//! A snapshot's summary: its changes and the table's totals after it, as in Iceberg Java.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{DataContentType, DataFile, Operation, Struct, Summary};

/// Sums up the files that a snapshot adds and removes.
#[derive(Debug, Default)]
pub(crate) struct SummaryCounts {
    added: Counts,
    removed: Counts,
    partitions: HashSet<(i32, Struct)>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: u64,
    data_files: u64,
    records: u64,
    position_delete_files: u64,
    position_deletes: u64,
    equality_delete_files: u64,
    equality_deletes: u64,
}

impl Counts {
    fn take(&mut self, file: &DataFile) {
        self.bytes = self.bytes.saturating_add(file.file_size_in_bytes());
        let (files, rows) = match file.content_type() {
            DataContentType::Data => (&mut self.data_files, &mut self.records),
            DataContentType::PositionDeletes => (&mut self.position_delete_files, &mut self.position_deletes),
            DataContentType::EqualityDeletes => (&mut self.equality_delete_files, &mut self.equality_deletes),
        };
        *files = files.saturating_add(1);
        *rows = rows.saturating_add(file.record_count());
    }

    fn delete_files(&self) -> u64 {
        self.position_delete_files.saturating_add(self.equality_delete_files)
    }
}

impl SummaryCounts {
    pub(crate) fn add(&mut self, spec_id: i32, file: &DataFile) {
        self.added.take(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    pub(crate) fn remove(&mut self, spec_id: i32, file: &DataFile) {
        self.removed.take(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    /// The whole summary. Without a parent the totals start at 0. A total that the parent lacks, or that is not a
    /// number or would become negative, is omitted.
    pub(crate) fn finish(
        &self,
        operation: Operation,
        parent: Option<&Summary>,
        properties: HashMap<String, String>,
    ) -> Summary {
        let mut summary = properties;
        let (added, removed) = (&self.added, &self.removed);
        for (key, value) in [
            ("added-data-files", added.data_files),
            ("deleted-data-files", removed.data_files),
            ("added-records", added.records),
            ("deleted-records", removed.records),
            ("added-files-size", added.bytes),
            ("removed-files-size", removed.bytes),
            ("added-delete-files", added.delete_files()),
            ("removed-delete-files", removed.delete_files()),
            ("added-position-delete-files", added.position_delete_files),
            ("removed-position-delete-files", removed.position_delete_files),
            ("added-position-deletes", added.position_deletes),
            ("removed-position-deletes", removed.position_deletes),
            ("added-equality-delete-files", added.equality_delete_files),
            ("removed-equality-delete-files", removed.equality_delete_files),
            ("added-equality-deletes", added.equality_deletes),
            ("removed-equality-deletes", removed.equality_deletes),
        ] {
            if value > 0 {
                summary.insert(key.to_owned(), value.to_string());
            }
        }
        summary.insert("changed-partition-count".to_owned(), self.partitions.len().to_string());
        for (key, plus, minus) in [
            ("total-data-files", added.data_files, removed.data_files),
            ("total-delete-files", added.delete_files(), removed.delete_files()),
            ("total-records", added.records, removed.records),
            ("total-files-size", added.bytes, removed.bytes),
            ("total-position-deletes", added.position_deletes, removed.position_deletes),
            ("total-equality-deletes", added.equality_deletes, removed.equality_deletes),
        ] {
            let before = match parent {
                None => Some(0_u64),
                Some(parent) => parent.additional_properties.get(key).and_then(|text| text.parse().ok()),
            };
            match before.and_then(|before| before.checked_add(plus)?.checked_sub(minus)) {
                Some(total) => summary.insert(key.to_owned(), total.to_string()),
                None => summary.remove(key),
            };
        }
        Summary { operation, additional_properties: summary }
    }
}
