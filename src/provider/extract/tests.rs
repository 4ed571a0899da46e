use rstest::rstest;
use serde_json::{Value, json};

use super::super::profile::{Profile, Profiles};
use super::super::testing::{ENKRYPT_BODY, SIEVE_BODY};
use super::*;
use crate::domain::report::{SubjectKind, Verdict};

fn profile(name: &str) -> Profile {
    Profiles::load(None).unwrap().get(name).unwrap().clone()
}

fn extract(name: &str, body: &Value) -> Extract {
    let profile = profile(name);
    profile.reading.extract(200, profile.status.as_ref(), body)
}

/// A reference body with some fields replaced.
fn with(reference: &str, pointer: &str, value: Value) -> Value {
    let mut body: Value = serde_json::from_str(reference).unwrap();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn sieve(pointer: &str, value: Value) -> Extract {
    extract("sieve", &with(SIEVE_BODY, pointer, value))
}

#[test]
fn every_field_of_the_sieve_reference_lands_in_the_report() {
    let said = extract("sieve", &serde_json::from_str(SIEVE_BODY).unwrap());
    assert_eq!(said.status.as_deref(), Some("completed"));
    assert_eq!(said.verdict, Verdict::Clean);
    assert_eq!(said.severity, Severity::Low);
    assert_eq!(said.score, Some(0.12));
    assert_eq!(said.confidence, Some(0.95));
    assert_eq!(
        said.subject,
        Subject {
            name: Some("suspicious.pdf".into()),
            kind: SubjectKind::File,
            sha256: Some("<sha256>".into()),
            size: Some(123_456),
            media_type: Some("application/pdf".into()),
        }
    );
    assert_eq!(said.counts, [("issues".to_owned(), 0), ("sensitive_data".to_owned(), 1)].into());
    assert_eq!(said.classes, ["document"]);
    assert!(said.findings.is_empty());
    assert_eq!(said.error, None);
}

#[test]
fn every_field_of_the_enkrypt_reference_lands_in_the_report() {
    let said = extract("enkrypt", &serde_json::from_str(ENKRYPT_BODY).unwrap());
    assert_eq!(said.status.as_deref(), Some("completed"));
    assert_eq!(said.verdict, Verdict::Threat);
    assert_eq!(said.severity, Severity::High);
    assert_eq!(said.subject.name.as_deref(), Some("user/mcp-server"));
    assert_eq!(said.subject.kind, SubjectKind::Repository);
    assert_eq!(said.counts, [("issues".to_owned(), 5)].into());
    assert_eq!((said.score, said.confidence, said.error), (None, None, None));
}

#[test]
fn sieve_classes_are_the_three_lists_in_order() {
    let mut body = with(SIEVE_BODY, "/owaspLlmRisks", json!(["LLM01"]));
    body["owaspAgenticThreats"] = json!(["ASI02"]);
    assert_eq!(extract("sieve", &body).classes, ["document", "LLM01", "ASI02"]);
}

#[rstest]
#[case(json!(true), json!("safe"), Verdict::Threat)]
#[case(json!(true), json!(null), Verdict::Threat)]
#[case(json!(false), json!("safe"), Verdict::Clean)]
#[case(json!(false), json!("Suspicious"), Verdict::Suspicious)]
#[case(json!(false), json!("malicious"), Verdict::Threat)]
#[case(json!(null), json!("malicious"), Verdict::Threat)]
#[case(json!(false), json!(null), Verdict::Unknown)]
#[case(json!(null), json!(null), Verdict::Unknown)]
#[case(json!("true"), json!("weird"), Verdict::Unknown)]
#[case(json!({}), json!([]), Verdict::Unknown)]
fn sieve_verdict(#[case] is_threat: Value, #[case] category: Value, #[case] expected: Verdict) {
    let mut body = with(SIEVE_BODY, "/isThreat", is_threat);
    body["riskCategory"] = category;
    assert_eq!(extract("sieve", &body).verdict, expected);
}

#[rstest]
#[case(json!(0), json!("High"), Verdict::Clean, Severity::High)]
#[case(json!(0), json!(null), Verdict::Clean, Severity::Unknown)]
#[case(json!(5), json!("CRITICAL"), Verdict::Threat, Severity::Critical)]
#[case(json!(1), json!("high"), Verdict::Threat, Severity::High)]
#[case(json!(1), json!("Medium"), Verdict::Suspicious, Severity::Medium)]
#[case(json!(1), json!("low"), Verdict::Suspicious, Severity::Low)]
#[case(json!(1), json!("None"), Verdict::Suspicious, Severity::None)]
#[case(json!(null), json!("None"), Verdict::Unknown, Severity::None)]
#[case(json!(5), json!(null), Verdict::Unknown, Severity::Unknown)]
#[case(json!(5), json!("weird"), Verdict::Unknown, Severity::Unknown)]
#[case(json!("0"), json!(null), Verdict::Unknown, Severity::Unknown)]
#[case(json!(null), json!(3), Verdict::Unknown, Severity::Unknown)]
fn enkrypt_verdict(
    #[case] total: Value,
    #[case] severity: Value,
    #[case] verdict: Verdict,
    #[case] expected: Severity,
) {
    let mut body = with(ENKRYPT_BODY, "/complete_result/scan_metadata/total_vulnerabilities", total);
    body["complete_result"]["scan_metadata"]["overall_severity"] = severity;
    let said = extract("enkrypt", &body);
    assert_eq!((said.verdict, said.severity), (verdict, expected));
}

#[test]
fn the_subject_of_a_hosted_scan_is_its_endpoint() {
    let mut body = with(ENKRYPT_BODY, "/scan_type", json!("hosted"));
    body["endpoint_url"] = json!("https://mcp.example.com/sse");
    let subject = extract("enkrypt", &body).subject;
    assert_eq!(subject.kind, SubjectKind::Endpoint);
    assert_eq!(subject.name.as_deref(), Some("https://mcp.example.com/sse"));
    let subject = extract("enkrypt", &with(ENKRYPT_BODY, "/scan_type", json!(null))).subject;
    assert_eq!((subject.kind, subject.name.as_deref()), (SubjectKind::Other, Some("user/mcp-server")));
}

#[test]
fn enkrypt_findings_are_read_where_they_can_be_and_left_out_where_not() {
    let list =
        json!([{"name": "Tool poisoning", "severity": "High", "tool_name": "fetch"}, "plain", {"x": 1}, 7, null]);
    let found = extract("enkrypt", &with(ENKRYPT_BODY, "/complete_result/vulnerabilities", list)).findings;
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[0],
        Finding { title: Some("Tool poisoning".into()), severity: Severity::High, location: Some("fetch".into()) }
    );
    assert_eq!(found[1].title.as_deref(), Some("plain"));
}

