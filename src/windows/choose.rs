//! Chooses the windows to apply: a pure function of plain values.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::chain::{Chains, Rank};
use super::next::exportable;
use super::window::Window;
use crate::table::watermark::{Gap, Watermark};
use crate::time::{self, Time};

/// What the user allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allow {
    /// Applying a window that starts after the watermark.
    pub gap: bool,
    /// Applying a window that starts before the watermark and ends after it.
    pub overlap: bool,
}

/// Exports with unknown windows, which may be the missing ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unseen {
    /// Number of exports that have not completed, of any table.
    pub pending: u64,
    /// The start time of the newest of these exports: its window had ended by then.
    pub newest_pending: Option<Time>,
    /// Whether an export's manifests are damaged.
    pub damaged: bool,
}

/// A window to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its index.
    pub window: usize,
    /// The gap before it, to be recorded in the table.
    pub gap: Option<Gap>,
    /// Warnings for the user.
    pub warning: Option<String>,
}

/// A window that is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its index.
    pub window: usize,
    /// The reason.
    pub reason: String,
}

/// Why no further window can be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A gap: the next window starts later.
    Gap {
        /// Number of exports that have not completed: one of them may fill the gap.
        pending: u64,
    },
    /// An overlap: the window starts before the watermark and ends after it, and no window starts at the watermark.
    Overlap {
        /// As for a gap.
        pending: u64,
    },
    /// The window contains changes from a recorded gap: applying it now would overwrite newer rows with old images.
    Late(Gap),
    /// The time up to which the table is complete is unknown.
    NoWatermark {
        /// Number of exports that have not completed: one of them may be earlier.
        pending: u64,
    },
}

/// The place where applying windows stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The window that can't be applied.
    pub window: usize,
    /// The reason.
    pub why: Why,
    /// The time up to which the table is complete at this point.
    pub reached: Option<Time>,
    /// The window to export in order to continue.
    pub missing: Option<Window>,
}

/// The decision for each window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Windows to apply, in order.
    pub due: Vec<Due>,
    /// Windows that the table already has.
    pub already: Vec<usize>,
    /// Windows that are skipped, since others are applied for their time.
    pub skipped: Vec<Skipped>,
    /// Windows after the first stop.
    pub waiting: Vec<usize>,
    /// Errors to report after the due windows are applied: the first gap or overlap, then late windows.
    pub stops: Vec<Stop>,
    /// The watermark after the due windows.
    pub reached: Option<Time>,
}

/// A recorded gap's times; if they can't be parsed, all of time.
struct Recorded<'a> {
    gap: &'a Gap,
    span: Window,
}

impl<'a> Recorded<'a> {
    fn new(gap: &'a Gap) -> Self {
        let span = match (time::parse(&gap.from), time::parse(&gap.to)) {
            (Some(from), Some(to)) => Window { from, to },
            _ => Window { from: Time::MIN_UTC, to: Time::MAX_UTC },
        };
        Self { gap, span }
    }

    fn is_begun_by(&self, window: &Window) -> bool {
        // Windows start at whole seconds; a gap may start at the milliseconds of a load.
        self.span.from.timestamp() <= window.from.timestamp() && window.from < self.span.to
    }
}

/// Whether a window starts in a recorded gap: it may be the missing one, but it comes too late.
pub(crate) fn late(gaps: &[Gap], window: &Window) -> bool {
    gaps.iter().map(Recorded::new).any(|gap| gap.is_begun_by(window))
}

