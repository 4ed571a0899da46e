//! A report on a terminal.

use serde_json::Value;

use super::failure::Done;
use super::print::{self, field};

/// How many findings are shown; the JSON has them all.
const FINDINGS: usize = 10;

/// Prints what a report says, for people; `report` is its JSON.
pub fn print(report: &Value) -> Done {
    print::line(headline(report))?;
    for (name, pointer) in [
        ("subject", "/subject/name"),
        ("sha256", "/subject/sha256"),
        ("score", "/score"),
        ("confidence", "/confidence"),
        ("error", "/error"),
        ("link", "/link"),
        ("finished", "/finished_at"),
    ] {
        let value = field(report, pointer);
        if value != "-" {
            print::line(format!("{name:<11} {value}"))?;
        }
    }
    for (name, list) in
        [("counts", pairs(report, "counts")), ("labels", pairs(report, "labels")), ("classes", words(report))]
    {
        if !list.is_empty() {
            print::line(format!("{name:<11} {list}"))?;
        }
    }
    findings(report)
}

/// `completed: threat, high — suspicious.pdf`
pub fn headline(report: &Value) -> String {
    let outcome = field(report, "/outcome");
    if outcome != "completed" {
        return outcome.replace('_', " ");
    }
    format!("{outcome}: {}, severity {}", field(report, "/verdict"), field(report, "/severity"))
}

fn pairs(report: &Value, name: &str) -> String {
    let object = report.get(name).and_then(Value::as_object);
    let shown = object.into_iter().flatten().map(|(key, value)| match value {
        Value::String(text) => format!("{}={}", print::clean(key), print::clean(text)),
        other => format!("{}={other}", print::clean(key)),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn words(report: &Value) -> String {
    let list = report.get("classes").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(print::clean).collect::<Vec<_>>().join(" ")
}

fn findings(report: &Value) -> Done {
    let Some(findings) = report.get("findings").and_then(Value::as_array).filter(|list| !list.is_empty()) else {
        return Ok(());
    };
    for finding in findings.iter().take(FINDINGS) {
        let location = field(finding, "/location");
        let place = if location == "-" { String::new() } else { format!(" ({location})") };
        print::line(format!("  · {} {}{place}", field(finding, "/severity"), field(finding, "/title")))?;
    }
    match findings.len().saturating_sub(FINDINGS) {
        0 => Ok(()),
        more => print::line(format!("  … and {more} more")),
    }
}
