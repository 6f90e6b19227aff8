//! The result of `verify` as text.

use ddb_iceberg::commands::Comparison;

use super::escape;
use super::units::{count, group};

pub(crate) fn verify(table: &str, found: &Comparison) -> Vec<String> {
    let differing = found.missing + found.extra + found.different + found.repeated;
    let verdict = if differing == 0 { "equals" } else { "differs from" };
    let mut lines = vec![format!(
        "{table}: snapshot {} {verdict} the export of {}: {}, {}.",
        found.snapshot_id,
        found.export_time.as_deref().unwrap_or("?"),
        count(found.items, "item"),
        count(found.rows, "row")
    )];
    if differing == 0 {
        return lines;
    }
    lines.push(format!(
        "  {} equal, {} missing, {} extra, {} with other values, {} more than once",
        group(found.equal),
        group(found.missing),
        group(found.extra),
        group(found.different),
        group(found.repeated)
    ));
    for example in &found.examples {
        let names: Vec<_> = example.attributes.iter().map(|name| escape::line(name)).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        lines.push(format!("  {}: {}{names}", example.difference, escape::line(&example.key)));
    }
    lines
}
