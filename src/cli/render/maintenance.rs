//! The results of maintenance as text.

use ddb_iceberg::commands::{MaintenanceReport, Status};

use super::escape;
use super::units::{bytes, count};

/// Maximum number of orphans that are printed; the JSON result has all of them.
const MAX_FILE_LINES: usize = 100;

/// One sentence.
pub(crate) fn sentence(done: &MaintenanceReport) -> String {
    match (done.action, done.status) {
        (action, Status::Failed) => format!("{action} failed; see the warning."),
        ("orphans", Status::NothingToDo) => "no orphans.".to_owned(),
        (_, Status::NothingToDo) => "nothing to do.".to_owned(),
        ("compact", status) => {
            let verb = if status == Status::DryRun { "would compact" } else { "compacted" };
            let mut text =
                format!("{verb} {} ({})", count(done.data_files_removed, "data file"), bytes(done.bytes_removed));
            if status != Status::DryRun {
                text = format!("{text} into {} ({})", done.data_files_added, bytes(done.bytes_added));
            }
            if done.delete_files_removed > 0 {
                text = format!("{text}, {} no longer needed", count(done.delete_files_removed, "delete file"));
            }
            text + "."
        }
        ("expire", status) => {
            let (verb, deleted) = match status {
                Status::DryRun => ("would expire", "would be deleted"),
                _ => ("expired", "deleted"),
            };
            let references = match done.references_removed.as_slice() {
                [] => String::new(),
                names => {
                    let names: Vec<_> = names.iter().map(|name| escape::line(name)).collect();
                    format!(" and the references {}", names.join(", "))
                }
            };
            let (snapshots, files) = (count(done.snapshots_removed, "snapshot"), count(done.files_deleted, "file"));
            format!("{verb} {snapshots}{references}; {files} {deleted}.")
        }
        (_, Status::DryRun) => {
            let found = count(done.files.len(), "orphan");
            format!("found {found} ({}); nothing was deleted. Delete with --delete.", bytes(done.bytes_removed))
        }
        _ => format!("deleted {} of {}.", done.files_deleted, count(done.files.len(), "orphan")),
    }
}

/// The orphans, one per line.
pub(crate) fn files(done: &MaintenanceReport) -> Vec<String> {
    let shown = done.files.iter().take(MAX_FILE_LINES).map(|file| format!("  {}", escape::line(file)));
    let more = done.files.len().saturating_sub(MAX_FILE_LINES);
    shown.chain((more > 0).then(|| format!("  and {} more", count(more, "file")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let mut done = MaintenanceReport::new("compact", Status::Applied);
        assert_eq!(sentence(&MaintenanceReport::new("compact", Status::NothingToDo)), "nothing to do.");
        (done.data_files_removed, done.data_files_added, done.delete_files_removed) = (16, 1, 2);
        (done.bytes_removed, done.bytes_added) = (2_000, 1_000);
        assert_eq!(
            sentence(&done),
            "compacted 16 data files (2.0 kB) into 1 (1.0 kB), 2 delete files no longer needed."
        );
        let mut done = MaintenanceReport::new("expire", Status::Applied);
        (done.snapshots_removed, done.files_deleted) = (1, 3);
        assert_eq!(sentence(&done), "expired 1 snapshot; 3 files deleted.");
        done.references_removed = vec!["old".to_owned()];
        done.status = Status::DryRun;
        assert_eq!(sentence(&done), "would expire 1 snapshot and the references old; 3 files would be deleted.");
        let mut done = MaintenanceReport::new("orphans", Status::DryRun);
        done.files = (0..101).map(|n| format!("f{n}\u{1b}")).collect();
        assert_eq!(sentence(&done), "found 101 orphans (0 B); nothing was deleted. Delete with --delete.");
        let lines = files(&done);
        assert_eq!((lines.len(), lines[0].as_str(), lines[100].as_str()), (101, "  f0\\u{1b}", "  and 1 file more"));
    }
}
