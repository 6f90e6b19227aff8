//! Text from input is untrusted on a terminal: characters that control the terminal, or reorder the text, are printed
//! as escapes.

use std::borrow::Cow;
use std::fmt::Write;

/// Control characters, line separators, and marks that change the text direction.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of text for display.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_dangerous(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// Several lines of text for display: line ends are kept.
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Escapes JSON text without changing its meaning: outside of strings it has none of these characters except line ends
/// and tabs.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let unsafe_in_json = |c: char| is_dangerous(c) && !matches!(c, '\n' | '\r' | '\t');
    if !text.contains(unsafe_in_json) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unsafe_in_json(c) {
            // All of them are below U+10000, so one escape suffices.
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(line("a\u{1b}[2Jb\r\nc\u{9b}1m\u{7f}"), "a\\u{1b}[2Jb\\r\\nc\\u{9b}1m\\u{7f}");
        assert_eq!(line("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(line("plain — ünïcode 日本"), "plain — ünïcode 日本");
        assert_eq!(lines("a\u{7}\nb\n"), "a\\u{7}\nb");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({"a\u{9b}": "x\u{202e}\u{7f}\u{1b}\n", "é": 1});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = json(&text);
        assert!(!safe.contains(['\u{9b}', '\u{202e}', '\u{7f}', '\u{1b}']), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
