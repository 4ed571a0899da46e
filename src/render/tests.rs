use std::fs;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::domain::report::{Finding, Severity, Verdict};
use crate::domain::scan::Outcome;
use crate::time::from_millis;

const HOSTILE: [&str; 12] = [
    "<!channel>",
    "<@U0123ABCD>",
    "<http://evil.example|https://bank.example>",
    "a\r\nBcc: everyone@example.com\r\n\r\nbody",
    "\"}",
    "\\\"},{\"type\":\"divider\"},{\"x\":\"",
    "{{report.raw}} {{{x}}} {{> slack/alert}}",
    "annual\u{202e}fdp.exe\u{2066}",
    "nul\0\u{1b}[31m\u{7f}\u{9b}",
    "</td></table><script>alert(1)</script>&amp;&lt;",
    "' onmouseover='x\" onerror=\"y",
    "👨\u{200d}👩\u{200d}👧\u{301}\u{feff}\u{200b}",
];

fn voice(name: &str, kind: Kind, format: WebhookFormat) -> Voice {
    Voice { name: name.into(), kind, format, template: None, channel: None, mentions: Vec::new() }
}

fn voices() -> Vec<Voice> {
    let example = Some("webhook/example".to_owned());
    vec![
        voice("slack", Kind::Slack, WebhookFormat::Standard),
        voice("mail", Kind::Email, WebhookFormat::Standard),
        voice("hook", Kind::Webhook, WebhookFormat::Standard),
        voice("cloud", Kind::Webhook, WebhookFormat::CloudEvents),
        Voice { template: example, ..voice("own", Kind::Webhook, WebhookFormat::Template) },
    ]
}

fn renderer() -> Renderer {
    Renderer::build(None, &voices()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn say(renderer: &Renderer, destination: &str, report: &Report) -> Rendered {
    renderer.report(destination, report, Uuid::from_u128(1), from_millis(0))
}

fn json_of(said: &Rendered) -> Value {
    match &said.content {
        Content::Http { body, .. } => serde_json::from_slice(body).unwrap(),
        Content::Mail(_) => panic!("a mail"),
    }
}

fn mail_of(said: &Rendered) -> &crate::domain::notification::Mail {
    match &said.content {
        Content::Mail(mail) => mail,
        Content::Http { .. } => panic!("not a mail"),
    }
}

/// `text` in every field that a stranger writes.
fn report_full_of(text: &str) -> Report {
    let mut report = sample_report();
    let text = text.to_owned();
    report.subject.name = Some(text.clone());
    report.subject.sha256 = Some(text.clone());
    report.subject.media_type = Some(text.clone());
    report.status = Some(text.clone());
    report.scan_id.clone_from(&text);
    report.error = Some(text.clone());
    report.link = Some(text.clone());
    report.classes = vec![text.clone(); 30];
    report.counts = [(text.clone(), 3)].into();
    report.labels = [(text.clone(), text.clone())].into();
    report.findings = vec![Finding { title: Some(text.clone()), severity: Severity::High, location: Some(text) }; 30];
    report
}

/// Every text object of a Slack message.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(fields) => fields.values().for_each(|item| texts(item, into)),
        _ => {}
    }
}

/// What Slack asks of a message, and what we ask of it: no mention, no link, no control character out of a value.
fn assert_good_slack(message: &Value) {
    assert!(message["text"].as_str().unwrap().encode_utf16().count() <= 4000);
    assert!(message["blocks"].as_array().unwrap().len() <= 50);
    for block in message["blocks"].as_array().unwrap() {
        let length = |text: &Value| text["text"].as_str().map_or(0, |text| text.encode_utf16().count());
        assert!(length(&block["text"]) <= if block["type"] == "header" { 150 } else { 3000 });
        for field in block["fields"].as_array().into_iter().flatten() {
            assert!((1..=2000).contains(&length(field)), "{field}");
        }
        assert!(block["fields"].as_array().is_none_or(|fields| fields.len() <= 10));
        assert!(block["elements"].as_array().is_none_or(|elements| elements.len() <= 10));
    }
    let mut all = Vec::new();
    texts(message, &mut all);
    for text in all.iter().filter(|text| !text.starts_with("https://")) {
        let text = text.strip_prefix("> ").unwrap_or(text); // the shipped template quotes the error
        assert!(!text.contains('<') && !text.contains('>'), "unescaped: {text}");
        let entities = text.matches("&amp;").count() + text.matches("&lt;").count() + text.matches("&gt;").count();
        assert_eq!(text.matches('&').count(), entities, "split entity: {text}");
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "control: {text:?}");
        assert!(!text.contains(['\u{202e}', '\u{2066}']), "direction: {text:?}");
    }
}

