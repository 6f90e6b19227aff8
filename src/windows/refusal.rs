//! Messages for stops.

use super::choose::{Stop, Why};
use super::window::Window;
use crate::error::Error;
use crate::time;

impl Stop {
    /// The error, of kind `Window`. `window` and `export` belong to the stop; `command` exports the missing window.
    pub fn error(&self, window: Window, export: &str, command: Option<&str>) -> Error {
        let window = format!("the window {window} ({export})");
        let mark = self.reached.map(time::format).unwrap_or_default();
        let missing = self.missing.map(|missing| missing.to_string()).unwrap_or_default();
        let command = command.map(|command| format!(": `{command}`")).unwrap_or_default();
        match &self.why {
            Why::Gap { pending: 0 } => {
                Error::window(format!("gap: the table is complete up to {mark}, {window} starts later")).advice(format!(
                    "Export the missing window {missing} and apply it first, or record the gap with --allow-gap{command}"
                ))
            }
            Why::Gap { pending } => Error::window(format!(
                "gap: the table is complete up to {mark}, {window} starts later; {} may fill it, and until then --allow-gap \
                 does not go over it",
                exports(*pending)
            ))
            .advice(format!(
                "Run the command again when they have completed; to which table they belong is not known before. To go over \
                 the gap without them, name the exports behind it one by one with --allow-gap. If none of them is it, export \
                 the missing window {missing}{command}"
            )),
            Why::Overlap { pending } => {
                let may = match pending {
                    0 => String::new(),
                    pending => format!("; {} may continue it", exports(*pending)),
                };
                Error::window(format!("overlap: the table is complete up to {mark}, {window} starts before it{may}")).advice(
                    format!(
                        "An item inserted before {mark} and deleted after it has no record in such a window, so its row would \
                         stay. Export the window {missing}, or accept that with --allow-overlap{command}"
                    ),
                )
            }
            Why::Late(gap) => Error::window(format!(
                "{window} touches the gap {} to {} that was skipped with --allow-gap",
                gap.from, gap.to
            ))
            .advice(
                "It comes too late to be applied in order: reload the table with full-load from a newer full export. Or leave \
                 the gap as it is, and move the export away",
            ),
            Why::NoWatermark { pending } => {
                let advice = "Load it from a full export with a manifest, or start with this window with --allow-gap";
                let error = "the table has no watermark: it is not known up to which time it is complete";
                match pending {
                    0 => Error::window(error).advice(advice),
                    pending => Error::window(format!("{error}; {} may be earlier than {window}", exports(*pending))).advice(
                        format!("{advice}: once they have completed, or with the exports named one by one"),
                    ),
                }
            }
        }
    }
}

fn exports(pending: u64) -> String {
    match pending {
        1 => "1 export that has not completed yet".to_owned(),
        n => format!("one of {n} exports that have not completed yet"),
    }
}
