//! The body of Sieve's `GET /api/scans/{id}`: all of its fields in every state.

use serde_json::{Value, json};

use super::{HOSTILE, Reference, Seed, Subject};
use crate::simulate::preset::State;
use crate::time::Timestamp;

/// What Sieve says of a scan in this state.
pub(in crate::simulate) fn scan(state: State, subject: Subject<'_>) -> Reference {
    if state == State::NotFound {
        return Reference::new(404, json!({ "error": "Scan not found" }));
    }
    let seed = Seed::of(subject.scan_id);
    let mut body = header(state, &seed, subject);
    super::edit_with(&mut body, verdict(state, &seed));
    Reference::new(200, body)
}

fn header(state: State, seed: &Seed, subject: Subject<'_>) -> Value {
    let (name, media_type) = file(state, seed);
    json!({
        "scanId": subject.scan_id,
        "fileName": name,
        "fileHash": seed.hex(),
        "fileSize": 1_024 + seed.number(3, 64 * 1024) * 37,
        "mimeType": media_type,
        "status": status(state),
        "results": null,
        "threatScore": null,
        "isThreat": null,
        "severity": null,
        "riskCategory": null,
        "analysisMode": if state == State::NoVerdict { None } else { seed.pick(5, &["quick", "deep"]) },
        "processingTimeMs": null,
        "confidence": null,
        "securityIssuesCount": null,
        "sensitiveDataCount": null,
        "detectionClass": [],
        "owaspLlmRisks": [],
        "owaspAgenticThreats": [],
        "compliance": null,
        "error": error(state),
        "createdAt": when(subject.created),
        "updatedAt": when(subject.now),
    })
}

const fn status(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Pending => "pending",
        State::Extracting => "extracting",
        State::Processing => "processing",
        State::Failed => "failed",
        State::Error => "error",
        State::Unsupported => "unsupported",
        State::UnknownStatus => "reticulating",
        _ => "completed",
    }
}

const fn error(state: State) -> Option<&'static str> {
    match state {
        State::Failed => Some("The document could not be parsed: unexpected end of file at byte 81920"),
        State::Error => Some("Analysis worker lost; the scan was given up after 3 attempts"),
        _ => None,
    }
}

fn file(state: State, seed: &Seed) -> (&'static str, &'static str) {
    const PDF: &str = "application/pdf";
    const ZIP: &str = "application/zip";
    let files: &[&(&str, &str)] = match state {
        State::Hostile => &[&(HOSTILE, PDF)],
        State::Extracting => &[&("invoices-2026.zip", ZIP), &("agent-skills.tar.gz", "application/gzip")],
        State::Unsupported => &[&("firmware.bin", "application/octet-stream"), &("disk.vmdk", "application/x-vmdk")],
        State::Threat => &[
            &("suspicious.pdf", PDF),
            &("invoice_4711.docm", "application/vnd.ms-word.document.macroEnabled.12"),
            &("SKILL.md", "text/markdown"),
            &("setup.ps1", "text/plain"),
        ],
        _ => &[
            &("quarterly-report.pdf", PDF),
            &("onboarding.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            &("system-prompt.txt", "text/plain"),
            &("tools.json", "application/json"),
        ],
    };
    seed.pick(1, files).copied().unwrap_or(("file", "application/octet-stream"))
}

fn verdict(state: State, seed: &Seed) -> Value {
    let spread = seed.number(7, 9) as f64 / 100.0;
    let took = 900 + seed.number(9, 4_000);
    match state {
        State::Clean => json!({
            "results": { "engine": "sieve", "matches": [] },
            "threatScore": 0.03 + spread, "isThreat": false, "severity": "low", "riskCategory": "safe",
            "processingTimeMs": took, "confidence": 0.9 + spread,
            "securityIssuesCount": 0, "sensitiveDataCount": seed.number(11, 2), "detectionClass": ["document"],
        }),
        State::Suspicious => json!({
            "results": { "engine": "sieve", "matches": [{ "rule": "obfuscated-instructions", "line": 12 }] },
            "threatScore": 0.45 + spread, "isThreat": false, "severity": "medium", "riskCategory": "suspicious",
            "processingTimeMs": took, "confidence": 0.7 + spread,
            "securityIssuesCount": 1 + seed.number(11, 3), "sensitiveDataCount": 0,
            "detectionClass": ["document", "obfuscation"], "owaspLlmRisks": ["LLM01"],
        }),
        State::Threat => json!({
            "results": { "engine": "sieve", "matches": [
                { "rule": "hidden-prompt-injection", "page": 2 }, { "rule": "credential-exfiltration", "page": 3 },
            ] },
            "threatScore": 0.9 + spread, "isThreat": true,
            "severity": seed.pick(13, &["high", "critical"]), "riskCategory": "malicious",
            "processingTimeMs": took, "confidence": 0.9 + spread,
            "securityIssuesCount": 2 + seed.number(11, 5), "sensitiveDataCount": seed.number(12, 4),
            "detectionClass": ["document", "prompt_injection"],
            "owaspLlmRisks": ["LLM01", "LLM02"], "owaspAgenticThreats": ["ASI01", "ASI02"],
            "compliance": { "gdpr": ["art-32"] },
        }),
        State::Hostile => json!({
            "results": { "engine": HOSTILE },
            "threatScore": 0.99, "isThreat": true, "severity": "critical", "riskCategory": "malicious",
            "processingTimeMs": took, "confidence": 1.0, "securityIssuesCount": 7, "sensitiveDataCount": 1,
            "detectionClass": ["document", HOSTILE], "owaspLlmRisks": ["LLM01"], "owaspAgenticThreats": ["<!here>"],
        }),
        _ => Value::Null,
    }
}

/// As the vendor's pages show it: no zone, a space in the middle.
fn when(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    fn body(state: State) -> Value {
        scan(state, Subject { scan_id: "s-1", created: from_millis(1_771_072_496_000), now: from_millis(0) }).body
    }

    #[test]
    fn every_documented_field_is_there_in_every_state() {
        let fields = [
            "scanId",
            "fileName",
            "fileHash",
            "fileSize",
            "mimeType",
            "status",
            "results",
            "threatScore",
            "isThreat",
            "severity",
            "riskCategory",
            "analysisMode",
            "processingTimeMs",
            "confidence",
            "securityIssuesCount",
            "sensitiveDataCount",
            "detectionClass",
            "owaspLlmRisks",
            "owaspAgenticThreats",
            "compliance",
            "error",
            "createdAt",
            "updatedAt",
        ];
        for state in [State::Queued, State::Clean, State::Threat, State::Failed, State::Hostile, State::NoVerdict] {
            let body = body(state);
            let mut names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
            let mut expected = fields.to_vec();
            names.sort_unstable();
            expected.sort_unstable();
            assert_eq!(names, expected, "{state:?}");
        }
        assert_eq!(body(State::Clean)["createdAt"], "2026-02-14 12:34:56");
    }

    #[test]
    fn what_is_not_finished_has_no_verdict_and_what_failed_says_why() {
        assert_eq!(body(State::Processing)["isThreat"], Value::Null);
        assert_eq!(body(State::NoVerdict)["status"], "completed");
        assert_eq!(body(State::NoVerdict)["severity"], Value::Null);
        assert_eq!(body(State::Threat)["isThreat"], true);
        assert!(body(State::Failed)["error"].is_string());
        assert!(body(State::Unsupported)["error"].is_null());
    }
}
