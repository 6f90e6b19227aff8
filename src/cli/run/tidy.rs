//! What is left to do when a command has ended or was stopped.

use std::time::Duration;

use super::stores::Stores;
use ddb_iceberg::runtime::run::Run;

/// How long a command that was stopped may hold on to its report.
pub(crate) const REPORT_WAIT: Duration = Duration::from_millis(200);

/// How long tidying up may take at the end: a scheduler that stops a program kills it after a while, often 30 s.
pub(crate) const TIDY_WAIT: Duration = Duration::from_secs(20);

/// Leaves nothing behind that no table names. What a commit that is out may name stays.
pub(crate) async fn tidy_up(stores: &Stores, run: &Run, failed: bool) {
    if failed && !run.committing() {
        stores.take_back(run).await;
    }
    stores.close().await;
}
