//! Escaping: in every dialect, what a parser finds is the value and nothing else.
//!
//! One text of a stranger stands in every field of a report. It is rendered by templates that put it wherever a
//! template may, and by the built-in ones, next to the same report with a harmless text: both must have the same
//! form.

use std::sync::LazyLock;

use scanbell::domain::notification::{Content, Kind, Mail, WebhookFormat};
use scanbell::domain::report::{Finding, Report, Severity};
use scanbell::render::{Renderer, Voice, sample_report};
use scraper::{Html, Node, Selector};
use serde_json::Value;
use uuid::Uuid;

/// Templates cut a value at this many characters.
const LONGEST: usize = 4_000;

const HTML: &str = "<!doctype html><html><head><title>{{report.error}}</title></head><body>\
    <p id=\"text\" title=\"{{report.error}}\" data-single='{{report.error}}'>{{report.error}}</p>\
    <p id=\"json\">{{json report.error}}</p><p id=\"end\">end</p></body></html>";
const SLACK: &str = r#"{"text": "a {{report.error}} b", "blocks": [
    {"type": "section", "text": {"type": "mrkdwn", "text": "{{report.error}}"}},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": {{json report.error}}}]}]}"#;
const JSON: &str = r#"{"one": "{{report.error}}", "two": {{json report.error}}, "three": "a {{report.error}} b"}"#;

static RENDERER: LazyLock<Renderer> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("email/all.subject.hbs", "{{report.error}}"),
        ("email/all.txt.hbs", "{{report.error}}\n--\n{{report.error}}\n"),
        ("email/all.html.hbs", HTML),
        ("slack/all.json.hbs", SLACK),
        ("webhook/all.json.hbs", JSON),
    ] {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("a template");
    }
    let voice = |name: &str, kind, format, template: Option<&str>| Voice {
        name: name.to_owned(),
        kind,
        format,
        template: template.map(str::to_owned),
        channel: None,
        mentions: vec!["<!here>".to_owned()],
    };
    let voices = [
        voice("mail", Kind::Email, WebhookFormat::Standard, Some("email/all")),
        voice("slack", Kind::Slack, WebhookFormat::Standard, Some("slack/all")),
        voice("hook", Kind::Webhook, WebhookFormat::Template, Some("webhook/all")),
        voice("usual mail", Kind::Email, WebhookFormat::Standard, None),
        voice("usual slack", Kind::Slack, WebhookFormat::Standard, None),
        voice("standard", Kind::Webhook, WebhookFormat::Standard, None),
        voice("cloudevents", Kind::Webhook, WebhookFormat::CloudEvents, None),
    ];
    Renderer::build(Some(folder.path()), &voices).unwrap_or_else(|problems| panic!("{problems}"))
});

pub fn a_value_stays_a_value(data: &[u8]) {
    let value = String::from_utf8_lossy(data);
    let report = report_of(&value);
    let mail = mail("mail", &report);
    // What a person is shown: the text part of the mail, where nothing has a meaning but a line break.
    let shown = mail.text.lines().next().unwrap_or_default();
    assert_eq!(mail.text, format!("{shown}\n--\n{shown}\n"), "more lines than the template has");
    shows(shown, &value);
    subject(&mail.subject);
    html(&mail.html, shown);
    slack(&body("slack", &report), shown);
    json(&body("hook", &report), &value);
    for format in ["standard", "cloudevents"] {
        let data = &body(format, &report)["data"];
        assert_eq!(data["error"], *value, "{format}");
        assert_eq!(data["subject"]["name"], *value, "{format}");
        assert_eq!(data["labels"][&*value], *value, "{format}");
    }
    same_form(&report, &value);
}

/// The sample with this text wherever a stranger writes.
fn report_of(value: &str) -> Report {
    let mut report = sample_report();
    let text = || Some(value.to_owned());
    value.clone_into(&mut report.scan_id);
    report.status = text();
    report.subject.name = text();
    report.subject.sha256 = text();
    report.subject.media_type = text();
    report.classes = vec![value.to_owned(); 2];
    report.findings = vec![Finding { title: text(), severity: Severity::High, location: text() }; 2];
    report.error = text();
    report.labels = [(value.to_owned(), value.to_owned())].into();
    report
}

fn rendered(destination: &str, report: &Report) -> Content {
    let rendered = RENDERER.report(destination, report, Uuid::from_u128(1), report.finished_at);
    assert_eq!(rendered.fallback, None, "a template failed for {destination}");
    rendered.content
}

fn mail(destination: &str, report: &Report) -> Mail {
    let Content::Mail(mail) = rendered(destination, report) else { panic!("not a mail") };
    mail
}

fn body(destination: &str, report: &Report) -> Value {
    let Content::Http { body, .. } = rendered(destination, report) else { panic!("not a body") };
    serde_json::from_slice(&body).expect("JSON")
}

