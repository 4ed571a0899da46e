//! A report as rules see it: every field by its name, severities as ordered numbers. Converted once for all rules.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};

use crate::domain::report::{Finding, Report, Severity, Subject};

/// Every name a rule can use for a field of the report.
pub(super) const FIELDS: [&str; 22] = [
    "id",
    "provider",
    "scan_id",
    "outcome",
    "status",
    "verdict",
    "severity",
    "score",
    "confidence",
    "subject",
    "counts",
    "classes",
    "findings",
    "error",
    "link",
    "labels",
    "requested_at",
    "finished_at",
    "polls",
    "raw",
    "raw_omitted",
    "unknown",
];

/// The fields of `subject`.
pub(super) const SUBJECT: [&str; 5] = ["name", "kind", "sha256", "size", "media_type"];

/// The words for severities; `unknown` is below `none`.
pub(super) const SEVERITIES: [Severity; 6] =
    [Severity::Unknown, Severity::None, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// A rule may loop over a list in a loop over a list: lists of strangers are bounded.
const LONGEST_LIST: usize = 200;

/// The fields and their values.
pub(super) struct Facts(pub(super) Vec<(&'static str, Value)>);

impl Facts {
    /// With `raw` only if a rule looks at it.
    pub(super) fn new(report: &Report, with_raw: bool) -> Self {
        let mut facts = vec![
            ("id", text(&report.id.to_string())),
            ("provider", text(&report.provider)),
            ("scan_id", text(&report.scan_id)),
            ("outcome", text(report.outcome.as_str())),
            ("status", optional(report.status.as_deref())),
            ("verdict", text(report.verdict.as_str())),
            ("severity", rank(report.severity)),
            ("score", report.score.map_or(Value::Null, Value::Float)),
            ("confidence", report.confidence.map_or(Value::Null, Value::Float)),
            ("subject", subject(&report.subject)),
            ("counts", map(report.counts.iter().map(|(name, count)| (name.as_str(), integer(*count))))),
            ("classes", list(report.classes.iter().map(|class| text(class)))),
            ("findings", list(report.findings.iter().map(finding))),
            ("error", optional(report.error.as_deref())),
            ("link", optional(report.link.as_deref())),
            ("labels", map(report.labels.iter().map(|(name, value)| (name.as_str(), text(value))))),
            ("requested_at", text(&report.requested_at.to_string())),
            ("finished_at", text(&report.finished_at.to_string())),
            ("polls", integer(u64::from(report.polls))),
            ("raw_omitted", Value::Bool(report.raw_omitted)),
        ];
        facts.extend(SEVERITIES.map(|severity| (severity.as_str(), rank(severity))));
        if with_raw {
            facts.push(("raw", raw(report)));
        }
        Self(facts)
    }
}

/// −1 for `unknown`, 0 for `none`, up to 4 for `critical`.
fn rank(severity: Severity) -> Value {
    Value::Int(match severity {
        Severity::Unknown => -1,
        Severity::None => 0,
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
        Severity::Critical => 4,
    })
}

fn subject(subject: &Subject) -> Value {
    map([
        ("name", optional(subject.name.as_deref())),
        ("kind", text(subject.kind.as_str())),
        ("sha256", optional(subject.sha256.as_deref())),
        ("size", subject.size.map_or(Value::Null, integer)),
        ("media_type", optional(subject.media_type.as_deref())),
    ])
}

fn finding(finding: &Finding) -> Value {
    map([
        ("title", optional(finding.title.as_deref())),
        ("severity", rank(finding.severity)),
        ("location", optional(finding.location.as_deref())),
    ])
}

fn raw(report: &Report) -> Value {
    let parsed = report.raw.as_ref().and_then(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).ok());
    parsed.and_then(|value| cel::to_value(value).ok()).unwrap_or(Value::Null)
}

fn text(value: &str) -> Value {
    Value::String(Arc::new(value.to_owned()))
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

fn integer(value: u64) -> Value {
    i64::try_from(value).map_or(Value::UInt(value), Value::Int)
}

fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::List(Arc::new(items.take(LONGEST_LIST).collect()))
}

fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let entries = entries.into_iter().take(LONGEST_LIST);
    let map: HashMap<Key, Value> = entries.map(|(key, value)| (Key::String(Arc::new(key.to_owned())), value)).collect();
    Value::Map(Map { map: Arc::new(map) })
}
