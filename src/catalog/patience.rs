//! How long the outcome of a commit is looked for.

use std::time::Duration;

/// How long to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The pause after the first look; it doubles with each. 100 ms: most outages are a lost connection.
    pub first_pause: Duration,
    /// The longest pause. 5 s: seldom enough for a catalog that is coming up again.
    pub longest_pause: Duration,
    /// How long to go on when the table can't be loaded. 30 s: a restart or a fail-over of a catalog.
    pub reload: Duration,
    /// How long a commit of unknown outcome may be under way. 60 s: the time limit that gateways and servers commonly
    /// put on one request.
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
