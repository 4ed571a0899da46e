//! Reports to try templates and routes with: one that says everything, one that says nothing, one marked as a test.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::report::{Finding, Report, Severity, Subject, SubjectKind, Verdict};
use crate::domain::scan::Outcome;
use crate::time::{Timestamp, from_millis};

/// 2026-02-14T12:35:10Z.
const FINISHED: i64 = 1_771_072_510_000;

/// A report of a threat with every field filled: what `render` and `explain` show when they are given none.
pub fn sample_report() -> Report {
    Report {
        id: Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0001),
        provider: "sieve".into(),
        scan_id: "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e".into(),
        outcome: Outcome::Completed,
        status: Some("completed".into()),
        verdict: Verdict::Threat,
        severity: Severity::High,
        score: Some(0.93),
        confidence: Some(0.95),
        subject: Subject {
            name: Some("suspicious.pdf".into()),
            kind: SubjectKind::File,
            sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
            size: Some(123_456),
            media_type: Some("application/pdf".into()),
        },
        counts: [("issues".into(), 5), ("sensitive_data".into(), 1)].into(),
        classes: vec!["document".into(), "LLM01".into(), "ASI02".into()],
        findings: vec![
            finding("Instructions hidden in white text", Severity::High, Some("page 3")),
            finding("Script that runs when the document opens", Severity::Medium, Some("object 42")),
            finding("Link to a host that was registered yesterday", Severity::Low, None),
        ],
        error: None,
        link: Some("https://sieve.example.com/analysis/2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e".into()),
        labels: [("team".into(), "platform".into())].into(),
        requested_at: from_millis(FINISHED - 14_000),
        finished_at: from_millis(FINISHED),
        polls: 4,
        raw: RawValue::from_string(r#"{"status":"completed","isThreat":true,"riskCategory":"malicious"}"#.into()).ok(),
        raw_omitted: false,
    }
}

fn finding(title: &str, severity: Severity, location: Option<&str>) -> Finding {
    Finding { title: Some(title.into()), severity, location: location.map(Into::into) }
}

/// A report that says nothing but its outcome: every null, every empty list.
pub(super) fn bare_report(outcome: Outcome) -> Report {
    Report {
        outcome,
        status: None,
        verdict: Verdict::Unknown,
        severity: Severity::Unknown,
        score: None,
        confidence: None,
        subject: Subject::default(),
        counts: [].into(),
        classes: Vec::new(),
        findings: Vec::new(),
        error: None,
        link: None,
        labels: [].into(),
        raw: None,
        ..sample_report()
    }
}

/// What a test message speaks of: it says in every field a person looks at that it is a test, and alarms nobody.
pub(super) fn test_report(id: Uuid, now: Timestamp) -> Report {
    Report {
        id,
        scan_id: "test-message".into(),
        verdict: Verdict::Clean,
        severity: Severity::None,
        score: Some(0.0),
        subject: Subject { name: Some("TEST MESSAGE from scanbell".into()), ..Subject::default() },
        counts: [("issues".into(), 0)].into(),
        classes: Vec::new(),
        findings: Vec::new(),
        link: None,
        labels: [("test".into(), "true".into())].into(),
        requested_at: now,
        finished_at: now,
        polls: 1,
        raw: None,
        ..sample_report()
    }
}
