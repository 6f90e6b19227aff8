//! Which windows are due.

use crate::error::{Error, Result};
use crate::table::watermark::{Gap, Watermark};
use crate::time::{self, Time};

/// What the user allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allow {
    /// A window that starts after the watermark.
    pub gap: bool,
    /// A window that starts before the watermark and ends after it.
    pub overlap: bool,
}

/// What to do with a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it.
    Due {
        /// A gap that it leaves behind, to be recorded.
        gap: Option<Gap>,
        /// What the user should know.
        warning: Option<String>,
    },
    /// The table has it.
    Already,
}

/// Decides on one window, `from` inclusive, `to` exclusive.
///
/// Errors are of kind `Window`: a gap or an overlap that is not allowed, or a window that holds what a gap was recorded
/// for: applying it now would put old images over newer ones.
pub fn judge(watermark: Option<Watermark>, gaps: &[Gap], from: Time, to: Time, allow: Allow) -> Result<Verdict> {
    let window = format!("the window {} to {}", time::format(from), time::format(to));
    if let Some(gap) = gaps.iter().find(|gap| gap.touches(from, to)) {
        return Err(Error::window(format!(
            "{window} touches the gap {} to {} that was skipped with --allow-gap",
            gap.from, gap.to
        ))
        .advice("It comes too late to be applied in order: reload the table with full-load from a newer full export"));
    }
    let due = |gap, warning| Ok(Verdict::Due { gap, warning });
    let Some(Watermark { time: watermark, of_load }) = watermark else {
        if allow.gap {
            return due(None, Some(format!("the table had no watermark; {window} was applied as its first")));
        }
        return Err(Error::window("the table has no watermark: it is not known up to which time it is complete")
            .advice("Load it from a full export with a manifest, or start with this window with --allow-gap"));
    };
    let mark = time::format(watermark);
    if to <= watermark {
        return Ok(Verdict::Already);
    }
    if from == watermark {
        return due(None, None);
    }
    if from > watermark {
        if !allow.gap {
            return Err(Error::window(format!("gap: the table is complete up to {mark}, {window} starts later"))
                .advice(format!(
                    "Export the missing window ({mark} to {}) and apply it first, or record the gap with --allow-gap",
                    time::format(from)
                )));
        }
        let gap = Gap::between(watermark, from);
        let warning = format!("the changes from {} to {} were skipped (--allow-gap)", gap.from, gap.to);
        return due(Some(gap), Some(warning));
    }
    if of_load && from.timestamp() == watermark.timestamp() {
        return due(
            None,
            Some(format!(
                "{window} starts within the second of the full export's time {mark}; an item that was deleted in \
                 between and inserted just before may have been missed"
            )),
        );
    }
    if !allow.overlap {
        return Err(Error::window(format!("overlap: the table is complete up to {mark}, {window} starts before it"))
            .advice(format!(
                "An item inserted before {mark} and deleted after it has no record in such a window, so its row would \
                 stay. Export the window from {mark} on, or accept that with --allow-overlap"
            )));
    }
    due(None, Some(format!("{window} overlaps what the table had up to {mark} (--allow-overlap)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        time::parse(&format!("2026-01-14T{text}Z")).unwrap()
    }

    fn verdict(mark: &str, of_load: bool, from: &str, to: &str, allow: Allow) -> Result<Verdict> {
        judge(Some(Watermark { time: at(mark), of_load }), &[], at(from), at(to), allow)
    }

    const NO: Allow = Allow { gap: false, overlap: false };

    #[test]
    fn a_window_starts_at_the_watermark() {
        let due = Verdict::Due { gap: None, warning: None };
        assert_eq!(verdict("10:00:00", false, "10:00:00", "10:15:00", NO).unwrap(), due);
        assert_eq!(verdict("10:15:00", false, "10:00:00", "10:15:00", NO).unwrap(), Verdict::Already);
        assert_eq!(verdict("11:00:00", false, "10:00:00", "10:15:00", NO).unwrap(), Verdict::Already);
    }

    #[test]
    fn gaps_and_overlaps_are_refused_unless_allowed() {
        for (from, to, allow) in [
            ("10:00:01", "10:15:00", Allow { gap: true, overlap: false }),
            ("09:59:59", "10:15:00", Allow { gap: false, overlap: true }),
        ] {
            let error = verdict("10:00:00", false, from, to, NO).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Window);
            assert!(matches!(verdict("10:00:00", false, from, to, allow), Ok(Verdict::Due { warning: Some(_), .. })));
        }
        let Verdict::Due { gap, .. } =
            verdict("10:00:00", false, "10:05:00", "10:15:00", Allow { gap: true, overlap: false }).unwrap()
        else {
            panic!("due")
        };
        assert_eq!(gap, Some(Gap::between(at("10:00:00"), at("10:05:00"))));
    }

    #[test]
    fn the_first_window_may_start_within_the_second_of_the_load() {
        assert!(matches!(
            verdict("10:18:50.622", true, "10:18:50", "10:33:50", NO),
            Ok(Verdict::Due { gap: None, warning: Some(_) })
        ));
        assert!(verdict("10:18:50.622", false, "10:18:50", "10:33:50", NO).is_err());
        assert!(verdict("10:18:50.622", true, "10:18:49", "10:33:50", NO).is_err());
        assert!(verdict("10:18:50.622", true, "10:18:51", "10:33:50", NO).is_err());
    }

    #[test]
    fn a_window_in_a_recorded_gap_comes_too_late() {
        let gaps = [Gap::between(at("10:00:00"), at("10:15:00"))];
        let mark = Some(Watermark { time: at("11:00:00"), of_load: false });
        let all = Allow { gap: true, overlap: true };
        assert!(judge(mark, &gaps, at("10:00:00"), at("10:15:00"), all).is_err());
        assert!(judge(mark, &gaps, at("09:00:00"), at("10:00:01"), all).is_err());
        assert_eq!(judge(mark, &gaps, at("10:15:00"), at("10:30:00"), all).unwrap(), Verdict::Already);
    }

    #[test]
    fn a_table_without_a_watermark_needs_the_users_word() {
        assert!(judge(None, &[], at("10:00:00"), at("10:15:00"), NO).is_err());
        assert!(judge(None, &[], at("10:00:00"), at("10:15:00"), Allow { gap: true, overlap: false }).is_ok());
    }
}