/// The text of HTML: tags away, entities back.
fn text_of(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        rest = &rest[rest.find('>').map_or(rest.len(), |end| end + 1)..];
    }
    out.push_str(rest);
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

#[test]
fn hostile_values_stay_values_in_slack() {
    let renderer = renderer();
    for text in HOSTILE.into_iter().map(str::to_owned).chain(["&<x> ".repeat(20_000)]) {
        let said = say(&renderer, "slack", &report_full_of(&text));
        assert_eq!(said.fallback, None, "{text:.80}");
        let message = json_of(&said);
        assert_good_slack(&message);
        let shown: String = escape::Dialect::Slack.value(&text).chars().take(60).collect();
        assert!(message["blocks"][1]["text"]["text"].as_str().unwrap().contains(&shown), "{text:.80}");
    }
}

#[test]
fn hostile_values_stay_values_in_a_mail() {
    let renderer = renderer();
    let tags = |html: &str| html.matches('<').count();
    let expected = tags(&mail_of(&say(&renderer, "mail", &report_full_of("plain"))).html);
    for text in HOSTILE {
        let said = say(&renderer, "mail", &report_full_of(text));
        assert_eq!(said.fallback, None, "{text}");
        let mail = mail_of(&said);
        assert_eq!(tags(&mail.html), expected, "{text} made a tag");
        assert!(text_of(&mail.html).contains(&escape::clean(text)), "{text}");
        assert!(mail.text.contains(&escape::clean(text)), "{text}");
        assert!(!mail.subject.chars().any(char::is_control), "{:?}", mail.subject);
        for part in [&mail.text, &mail.html] {
            assert!(!part.lines().any(|line| line.starts_with("Bcc:")), "{text}");
            assert!(!part.chars().any(|character| character.is_control() && character != '\n'), "{text}");
        }
    }
    let huge = say(&renderer, "mail", &report_full_of(&"ß".repeat(100_000)));
    assert!(mail_of(&huge).html.len() < 500_000 && mail_of(&huge).subject.chars().count() <= 200);
}