/// Chooses windows from the watermark on: the chain that reaches furthest, and among equals the one with the fewest
/// windows. If no window continues, skips an overlap or a gap as far as this is allowed, and continues with the chain
/// after it.
///
/// `windows` are in the caller's order; among equals the first wins.
pub fn choose(mark: Option<Watermark>, gaps: &[Gap], windows: &[Window], unseen: &Unseen, allow: Allow) -> Choice {
    let gaps: Vec<_> = gaps.iter().map(Recorded::new).collect();
    let recorded = |window: &Window| gaps.iter().find(|gap| gap.span.touches(window));
    let mut order: Vec<usize> = (0..windows.len()).collect();
    order.sort_by_key(|index| (windows[*index], *index));
    let chains = Chains::new(windows, &order, |window| window.from < window.to && recorded(window).is_none());
    let mut walk = Walk {
        windows,
        chains,
        order,
        position: 0,
        astride: BinaryHeap::new(),
        end: mark.map(|mark| mark.time),
        choice: Choice::default(),
    };
    walk.begin(mark, unseen, allow);
    while walk.end.is_some() && walk.choice.stops.is_empty() && walk.step(unseen, allow) {}
    let Walk { mut choice, end, .. } = walk;
    choice.reached = end;

    let taken: HashSet<usize> =
        choice.due.iter().map(|due| due.window).chain(choice.stops.iter().map(|stop| stop.window)).collect();
    let applied: HashSet<Window> = choice.due.iter().map(|due| windows[due.window]).collect();
    let initial = mark.map(|mark| mark.time);
    let is_before = |time: Option<Time>, window: &Window| time.is_some_and(|time| window.to <= time);
    let going = !choice.due.is_empty() || !choice.stops.is_empty();
    for (index, window) in windows.iter().enumerate().filter(|(index, _)| !taken.contains(index)) {
        let skipped = |reason: String| Skipped { window: index, reason };
        if let Some(touched) = recorded(window) {
            let gap = touched.gap;
            if touched.is_begun_by(window) || !(going || is_before(end, window)) {
                choice.stops.push(Stop { window: index, why: Why::Late(gap.clone()), reached: end, missing: None });
            } else {
                choice.skipped.push(skipped(format!(
                    "it overlaps the gap {} to {} that was skipped with --allow-gap, and can't be applied in order any more",
                    gap.from, gap.to
                )));
            }
        } else if is_before(initial, window) || window.to <= window.from {
            choice.already.push(index);
        } else if applied.contains(window) {
            choice.skipped.push(skipped("another export of the same window is taken".to_owned()));
        } else if is_before(end, window) {
            choice.skipped.push(skipped("other windows are taken for its time".to_owned()));
        } else if end.is_some_and(|end| window.from < end) {
            choice.skipped.push(skipped(format!(
                "it overlaps what is complete up to {}",
                end.map(time::format).unwrap_or_default()
            )));
        } else {
            choice.waiting.push(index);
        }
    }
    choice
}

/// A window that starts before the watermark and ends after it: the rank of its chain, its end, its start and index.
type Astride = (Rank, Time, Reverse<(Time, usize)>);

/// The state of the walk from the watermark on.
struct Walk<'a> {
    windows: &'a [Window],
    chains: Chains,
    /// Windows by start, then end.
    order: Vec<usize>,
    /// Index in `order` of the first window that starts after `end`.
    position: usize,
    /// Windows that start before `end` and may end after it, best first: by the rank of the chain, the smallest
    /// overlap, the order.
    astride: BinaryHeap<Astride>,
    /// The time up to which the table is complete.
    end: Option<Time>,
    choice: Choice,
}

