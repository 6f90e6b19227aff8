//! The result of `catalog check` as text.

use ddb_iceberg::commands::{CheckReport, CheckStatus, CheckedPart};

use super::escape;

/// A check as text: the configuration, then one line per step.
pub(crate) fn check_lines(report: &CheckReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(name) = &report.catalog {
        lines.push(format!("catalog {}", escape::line(name)));
    }
    for setting in &report.settings {
        lines.push(format!(
            "  {} = {}  ({})",
            escape::line(&setting.property),
            escape::line(&setting.value),
            escape::line(&setting.from)
        ));
    }
    for step in &report.steps {
        let part = match step.part {
            CheckedPart::Configuration => "configuration",
            CheckedPart::Reach => "reach",
            CheckedPart::SignIn => "sign-in",
            CheckedPart::List => "tables",
            CheckedPart::Table => "table",
            CheckedPart::Warehouse => "warehouse",
            CheckedPart::Export => "export",
        };
        let status = match step.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Failed => "FAILED",
            CheckStatus::Skipped => "skipped",
        };
        lines.push(format!("{part:13}  {status:7}  {}", escape::line(&step.message)));
    }
    lines
}
