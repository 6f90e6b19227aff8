//! Cleanup after a command has ended or was stopped.

use std::time::Duration;

use ddb_iceberg::runtime::run::Run;

use super::stores::Stores;

/// How long a stopped command may keep its report.
pub(crate) const REPORT_WAIT: Duration = Duration::from_millis(200);

/// Time limit of the cleanup: a scheduler that stops a program kills it after a while, often 30 s.
pub(crate) const TIDY_WAIT: Duration = Duration::from_secs(20);

/// Deletes files that no table refers to. Files of a pending commit are kept.
pub(crate) async fn tidy_up(stores: &Stores, run: &Run, failed: bool) {
    if failed && !run.committing() {
        stores.take_back(run).await;
    }
    stores.close().await;
}