#[rstest]
#[case("/fileName", json!(7))]
#[case("/fileName", json!({"a": 1}))]
#[case("/fileHash", json!(false))]
#[case("/fileSize", json!("123456"))]
#[case("/fileSize", json!(-1))]
#[case("/fileSize", json!(1.5))]
#[case("/threatScore", json!("0.9"))]
#[case("/confidence", json!([0.9]))]
#[case("/securityIssuesCount", json!("5"))]
#[case("/securityIssuesCount", json!(null))]
#[case("/detectionClass", json!("document"))]
#[case("/detectionClass", json!({"0": "document"}))]
#[case("/severity", json!(3))]
#[case("/error", json!({"message": "x"}))]
fn another_type_than_documented_is_not_said(#[case] pointer: &str, #[case] value: Value) {
    let said = sieve(pointer, value);
    let silent = match pointer {
        "/fileName" => said.subject.name.is_none(),
        "/fileHash" => said.subject.sha256.is_none(),
        "/fileSize" => said.subject.size.is_none(),
        "/threatScore" => said.score.is_none(),
        "/confidence" => said.confidence.is_none(),
        "/securityIssuesCount" => !said.counts.contains_key("issues"),
        "/detectionClass" => said.classes.is_empty(),
        "/severity" => said.severity == Severity::Unknown,
        _ => said.error.is_none(),
    };
    assert!(silent, "{pointer}: {said:?}");
}

#[rstest]
#[case("high", Severity::High)]
#[case("High", Severity::High)]
#[case("CRITICAL", Severity::Critical)]
#[case("none", Severity::None)]
#[case("weird", Severity::Unknown)]
#[case("", Severity::Unknown)]
fn severity_words_count_in_any_case(#[case] word: &str, #[case] expected: Severity) {
    assert_eq!(sieve("/severity", json!(word)).severity, expected);
}

#[test]
fn names_of_strangers_are_kept_as_they_are() {
    let hostile = "<!channel>\r\nBcc: x@y\u{202e}gpj.exe{{x}}\"}\0";
    assert_eq!(sieve("/fileName", json!(hostile)).subject.name.as_deref(), Some(hostile));
    let long = "x".repeat(10_240);
    assert_eq!(sieve("/fileName", json!(long)).subject.name, Some(long));
}

#[test]
fn lists_and_texts_are_bounded() {
    let said = sieve("/fileName", json!("é".repeat(100_000)));
    let name = said.subject.name.unwrap();
    assert!(name.len() <= LONGEST_TEXT && name.ends_with("é…"), "{}", name.len());
    let classes: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    assert_eq!(sieve("/detectionClass", json!(classes)).classes.len(), MOST_CLASSES);
    let many = with(ENKRYPT_BODY, "/complete_result/vulnerabilities", json!(vec![json!({"title": "x"}); 50_000]));
    assert_eq!(extract("enkrypt", &many).findings.len(), MOST_FINDINGS);
}

#[test]
fn a_cut_splits_no_grapheme_unless_the_grapheme_is_an_attack() {
    assert_eq!(cut("abc", 3), "abc");
    assert_eq!(cut("a👩‍👩‍👧b", 12), "a…");
    let zalgo = format!("a{}", "\u{301}".repeat(50_000));
    let short = cut(&zalgo, 100);
    assert!(short.len() <= 100 && short.len() > 90 && short.ends_with('…'));
}

#[rstest]
#[case(json!([]))]
#[case(json!("completed"))]
#[case(json!(42))]
#[case(json!(null))]
#[case(json!([[[{}]]]))]
fn a_body_of_any_shape_says_nothing_and_breaks_nothing(#[case] body: Value) {
    for name in ["sieve", "enkrypt"] {
        let said = extract(name, &body);
        assert_eq!((said.verdict, said.severity), (Verdict::Unknown, Severity::Unknown));
        assert_eq!(said.subject.name, None);
    }
}