impl Walk<'_> {
    /// Applies the chain at the watermark.
    fn begin(&mut self, mark: Option<Watermark>, unseen: &Unseen, allow: Allow) {
        let usable = |index: &usize| self.chains.rank(*index).is_some();
        let Some(mark) = mark else {
            let Some(first) = self.order.iter().copied().find(usable) else { return };
            if !allow.gap || unseen.damaged || unseen.pending > 0 {
                let why = Why::NoWatermark { pending: unseen.pending };
                return self.stop(first, why, None);
            }
            let first = self.chains.at(self.windows[first].from).unwrap_or(first);
            let warning =
                format!("the table had no watermark; the window {} was applied as its first", self.windows[first]);
            return self.take(first, None, Some(warning));
        };
        if let Some(first) = self.chains.at(mark.time) {
            self.take(first, None, None);
        } else if mark.of_load {
            // Windows start at whole seconds; a full export's time has milliseconds.
            let begins = |index: &&usize| self.windows[**index].from.timestamp() == mark.time.timestamp();
            let astride =
                |index: &&usize| self.windows[**index].from < mark.time && mark.time < self.windows[**index].to;
            let start =
                self.order.partition_point(|index| self.windows[*index].from.timestamp() < mark.time.timestamp());
            let near = self.order[start..].iter().take_while(begins).filter(astride).filter(|index| usable(index));
            let best = near.copied().max_by_key(|index| (self.chains.rank(*index), Reverse(*index)));
            if let Some(first) = best {
                let warning = format!(
                    "the window {} starts within the second of the full export's time {}; an item that was deleted in \
                     between and inserted just before may have been missed",
                    self.windows[first],
                    time::format(mark.time)
                );
                self.take(first, None, Some(warning));
            }
        }
    }

    /// Skips one overlap or gap, if that is allowed; `false` if the walk ends.
    fn step(&mut self, unseen: &Unseen, allow: Allow) -> bool {
        let Some(end) = self.end else { return false };
        while let Some(index) = self.order.get(self.position).copied().filter(|i| self.windows[*i].from <= end) {
            if let Some(rank) = self.chains.rank(index) {
                self.astride.push((rank, self.windows[index].from, Reverse((self.windows[index].to, index))));
            }
            self.position += 1;
        }
        while self.astride.peek().is_some_and(|(.., Reverse((_, index)))| self.windows[*index].to <= end) {
            self.astride.pop();
        }
        let astride = self.astride.peek().map(|(.., Reverse((_, index)))| *index);
        let mut later = self.order.iter().skip(self.position).copied();
        let later = later.find(|index| self.chains.rank(*index).is_some());
        let pending = if unseen.newest_pending.is_some_and(|begun| end < begun) { unseen.pending } else { 0 };
        match (astride, later) {
            (None, None) => return false,
            (Some(index), _) if allow.overlap && !unseen.damaged => {
                let warning = format!(
                    "the window {} overlaps what the table had up to {} (--allow-overlap)",
                    self.windows[index],
                    time::format(end)
                );
                self.take(index, None, Some(warning));
            }
            // A window continued from the watermark: the overlapping ones were not needed.
            (Some(_), None) if !self.choice.due.is_empty() => return false,
            // The changes of a window are not given up for a gap.
            (Some(index), None) => self.stop(index, Why::Overlap { pending }, None),
            (Some(index), Some(later)) if allow.gap => self.stop(index, Why::Overlap { pending }, Some(later)),
            (None, Some(index)) if allow.gap && !unseen.damaged && pending == 0 => {
                let index = self.chains.at(self.windows[index].from).unwrap_or(index);
                let gap = Gap::between(end, self.windows[index].from);
                let warning = format!("the changes from {} to {} were skipped (--allow-gap)", gap.from, gap.to);
                self.take(index, Some(gap), Some(warning));
            }
            (_, Some(index)) => self.stop(index, Why::Gap { pending }, Some(index)),
        }
        true
    }

    /// Applies the chain that starts with this window.
    fn take(&mut self, first: usize, gap: Option<Gap>, warning: Option<String>) {
        self.choice.due.push(Due { window: first, gap, warning });
        let rest = self.chains.from(first).skip(1).map(|window| Due { window, gap: None, warning: None });
        self.choice.due.extend(rest);
        self.end = self.choice.due.last().map(|due| self.windows[due.window].to);
    }

    /// `later` is the first window after the watermark.
    fn stop(&mut self, window: usize, why: Why, later: Option<usize>) {
        let missing = self.end.map(|end| {
            let joins = later.map(|later| self.windows[later].from);
            let usable = self.windows.iter().enumerate().filter(|(index, _)| self.chains.rank(*index).is_some());
            exportable(end, joins, usable.flat_map(|(_, window)| [window.from, window.to]))
        });
        self.choice.stops.push(Stop { window, why, reached: self.end, missing });
    }
}
