use std::cmp::Reverse;
use std::time::Instant;

use chrono::{TimeDelta, TimeZone, Utc};
use proptest::prelude::*;

use super::choose::{Allow, Choice, Stop, Unseen, Why, choose};
use super::window::Window;
use crate::error::Kind;
use crate::table::watermark::{Gap, Watermark};
use crate::time::{self, Time};

const NO: Allow = Allow { gap: false, overlap: false };
const GAP: Allow = Allow { gap: true, overlap: false };
const OVERLAP: Allow = Allow { gap: false, overlap: true };
const BOTH: Allow = Allow { gap: true, overlap: true };
const NONE_UNSEEN: Unseen = Unseen { pending: 0, newest_pending: None, damaged: false };

/// Minutes after 10:00.
fn at(minutes: i64) -> Time {
    Utc.with_ymd_and_hms(2026, 1, 14, 10, 0, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn window(from: i64, to: i64) -> Window {
    Window { from: at(from), to: at(to) }
}

#[expect(clippy::unnecessary_wraps, reason = "as it is given")]
fn mark(minutes: i64) -> Option<Watermark> {
    Some(Watermark { time: at(minutes), of_load: false })
}

fn chosen(mark: Option<Watermark>, gaps: &[Gap], windows: &[(i64, i64)], unseen: &Unseen, allow: Allow) -> Choice {
    let windows: Vec<_> = windows.iter().map(|(from, to)| window(*from, *to)).collect();
    choose(mark, gaps, &windows, unseen, allow)
}

fn due(choice: &Choice) -> Vec<usize> {
    choice.due.iter().map(|due| due.window).collect()
}

fn skipped(choice: &Choice) -> Vec<usize> {
    choice.skipped.iter().map(|skipped| skipped.window).collect()
}

fn at_zero(windows: &[(i64, i64)], allow: Allow) -> Choice {
    chosen(mark(0), &[], windows, &NONE_UNSEEN, allow)
}

#[test]
fn the_chain_that_reaches_furthest_is_taken_and_of_equals_the_one_of_fewest_windows() {
    for allow in [NO, GAP, OVERLAP, BOTH] {
        // The daily one beside short ones that reach as far, that reach less far, and further.
        let windows = [(0, 15), (0, 60), (15, 30), (30, 60)];
        let choice = at_zero(&windows, allow);
        assert_eq!((due(&choice), skipped(&choice)), (vec![1], vec![0, 2, 3]));
        assert_eq!(due(&at_zero(&[(0, 15), (0, 60), (15, 30)], allow)), [1]);
        assert_eq!(due(&at_zero(&[(0, 15), (0, 60), (15, 30), (30, 45), (45, 75), (60, 70)], allow)), [0, 2, 3, 4]);
        // One window under two names.
        let choice = at_zero(&[(0, 15), (0, 15), (15, 30)], allow);
        assert_eq!((due(&choice), skipped(&choice)), (vec![0, 2], vec![1]));
        assert!(choice.skipped[0].reason.contains("same window"), "{choice:?}");
    }
}

#[test]
fn what_begins_before_the_watermark_is_skipped_where_others_continue() {
    let windows = [(-600, 840), (-8, 7), (0, 15), (7, 22), (15, 30)];
    let choice = at_zero(&windows, NO);
    assert_eq!((due(&choice), skipped(&choice)), (vec![2, 4], vec![0, 1, 3]));
    assert_eq!((choice.stops.len(), choice.reached), (0, Some(at(30))));
    // Nothing continues: it is an overlap, and the window to export is named.
    let choice = chosen(mark(30), &[], &windows, &NONE_UNSEEN, NO);
    let Stop { window: stopped, why: Why::Overlap { pending: 0 }, missing, .. } = &choice.stops[0] else { panic!() };
    assert_eq!((*stopped, *missing, choice.already.len()), (0, Some(window(30, 840)), 4));
    let choice = chosen(mark(30), &[], &windows, &NONE_UNSEEN, OVERLAP);
    assert_eq!((due(&choice), choice.stops.len()), (vec![0], 0));
    assert!(choice.due[0].warning.as_ref().unwrap().contains("--allow-overlap"));
}

#[test]
fn a_gap_behind_a_chain_stops_and_names_what_is_missing() {
    let windows = [(0, 15), (30, 45), (45, 60), (10, 20)];
    let choice = at_zero(&windows, NO);
    assert_eq!((due(&choice), &choice.waiting[..], skipped(&choice)), (vec![0], &[2][..], vec![3]));
    let stop = &choice.stops[0];
    assert_eq!((stop.window, stop.missing, &stop.why), (1, Some(window(15, 30)), &Why::Gap { pending: 0 }));
    let error = stop.error(window(30, 45), "/e", Some("aws …"));
    assert_eq!(error.kind(), Kind::Window);
    let text = error.to_string();
    assert!(text.contains(&window(15, 30).to_string()) && text.contains("aws …"), "{text}");
    // What (10, 20) holds is not given up for a gap, unless it can't be had.
    assert_eq!(at_zero(&windows, GAP).stops[0].why, Why::Overlap { pending: 0 });
    let choice = at_zero(&windows[..3], GAP);
    assert_eq!((due(&choice), &choice.due[1].gap), (vec![0, 1, 2], &Some(Gap::between(at(15), at(30)))));
    let choice = at_zero(&windows, BOTH);
    assert_eq!((due(&choice), &choice.due[2].gap), (vec![0, 3, 1, 2], &Some(Gap::between(at(20), at(30)))));
}

#[test]
fn nothing_goes_over_what_a_pending_export_could_fill() {
    let begun = |minutes| Unseen { pending: 2, newest_pending: Some(at(minutes)), damaged: false };
    let windows = [(0, 15), (30, 45)];
    for allow in [NO, GAP, BOTH] {
        let choice = chosen(mark(0), &[], &windows, &begun(16), allow);
        assert_eq!((due(&choice), &choice.stops[0].why), (vec![0], &Why::Gap { pending: 2 }));
    }
    // Its window had ended by the time it was begun.
    assert_eq!(due(&chosen(mark(0), &[], &windows, &begun(15), GAP)), [0, 1]);
    let damaged = Unseen { damaged: true, ..NONE_UNSEEN };
    assert_eq!(due(&chosen(mark(0), &[], &[(0, 15), (10, 20), (30, 45)], &damaged, BOTH)), [0]);
    let first = chosen(None, &[], &windows, &begun(16), GAP);
    assert_eq!((due(&first), &first.stops[0].why), (vec![], &Why::NoWatermark { pending: 2 }));
}

#[test]
fn the_first_window_may_start_within_the_second_of_the_load() {
    let load = |milliseconds| Some(Watermark { time: at(0) + TimeDelta::milliseconds(milliseconds), of_load: true });
    let choice = chosen(load(622), &[], &[(-1, 5), (0, 15), (0, 30), (15, 45)], &NONE_UNSEEN, NO);
    assert_eq!((due(&choice), skipped(&choice)), (vec![1, 3], vec![0, 2]));
    assert!(choice.due[0].warning.as_ref().unwrap().contains("second"));
    let window_of_one = |of_load, seconds| {
        let mark = Watermark { of_load, ..load(622).unwrap() };
        let from = at(0) + TimeDelta::seconds(seconds);
        choose(Some(mark), &[], &[Window { from, to: at(15) }], &NONE_UNSEEN, NO)
    };
    assert_eq!(window_of_one(true, 0).stops, []);
    assert!(matches!(window_of_one(false, 0).stops[0].why, Why::Overlap { .. }));
    assert!(matches!(window_of_one(true, -1).stops[0].why, Why::Overlap { .. }));
    let later = window_of_one(true, 1);
    assert!(matches!(later.stops[0].why, Why::Gap { .. }));
    assert_eq!(later.stops[0].missing.unwrap().from, at(0), "windows start at whole seconds");
}

#[test]
fn a_window_of_a_recorded_gap_is_told_and_stops_nothing_else() {
    let gaps = [Gap::between(at(0), at(15))];
    for allow in [NO, GAP, OVERLAP, BOTH] {
        let choose = |windows: &[(i64, i64)]| chosen(mark(30), &gaps, windows, &NONE_UNSEEN, allow);
        let choice = choose(&[(0, 15), (30, 45), (5, 40), (-600, 840)]);
        assert_eq!(
            (due(&choice), skipped(&choice)),
            (vec![1], vec![3]),
            "what starts before the gap was never missing"
        );
        let late: Vec<_> = choice.stops.iter().map(|stop| (stop.window, &stop.why)).collect();
        assert_eq!(late, [(0, &Why::Late(gaps[0].clone())), (2, &Why::Late(gaps[0].clone()))]);
        // Where nothing else continues, it is an error whichever way it touches.
        assert!(matches!(choose(&[(-600, 840)]).stops[0].why, Why::Late(_)));
        assert_eq!(choose(&[(15, 30)]).already, [0]);
    }
    let unreadable = [Gap { from: "?".to_owned(), to: "?".to_owned() }];
    assert_eq!(due(&chosen(mark(0), &unreadable, &[(0, 15)], &NONE_UNSEEN, BOTH)), [0; 0]);
}

#[test]
fn a_table_without_a_watermark_needs_the_users_word() {
    let windows = [(5, 20), (0, 15), (0, 20), (20, 30)];
    assert_eq!(chosen(None, &[], &windows, &NONE_UNSEEN, NO).stops[0].why, Why::NoWatermark { pending: 0 });
    let choice = chosen(None, &[], &windows, &NONE_UNSEEN, GAP);
    assert_eq!((due(&choice), skipped(&choice)), (vec![2, 3], vec![0, 1]));
    assert!(choice.due[0].warning.is_some() && choice.due[0].gap.is_none());
    assert_eq!(chosen(None, &[], &[], &NONE_UNSEEN, NO), Choice::default());
}

/// A year of windows, shifted ones, daily ones, gaps in between.
#[test]
fn a_year_of_windows_is_chosen_from_at_once() {
    let mut windows: Vec<_> = (0..35_000).filter(|n| n % 100 != 99).map(|n| window(15 * n, 15 * n + 15)).collect();
    windows.extend((0..35_000).map(|n| window(15 * n + 7, 15 * n + 22)));
    windows.extend((0..365).map(|n| window(1440 * n + 60, 1440 * n + 1500)));
    for allow in [NO, GAP, OVERLAP, BOTH] {
        let begun = Instant::now();
        let choice = choose(mark(0), &[], &windows, &NONE_UNSEEN, allow);
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
        assert!(choice.due.len() >= 99);
    }
}

/// What the rule says, word by word, trying all chains.
struct Model<'a> {
    windows: &'a [Window],
    gaps: &'a [Gap],
}

/// How far, how few.
type Rank = (Time, Reverse<usize>);

impl Model<'_> {
    fn usable(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|window| !self.gaps.iter().any(|gap| gap.touches(window.from, window.to)))
    }

    /// The best chain that begins with this window.
    fn through(&self, window: &Window) -> Rank {
        match self.from(window.to) {
            Some((reach, Reverse(count))) => (reach, Reverse(count + 1)),
            None => (window.to, Reverse(1)),
        }
    }

    fn from(&self, time: Time) -> Option<Rank> {
        self.usable().filter(|window| window.from == time).map(|window| self.through(window)).max()
    }

    /// How far it goes, with how many windows, over which gaps.
    fn walk(&self, mut end: Time, allow: Allow, pending: Option<Time>) -> (Time, usize, Vec<Gap>) {
        let (mut count, mut gone) = (0, Vec::new());
        loop {
            let astride = self.usable().filter(|window| window.from < end && end < window.to);
            let astride = astride.map(|window| (self.through(window), window.from)).max();
            let later = self.usable().map(|window| window.from).filter(|from| end < *from).min();
            let next = match (self.from(end), astride, later) {
                (Some(next), ..) => next,
                (None, Some((next, _)), _) if allow.overlap => next,
                (None, None, Some(later)) if allow.gap && pending.is_none_or(|begun| begun <= end) => {
                    gone.push(Gap::between(end, later));
                    self.from(later).unwrap()
                }
                _ => return (end, count, gone),
            };
            (end, count) = (next.0, count + next.1.0);
        }
    }
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    prop::collection::vec((-6..12_i64, 1..7_i64), 0..12)
        .prop_map(|all| all.into_iter().map(|(from, long)| window(15 * from, 15 * (from + long))).collect())
}

