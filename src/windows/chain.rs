//! Chains of windows, each starting where the previous one ends.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::window::Window;
use crate::time::Time;

/// The rank of continuing with a window: how far the chain reaches, and with how few windows.
pub(super) type Rank = (Time, Reverse<usize>);

struct Link {
    rank: Rank,
    next: Option<usize>,
}

/// The best chain from each window on.
pub(super) struct Chains {
    /// By window; `None` for windows that must not be applied.
    links: Vec<Option<Link>>,
    /// The best of the windows that start at a time.
    starts: HashMap<Time, usize>,
}

impl Chains {
    /// `order` has the windows by start, then end; of equal chains the first in this order wins.
    pub(super) fn new(windows: &[Window], order: &[usize], usable: impl Fn(&Window) -> bool) -> Self {
        let mut chains = Self { links: windows.iter().map(|_| None).collect(), starts: HashMap::new() };
        // A window that continues another one starts later, so it is processed first.
        for &index in order.iter().rev() {
            let window = &windows[index];
            if !usable(window) {
                continue;
            }
            let next = chains.starts.get(&window.to).copied();
            let rank = match next.and_then(|next| chains.rank(next)) {
                Some((reach, Reverse(count))) => (reach, Reverse(count + 1)),
                None => (window.to, Reverse(1)),
            };
            chains.links[index] = Some(Link { rank, next });
            let best = chains.starts.get(&window.from).and_then(|best| chains.rank(*best));
            if best.is_none_or(|best| rank >= best) {
                chains.starts.insert(window.from, index);
            }
        }
        chains
    }

    /// The window with which to continue from a time on.
    pub(super) fn at(&self, time: Time) -> Option<usize> {
        self.starts.get(&time).copied()
    }

    /// `None` if the window must not be applied.
    pub(super) fn rank(&self, window: usize) -> Option<Rank> {
        self.links.get(window)?.as_ref().map(|link| link.rank)
    }

    /// The chain that starts with a window.
    pub(super) fn from(&self, window: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(window), |window| self.links.get(*window)?.as_ref()?.next)
    }
}
