//! A report in words for people: headlines, colours, sizes, times. Plain text; escaping comes later.

use url::Url;

use super::escape::shorten;
use crate::domain::report::{Report, Severity, SubjectKind, Verdict};
use crate::domain::scan::Outcome;
use crate::time::{Timestamp, until};

/// The longest name inside a sentence: the words around it must still be seen.
const NAME: usize = 120;

/// How a message feels: its colour and its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Danger,
    Warning,
    Good,
    Neutral,
}

impl Tone {
    pub(super) fn of(report: &Report) -> Self {
        match (report.outcome, report.verdict) {
            (Outcome::Completed, Verdict::Threat) => Self::Danger,
            (Outcome::Completed, Verdict::Clean) => Self::Good,
            (Outcome::Completed, Verdict::Unknown) | (Outcome::Unsupported, _) => Self::Neutral,
            (Outcome::Completed, Verdict::Suspicious)
            | (Outcome::Failed | Outcome::NotFound | Outcome::TimedOut, _) => Self::Warning,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Danger => "danger",
            Self::Warning => "warning",
            Self::Good => "good",
            Self::Neutral => "neutral",
        }
    }

    /// Dark enough for white text on it.
    pub(super) const fn color(self) -> &'static str {
        match self {
            Self::Danger => "#b42318",
            Self::Warning => "#b54708",
            Self::Good => "#067647",
            Self::Neutral => "#475467",
        }
    }

    pub(super) const fn emoji(self) -> &'static str {
        match self {
            Self::Danger => "🔴",
            Self::Warning => "🟠",
            Self::Good => "🟢",
            Self::Neutral => "⚪",
        }
    }
}

/// Whether somebody should look now.
pub(super) fn urgent(report: &Report) -> bool {
    report.verdict == Verdict::Threat || report.severity >= Severity::High
}

/// Outcome and verdict in a few words.
pub(super) const fn headline(report: &Report) -> &'static str {
    match (report.outcome, report.verdict) {
        (Outcome::Completed, Verdict::Threat) => "Threat found",
        (Outcome::Completed, Verdict::Suspicious) => "Suspicious",
        (Outcome::Completed, Verdict::Clean) => "No threat found",
        (Outcome::Completed, Verdict::Unknown) => "Scanned, no verdict",
        (Outcome::Failed, _) => "Scan failed",
        (Outcome::Unsupported, _) => "Not scanned: unsupported",
        (Outcome::NotFound, _) => "Scan not found",
        (Outcome::TimedOut, _) => "Scan timed out",
    }
}

/// What was scanned, by name; the scan by its ID where it has none.
pub(super) fn subject(report: &Report) -> String {
    match report.subject.name.as_deref() {
        Some(name) if !name.trim().is_empty() => name.to_owned(),
        _ => format!("scan {}", report.scan_id),
    }
}

/// `Threat found: suspicious.pdf (high)`.
pub(super) fn title(report: &Report) -> String {
    let name = shorten(&subject(report), NAME);
    match severity(report.severity) {
        Some(severity) if Tone::of(report) != Tone::Good => {
            format!("{}: {name} ({})", headline(report), severity.to_lowercase())
        }
        _ => format!("{}: {name}", headline(report)),
    }
}

/// What it means, in one sentence.
pub(super) fn summary(report: &Report) -> String {
    let (provider, name) = (&report.provider, shorten(&subject(report), NAME));
    match (report.outcome, report.verdict) {
        (Outcome::Completed, Verdict::Threat) => format!("{provider} found a threat in {name}."),
        (Outcome::Completed, Verdict::Suspicious) => {
            format!("{provider} found something in {name} that a person should look at.")
        }
        (Outcome::Completed, Verdict::Clean) => format!("{provider} found no threat in {name}."),
        (Outcome::Completed, Verdict::Unknown) => {
            format!("{provider} finished with {name} and did not say what it thinks of it.")
        }
        (Outcome::Failed, _) => format!("{provider} could not scan {name}: it was not checked."),
        (Outcome::Unsupported, _) => format!("{provider} does not scan things like {name}: it was not checked."),
        (Outcome::NotFound, _) => format!("{provider} does not know {name}: nothing was checked."),
        (Outcome::TimedOut, _) => format!("{provider} did not finish with {name} in time: nobody knows yet."),
    }
}

/// `file`, `repository`, `endpoint`; empty for anything else.
pub(super) const fn kind(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Other => "",
        known => known.as_str(),
    }
}

/// `High`; none where it is not known.
pub(super) const fn severity(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Unknown => None,
        Severity::None => Some("None"),
        Severity::Low => Some("Low"),
        Severity::Medium => Some("Medium"),
        Severity::High => Some("High"),
        Severity::Critical => Some("Critical"),
    }
}

/// The colour of a severity, dark enough for white text on it.
pub(super) const fn severity_color(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "#7a271a",
        Severity::High => "#b42318",
        Severity::Medium => "#b54708",
        Severity::Low => "#175cd3",
        Severity::None | Severity::Unknown => "#475467",
    }
}

/// The sign of a severity.
pub(super) const fn severity_emoji(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "🟣",
        Severity::High => "🔴",
        Severity::Medium => "🟠",
        Severity::Low => "🔵",
        Severity::None | Severity::Unknown => "⚪",
    }
}

/// `123.5 kB`.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

/// At most three decimals, none for a whole number.
pub(super) fn number(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

/// A share in per cent; on any other scale the number as it is.
pub(super) fn percent(value: f64) -> String {
    if (0.0..=1.0).contains(&value) { format!("{} %", (value * 100.0).round()) } else { number(value) }
}

/// `sensitive_data` → `Sensitive data`.
pub(super) fn label(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut characters = words.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// `2026-02-14 12:35:10 UTC`.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `1h 2m 3s`, whole seconds.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    let seconds = until(from, to).as_secs();
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

/// The link as it may be followed: http or https, nobody's name in front of the host, nothing that ends a link early.
pub(super) fn safe_link(link: &str) -> Option<String> {
    let url = Url::parse(link).ok()?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    plain.then(|| url.as_str().replace('|', "%7C").replace('<', "%3C").replace('>', "%3E"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample_report;

    #[test]
    fn a_title_keeps_its_verdict_and_severity_whatever_the_name_is() {
        let mut report = sample_report();
        assert_eq!(title(&report), "Threat found: suspicious.pdf (high)");
        report.subject.name = Some("x".repeat(100_000));
        assert!(title(&report).ends_with("… (high)"));
        assert!(title(&report).chars().count() < 160);
        report.subject.name = Some("  ".into());
        assert_eq!(title(&report), "Threat found: scan 2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e (high)");
    }

    #[test]
    fn only_a_plain_web_link_is_a_link() {
        assert_eq!(safe_link("https://x.example/a|b").as_deref(), Some("https://x.example/a%7Cb"));
        for bad in ["javascript:alert(1)", "data:text/html,x", "https://bank.example@evil.example/", "/relative", ""] {
            assert_eq!(safe_link(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(number(0.93), "0.93");
        assert_eq!(number(7.0), "7");
        assert_eq!(percent(0.95), "95 %");
        assert_eq!(percent(87.5), "87.5");
        assert_eq!(size(123_456), "123.5 kB");
        assert_eq!(label("sensitive_data"), "Sensitive data");
    }
}