fn allows() -> impl Strategy<Value = Allow> {
    (any::<bool>(), any::<bool>()).prop_map(|(gap, overlap)| Allow { gap, overlap })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_choice_is_what_trying_all_chains_gives(
        windows in windows(),
        allow in allows(),
        recorded in prop::option::of((-5..0_i64, 1..3_i64)),
        pending in prop::option::of(-3..20_i64),
    ) {
        let gaps: Vec<_> = recorded
            .iter()
            .map(|(from, long)| Gap::between(at(15 * from), at((15 * (from + long)).min(0))))
            .collect();
        let newest_pending = pending.map(|at_quarter| at(15 * at_quarter));
        let unseen = Unseen { pending: u64::from(pending.is_some()), newest_pending, damaged: false };
        let choice = choose(mark(0), &gaps, &windows, &unseen, allow);
        let model = Model { windows: &windows, gaps: &gaps };
        let gone: Vec<_> = choice.due.iter().filter_map(|due| due.gap.clone()).collect();
        prop_assert_eq!(
            (choice.reached.unwrap(), choice.due.len(), gone),
            model.walk(at(0), allow, newest_pending)
        );
        // Each joins the one before, or says why not.
        let mut end = at(0);
        for due in &choice.due {
            let Window { from, to } = windows[due.window];
            prop_assert!(end < to && !gaps.iter().any(|gap| gap.touches(from, to)));
            prop_assert_eq!(due.gap.clone(), (end < from).then(|| Gap::between(end, from)));
            prop_assert_eq!(due.warning.is_some(), end != from);
            prop_assert!(end <= from || allow.overlap);
            end = to;
        }
        // Every window is told of once.
        let mut told = due(&choice);
        told.extend(skipped(&choice));
        told.extend(&choice.already);
        told.extend(&choice.waiting);
        told.extend(choice.stops.iter().map(|stop| stop.window));
        told.sort_unstable();
        prop_assert_eq!(told, (0..windows.len()).collect::<Vec<_>>());
        // Nothing that reaches further is passed over, but what overlaps a chain that went on.
        let open: Vec<_> = model.usable().filter(|window| end < window.to).collect();
        let is_stop = choice.stops.iter().any(|stop| !matches!(stop.why, Why::Late(_)));
        prop_assert_eq!(is_stop, open.iter().any(|window| end < window.from) || choice.due.is_empty() && !open.is_empty());
        // What holds changes of a gap is never passed over in silence.
        for (index, window) in windows.iter().enumerate() {
            if gaps.iter().any(|gap| gap.touches(window.from, window.to)) {
                let told = choice.stops.iter().any(|stop| stop.window == index) || skipped(&choice).contains(&index);
                prop_assert!(told, "{}", index);
            }
        }
        for stop in &choice.stops {
            prop_assert_eq!(stop.error(windows[stop.window], "/e", None).kind(), Kind::Window);
            if let Some(missing) = stop.missing {
                prop_assert_eq!(missing.from, end);
                prop_assert!(missing.to - missing.from >= TimeDelta::minutes(15));
            }
        }
        // To allow something never changes what goes on without it.
        let strict = choose(mark(0), &gaps, &windows, &unseen, NO);
        prop_assert!(choice.due.starts_with(&strict.due));
        // The order in which windows are found is no matter, nor is a stop in between.
        let mut reversed = windows.clone();
        reversed.reverse();
        let other = choose(mark(0), &gaps, &reversed, &unseen, allow);
        prop_assert_eq!(
            choice.due.iter().map(|due| windows[due.window]).collect::<Vec<_>>(),
            other.due.iter().map(|due| reversed[due.window]).collect::<Vec<_>>()
        );
        if let Some(first) = choice.due.first() {
            let all: Vec<_> = gaps.iter().cloned().chain(first.gap.clone()).collect();
            let rest = choose(Some(Watermark { time: windows[first.window].to, of_load: false }), &all, &windows, &unseen, allow);
            prop_assert_eq!(due(&rest), due(&choice)[1..].to_vec());
        }
        prop_assert!(time::parse(&time::format(end)).is_some());
    }
}
