//! Chains of windows that join, one starting where the one before ends.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::window::Window;
use crate::time::Time;

/// How good it is to go on with a window: the chain from it on reaches so far, with so few windows.
pub(super) type Rank = (Time, Reverse<usize>);

struct Link {
    rank: Rank,
    next: Option<usize>,
}

/// The best chain from each window on.
pub(super) struct Chains {
    /// By window; `None` for those that must not be applied.
    links: Vec<Option<Link>>,
    /// The best window of those that start at a time.
    starts: HashMap<Time, usize>,
}

impl Chains {
    /// `order` has the windows by start, then end; of chains that are equally good the first in this order is taken.
    pub(super) fn new(windows: &[Window], order: &[usize], usable: impl Fn(&Window) -> bool) -> Self {
        let mut chains = Self { links: windows.iter().map(|_| None).collect(), starts: HashMap::new() };
        // A window that another one goes on with starts later, so it comes first here.
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

    /// The window to go on with from a time on.
    pub(super) fn at(&self, time: Time) -> Option<usize> {
        self.starts.get(&time).copied()
    }

    /// `None` if the window must not be applied.
    pub(super) fn rank(&self, window: usize) -> Option<Rank> {
        self.links.get(window)?.as_ref().map(|link| link.rank)
    }

    /// The chain that begins with a window.
    pub(super) fn from(&self, window: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(window), |window| self.links.get(*window)?.as_ref()?.next)
    }
}