/// Character by character: what it is, or a sign that something stood there; at the end a mark where it was cut.
fn shows(shown: &str, value: &str) {
    let value = value.replace("\r\n", "\n");
    let cut = value.chars().count() > LONGEST;
    assert!(shown.chars().count() <= LONGEST);
    let end = shown.strip_suffix('…').filter(|_| cut);
    assert_eq!(cut, end.is_some(), "cut without a mark, or a mark without a cut");
    let kept = end.unwrap_or(shown);
    assert!(cut || kept.chars().count() == value.chars().count());
    for (now, before) in kept.chars().zip(value.chars()) {
        assert!(!now.is_control() && !acts(now), "{now:?} is still there");
        assert!(
            now == before || (before.is_control() || acts(before)) && matches!(now, ' ' | '↵' | '\u{fffd}'),
            "{before:?} became {now:?}"
        );
    }
}

/// Characters that change what stands around them or cannot be seen.
fn acts(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}'
        | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{ad}' | '\u{180e}')
}

fn subject(subject: &str) {
    assert!(subject.chars().count() <= 200, "{} characters", subject.chars().count());
    assert!(!subject.chars().any(|character| character.is_control() || acts(character)), "{subject:?}");
    assert!(!subject.is_empty());
}

/// As a browser reads it: the elements of the template and no others, their texts and attributes the value.
fn html(html: &str, shown: &str) {
    let page = Html::parse_document(html);
    let elements: Vec<&str> = elements(&page).collect();
    assert_eq!(elements, ["html", "head", "title", "body", "p", "p", "p"], "{html}");
    let one = |selector: &str| {
        let selector = Selector::parse(selector).expect("a selector");
        let mut found = page.select(&selector);
        let element = found.next().unwrap_or_else(|| panic!("no {selector:?} in {html}"));
        assert!(found.next().is_none());
        element
    };
    let text = |selector: &str| one(selector).text().collect::<String>();
    assert_eq!(text("title"), shown);
    assert_eq!(text("#text"), shown);
    assert_eq!(text("#end"), "end");
    let attributes = |name: &str| one("#text").attr(name).map(str::to_owned);
    assert_eq!(attributes("title").as_deref(), Some(shown));
    assert_eq!(attributes("data-single").as_deref(), Some(shown));
    assert_eq!(one("#text").value().attrs().count(), 3);
}

fn elements(page: &Html) -> impl Iterator<Item = &str> {
    page.tree.values().filter_map(|node| match node {
        Node::Element(element) => Some(element.name()),
        _ => None,
    })
}

/// As Slack reads it: no `<` that begins a mention or a link, no entity but the three it knows.
fn slack(message: &Value, shown: &str) {
    let text = message["text"].as_str().expect("a text");
    within(text, &format!("a {shown} b"), 4_000);
    // The mentions of the configuration come first and are the only ones.
    assert_eq!(message["blocks"][0]["text"]["text"], "<!here>");
    let blocks = message["blocks"].as_array().expect("blocks");
    if shown.trim().is_empty() {
        return;
    }
    assert_eq!(blocks.len(), 3, "{message}");
    for (text, limit) in [(&blocks[1]["text"], 3_000), (&blocks[2]["elements"][0], 2_000)] {
        assert_eq!(text["verbatim"], true);
        within(text["text"].as_str().expect("a text"), shown, limit);
    }
}

/// All of it, or as much of its beginning as fits, and a mark.
fn within(text: &str, whole: &str, limit: usize) {
    let plain = unescaped(text);
    assert!(text.encode_utf16().count() <= limit);
    match plain.strip_suffix('…') {
        Some(begin) if plain != whole => assert!(whole.starts_with(begin), "{plain:?} does not begin {whole:?}"),
        _ => assert_eq!(plain, whole),
    }
}

/// Slack's text as it is shown; fails where something in it has a meaning.
fn unescaped(text: &str) -> String {
    assert!(!text.contains(['<', '>']), "a link or a mention in {text:?}");
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;"].iter().any(|entity| text[at..].starts_with(entity));
        assert!(known, "an entity that is none at {at} of {text:?}");
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// A machine gets exactly what was said.
fn json(message: &Value, value: &str) {
    let expected = serde_json::json!({"one": value, "two": value, "three": format!("a {value} b")});
    assert_eq!(*message, expected);
}

/// The built-in templates: the same elements, blocks and lines as for a harmless text.
fn same_form(report: &Report, value: &str) {
    if value.trim().is_empty() {
        return; // what says nothing is left out
    }
    let harmless = report_of("harmless");
    let (here, there) = (mail("usual mail", report), mail("usual mail", &harmless));
    assert_eq!(here.text.lines().count(), there.text.lines().count(), "{}", here.text);
    subject(&here.subject);
    let (here, there) = (Html::parse_document(&here.html), Html::parse_document(&there.html));
    assert!(elements(&here).eq(elements(&there)), "{}", here.html());
    let attributes = |page: &Html| {
        let elements = page.tree.values().filter_map(Node::as_element);
        elements
            .map(|element| element.attrs().map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(attributes(&here), attributes(&there), "attributes");
    let (here, there) = (body("usual slack", report), body("usual slack", &harmless));
    let kinds = |message: &Value| {
        let blocks = message["blocks"].as_array().expect("blocks").iter();
        blocks.map(|block| block["type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&here), kinds(&there));
    // One mention, and it is the configuration's.
    let text = here.to_string();
    assert_eq!(text.matches('<').count(), 1, "{text}");
    assert!(text.contains("<!here>"));
}
