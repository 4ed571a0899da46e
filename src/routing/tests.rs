use super::*;
use crate::domain::report::{Extract, Facts as Known, Finding, Severity, Subject, Verdict};
use crate::domain::scan::Outcome;
use crate::time::from_millis;

fn report(verdict: Verdict, severity: Severity) -> Report {
    let facts = Known {
        id: uuid::Uuid::nil(),
        provider: "sieve".into(),
        scan_id: "s1".into(),
        outcome: Outcome::Completed,
        requested_at: from_millis(0),
        finished_at: from_millis(0),
        polls: 1,
    };
    let said = Extract { verdict, severity, ..Extract::default() };
    Report::new(facts, said, 1024)
}

fn threat() -> Report {
    let mut report = report(Verdict::Threat, Severity::High);
    report.subject = Subject { name: Some("setup.EXE".into()), size: Some(9), ..Subject::default() };
    report.counts = [("issues".into(), 5)].into();
    report.classes = vec!["LLM01".into()];
    report.findings = vec![Finding { severity: Severity::Critical, ..Finding::default() }];
    report.labels = [("team".into(), "platform".into())].into();
    report.raw = serde_json::value::RawValue::from_string(r#"{"isThreat":true}"#.into()).ok();
    report
}

fn route(when: &str, to: &[&str], stop: bool) -> RouteSettings {
    let to = to.iter().map(|name| (*name).to_owned()).collect();
    RouteSettings { name: None, when: (!when.is_empty()).then(|| when.to_owned()), to, stop }
}

fn names() -> Vec<String> {
    ["secops", "oncall", "siem"].map(str::to_owned).to_vec()
}

fn router(routes: &[RouteSettings]) -> Router {
    Router::build(routes, &names()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What `when` answers over `report`: `Err` when it had to fail open.
fn answer(when: &str, report: &Report) -> Result<bool, String> {
    let step = router(&[route(when, &["siem"], false)]).route(report).steps.remove(0);
    step.error.map_or(Ok(step.matched), Err)
}

fn problem(when: &str) -> String {
    match Router::build(&[route(when, &["siem"], false)], &names()) {
        Ok(_) => panic!("`{when}` compiles"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn rules_read_as_the_contract_writes_them() {
    let threat = threat();
    for when in [
        "verdict == \"threat\" || severity >= high",
        "severity == high",
        "severity < critical && severity > medium",
        "outcome == \"completed\"",
        "provider == 'sieve' && scan_id == 's1'",
        "counts.issues > 3",
        "subject.name.lowerAscii().endsWith(\".exe\")",
        "\"LLM01\" in classes",
        "findings.exists(f, f.severity == critical)",
        "labels.team == \"platform\"",
        "labels[\"team\"].startsWith('plat')",
        "raw.isThreat",
        "severity in [high, critical]",
        "subject.kind == \"other\"",
        "size(findings) == 1 && polls == 1",
    ] {
        assert_eq!(answer(when, &threat), Ok(true), "{when}");
    }
    assert_eq!(answer("severity >= critical", &threat), Ok(false));
}

#[test]
fn unknown_severity_is_below_none() {
    let report = report(Verdict::Unknown, Severity::Unknown);
    assert_eq!(answer("severity < none", &report), Ok(true));
    assert_eq!(answer("severity >= none", &report), Ok(false));
    assert_eq!(answer("severity == unknown", &report), Ok(true));
}

#[test]
fn an_absent_label_reads_as_an_empty_string() {
    let report = report(Verdict::Clean, Severity::None);
    for when in ["labels.team == \"\"", "labels[\"team\"] == ''", "!has(labels.team)", "!(\"team\" in labels)"] {
        assert_eq!(answer(when, &report), Ok(true), "{when}");
    }
    assert_eq!(answer("labels.team == \"platform\"", &report), Ok(false));
    assert_eq!(answer("has(labels.team)", &threat()), Ok(true));
    assert_eq!(answer("['team'].exists(k, labels[k] == 'platform')", &threat()), Ok(true));
}

#[test]
fn a_rule_that_fails_while_running_delivers_and_says_why() {
    let report = report(Verdict::Clean, Severity::None);
    assert!(answer("counts.issues > 3", &report).unwrap_err().contains("`issues`"));
    assert!(answer("score > 0.5", &report).unwrap_err().contains("null"));
    assert!(answer("subject.name.endsWith('.exe')", &report).is_err());
    let routing = router(&[route("score > 0.5", &["siem"], false)]).route(&report);
    assert_eq!(routing.destinations, ["siem"]);
    assert_eq!(answer("has(counts.issues) && counts.issues > 3", &report), Ok(false));
    assert_eq!(answer("score != null && score > 0.5", &report), Ok(false));
}

#[test]
fn every_matching_route_counts_each_destination_once_and_stop_ends_the_search() {
    let routes = [
        route("verdict == 'threat'", &["oncall", "secops"], false),
        route("severity >= critical", &["siem"], true),
        route("", &["secops", "siem"], false),
    ];
    let routing = router(&routes).route(&threat());
    assert_eq!(routing.destinations, ["oncall", "secops", "siem"]);
    assert_eq!(routing.steps.len(), 3);
    assert!(!routing.steps[1].matched);
    let mut critical = threat();
    critical.severity = Severity::Critical;
    let routing = router(&routes).route(&critical);
    assert_eq!(routing.steps.len(), 2);
    assert!(routing.steps[1].stopped);
}

#[test]
fn without_routes_everything_goes_everywhere() {
    let routing = router(&[]).route(&report(Verdict::Clean, Severity::None));
    assert_eq!(routing.destinations, names());
}

#[test]
fn a_misspelt_name_is_found_before_anything_runs() {
    assert!(problem("sevrity >= high").contains("did you mean `severity`?"));
    assert!(problem("subject.nmae == 'x'").contains("did you mean `name`?"));
    assert!(problem("verdict == threat").contains("write it in quotes: \"threat\""));
    assert!(problem("verdict == 'thread'").contains("did you mean `threat`?"));
    assert!(problem("outcome == 'complete'").contains("did you mean `completed`?"));
    assert!(problem("subject.name.endWith('.exe')").contains("did you mean `endsWith`?"));
    assert!(problem("lenght(classes) > 1").contains("there is no function `lenght`"));
}

#[test]
fn a_severity_in_quotes_is_found_before_anything_runs() {
    for when in [
        "severity == \"high\"",
        "\"high\" == severity",
        "severity in ['high']",
        "severity >= 'high'",
        "findings.exists(f, f.severity == 'high')",
    ] {
        assert!(problem(when).contains("write it without quotes: `high`"), "{when}: {}", problem(when));
    }
}

#[test]
fn what_is_not_a_rule_is_a_problem_with_its_place() {
    assert_eq!(
        problem("verdict == "),
        "[[routes]] route 1: when: line 1, column 12: Syntax error: mismatched input '<EOF>'\n    \
         `when` is CEL: `verdict == \"threat\" || severity >= high`\n1 problem. Nothing was started."
    );
    assert!(problem("severity").contains("is not true or false but a number"));
    let unknown = Router::build(&[route("", &["simm"], false), route("", &[], false)], &names()).err().unwrap();
    assert!(unknown.to_string().contains("did you mean `siem`?"));
    assert!(unknown.to_string().contains("[[routes]] route 2: leads nowhere"));
}

#[test]
fn rules_are_bounded_in_length_depth_and_loops() {
    assert!(problem(&format!("verdict == '{}'", "x".repeat(5000))).contains("longer than"));
    let loops = "classes.exists(a, classes.exists(b, classes.exists(c, a == c)))";
    assert!(problem(loops).contains("loops"));
    assert_eq!(answer("classes.exists(a, classes.exists(b, a == b))", &threat()), Ok(true));
    let deep = format!("polls == {}1", "1 + ".repeat(900));
    assert!(problem(&deep).contains("nested too deeply"));
    assert!(!problem(&format!("{}true{}", "(".repeat(1500), ")".repeat(1500))).is_empty());
}

#[test]
fn a_report_with_huge_lists_is_routed_quickly() {
    let mut report = threat();
    report.classes = vec!["x".into(); 100_000];
    report.findings = vec![Finding::default(); 100_000];
    let started = std::time::Instant::now();
    let _ = answer("findings.exists(f, classes.exists(c, c == 'y' && f.severity == high))", &report);
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn raw_is_only_converted_where_a_rule_looks_at_it() {
    assert!(!router(&[route("verdict == 'threat'", &["siem"], false)]).uses_raw());
    assert!(router(&[route("raw.isThreat == true", &["siem"], false)]).uses_raw());
    let mut without = threat();
    without.raw = None;
    assert!(answer("raw.isThreat", &without).is_err());
}

#[test]
fn settings_refuse_keys_they_do_not_know() {
    let error = toml::from_str::<RouteSettings>("to = ['siem']\nwehn = 'true'").unwrap_err();
    assert!(error.to_string().contains("wehn"));
}