#[test]
fn webhooks_carry_hostile_values_exactly() {
    let renderer = renderer();
    for text in HOSTILE.into_iter().map(str::to_owned).chain(["x".repeat(100_000)]) {
        let report = report_full_of(&text);
        for destination in ["hook", "cloud"] {
            assert_eq!(json_of(&say(&renderer, destination, &report))["data"]["subject"]["name"], *text);
        }
        let own = say(&renderer, "own", &report);
        assert_eq!(own.fallback, None);
        assert_eq!(json_of(&own)["subject"], *text);
        assert_eq!(json_of(&own)["scan"], format!("sieve/{text}"));
        assert_eq!(json_of(&own)["link"], Value::Null);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_value_whatever_breaks_a_message(text in "\\PC{0,200}|[<>&\"'\\\\{}!@|#a;\\r\\n\\t\u{0}-\u{1f}]{0,300}|.{0,600}") {
        let renderer = renderer();
        let report = report_full_of(&text);
        let slack = say(&renderer, "slack", &report);
        prop_assert_eq!(&slack.fallback, &None);
        assert_good_slack(&json_of(&slack));
        let mail = say(&renderer, "mail", &report);
        prop_assert_eq!(&mail.fallback, &None);
        prop_assert!(!mail_of(&mail).subject.chars().any(char::is_control));
        let own = say(&renderer, "own", &report);
        prop_assert_eq!(&json_of(&own)["subject"], &Value::from(text));
    }
}

#[test]
fn the_bodies_of_webhooks_are_those_of_the_contract() {
    let renderer = renderer();
    let report = sample_report();
    let standard = json_of(&say(&renderer, "hook", &report));
    assert_eq!(standard["type"], "scan.completed");
    assert_eq!(standard["timestamp"], "2026-02-14T12:35:10Z");
    assert_eq!(standard["data"], serde_json::to_value(&report).unwrap());
    let said = say(&renderer, "cloud", &report);
    let Content::Http { content_type, .. } = &said.content else { panic!() };
    assert_eq!(content_type, "application/cloudevents+json");
    let cloud = json_of(&said);
    assert_eq!(cloud["specversion"], "1.0");
    assert_eq!(cloud["id"], Uuid::from_u128(1).to_string());
    assert_eq!(cloud["source"], "/scanbell/sieve");
    assert_eq!(cloud["type"], "dev.scanbell.scan.completed");
    assert_eq!(cloud["subject"], report.scan_id);
    assert_eq!(cloud["time"], "2026-02-14T12:35:10Z");
    assert_eq!(cloud["data"]["raw"]["isThreat"], true);
}

#[test]
fn a_test_message_says_so_in_every_form() {
    let renderer = renderer();
    for destination in ["slack", "mail", "hook", "cloud", "own"] {
        let said = renderer.test(destination, Uuid::nil(), from_millis(0));
        assert_eq!(said.fallback, None);
        match &said.content {
            Content::Mail(mail) => {
                for part in [&mail.subject, &mail.text, &mail.html] {
                    assert!(part.to_lowercase().contains("test"), "{part}");
                }
            }
            Content::Http { body, .. } => assert!(String::from_utf8_lossy(body).contains("TEST MESSAGE")),
        }
    }
    let hook = json_of(&renderer.test("hook", Uuid::nil(), from_millis(0)));
    assert_eq!((&hook["type"], &hook["data"]["test"]), (&"scan.completed".into(), &true.into()));
    let slack = json_of(&renderer.test("slack", Uuid::nil(), from_millis(0)));
    assert!(slack["text"].as_str().unwrap().starts_with("[Test] "));
}

#[test]
fn mentions_come_from_the_configuration_and_only_for_what_is_urgent() {
    let mentions = vec!["<!here>".to_owned(), "<@U0123>".to_owned()];
    let slack =
        Voice { mentions, channel: Some("#alerts".into()), ..voice("slack", Kind::Slack, WebhookFormat::Standard) };
    let renderer = Renderer::build(None, &[slack]).unwrap_or_else(|problems| panic!("{problems}"));
    let threat = json_of(&say(&renderer, "slack", &sample_report()));
    assert_eq!(threat["blocks"][1]["text"]["text"], "<!here> <@U0123>");
    assert_eq!(threat["channel"], "#alerts");
    let mut clean = sample_report();
    (clean.verdict, clean.severity) = (Verdict::Clean, Severity::Low);
    assert!(!json_of(&say(&renderer, "slack", &clean)).to_string().contains("<!here>"));
}

#[test]
fn a_word_about_scanbell_reaches_every_kind_of_destination() {
    let renderer = renderer();
    let event = OperatorEvent {
        key: "provider-paused:sieve".into(),
        resolved: false,
        title: "sieve refuses our key <x>".into(),
        text: "Replace the key.\nIt is read again every minute.".into(),
        at: from_millis(0),
        about_destination: None,
    };
    let say = |destination| renderer.event(destination, &event, Uuid::from_u128(1), from_millis(0));
    assert_good_slack(&json_of(&say("slack")));
    let mail = say("mail");
    assert_eq!(mail_of(&mail).subject, "scanbell trouble: sieve refuses our key <x>");
    assert!(mail_of(&mail).html.contains("&lt;x&gt;") && mail_of(&mail).text.contains("every minute"));
    for destination in ["hook", "own"] {
        let body = json_of(&say(destination));
        assert_eq!((&body["type"], &body["data"]["key"]), (&"scanbell.operator".into(), &event.key.as_str().into()));
        assert_eq!(body["data"]["resolved"], false);
    }
    assert_eq!(json_of(&say("cloud"))["type"], "dev.scanbell.operator");
}

/// A folder of templates.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// The problems with these files, places without the folder's own name.
fn problems(files: &[(&str, &str)]) -> String {
    let dir = folder(files);
    match Renderer::build(Some(dir.path()), &voices()) {
        Ok(_) => panic!("nothing is wrong"),
        Err(problems) => problems.to_string().replace(&format!("{}/", dir.path().display()), "templates/"),
    }
}

#[test]
fn a_file_replaces_the_built_in_template_of_its_name_and_others_are_added() {
    let dir = folder(&[
        ("slack/alert.json.hbs", "{\"text\": \"mine: {{> slack/name}} {{len labels}}{{report.labels.absent}}\"}"),
        ("slack/name.json.hbs", "{{report.subject.name}}"),
        ("webhook/own.json.hbs", "{\"n\": {{json report.raw.missing.deep}}, \"c\": {{json report.counts.nope}}}"),
        ("README.md", "not a template"),
    ]);
    let mut voices = voices();
    voices[4].template = Some("webhook/own".into());
    let renderer = Renderer::build(Some(dir.path()), &voices).unwrap_or_else(|problems| panic!("{problems}"));
    let slack = say(&renderer, "slack", &sample_report());
    assert_eq!(slack.fallback, None);
    assert_eq!(json_of(&slack)["text"], "mine: suspicious.pdf 1");
    let own = say(&renderer, "own", &sample_report());
    assert_eq!(json_of(&own), serde_json::json!({"n": null, "c": null}));
}

#[test]
fn a_misspelt_field_is_found_even_inside_a_condition() {
    let found = problems(&[(
        "slack/alert.json.hbs",
        "{\n{{#if report.sevrity}}\"x\": 1,{{/if}}\n\"text\": \"{{#each findings}}{{titel}}{{/each}}{{#with report.subject}}{{nmae}}{{/with}}\"}",
    )]);
    insta::assert_snapshot!(found);
}

#[test]
fn what_goes_around_the_escaping_or_would_abort_is_refused() {
    let found = problems(&[
        ("slack/alert.json.hbs", "{\"text\": \"{{{title}}} {{&title}}\"}"),
        ("slack/a.json.hbs", "{{> slack/b}}"),
        ("slack/b.json.hbs", "\n{{#if title}}{{> slack/a}}{{/if}}"),
        ("slack/c.json.hbs", "{{> (lookup report \"scan_id\")}}"),
        ("slack/d.json.hbs", "{{#*inline \"x\"}}y{{/inline}}{{> x}}"),
        ("slack/e.json.hbs", "{{uper title}}{{#loop findings}}{{/loop}}"),
    ]);
    insta::assert_snapshot!(found);
}

#[test]
fn what_is_no_template_says_where_and_why() {
    let found = problems(&[
        ("slack/alert.json.hbs", "{\n\"text\": \"{{#if title}}\"}"),
        ("email/alert.html.txt.hbs", "named for another part, which is fine"),
        ("email/wrong.hbs", ""),
        ("webhook/example.json.hbs", "{\"size\": {{report.subject.size}}}"),
    ]);
    insta::assert_snapshot!(found);
    let huge = "x".repeat(200_000);
    assert!(problems(&[("slack/big.json.hbs", huge.as_str())]).contains("a template may have 131072"));
    let deep = "{{#if title}}".repeat(3000) + &"{{/if}}".repeat(3000);
    assert!(problems(&[("slack/deep.json.hbs", deep.as_str())]).contains("nested too deeply"));
    let chain = format!("{{{{#if title}}}}{}{{{{/if}}}}", "{{else if title}}".repeat(3000));
    assert!(problems(&[("slack/chain.json.hbs", chain.as_str())]).contains("nested too deeply"));
    let brackets = format!("{{{{eq {}title}}}}", "(eq ".repeat(3000));
    assert!(problems(&[("slack/brackets.json.hbs", brackets.as_str())]).contains("nested too deeply"));
}

#[test]
fn a_voice_that_asks_for_what_is_not_there_is_told_what_is() {
    let voices = [
        Voice { template: Some("slack/alrt".into()), ..voice("a", Kind::Slack, WebhookFormat::Standard) },
        Voice { template: Some("webhook/example".into()), ..voice("b", Kind::Webhook, WebhookFormat::Standard) },
        voice("c", Kind::Webhook, WebhookFormat::Template),
        Voice { mentions: vec!["@here".into()], ..voice("d", Kind::Slack, WebhookFormat::Standard) },
    ];
    let problems = Renderer::build(Some(Path::new("/nonexistent")), &voices).err().unwrap();
    insta::assert_snapshot!(problems);
}

#[test]
fn a_template_that_fails_gives_way_to_the_plain_message_which_says_so() {
    // Nothing at load shows that this breaks: it takes a report with a finding of this very name.
    let breaks = "{{#each findings}}{{#if (eq title \"boom\")}}{{lookup (json 1)}}\" : {{/if}}{{/each}}";
    let dir = folder(&[
        ("slack/alert.json.hbs", &format!("{{\"text\": \"ok\" {breaks}}}")),
        ("email/alert.txt.hbs", breaks),
        ("webhook/example.json.hbs", &format!("{{\"text\": \"ok\" {breaks}}}")),
    ]);
    let renderer = Renderer::build(Some(dir.path()), &voices()).unwrap_or_else(|problems| panic!("{problems}"));
    let mut report = sample_report();
    report.findings[0].title = Some("boom".into());
    for destination in ["slack", "mail", "own"] {
        assert_eq!(say(&renderer, destination, &sample_report()).fallback, None);
        let said = say(&renderer, destination, &report);
        let why = said.fallback.clone().unwrap();
        assert!(why.starts_with('`'), "{why}");
        let shown = match &said.content {
            Content::Mail(mail) => {
                assert!(mail.html.contains("plain message") && mail.html.contains("suspicious.pdf"));
                assert_eq!(mail.subject, "Threat found: suspicious.pdf (high)");
                mail.text.clone()
            }
            Content::Http { body, .. } => String::from_utf8(body.to_vec()).unwrap(),
        };
        assert!(shown.contains("Threat found: suspicious.pdf (high)"), "{shown}");
        assert!(shown.contains("because its template failed"), "{shown}");
    }
    assert_good_slack(&json_of(&say(&renderer, "slack", &report)));
}

#[test]
fn a_template_that_makes_too_much_is_stopped() {
    let body = "{{#each report.classes}}{{#each @root.report.classes}}{{#each @root.report.classes}}{{@root.title}}{{/each}}{{/each}}{{/each}}";
    let dir = folder(&[("email/alert.txt.hbs", body)]);
    let renderer = Renderer::build(Some(dir.path()), &voices()).unwrap_or_else(|problems| panic!("{problems}"));
    let mut report = sample_report();
    report.classes = vec!["x".into(); 500];
    let why = say(&renderer, "mail", &report).fallback.unwrap();
    assert!(why.contains("4 MiB"), "{why}");
}

fn shipped(destination: &str, report: &Report) -> String {
    let said = say(&renderer(), destination, report);
    assert_eq!(said.fallback, None);
    match &said.content {
        Content::Mail(mail) => format!("Subject: {}\n\n{}\n=====\n{}", mail.subject, mail.text, mail.html),
        Content::Http { .. } => serde_json::to_string_pretty(&json_of(&said)).unwrap(),
    }
}

fn clean() -> Report {
    let mut report = sample_report();
    (report.verdict, report.severity, report.score) = (Verdict::Clean, Severity::Low, Some(0.12));
    report.findings.clear();
    report.classes.truncate(1);
    report
}

fn failed() -> Report {
    let mut report = sample::bare_report(Outcome::Failed);
    report.error = Some("the archive is encrypted".into());
    report.subject.name = Some("quarterly.zip".into());
    report
}

#[test]
fn the_shipped_templates_look_as_they_did() {
    for (name, report) in [("threat", sample_report()), ("clean", clean()), ("failed", failed())] {
        for destination in ["slack", "mail", "own"] {
            insta::assert_snapshot!(format!("{destination}_{name}"), shipped(destination, &report));
        }
    }
}

#[test]
fn every_outcome_has_words_of_its_own() {
    let renderer = renderer();
    let mut seen = std::collections::BTreeSet::new();
    for outcome in Outcome::ALL {
        let message = json_of(&say(&renderer, "slack", &sample::bare_report(outcome)));
        assert!(seen.insert(message["blocks"][0]["text"]["text"].to_string()), "{outcome}");
        assert!(!mail_of(&say(&renderer, "mail", &sample::bare_report(outcome))).text.contains("null"));
    }
}
