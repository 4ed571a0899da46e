//! Profiles: any body under any status is an observation, never a guess, and its report can be told to everybody.
//!
//! An input begins with a line `PROFILE STATUS`; the rest is the body.

use std::sync::LazyLock;

use bytes::Bytes;
use scanbell::domain::notification::{Kind, WebhookFormat};
use scanbell::domain::report::{Facts, Report, Verdict};
use scanbell::domain::scan::{Observation, Outcome};
use scanbell::provider::{Profiles, Provider, Seen, Settings};
use scanbell::render::{Renderer, Voice};
use scanbell::time::{after, from_millis};
use serde_json::Value;
use uuid::Uuid;

const SIEVE_ID: &str = "2b2f7b8b-7f2c-4b2d-9a5f-5c0c4c3c9d4e";
const ENKRYPT_ID: &str = "123e4567-e89b-12d3-a456-426614174000";
/// Far above the longest that a body may put into one field of a report.
const LONGEST_FIELD: usize = 17 * 1024;

/// Everything a profile can say that the built-in ones do not.
const OWN: &str = r#"
base_url = "https://scans.example.com"
id = { pattern = "[A-Za-z0-9_-]+", max_length = 64 }
status = "/state/0/word"
error_text = ["/error", "/errors/0/message"]
severity = ["/risk/level", "/risk"]
severity_words = { "really bad" = "critical", "5" = "high" }
score = ["/score", "/risk/score"]
classes = ["/classes", "/tags"]
ready = [
  { http = [204], means = "pending" },
  { http = [422], means = "unsupported" },
  { at = "/state/0/word", in = ["done", "finished"], and = [{ at = "/result", present = true }], means = "ok" },
  { at = "/progress", ge = 100, means = "ok" },
  { at = "/state/0/word", in = ["broken"], means = "failed" },
]
verdict = [
  { at = "/result/hits", eq = 0, verdict = "clean" },
  { at = "/result/hits", ge = 1, and = [{ at = "/result/sure", eq = true }], verdict = "threat" },
  { at = "/result/hits", ge = 1, verdict = "suspicious" },
]
[request]
url = "/scans/{id}"
[[subject]]
when = { at = "/repo", present = true }
kind = "repository"
name = "/repo"
[[subject]]
kind = "file"
name = ["/file/name", "/file"]
size = "/file/size"
[counts]
hits = "/result/hits"
[findings]
list = "/result/list"
title = ["/title", "/0"]
severity = "/severity"
location = ["/where/line", "/where"]
"#;

static PROVIDERS: LazyLock<[(Provider, &str); 3]> = LazyLock::new(|| {
    scanbell::egress::install_tls();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("own.toml"), OWN).expect("a profile");
    let profiles = Profiles::load(Some(folder.path())).unwrap_or_else(|problems| panic!("{problems}"));
    let build = |name: &str| {
        let key = serde_json::from_value(serde_json::json!({"profile": name, "api_key": "k"}));
        let settings: Settings = key.expect("settings");
        Provider::build(name, &settings, &profiles).unwrap_or_else(|problems| panic!("{problems}"))
    };
    [(build("sieve"), SIEVE_ID), (build("enkrypt"), ENKRYPT_ID), (build("own"), "own-1")]
});

static RENDERER: LazyLock<Renderer> = LazyLock::new(|| {
    let voice = |name: &str, kind, format| Voice {
        name: name.to_owned(),
        kind,
        format,
        template: None,
        channel: None,
        mentions: Vec::new(),
    };
    let voices = [
        voice("slack", Kind::Slack, WebhookFormat::Standard),
        voice("email", Kind::Email, WebhookFormat::Standard),
        voice("standard", Kind::Webhook, WebhookFormat::Standard),
        voice("cloudevents", Kind::Webhook, WebhookFormat::CloudEvents),
    ];
    Renderer::build(None, &voices).unwrap_or_else(|problems| panic!("{problems}"))
});

pub fn a_body_is_read_as_the_profile_says(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let head = String::from_utf8_lossy(&data[..end]);
    let (name, status) = head.split_once(' ').unwrap_or(("sieve", "200"));
    let status = status.parse().unwrap_or(200);
    let (provider, scan_id) = PROVIDERS.iter().find(|(provider, _)| provider.name() == name).unwrap_or(&PROVIDERS[0]);
    let body = Bytes::copy_from_slice(data.get(end + 1..).unwrap_or_default());
    let seen = provider.read(scan_id, status, body.clone());
    assert!(!seen.detail.chars().any(char::is_control), "{:?}", seen.detail);
    if let Observation::Ended(outcome) = seen.observation {
        oracle(provider.name(), scan_id, status, &body, &seen, outcome);
        told(provider.name(), scan_id, seen, outcome);
    }
}

/// What no reading of the vendors' documentation could take otherwise.
fn oracle(provider: &str, scan_id: &str, http: u16, body: &[u8], seen: &Seen, outcome: Outcome) {
    let said = seen.extract.as_ref();
    let verdict = said.map(|said| said.verdict);
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    if outcome != Outcome::Completed {
        return;
    }
    assert!((200..300).contains(&http), "completed by HTTP {http}");
    match provider {
        "sieve" => {
            assert_eq!(value["status"].as_str().map(str::to_lowercase).as_deref(), Some("completed"));
            assert!(value["scanId"].as_str().is_some_and(|echoed| echoed.eq_ignore_ascii_case(scan_id)));
            if value["isThreat"] == true {
                assert_eq!(verdict, Some(Verdict::Threat));
            }
            if verdict == Some(Verdict::Clean) {
                assert_eq!(value["riskCategory"].as_str().map(str::to_lowercase).as_deref(), Some("safe"));
            }
        }
        "enkrypt" => {
            assert_eq!(value["job_status"].as_str().map(str::to_lowercase).as_deref(), Some("completed"));
            let total = &value["complete_result"]["scan_metadata"]["total_vulnerabilities"];
            assert_eq!(verdict == Some(Verdict::Clean), total.as_f64() == Some(0.0), "{total}");
        }
        _ => {}
    }
}

/// The report is bounded, is JSON, and no built-in template fails over it.
fn told(provider: &str, scan_id: &str, seen: Seen, outcome: Outcome) {
    let finished_at = from_millis(1_800_000_000_000);
    let facts = Facts {
        id: Uuid::from_u128(7),
        provider: provider.to_owned(),
        scan_id: scan_id.to_owned(),
        outcome,
        requested_at: finished_at,
        finished_at: after(finished_at, std::time::Duration::from_secs(5)),
        polls: 1,
    };
    let report = Report::new(facts, seen.extract.unwrap_or_default(), 256 * 1024);
    let texts =
        [&report.status, &report.error, &report.subject.name, &report.subject.sha256, &report.subject.media_type];
    assert!(texts.into_iter().flatten().all(|text| text.len() <= LONGEST_FIELD));
    assert!(report.classes.len() <= 100 && report.findings.len() <= 100);
    assert!(report.score.is_none_or(f64::is_finite) && report.confidence.is_none_or(f64::is_finite));
    assert!(outcome == Outcome::Completed || report.verdict == Verdict::Unknown, "a verdict of what was not scanned");
    let json = serde_json::to_string(&report).expect("a report is JSON");
    let back: Report = serde_json::from_str(&json).expect("a report can be read back");
    assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
    for destination in ["slack", "email", "standard", "cloudevents"] {
        let rendered = RENDERER.report(destination, &report, report.id, report.finished_at);
        assert_eq!(rendered.fallback, None, "a built-in template failed");
    }
}
