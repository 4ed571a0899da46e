//! The contract with the authors of templates: everything a template can name.
//!
//! `report` is the report of the contract, field for field; beside it stand the same facts in words for people.
//! Adding a field here is safe; renaming or removing one breaks templates of strangers.
//!
//! Two things differ from the JSON of a webhook: `report.link` is null unless it is an http(s) link without a user
//! name in it, and a label, a count or a field of `report.raw` that a template names but the report lacks is null
//! instead of an error.

use serde::Serialize;
use serde_json::Value;

use super::words;
use crate::domain::report::{Finding, Report};

/// How many findings are shown before "and n more".
const TOP: usize = 5;

/// What a template sees. `docs/templates.md` explains it to its readers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct View {
    /// The report of the contract.
    pub(super) report: Value,
    /// One line that says it all: `Threat found: suspicious.pdf (high)`.
    pub(super) title: String,
    /// Outcome and verdict in words: `Threat found`, `No threat found`, `Scan timed out`.
    pub(super) headline: &'static str,
    /// What that means, in a sentence: for those who read one line.
    pub(super) summary: String,
    /// `danger`, `warning`, `good` or `neutral`.
    pub(super) tone: &'static str,
    /// The colour of the tone: `#b42318`.
    pub(super) color: &'static str,
    /// The sign of the tone.
    pub(super) emoji: &'static str,
    /// True for a threat and for severity high or critical.
    pub(super) urgent: bool,
    /// The name of what was scanned; the scan's ID where it has none.
    pub(super) subject: String,
    /// `file`, `repository`, `endpoint`; empty where it is not known.
    pub(super) kind: &'static str,
    /// `123.5 kB`.
    pub(super) size: Option<String>,
    /// The first 12 characters.
    pub(super) sha256_short: Option<String>,
    /// `High`; null where it is not known.
    pub(super) severity: Option<&'static str>,
    /// The colour of the severity.
    pub(super) severity_color: &'static str,
    /// `0.93`
    pub(super) score: Option<String>,
    /// `95 %`
    pub(super) confidence: Option<String>,
    /// Every count.
    pub(super) counts: Vec<Count>,
    /// The worst findings first.
    pub(super) findings: Vec<FindingView>,
    /// How many findings are not among them.
    pub(super) more: usize,
    /// Every label.
    pub(super) labels: Vec<Label>,
    /// The report's link if it can be followed: http(s), fit to stand in `<url|text>`.
    pub(super) link: Option<String>,
    /// `2026-02-14 12:34:56 UTC`
    pub(super) requested: String,
    /// `2026-02-14 12:35:10 UTC`
    pub(super) finished: String,
    /// From request to end: `14s`.
    pub(super) took: String,
}

/// A count with its name in words.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Count {
    /// `sensitive_data`
    name: String,
    /// `Sensitive data`
    label: String,
    /// The number.
    value: u64,
}

/// A label of a request.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Label {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
}

/// A finding in words.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FindingView {
    /// What; `Finding` where the provider gave no title.
    title: String,
    /// `High`; null where it is not known.
    severity: Option<&'static str>,
    /// The colour of the severity.
    color: &'static str,
    /// The sign of the severity.
    emoji: &'static str,
    /// Where.
    location: Option<String>,
}

impl View {
    /// The view of `report`; with its `raw` only where somebody will look at it, for it can be large.
    pub(super) fn new(report: &Report, with_raw: bool) -> Self {
        let tone = words::Tone::of(report);
        let subject = words::subject(report);
        let headline = words::headline(report);
        let link = report.link.as_deref().and_then(words::safe_link);
        Self {
            title: words::title(report),
            headline,
            summary: words::summary(report),
            tone: tone.word(),
            color: tone.color(),
            emoji: tone.emoji(),
            urgent: words::urgent(report),
            subject,
            kind: words::kind(report.subject.kind),
            size: report.subject.size.map(words::size),
            sha256_short: report.subject.sha256.as_deref().map(|hash| hash.chars().take(12).collect()),
            severity: words::severity(report.severity),
            severity_color: words::severity_color(report.severity),
            score: report.score.map(words::number),
            confidence: report.confidence.map(words::percent),
            counts: counts(report),
            findings: top_findings(&report.findings),
            more: report.findings.len().saturating_sub(TOP),
            labels: report
                .labels
                .iter()
                .map(|(name, value)| Label { name: name.clone(), value: value.clone() })
                .collect(),
            requested: words::time(report.requested_at),
            finished: words::time(report.finished_at),
            took: words::between(report.requested_at, report.finished_at),
            report: report_value(report, link.as_deref(), with_raw),
            link,
        }
    }
}

/// The report as a value, its link only if it can be followed, its `raw` parsed or null.
fn report_value(report: &Report, link: Option<&str>, with_raw: bool) -> Value {
    let mut value = serde_json::to_value(report.without_raw()).unwrap_or_default();
    value["link"] = link.into();
    if with_raw && let Some(raw) = &report.raw {
        value["raw"] = serde_json::from_str(raw.get()).unwrap_or_default();
    }
    value
}

fn counts(report: &Report) -> Vec<Count> {
    let count = |(name, value): (&String, &u64)| Count { name: name.clone(), label: words::label(name), value: *value };
    report.counts.iter().map(count).collect()
}

fn top_findings(findings: &[Finding]) -> Vec<FindingView> {
    let mut order: Vec<&Finding> = findings.iter().collect();
    order.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    order
        .into_iter()
        .take(TOP)
        .map(|finding| FindingView {
            title: finding.title.clone().unwrap_or_else(|| "Finding".to_owned()),
            severity: words::severity(finding.severity),
            color: words::severity_color(finding.severity),
            emoji: words::severity_emoji(finding.severity),
            location: finding.location.clone(),
        })
        .collect()
}
