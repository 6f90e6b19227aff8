//! Time limits for determining the outcome of a commit.

use std::time::Duration;

/// Time limits for determining the outcome of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The pause after the first attempt; it doubles each time. 100 ms: most outages are a lost connection.
    pub first_pause: Duration,
    /// The maximum pause. 5 s: not too often for a catalog that is restarting.
    pub longest_pause: Duration,
    /// How long to continue if the table can't be loaded. 30 s: a restart or failover of a catalog.
    pub reload: Duration,
    /// How long a commit of unknown outcome may be pending. 60 s: the usual time limit of gateways and servers for one
    /// request.
    pub in_flight: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            reload: Duration::from_secs(30),
            in_flight: Duration::from_mins(1),
        }
    }
}
