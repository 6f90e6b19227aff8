//! Text output of `detect-schema`: names, counts and types, but no values of items.

use std::fmt::Write as _;

use crate::schema::{Hint, SchemaFile, Target};

/// Maximum characters of a name and of a type on a line.
const NAME: usize = 40;
const TYPE: usize = 80;

/// Maximum number of hints that are printed; the report has all of them.
const MAX_HINTS: usize = 50;

/// One line per attribute, then the hints.
pub(crate) fn text(file: &SchemaFile, hints: &[Hint]) -> String {
    let items = file.items.unwrap_or(0);
    let mut rows = vec![["attribute", "seen", "present", "column", "type"].map(str::to_owned)];
    for attribute in &file.attributes {
        let seen: Vec<_> = match attribute.seen.as_slice() {
            [(kind, _)] => vec![kind.name().to_owned()],
            several => several.iter().map(|(kind, count)| format!("{} {count}", kind.name())).collect(),
        };
        let present: u64 = attribute.seen.iter().map(|(_, count)| count).sum();
        // Tenths of a percent, rounded down: 100.0% means all.
        let tenths = (u128::from(present) * 1000).checked_div(u128::from(items)).unwrap_or(0);
        let key = if file.key.contains(&attribute.name) { " (key)" } else { "" };
        let ty = match &attribute.target {
            Target::Column(ty) => format!("{}{key}", cell(&ty.to_string(), TYPE)),
            Target::Observe(kind) => kind.name().to_owned(),
            Target::Exclude => "left out".to_owned(),
        };
        rows.push([
            cell(&attribute.name, NAME),
            seen.join(", "),
            format!("{}.{}%", tenths / 10, tenths % 10),
            // The end of a changed name distinguishes it from its twin.
            cell(attribute.column.as_ref().unwrap_or(&attribute.name), NAME + 10),
            ty,
        ]);
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    if !hints.is_empty() {
        text.push_str("Worth a look:\n");
    }
    for hint in hints.iter().take(MAX_HINTS) {
        text.push_str("  ");
        text.push_str(&cell(&hint.to_string(), usize::MAX));
        text.push('\n');
    }
    if let Some(more @ 1..) = hints.len().checked_sub(MAX_HINTS) {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

/// One line; its middle is omitted if it is too long.
fn cell(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    let count = shown.chars().count();
    if count <= most {
        return shown;
    }
    let tail = most / 4;
    let head: String = shown.chars().take(most - tail - 1).collect();
    let tail: String = shown.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_lines() {
        assert_eq!(cell("plain é 日本", 40), "plain é 日本");
        assert_eq!(cell("a\nb\u{1b}[2J\0", 40), "a\\nb\\u{1b}[2J\\u{0}");
        assert_eq!(cell(&format!("{}tail", "x".repeat(60_000)), 20), format!("{}…xtail", "x".repeat(14)));
    }

    #[test]
    fn no_row_is_long() {
        let long = "n".repeat(60_000);
        let file = SchemaFile::parse(&format!(
            r#"{{"version":1,"key":["pk"],"items":3,"attributes":{{"pk":{{"seen":{{"S":3}},"type":"string"}},
            "{long}":{{"seen":{{"S":1,"NULL":1}},"column":"{long}__12345678","type":"string"}}}}}}"#
        ))
        .unwrap();
        let text = text(&file, &[]);
        assert!(text.lines().all(|line| line.chars().count() < 260), "{text}");
        assert!(text.contains("__12345678") && text.contains("66.6%") && text.contains("string (key)"), "{text}");
        assert!(text.contains("S 1, NULL 1"), "{text}");
    }
}
