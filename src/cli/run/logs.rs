//! Logs to stderr, and panic messages.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use ddb_iceberg::secrets;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::progress::Screen;
use crate::cli::render::escape;

/// Prefix of the names of our own modules.
const OURS: &str = "ddb_iceberg";

/// The first panic: its location and message.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Starts logging. Other crates log warnings only: their other logs could contain values from the input, or secrets.
pub(crate) fn start(verbose: u8, quiet: bool, screen: Screen) {
    let ansi = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // Fails only if a program that embeds this one has set up its own logging, which is then used.
    let ours = layer(ansi, Lines { screen: screen.clone(), strike: secrets::strike_long });
    // These log messages of databases and other services verbatim.
    let others = layer(ansi, Lines { screen, strike: secrets::strike });
    let _ = tracing_subscriber::registry()
        .with(targets(verbose, quiet))
        .with(ours.with_filter(Targets::new().with_target(OURS, LevelFilter::TRACE)))
        .with(others.with_filter(Targets::new().with_default(LevelFilter::TRACE).with_target(OURS, LevelFilter::OFF)))
        .try_init();
}

/// One line per event. Values may come from the input: they are escaped, so a line break in them does not start a new
/// line.
fn layer<S, W>(ansi: bool, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    let fields = debug_fn(|line, field, value| {
        let value = format!("{value:?}");
        let value = escape::line(&value);
        if field.name() == "message" { write!(line, "{value}") } else { write!(line, "{field}={value}") }
    });
    tracing_subscriber::fmt::layer().fmt_fields(fields.delimited(" ")).with_ansi(ansi).with_writer(writer)
}

fn targets(verbose: u8, quiet: bool) -> Targets {
    let (ours, others) = match (quiet, verbose) {
        (true, _) => (LevelFilter::ERROR, LevelFilter::ERROR),
        (false, 0) => (LevelFilter::WARN, LevelFilter::WARN),
        (false, 1) => (LevelFilter::INFO, LevelFilter::WARN),
        (false, 2) => (LevelFilter::DEBUG, LevelFilter::WARN),
        (false, _) => (LevelFilter::TRACE, LevelFilter::WARN),
    };
    // AWS's crates log debug dumps as warnings for failures that we report as errors if they matter.
    let aws = if verbose > 1 { others } else { LevelFilter::OFF };
    Targets::new().with_default(others).with_target("aws_", aws).with_target(OURS, ours)
}

/// Keeps a panic's message for the error; the backtrace is only printed with `RUST_BACKTRACE`.
pub(crate) fn keep_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let said = info.payload_as_str().unwrap_or("no message");
        let text = info.location().map_or_else(|| said.to_owned(), |at| format!("{}:{}: {said}", at.file(), at.line()));
        if let Ok(mut first) = PANIC.lock() {
            first.get_or_insert(text);
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            default(info);
        }
    }));
}

/// The first panic since the start, if there was one.
pub(crate) fn panic_message() -> Option<String> {
    PANIC.lock().ok().and_then(|first| first.clone())
}

/// Writes each event immediately, above the progress bar, without secrets.
struct Lines {
    screen: Screen,
    strike: fn(&str) -> String,
}

struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { lines: self, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            let text = String::from_utf8_lossy(&self.text);
            self.lines.screen.print((self.lines.strike)(&text).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::Level;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn values_in_logs_are_escaped() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry().with(layer(false, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(file = %"a\u{1b}[1m\nWARN forged", key = ?"k", "read {}", "x\u{9b}\n");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.ends_with("read x\\u{9b}\\n file=a\\u{1b}[1m\\nWARN forged key=\"k\"\n"), "{text}");
    }

    #[test]
    fn only_our_own_logs_get_louder() {
        for (verbose, quiet, ours, others) in [
            (0, true, Level::ERROR, Level::ERROR),
            (0, false, Level::WARN, Level::WARN),
            (1, false, Level::INFO, Level::WARN),
            (2, false, Level::DEBUG, Level::WARN),
            (9, false, Level::TRACE, Level::WARN),
        ] {
            let targets = targets(verbose, quiet);
            for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                assert_eq!(targets.would_enable("ddb_iceberg::merge", &level), level <= ours, "{verbose} {level}");
                assert_eq!(targets.would_enable("datafusion", &level), level <= others, "{verbose} {level}");
                let dumps = verbose > 1 && level <= others;
                assert_eq!(targets.would_enable("aws_config::meta", &level), dumps, "{verbose} {level}");
            }
        }
    }
}
